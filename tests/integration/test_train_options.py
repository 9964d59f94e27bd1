"""anomalyctl train: every option, what may not go together, and rows of every shape."""

import csv
import io
import json
import os
import pathlib
import random
import xml.etree.ElementTree as ElementTree

import pytest
from conftest import Daemon
from ctl import fail, make_rows, run, succeed, succeed_json, write_csv

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
FAST = ["--preset", "fast", "--epochs", 3]
PRESETS = {  # quick trainings of each; --epochs takes the place of the 3,000 steps
    "best": ["--preset", "best", "--epochs", 5],
    "balanced": ["--preset", "balanced", "--epochs", 5],
    "fast": ["--preset", "fast", "--epochs", 20],
    "pca": ["--algorithm", "pca"],
}


@pytest.fixture(name="normal", scope="module")
def fixture_normal(tmp_path_factory):
    return write_csv(tmp_path_factory.mktemp("data") / "normal.csv", make_rows(300))


@pytest.fixture(name="bits", scope="module")
def fixture_bits(tmp_path_factory):
    """Six features of 0 and 1, two of which follow from the others."""
    draw = random.Random(2)
    rows = []
    for _ in range(300):
        a, b, c, d = (int(draw.random() < 0.4) for _ in range(4))
        rows.append([a, b, c, d, a, 1 - b])
    return write_csv(tmp_path_factory.mktemp("data") / "bits.csv", rows, names=list("abcdef"))


@pytest.fixture(name="mixed", scope="module")
def fixture_mixed(tmp_path_factory):
    """Features of 0 and 1 beside real ones."""
    draw = random.Random(3)
    rows = [[int(draw.random() < 0.3), draw.gauss(0, 1), draw.random(), draw.gauss(9, 5)]
            for _ in range(300)]
    return write_csv(tmp_path_factory.mktemp("data") / "mixed.csv", rows, names=list("abcd"))


@pytest.fixture(name="model")
def fixture_model(tmp_path):
    return tmp_path / "out.safetensors"


def train_json(data, model, *options):
    return succeed_json("train", "--data", data, "--output", model, "--json", *options)


def detector_of(model):
    content = model.read_bytes()
    header = json.loads(content[8:8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["detector"])


def choices_of(model):
    return {choice["what"]: choice["value"]
            for choice in succeed_json("inspect", model, "--json")["choices"]}


def errors_of(model, data):
    verdicts = csv.DictReader(
        io.StringIO(succeed("score", "--model", model, "--data", data).stdout))
    return [float(verdict["reconstruction_error"]) for verdict in verdicts]


# ---- options that are accepted ----


@pytest.mark.parametrize(
    "name, given, kept, others",
    [
        ("preset", "balanced", "balanced", []),
        ("algorithm", "pca", "pca", []),
        ("false-alarm-rate", "0.05", 0.05, []),
        ("trim", "auto", "auto", []),
        ("trim", "0.1", 0.1, []),
        ("seed", "9223372036854775807", 9223372036854775807, []),
        ("hidden", "3", [3], []),
        ("hidden", "9,5,3", [9, 5, 3], []),
        ("hidden", "none", [], []),
        ("latent", "1", 1, []),
        ("activation", "relu", ["relu"], []),
        ("activation", "elu,linear,silu,linear", ["elu", "linear", "silu", "linear"],
         ["--hidden", "3"]),
        ("loss", "mse", "mse", []),
        ("loss", "mixed", "mixed", []),
        ("optimizer", "sgd", "sgd", []),
        ("optimizer", "momentum", "momentum", []),
        ("optimizer", "nesterov", "nesterov", []),
        ("optimizer", "adam", "adam", []),
        ("optimizer", "adamw", "adamw", []),
        ("learning-rate", "0.01", 0.01, []),
        ("schedule", "cosine", "cosine", []),
        ("warmup", "5", 5, []),
        ("epochs", "2", 2, []),
        ("batch-size", "7", 7, []),
        ("patience", "2", 2, []),
        ("weight-decay", "0.001", 0.001, []),
        ("l1", "0.001", 0.001, []),
        ("sparsity", "0.1", 0.1, []),
        ("noise", "0.3", 0.3, []),
        ("noise-kind", "masking", "masking", ["--noise", "0.2"]),
        ("clip", "0.5", 0.5, []),
        ("tied", None, True, []),
        ("prototypes", "5", 5, []),
        ("clusters", "2", 2, []),
    ],
)
def test_an_option_is_in_the_model_file_and_in_inspect(mixed, model, name, given, kept, others):
    base = [] if name in ("preset", "algorithm") else ["--preset", "fast"]
    epochs = [] if name in ("epochs", "algorithm") else ["--epochs", 3]
    succeed("train", "--data", mixed, "--output", model, *base, *epochs, *others, "--" + name,
            *([given] if given else []))

    assert detector_of(model)["training"]["options"][name.replace("-", "_")] == kept
    options = succeed_json("inspect", model, "--json")["training"]["options"]
    assert options[name] == (given or "yes")
    shown = " ".join(succeed("inspect", model).stdout.split())
    assert f" --{name} {given}" in shown if given else f" --{name}" in shown


@pytest.mark.parametrize(
    "options",
    [
        ["--optimizer", "sgd"], ["--optimizer", "nesterov"], ["--learning-rate", 0.01],
        ["--schedule", "cosine"], ["--warmup", 5], ["--batch-size", 7], ["--weight-decay", 0.1],
        ["--l1", 0.1], ["--sparsity", 0.1], ["--sparsity", 0.1, "--activation", "sigmoid"],
        ["--noise", 0.3], ["--noise", 0.3, "--noise-kind", "masking"], ["--clip", 0.01],
        ["--tied"], ["--hidden", "none"], ["--latent", 1], ["--activation", "relu"],
        ["--prototypes", 5], ["--clusters", 2], ["--epochs", 4], ["--seed", 2],
    ],
)  # fmt: skip
def test_an_option_changes_what_is_learned(normal, model, options):
    succeed("train", "--data", normal, "--output", model, *FAST)
    plain = errors_of(model, normal)
    succeed("train", "--data", normal, "--output", model, *FAST, *options)
    assert errors_of(model, normal) != plain


def test_the_options_that_inspect_shows_train_the_same_file(normal, model, tmp_path):
    succeed("train", "--data", normal, "--output", model, *FAST, "--hidden", "5,3", "--tied",
            "--noise", 0.1, "--seed", 7)
    options = succeed_json("inspect", model, "--json")["training"]["options"]
    again = tmp_path / "again.safetensors"
    arguments = [word for name, value in options.items()
                 for word in (["--" + name] if name == "tied" else ["--" + name, value])]
    succeed("train", "--data", normal, "--output", again, *arguments)
    assert again.read_bytes() == model.read_bytes()


def test_the_last_of_an_option_given_twice_counts(normal, model):
    result = train_json(normal, model, *FAST, "--latent", 1, "--latent", 2)
    assert result["architecture"].split("-")[2] == "2"


def test_presets_make_what_they_promise(normal, tmp_path):
    results = {name: train_json(normal, tmp_path / name, *options)
               for name, options in PRESETS.items()}
    found = {name: succeed_json("inspect", tmp_path / name, "--json") for name in PRESETS}

    assert {name: len(result["networks"]) for name, result in results.items()} == {
        "best": 2, "balanced": 1, "fast": 1, "pca": 1}
    assert results["balanced"]["architecture"] == results["best"]["architecture"].split(" + ")[0]
    assert {name: (model["prototypes"], model["clusters"]) for name, model in found.items()} == {
        "best": (225, 4), "balanced": (225, 4), "fast": (0, 0), "pca": (0, 0)}
    costs = [results[name]["multiply_adds"] for name in ["best", "balanced", "fast", "pca"]]
    assert costs == sorted(costs, reverse=True) and len(set(costs)) == 4


@pytest.mark.parametrize("preset", ["best", "balanced", "fast"])
def test_an_explicit_option_overrides_the_preset(normal, model, preset):
    result = train_json(normal, model, "--preset", preset, "--epochs", 2, "--hidden", "7,6,5",
                        "--latent", 3, "--noise", 0.25, "--prototypes", 9, "--clusters", 1,
                        "--optimizer", "adamw", "--batch-size", 32)
    chosen = choices_of(model)

    for widths in result["architecture"].split(" + "):
        assert widths.split("-")[1:-1] == ["7", "6", "5", "3", "5", "6", "7"]
    assert all(network["epochs"] == 2 for network in result["networks"])
    assert chosen["denoising"] == "gaussian noise of 0.25"
    assert (chosen["prototypes"], chosen["clusters"]) == ("9", "1")
    assert chosen["training"] == "at most 2 epochs, batches of 32, adamw"


def test_no_prototypes_and_no_clusters_leave_the_networks_alone(normal, model):
    result = train_json(normal, model, *PRESETS["best"], "--prototypes", 0, "--clusters", 0)
    assert len(result["networks"]) == 2
    assert "compared with" not in succeed("train", "--data", normal, "--output", model,
                                          *PRESETS["best"], "--prototypes", 0,
                                          "--clusters", 0).stdout


def test_patience_ends_training_early(normal, model):
    network, = train_json(normal, model, "--preset", "fast", "--epochs", 1000, "--patience", 3,
                          "--learning-rate", 0.05)["networks"]
    assert network["epochs"] == network["best_epoch"] + 3 < 1000


# ---- the code ----


def test_overcomplete_is_refused_with_the_reason(normal, model):
    for latent in 4, 99:
        message = fail(1, "train", "--data", normal, "--output", model, "--latent", latent, *FAST)
        assert message.startswith(f"{normal}: --latent {latent}: ")
        assert "overcomplete: the network could copy its input; use at most 3" in message
        assert "--sparsity, --weight-decay, --l1 or --noise" in message
    assert not model.exists()


@pytest.mark.parametrize("regulariser", ["--sparsity", "--weight-decay", "--l1", "--noise"])
def test_overcomplete_is_accepted_when_regularised(normal, model, regulariser):
    result = train_json(normal, model, *FAST, "--latent", 9, regulariser, 0.1)
    assert result["architecture"] == "4-3-9-3-4"
    assert "overcomplete" in fail(1, "train", "--data", normal, "--output", model, *FAST,
                                  "--latent", 9, regulariser, 0)


def test_linear_autoencoder_reaches_the_error_of_pca_within_1_percent(tmp_path):
    draw = random.Random(4)
    mixing = [[draw.gauss(0, 1) for _ in range(8)] for _ in range(3)]
    rows = []
    for _ in range(800):
        codes = [draw.gauss(0, 1) for _ in range(3)]
        rows.append([sum(c * m[j] for c, m in zip(codes, mixing)) + 0.3 * draw.gauss(0, 1)
                     for j in range(8)])
    data = write_csv(tmp_path / "plane.csv", rows, names=list("abcdefgh"))
    pca, linear = tmp_path / "pca", tmp_path / "linear"

    succeed("train", "--data", data, "--output", pca, "--algorithm", "pca", "--latent", 3)
    succeed("train", "--data", data, "--output", linear, "--preset", "fast", "--hidden", "none",
            "--activation", "linear", "--latent", 3, "--epochs", 200, "--patience", 0,
            "--schedule", "cosine", "--learning-rate", 0.01)
    best, reached = sum(errors_of(pca, data)), sum(errors_of(linear, data))
    assert 0.999 * best <= reached <= 1.01 * best


def test_pca_can_be_where_training_begins(normal, model):
    network, = train_json(normal, model, "--algorithm", "pca", "--latent", 2, "--epochs", 3,
                          "--learning-rate", 1e-6)["networks"]
    assert network["epochs"] == 3
    assert network["loss"] < 0.02  # of a random start: about 1


# ---- what may not go together ----


@pytest.mark.parametrize(
    "options, words",
    [
        (["--activation", "tanh,linear"], "--activation: one a layer needs --hidden"),
        (["--hidden", "3", "--activation", "tanh,linear"],
         "2 activations do not match the 4 layers that --hidden makes"),
        (["--hidden", "3", "--activation", "tanh,linear,tanh,sigmoid"],
         "a sigmoid output cannot reach standardised values; end with linear, or use "
         "--loss cross-entropy for values from 0 to 1"),
        (["--hidden", "3", "--activation", "tanh,linear,tanh,tanh"], "a tanh output cannot reach"),
        (["--hidden", "3", "--activation", "tanh,linear,tanh,sigmoid", "--loss", "mse"],
         "a sigmoid output cannot reach standardised values"),
        (["--hidden", "3", "--activation", "tanh,linear,tanh,linear", "--loss", "cross-entropy"],
         "--loss cross-entropy needs a sigmoid output, not linear; end --activation with sigmoid"),
        (["--hidden", "3", "--activation", "tanh,linear,tanh,sigmoid", "--loss", "mixed"],
         "--loss mixed needs a linear output"),
        (["--loss", "cross-entropy"],
         "--loss cross-entropy needs values from 0 to 1, but cpu has "),
        (["--noise", "1.5", "--noise-kind", "masking"], "--noise 1.5: masking sets a share"),
        (["--noise-kind", "masking"], "--noise-kind masking: there is no noise; give --noise"),
        (["--noise", "0", "--noise-kind", "gaussian"], "--noise-kind gaussian: there is no noise"),
        (["--prototypes", "4097"], "--prototypes 4097: use at most 4096"),
        (["--clusters", "65"], "--clusters 65: use at most 64"),
        (["--latent", "65537", "--noise", "0.1"], "--latent 65537: use at most 65536"),
        (["--algorithm", "pca", "--latent", "4"], "--latent 4: PCA of 4 features"),
        (["--algorithm", "pca", "--hidden", "3"], "has no hidden layers; leave --hidden"),
        (["--algorithm", "pca", "--activation", "tanh"], "is linear; leave --activation"),
        (["--algorithm", "pca", "--loss", "cross-entropy"], "--algorithm pca goes with --loss mse"),
    ],
)  # fmt: skip
def test_contradictions_are_refused_with_the_reason(normal, model, options, words):
    message = fail(1, "train", "--data", normal, "--output", model, *FAST, *options)
    assert message.startswith(f"{normal}: ") and words in message
    assert not model.exists()


@pytest.mark.parametrize(
    "options",
    [["--learning-rate", "0.1"], ["--optimizer", "sgd"], ["--noise", "0.1"], ["--sparsity", "1"],
     ["--patience", "3"], ["--batch-size", "8"], ["--weight-decay", "1"], ["--clip", "1"]],
)  # fmt: skip
def test_what_a_closed_form_has_no_use_for_is_refused(normal, model, options):
    message = fail(1, "train", "--data", normal, "--output", model, "--algorithm", "pca", *options)
    assert message == (f"{normal}: {options[0]} does nothing to --algorithm pca, which takes no "
                       "steps; leave it, or give --epochs to train on from there")
    assert not model.exists()


def test_pca_has_no_losses_to_draw_unless_it_trains_on(normal, model, tmp_path):
    options = ["--algorithm", "pca", "--plot", tmp_path / "losses.svg"]
    message = fail(1, "train", "--data", normal, "--output", model, *options)
    assert message.startswith("--plot: --algorithm pca takes no steps") and not model.exists()
    assert train_json(normal, model, "--algorithm", "pca")["history"] == []
    assert len(train_json(normal, model, *options, "--epochs", 4)["history"]) >= 4


def test_the_loss_of_a_closed_form_is_its_reconstruction_error(normal, model):
    network = train_json(normal, model, "--algorithm", "pca", "--latent", 2)["networks"][0]
    trained = train_json(normal, model, "--algorithm", "pca", "--latent", 2, "--epochs", 1,
                         "--learning-rate", 1e-12, "--patience", 0)["networks"][0]
    assert network["epochs"] == 0 and network["loss"] > 0
    assert network["loss"] == pytest.approx(trained["loss"], rel=1e-3)
    assert network["validation_loss"] == pytest.approx(trained["validation_loss"], rel=1e-3)


def test_pca_of_one_feature_is_refused(tmp_path, model):
    data = write_csv(tmp_path / "one.csv", [[row[0]] for row in make_rows(50)], names=["a"])
    message = fail(1, "train", "--data", data, "--output", model, "--algorithm", "pca")
    assert message.endswith("--algorithm pca needs at least 2 features")


@pytest.mark.parametrize(
    "options, words",
    [
        (["--latent", "0"], "--latent 0: must be a whole number from 1"),
        (["--hidden", "0"], "--hidden 0: must be at most 8 whole numbers from 1"),
        (["--hidden", "70000"], "whole numbers from 1 to 65536"),
        (["--activation", "gelu"], "must be linear, sigmoid, tanh, relu, silu or elu"),
        (["--activation", ",".join(["tanh"] * 19)], "at most 18 of them"),
        (["--loss", "bce"], "--loss bce: must be one of auto, mse, cross-entropy, mixed"),
        (["--optimizer", "rmsprop"], "must be one of sgd, momentum, nesterov, adam, adamw"),
        (["--preset", "beste"], "--preset beste: must be one of best, balanced, fast"),
        (["--schedule", "linear"], "must be one of constant, cosine"),
        (["--noise-kind", "salt"], "must be one of gaussian, masking"),
        (["--algorithm", "kpca"], "must be one of autoencoder, pca"),
        (["--trim", "0.5"], "--trim 0.5: must be auto, 0, or the share of rows to leave out"),
        (["--trim", "yes"], "--trim yes: must be auto, 0, or the share of rows to leave out"),
        (["--seed", "abc"], "--seed abc: must be a whole number from 0 to 9223372036854775807"),
        (["--seed", "1.5"], "--seed 1.5: must be a whole number"),
        (["--seed", "0x10"], "--seed 0x10: must be a whole number"),
        (["--seed", "1e3"], "--seed 1e3: must be a whole number"),
        (["--seed", " 1"], "--seed  1: must be a whole number"),
        (["--seed", ""], '--seed "": must be a whole number'),
        (["--seed", "99999999999999999999"], "must be a whole number"),
        (["--learning-rate", "0"], "--learning-rate 0: must be a number above 0"),
        (["--learning-rate", "-1"], "--learning-rate -1: must be a number above 0"),
        (["--learning-rate", "fast"], "--learning-rate fast: must be a number above 0"),
        (["--weight-decay", "-1"], "--weight-decay -1: must be a number that is 0 or above"),
        (["--l1", "nan"], "--l1 nan: must be a number that is 0 or above"),
        (["--sparsity", "inf"], "--sparsity inf: must be a number that is 0 or above"),
        (["--clip", "x"], "--clip x: must be a number that is 0 or above"),
        (["--warmup", "-1"], "--warmup -1: must be a whole number from 0"),
        (["--patience", "x"], "--patience x: must be a whole number from 0"),
        (["--tied=no"], "no value may follow --tied"),
        (["--threads", "0"], "--threads 0: must be a whole number from 1"),
        (["--plot", ""], '--plot "": must be a text that is not empty'),
    ],
)
def test_a_value_that_cannot_be_is_told_with_what_can(options, words):
    assert words in fail(2, "train", "--data", "x", *options)


def test_an_option_that_is_near_none_does_not_list_all_of_them():
    message = fail(2, "train", "--data", "x", "--model", "m")
    assert message == "unknown option --model; see anomalyctl train --help"


# ---- divergence ----


@pytest.mark.parametrize("preset", ["best", "fast"])
@pytest.mark.parametrize("optimizer, rate", [("sgd", "1e5"), ("adam", "1e30")])
def test_divergence_ends_with_the_option_to_change(normal, model, preset, optimizer, rate):
    model.write_text("old", encoding="utf-8")
    message = fail(1, "train", "--data", normal, "--output", model, "--preset", preset,
                   "--epochs", 3, "--optimizer", optimizer, "--learning-rate", rate)

    assert message.startswith(f"{normal}: --learning-rate {float(rate):g}: the training diverged")
    assert message.endswith("; use 0.002, the default")
    assert model.read_text(encoding="utf-8") == "old"
    model.unlink()
    fail(1, "train", "--data", normal, "--output", model, "--preset", preset, "--epochs", 3,
         "--optimizer", optimizer, "--learning-rate", rate)
    assert not list(model.parent.iterdir())


@pytest.mark.parametrize("options", [["--weight-decay", "2000", "--optimizer", "sgd"],
                                     ["--noise", "1e10", "--preset", "best"]])
def test_divergence_blames_the_option_that_was_given(normal, model, options):
    message = fail(1, "train", "--data", normal, "--output", model, *FAST, *options)
    assert message.startswith(f"{normal}: {options[0]} {float(options[1]):g}: the training diverged")
    assert message.endswith("; use less") and not model.exists()


def test_a_warm_up_as_long_as_the_training_is_refused(normal, model):
    message = fail(1, "train", "--data", normal, "--output", model, *FAST, "--warmup", 12)
    assert message == (f"{normal}: --warmup 12: the training has only about 12 steps; use fewer, or "
                       "more --epochs")
    assert not model.exists()
    assert train_json(normal, model, *FAST, "--warmup", 11)["rows"] == 300


# ---- labels and few rows ----


def test_labels_that_no_normal_row_has_are_shown(tmp_path, model):
    data = write_csv(tmp_path / "named.csv", make_rows(50), labels=["normal"] * 50)
    message = fail(1, "train", "--data", data, "--label-column", "label", "--output", model)
    assert message.startswith(f"{data}: 0 normal rows are too few")
    assert message.endswith("; --label-column label: normal rows must say 0, the first other label "
                            'is "normal" (line 2)')


@pytest.mark.parametrize("label", ["2", "-1", "0.5"])
def test_other_numbers_are_no_labels(tmp_path, model, label):
    data = write_csv(tmp_path / "classes.csv", make_rows(50), labels=["0"] * 40 + [label] * 10)
    message = fail(1, "train", "--data", data, "--label-column", "label", "--output", model)
    assert message == (f"{data}:42: --label-column label: label {label} is neither 0, 1 nor a "
                       "name; give 0 for normal rows and 1 or the incident's name for others")
    assert not model.exists()


def test_nineteen_rows_are_refused_and_twenty_train(tmp_path, model):
    few = write_csv(tmp_path / "19.csv", make_rows(19))
    enough = write_csv(tmp_path / "20.csv", make_rows(20))
    for options in PRESETS.values():
        message = fail(1, "train", "--data", few, "--output", model, *options)
        assert message.startswith(f"{few}: 19 normal rows are too few")
        assert message.endswith("give at least 20")
        assert not model.exists()
        assert train_json(enough, tmp_path / "ok", *options)["calibration_rows"] == 20


def test_rows_too_few_for_the_rate_are_a_warning_with_the_number(normal, model):
    done = succeed("train", "--data", normal, "--output", model, *FAST)
    assert done.stderr == (
        f"anomalyctl: warning: {normal}: 300 calibration rows are too few to promise a false-alarm "
        "rate of 0.001: 10000 are needed, about 40000 rows in all; the threshold is an estimate, "
        "a tail fit to the largest errors\n")
    assert succeed("train", "--data", normal, "--output", model, *FAST,
                   "--false-alarm-rate", 0.05).stderr == ""


@pytest.mark.parametrize("n_rows, folds", [(3999, 4), (4000, 1)])
def test_from_4000_rows_on_a_quarter_calibrates(tmp_path, model, n_rows, folds):
    data = write_csv(tmp_path / "many.csv", make_rows(n_rows))
    result = train_json(data, model, "--preset", "fast", "--epochs", 1, "--false-alarm-rate", 0.01)
    calibrates = n_rows if folds == 4 else n_rows / 4
    assert abs(result["calibration_rows"] - calibrates) <= (0 if folds == 4 else 12)
    assert detector_of(model)["training"]["summary"]["calibration_folds"] == folds


# ---- what is told ----


def test_history_tells_each_epoch_of_each_network(normal, model):
    result = train_json(normal, model, *PRESETS["best"])
    history = result["history"]

    assert [(epoch["network"], epoch["epoch"]) for epoch in history] == [
        (network, epoch) for network in range(5) for epoch in range(1, 6)]
    assert [epoch["kept"] for epoch in history] == [True] * 10 + [False] * 15
    for epoch in history:
        assert set(epoch) == {"network", "kept", "epoch", "loss", "validation_loss",
                              "gradient_norm", "seconds"}
        assert min(epoch["loss"], epoch["validation_loss"], epoch["gradient_norm"]) > 0
        assert 0 < epoch["seconds"] <= result["seconds"]
    for i in range(2):
        last = history[5 * i + 4]
        assert result["networks"][i]["loss"] == last["loss"]
        assert result["networks"][i]["validation_loss"] == last["validation_loss"]


def test_an_epoch_that_was_asked_for_is_a_pass_over_the_rows(normal, model):
    """However many there are: progress and Ctrl-C wait for its end."""
    result = train_json(normal, model, "--preset", "balanced", "--epochs", 150, "--hidden", 4,
                        "--prototypes", 0, "--clusters", 0)
    assert result["networks"][0]["epochs"] == 150
    assert len([epoch for epoch in result["history"] if epoch["kept"]]) == 150


def test_plot_draws_the_losses_and_changes_nothing_else(normal, model, tmp_path):
    plain, plot = tmp_path / "plain", tmp_path / "losses.svg"
    succeed("train", "--data", normal, "--output", plain, *PRESETS["best"])
    succeed("train", "--data", normal, "--output", model, *PRESETS["best"], "--plot", plot)

    root = ElementTree.parse(plot).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = " ".join("".join(element.itertext()) for element in root.iter())
    assert "loss" in texts and "validation" in texts and "nan" not in texts
    assert model.read_bytes() == plain.read_bytes()


# ---- files ----


def test_outputs_that_cannot_be_fail_before_training(normal, model, tmp_path):
    endless = ["--preset", "fast", "--epochs", 1000000000, "--patience", 0]
    nowhere = tmp_path / "none" / "x"
    for option, others in ("--output", []), ("--plot", ["--output", model]):
        message = fail(1, "train", "--data", normal, *endless, *others, option, nowhere)
        assert message == f"{nowhere}: cannot write: No such file or directory"
    assert not model.exists()


def test_no_output_may_be_a_file_that_another_option_names(normal, model, tmp_path):
    data = tmp_path / "data.csv"
    data.write_bytes(normal.read_bytes())
    link = tmp_path / "link"
    os.link(data, link)
    for options, words in [
        (["--output", data], f"--output {data}: is the file of --data too"),
        (["--output", link], f"--output {link}: is the file of --data too"),
        (["--output", model, "--plot", data], f"--plot {data}: is the file of --data too"),
        (["--output", model, "--plot", model], f"--plot {model}: is the file of --output too"),
    ]:
        assert fail(1, "train", "--data", data, *FAST, *options).startswith(words)
    assert data.read_bytes() == normal.read_bytes() and not model.exists()


# ---- the same file ----


@pytest.mark.parametrize("preset", PRESETS)
def test_threads_do_not_change_the_file(normal, tmp_path, preset):
    models = []
    for i, threads in enumerate([1, 4, 1]):
        models.append(tmp_path / str(i))
        succeed("train", "--data", normal, "--output", models[-1], *PRESETS[preset],
                "--threads", threads)
    one, four, again = [model.read_bytes() for model in models]
    assert one == four == again


@pytest.mark.parametrize("blas_threads", ["1", "2", "7"])
def test_threads_of_blas_do_not_change_the_file(normal, tmp_path, blas_threads):
    """Layers so wide that OpenBLAS would share them out."""
    wide = ["--preset", "fast", "--hidden", "600,500", "--epochs", 1]
    environment = {name: value for name, value in os.environ.items() if "THREADS" not in name}
    succeed("train", "--data", normal, "--output", tmp_path / "0", *wide, env=environment)
    environment["OPENBLAS_NUM_THREADS"] = blas_threads
    succeed("train", "--data", normal, "--output", tmp_path / "1", *wide, env=environment)
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()


@pytest.mark.parametrize("preset", PRESETS)
def test_another_seed_is_another_file(normal, tmp_path, preset):
    models = []
    for i, seed in enumerate([0, 0, 12345]):
        models.append(tmp_path / str(i))
        succeed("train", "--data", normal, "--output", models[-1], *PRESETS[preset],
                "--seed", seed)
    first, same, _ = [model.read_bytes() for model in models]
    assert first == same
    assert errors_of(models[0], normal) != errors_of(models[2], normal)


# ---- rows of every shape ----


def make_shape(shape):
    """200 rows of it."""
    draw = random.Random(5)
    n = 200
    if shape == "one feature":
        return [[draw.gauss(3, 2)] for _ in range(n)]
    if shape == "300 features":
        codes = [draw.gauss(0, 1) for _ in range(n)]
        return [[code * (j % 7) + draw.gauss(0, 1) for j in range(300)] for code in codes]
    if shape == "constant and duplicated columns":
        return [[row[0], 7, row[0], row[1], 0, row[1]] for row in make_rows(n)]
    if shape == "integers":
        return [[draw.randrange(1000), draw.randrange(5), 1000000 + draw.randrange(9)]
                for _ in range(n)]
    if shape == "categories as numbers":
        kinds = [draw.choice([1, 2, 3, 10]) for _ in range(n)]
        return [[kind, kind * 100 + draw.randrange(3), draw.choice([8080, 443])] for kind in kinds]
    if shape == "heavy tails":
        return [[draw.paretovariate(0.7), draw.lognormvariate(0, 3), draw.gauss(0, 1)]
                for _ in range(n)]
    if shape == "outliers of 1e30":
        return [[1e30 if i == 50 else row[0], row[1], -1e30 if i == 120 else row[2], row[3]]
                for i, row in enumerate(make_rows(n))]
    if shape == "equal rows":
        return [[1, 2, 3]] * n
    if shape == "0 and 1":
        return [[int(draw.random() < 0.3) for _ in range(5)] for _ in range(n)]
    if shape == "mixed":
        return [[int(draw.random() < 0.3), draw.gauss(0, 1), draw.randrange(50), 4]
                for _ in range(n)]
    assert shape == "20 rows"
    return make_rows(20)


@pytest.mark.parametrize("preset", [["--preset", "best", "--epochs", 3], ["--preset", "fast"]],
                         ids=["best", "fast"])
@pytest.mark.parametrize(
    "shape",
    ["one feature", "300 features", "constant and duplicated columns", "integers",
     "categories as numbers", "heavy tails", "outliers of 1e30", "equal rows", "0 and 1", "mixed",
     "20 rows"],
)  # fmt: skip
def test_rows_of_every_shape_train_and_score(tmp_path, model, shape, preset):
    rows = make_shape(shape)
    names = [f"x{j}" for j in range(len(rows[0]))]
    data = write_csv(tmp_path / "rows.csv", rows, names=names)
    far = write_csv(tmp_path / "far.csv", [[1e35] * len(names)], names=names)
    result = train_json(data, model, *preset, "--false-alarm-rate", 0.1)
    verdicts = [json.loads(line, parse_constant=float) for line in succeed(
        "score", "--model", model, "--data", data, "--format", "ndjson").stdout.splitlines()]
    verdict = json.loads(succeed("score", "--model", model, "--data", far,
                                 "--format", "ndjson").stdout)

    assert 0 < result["threshold"] < 1e30
    assert all(0 <= verdict["score"] < 1e30 for verdict in verdicts)  # false for NaN
    assert sum(verdict["anomaly"] for verdict in verdicts) <= 0.2 * len(rows)
    assert verdict["anomaly"]
    succeed("inspect", model)


@pytest.mark.parametrize("outlier", [1e6, -1e12, 1e30])
@pytest.mark.parametrize("preset", [["--preset", "best", "--epochs", 20],
                                    ["--preset", "fast", "--epochs", 60],
                                    ["--algorithm", "pca", "--latent", 2]])
def test_one_absurd_value_does_not_blind_its_feature(tmp_path, model, preset, outlier):
    rows = make_rows(300)
    odd = [[row[0] + 12, *row[1:]] for row in make_rows(50, seed=2)]
    rows[77][0] = outlier
    result = train_json(write_csv(tmp_path / "n.csv", rows), model, *preset,
                        "--false-alarm-rate", 0.02)
    verdicts = [json.loads(line) for line in succeed(
        "score", "--model", model, "--data", write_csv(tmp_path / "odd.csv", odd),
        "--format", "ndjson").stdout.splitlines()]

    assert result["outlier_values"] == 1
    assert sum(verdict["anomaly"] for verdict in verdicts) == 50
    assert "1 value taken as missing" in succeed("inspect", model).stdout
    assert succeed_json("inspect", model, "--json")["training"]["outlier_values"] == 1


@pytest.mark.parametrize("preset, d", [("best", 1000), ("fast", 4096)])  # best takes a minute
def test_the_most_features_train_and_score(tmp_path, model, preset, d):
    draw = random.Random(4)
    causes = [[draw.gauss(0, 1) for _ in range(4)] for _ in range(40)]
    rows = [[cause[j % 4] + 0.1 * j % 7 for j in range(d)] for cause in causes]
    data = write_csv(tmp_path / "wide.csv", rows, names=[f"x{j}" for j in range(d)])
    assert train_json(data, model, "--preset", preset, "--epochs", 1)["features"] == d
    assert len(succeed("score", "--model", model, "--data", data).stdout.splitlines()) == 41


# ---- the loss follows the values ----


def test_values_of_0_and_1_are_judged_by_cross_entropy(bits, model):
    result = train_json(bits, model, *FAST)
    assert choices_of(model)["loss"] == "cross-entropy"
    layers = succeed_json("inspect", model, "--json")["networks"][0]["layers"]
    assert layers[-1]["activation"] == "sigmoid"
    assert result["architecture"].startswith("6-")

    succeed("train", "--data", bits, "--output", model, *FAST, "--loss", "mse")
    assert choices_of(model)["loss"] == "mse"


def test_values_from_0_to_1_can_be_judged_by_cross_entropy(tmp_path, model):
    draw = random.Random(6)
    rows = [[draw.random() for _ in range(4)] for _ in range(99)]
    data = write_csv(tmp_path / "shares.csv", rows)
    succeed("train", "--data", data, "--output", model, *FAST)
    assert choices_of(model)["loss"] == "mse"
    succeed("train", "--data", data, "--output", model, *FAST, "--loss", "cross-entropy",
            "--hidden", 3, "--activation", "tanh,linear,tanh,sigmoid")
    assert choices_of(model)["loss"] == "cross-entropy"


def test_an_output_that_does_not_suit_0_and_1_is_refused(bits, model):
    options = ["--hidden", 3, "--activation", "tanh,linear,tanh,linear"]
    message = fail(1, "train", "--data", bits, "--output", model, *FAST, *options)
    assert message == (f"{bits}: --activation: all values are 0 or 1, so the loss is "
                       "cross-entropy, which needs a sigmoid output, not linear; end with "
                       "sigmoid, or use --loss mse")
    succeed("train", "--data", bits, "--output", model, *FAST, *options, "--loss", "mse")


def test_mixed_judges_each_feature_by_its_values(mixed, model):
    succeed("train", "--data", mixed, "--output", model, *FAST, "--loss", "mixed")
    assert choices_of(model)["loss"] == "mixed"
    assert choices_of(model)["encoding"] == "0 to 1 as they are, others standardised"
    assert run("score", "--model", model, "--data", mixed).returncode == 0


def test_mixed_without_features_of_0_and_1_is_said_to_be_mse(normal, model):
    succeed("train", "--data", normal, "--output", model, *FAST, "--loss", "mixed")
    loss, = [choice for choice in succeed_json("inspect", model, "--json")["choices"]
             if choice["what"] == "loss"]
    assert loss["value"] == "mse" and "no feature is 0/1" in loss["reason"]


# ---- files from before ----


def test_a_file_of_format_1_scores_as_it_did():
    with open(GOLDEN / "format-1-verdicts.csv", newline="", encoding="utf-8") as file:
        want = list(csv.DictReader(file))
    got = list(csv.DictReader(io.StringIO(succeed(
        "score", "--model", GOLDEN / "format-1.safetensors",
        "--data", GOLDEN / "format-1-rows.csv").stdout)))

    assert len(got) == len(want) > 0
    for a, b in zip(got, want):
        assert (a["row"], a["anomaly"]) == (b["row"], b["anomaly"])
        for key in "reconstruction_error", "score":
            assert float(a[key]) == pytest.approx(float(b[key]), rel=1e-5, abs=1e-9)
        # Some rows are calibration rows: rounding decides on which side of themselves they fall.
        assert float(a["p_value"]) == pytest.approx(float(b["p_value"]), abs=1.001 / 81)


def test_a_file_of_format_1_is_inspected():
    found = succeed_json("inspect", GOLDEN / "format-1.safetensors", "--json")
    assert len(found["networks"]) == 1 and found["training"]["preset"] == "fast"
    assert (found["prototypes"], found["clusters"]) == (0, 0)


def test_a_file_of_format_1_serves(tmp_path):
    with open(GOLDEN / "format-1-rows.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    with open(GOLDEN / "format-1-verdicts.csv", newline="", encoding="utf-8") as file:
        want = list(csv.DictReader(file))
    instances = [{name: float(cell) if cell else None for name, cell in zip(header, row)}
                 for row in rows]
    daemon = Daemon(tmp_path, {}, {"old": {"file": GOLDEN / "format-1.safetensors"}})
    try:
        reply = daemon.request("POST", "/v1/models/old/score", {"instances": instances})
        model = daemon.request("GET", "/v1/models/old").json()
    finally:
        daemon.stop()

    assert reply.status == 200 and len(model["architecture"]) == 1
    for a, b in zip(reply.json()["results"], want):
        assert a["score"] == pytest.approx(float(b["score"]), rel=1e-5)
        assert a["anomaly"] == (b["anomaly"] == "1")

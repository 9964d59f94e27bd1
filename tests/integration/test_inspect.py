"""anomalyctl inspect: what is in a model file."""

import json
import re

import pytest
from ctl import FEATURES, fail, make_rows, succeed, succeed_json, train, write_csv


@pytest.fixture(name="model", scope="module")
def fixture_model(tmp_path_factory):
    return train(tmp_path_factory.mktemp("model"), preset="best")


def test_json_tells_all_parts_of_the_model(model):
    found = succeed_json("inspect", model, "--json")
    networks = [network["layers"] for network in found["networks"]]

    assert len(networks) == 2
    assert [[layer["inputs"] for layer in layers] + [8] for layers in networks] == [
        [int(width) for width in widths.split("-")]
        for widths in found["architecture"].split(" + ")]
    assert found["parameters"] == sum(
        layer["inputs"] * layer["outputs"] + layer["outputs"]
        for layers in networks for layer in layers)
    for layers in networks:
        assert [layer["activation"] for layer in layers] == [
            "silu", "silu", "linear", "silu", "silu", "linear"]
        assert [layer["part"] for layer in layers] == ["encoder"] * 3 + ["decoder"] * 3
    assert found["prototypes"] == 400 and found["clusters"] == 4
    assert [feature["name"] for feature in found["features"]] == FEATURES
    for feature in found["features"]:
        assert abs(feature["mean"]) < 0.5 and abs(feature["median"]) < 0.5
        assert 0.5 < feature["std"] < 3
    assert found["training"]["rows"] == found["training"]["drawn_rows"] == 600
    assert found["training"]["seed"] == 1


def test_cost_counts_at_least_every_weight_prototype_and_cluster(model):
    found = succeed_json("inspect", model, "--json")
    weights = sum(layer["inputs"] * layer["outputs"]
                  for network in found["networks"] for layer in network["layers"])

    assert found["cost"]["multiply_adds"] >= weights + 400 * 4 + 4 * 4 * 4 // 2
    assert found["cost"]["bytes"] >= 4 * (weights + 400 * 4)


def test_choices_say_what_was_chosen_and_why(model):
    choices = {choice["what"]: (choice["value"], choice["reason"])
               for choice in succeed_json("inspect", model, "--json")["choices"]}

    assert choices == {
        "encoding": ("kurtosis-scaled and rank-gauss", "preset best, at most 200 features"),
        "code": ("2, 3", "preset best, 8 inputs"),
        "loss": ("mse", "not all values are 0 or 1"),
        "training": ("at most 100 epochs, batches of 64, adam", "asked for"),
        "denoising": ("gaussian noise of 0.8", "preset best"),
        "prototypes": ("400", "preset best"),
        "clusters": ("4", "preset best"),
        "calibration": ("all rows, each by parts fitted without its quarter",
                        "fewer than 4000 rows"),
    }
    text = " ".join(succeed("inspect", model).stdout.split())
    for what, (value, reason) in choices.items():
        assert f"{what} {value} ({reason})" in text


def test_thresholds_grow_as_the_rate_falls_and_say_what_they_rest_on(model):
    calibration = succeed_json("inspect", model, "--json")["calibration"]
    thresholds = calibration["thresholds"]

    assert calibration["rows"] == 600
    assert calibration["in_force"]["false_alarm_rate"] == 0.05
    assert [entry["false_alarm_rate"] for entry in thresholds] == [0.1, 0.01, 0.001]
    assert [entry["threshold_basis"] for entry in thresholds] == [
        "conformal", "tail-fit", "tail-fit"]
    assert thresholds[0]["threshold"] < calibration["in_force"]["threshold"]
    assert calibration["in_force"]["threshold"] < thresholds[1]["threshold"]


def detector_of(model):
    content = model.read_bytes()
    header = json.loads(content[8:8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["detector"])


def errors_of(model):
    return detector_of(model)["calibration"]["errors"]


def test_histogram_holds_every_calibration_row(model):
    histogram = succeed_json("inspect", model, "--json")["calibration"]["histogram"]

    errors = errors_of(model)
    below = [sum(error < entry["up_to"] for error in errors) for entry in histogram[:-1]] + [600]
    assert len(errors) == 600
    assert [entry["rows"] for entry in histogram] == [
        after - before for before, after in zip([0] + below, below)]
    edges = [entry["up_to"] for entry in histogram]
    assert edges == sorted(edges)


def test_histogram_of_a_thinned_sample_still_counts_rows(tmp_path):
    data, model = write_csv(tmp_path / "many.csv", make_rows(20000)), tmp_path / "m.safetensors"
    succeed("train", "--data", data, "--output", model, "--preset", "fast", "--epochs", 1)
    calibration = succeed_json("inspect", model, "--json")["calibration"]

    assert abs(calibration["rows"] - 5000) <= 12  # 12 blocks of 48
    assert len(errors_of(model)) == 4096
    assert sum(entry["rows"] for entry in calibration["histogram"]) == calibration["rows"]
    threshold = calibration["thresholds"][0]["threshold"]
    above = sum(entry["rows"] for entry in calibration["histogram"] if entry["up_to"] > threshold)
    at_least = above - next(entry["rows"] for entry in calibration["histogram"]
                            if entry["up_to"] > threshold)
    # A tenth of the rows lies above the threshold for 0.1.
    assert at_least <= calibration["rows"] / 10 <= above


def test_histogram_agrees_with_the_thresholds(model):
    calibration = succeed_json("inspect", model, "--json")["calibration"]
    histogram = calibration["histogram"]

    # The conformal threshold for 0.1 is the ceil((rows + 1) 0.9)-th smallest error.
    threshold = calibration["thresholds"][0]["threshold"]
    rank = ((calibration["rows"] + 1) * 9 + 9) // 10
    below = sum(part["rows"] for part in histogram if part["up_to"] <= threshold)
    part_of_it = next(part for part in histogram if part["up_to"] > threshold)
    assert below <= rank <= below + part_of_it["rows"]
    assert histogram[-1]["up_to"] == pytest.approx(errors_of(model)[-1])
    assert histogram[-1]["rows"] > 0


def test_text_is_readable_in_80_columns(model):
    text = succeed("inspect", model).stdout

    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"^Architecture  8-[\d-]+-8 \+ 8-[\d-]+-8, \d+ parameters$", text, re.M)
    assert re.search(r"^ +0.05 +[\d.]+  in force, conformal$", text, re.M)
    assert len(re.findall(r"^  up to +[\d.e-]+ +[\d.]+ %  #*$", text, re.M)) == 12
    for feature in FEATURES:
        assert f"\n  {feature} " in text


def test_same_file_as_training_reported(model, tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(model.read_bytes())
    assert succeed("inspect", copy).stdout == succeed("inspect", model).stdout


def test_standard_input_is_inspected_and_named(model):
    with open(model, "rb") as file:
        assert succeed("inspect", "-", stdin=file).stdout == succeed("inspect", model).stdout
    assert fail(1, "inspect", "-", input="no model").startswith("standard input: ")


def test_training_has_the_names_of_the_model_file(model):
    training = succeed_json("inspect", model, "--json")["training"]
    summary = detector_of(model)["training"]["summary"]

    assert summary["networks"] == training["networks"]
    for key in ["rows", "drawn_rows", "training_rows", "validation_rows", "calibration_rows",
                "left_out_rows", "trimmed_rows"]:
        assert summary[key] == training[key]


def test_what_is_no_model_is_refused_by_name(tmp_path):
    other = tmp_path / "notes.txt"
    other.write_text("not a model", encoding="utf-8")

    assert fail(1, "inspect", other).startswith(f"{other}: ")
    assert fail(1, "inspect", tmp_path / "none") == (
        f"{tmp_path}/none: cannot open: No such file or directory")
    assert "folder" in fail(1, "inspect", tmp_path)


def test_exactly_one_file_is_wanted(model):
    assert "give FILE" in fail(2, "inspect")
    assert "unexpected argument" in fail(2, "inspect", model, model)

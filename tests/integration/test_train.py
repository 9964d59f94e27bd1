"""anomalyctl train: rows in, model file out."""

import errno
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import time

import pytest
from ctl import ANOMALYCTL, fail, make_rows, run, succeed, succeed_json, write_csv

QUICK = ["--preset", "fast", "--epochs", 20]


@pytest.fixture(name="normal")
def fixture_normal(tmp_path):
    return write_csv(tmp_path / "normal.csv", make_rows(300))


@pytest.fixture(name="model")
def fixture_model(tmp_path):
    return tmp_path / "out.safetensors"


def test_summary_tells_rows_architecture_losses_threshold_and_time(normal, model):
    done = succeed("train", "--data", normal, "--output", model, "--false-alarm-rate", 0.05,
                   "--epochs", 10)

    assert re.search(
        r"^rows +300: 225 training, 300 calibration \(each by parts fitted without it\)$",
        done.stdout, re.M)
    assert re.search(r"^architecture +8-(\d+-)+8 \+ 8-(\d+-)+8, \d+ parameters$", done.stdout, re.M)
    assert re.search(r"^compared with \d+ prototypes, \d clusters$", done.stdout, re.M)
    assert re.search(r"^cost of a row \d+ multiply-adds, \d+ kB$", done.stdout, re.M)
    for network in range(2):  # as preset best has
        assert re.search(
            rf"^network {network} +loss [\d.e-]+, validation [\d.e-]+ after 10 epochs$",
            done.stdout, re.M)
    assert re.search(r"^threshold +[\d.]+ for a false-alarm rate of 0.05 \(conformal\)$",
                     done.stdout, re.M)
    assert re.search(r"^time +[\d.]+ s$", done.stdout, re.M)
    assert done.stderr == ""
    assert model.stat().st_size > 0


def test_json_has_the_same_and_nothing_else_is_on_stdout(normal, model):
    result = succeed_json("train", "--data", normal, "--output", model, "--json", *QUICK,
                          "--false-alarm-rate", 0.05)

    assert result["output"] == str(model)
    assert result["features"] == 4
    assert result["rows"] == 300
    assert result["left_out_rows"] == 0
    assert result["incomplete_rows"] == 0
    assert result["preset"] == "fast"
    assert (result["drawn_rows"], result["calibration_rows"]) == (300, 300)
    assert (result["training_rows"], result["validation_rows"]) == (180, 45)
    assert result["false_alarm_rate"] == 0.05
    assert result["threshold_basis"] == "conformal"
    assert result["threshold"] > 0
    assert result["architecture"] == "4-3-2-3-4"
    assert result["parameters"] == (4 * 3 + 3) + (3 * 2 + 2) + (2 * 3 + 3) + (3 * 4 + 4)
    assert result["multiply_adds"] > 0 and result["bytes"] >= 4 * result["parameters"]
    network, = result["networks"]
    assert network["epochs"] == 20
    assert network["loss"] > 0 and network["validation_loss"] > 0
    assert 1 <= network["best_epoch"] <= 20
    assert result["seconds"] > 0


def test_model_goes_to_model_safetensors_unless_said(normal, tmp_path):
    succeed("train", "--data", normal, *QUICK, cwd=tmp_path)
    assert (tmp_path / "model.safetensors").is_file()


def test_same_seed_gives_the_same_bytes_and_another_seed_others(normal, tmp_path):
    models = []
    for i, seed in enumerate([7, 7, 8]):
        models.append(tmp_path / f"{i}.safetensors")
        succeed("train", "--data", normal, "--output", models[-1], "--seed", seed, *QUICK)

    first, second, other = [model.read_bytes() for model in models]
    assert first == second
    assert first != other


def test_labelled_rows_are_left_out_and_counted(tmp_path, model):
    rows = make_rows(200)
    clean = write_csv(tmp_path / "clean.csv", rows)
    labelled = write_csv(
        tmp_path / "labelled.csv",
        rows[:100] + [[1e6] * 4] * 7 + rows[100:],
        labels=["0"] * 100 + ["cpu_hog"] * 3 + ["1"] * 2 + ["recovery"] * 2 + [""] * 100,
    )
    want = succeed_json("train", "--data", clean, "--output", model, "--json", *QUICK)
    got = succeed_json("train", "--data", labelled, "--label-column", "label",
                       "--output", model, "--json", *QUICK)

    assert got["left_out_rows"] == 7
    assert got["rows"] == 200
    assert got["threshold"] == want["threshold"]  # trained on the same rows


def dirty_rows(n_rows, step):
    """Every step-th row, from the third on, is far from all others; and their numbers."""
    rows = make_rows(n_rows)
    strange = range(2, n_rows, step)
    for i in strange:
        rows[i] = [9 + i / n_rows, -9, -9, 9]
    return rows, list(strange)


def test_rows_that_do_not_belong_are_left_out_counted_and_listed(tmp_path, model):
    rows, strange = dirty_rows(400, 40)
    clean = write_csv(tmp_path / "clean.csv",
                      [row for i, row in enumerate(rows) if i not in strange])
    dirty = write_csv(tmp_path / "dirty.csv", rows)
    want = succeed_json("train", "--data", clean, "--output", model, "--json", *QUICK)
    assert want["trimmed"] == {"count": 0, "rows": [], "lines": []}
    got = succeed_json("train", "--data", dirty, "--output", model, "--trim", "auto", "--json",
                       *QUICK)

    assert got["trimmed"] == {"count": 10, "rows": strange, "lines": [i + 2 for i in strange]}
    assert got["rows"] == 400
    assert got["threshold"] == want["threshold"]  # trained on the same rows
    assert succeed_json("inspect", model, "--json")["training"]["trimmed_rows"] == 10
    assert "trimmed       10 rows, far from the others" in succeed("inspect", model).stdout
    shown = succeed("train", "--data", dirty, "--output", model, "--trim", "auto", *QUICK).stdout
    assert ("trimmed       10 rows, far from the others: line 4, 44, 84, 124, 164, 204, 244, 284, …"
            in shown)


def test_trimmed_rows_have_the_numbers_of_the_file(tmp_path, model):
    rows, strange = dirty_rows(300, 40)
    labels = ["1" if i < 2 else "0" for i in range(300)]
    rows[10] = [1, None, None, None]
    data = write_csv(tmp_path / "dirty.csv", rows, labels=labels)
    done = run("train", "--data", data, "--label-column", "label", "--output", model, "--trim",
               "auto", "--json", *QUICK)
    got = json.loads(done.stdout)

    assert (got["left_out_rows"], got["incomplete_rows"]) == (2, 1)
    assert got["trimmed"]["rows"] == strange


def test_a_thousand_trimmed_rows_are_listed(tmp_path, model):
    data = write_csv(tmp_path / "rows.csv", make_rows(6000))
    got = succeed_json("train", "--data", data, "--output", model, "--trim", "0.2", "--json",
                       *QUICK)

    assert got["trimmed"]["count"] == 1200
    assert len(got["trimmed"]["rows"]) == len(got["trimmed"]["lines"]) == 1000
    assert got["trimmed"]["rows"] == sorted(set(got["trimmed"]["rows"]))


def test_a_trim_that_finds_nothing_is_as_if_it_had_not_looked(tmp_path, normal):
    told = [
        succeed_json("train", "--data", normal, "--output", tmp_path / "m", "--json", "--trim",
                     trim, *QUICK) for trim in ["0", "auto"]
    ]
    assert told[1]["trimmed"]["count"] == 0
    assert told[0]["threshold"] == told[1]["threshold"]


def test_a_share_that_is_too_large_keeps_the_false_alarm_rate(tmp_path, model):
    data = write_csv(tmp_path / "normal.csv", make_rows(3000))
    fresh = write_csv(tmp_path / "fresh.csv", make_rows(4000, seed=2))
    succeed("train", "--data", data, "--output", model, "--trim", "0.1", "--false-alarm-rate",
            "0.05", *QUICK)
    verdicts = succeed("score", "--model", model, "--data", fresh).stdout.splitlines()[1:]

    assert sum(line.endswith(",1") for line in verdicts) / 4000 < 0.06


def test_rows_that_scoring_would_refuse_are_left_out_and_counted(tmp_path, model):
    rows = make_rows(200)
    clean = write_csv(tmp_path / "clean.csv", rows)
    gaps = write_csv(tmp_path / "gaps.csv", [[9, None, None, None]] * 3 + rows)
    want = succeed_json("train", "--data", clean, "--output", model, "--json", *QUICK)
    done = run("train", "--data", gaps, "--output", model, "--json", *QUICK)
    got = json.loads(done.stdout)

    assert (got["rows"], got["incomplete_rows"], got["left_out_rows"]) == (200, 3, 0)
    assert got["threshold"] == want["threshold"]  # trained on the same rows
    assert done.stderr.startswith(f"anomalyctl: warning: {gaps}: 3 rows were left out")


def test_row_with_half_of_its_features_is_trained_on(tmp_path, model):
    data = write_csv(tmp_path / "gaps.csv", [[None, None, 1, 1]] * 3 + make_rows(200))
    result = succeed_json("train", "--data", data, "--output", model, "--json", *QUICK)
    assert (result["rows"], result["incomplete_rows"]) == (203, 0)


def test_what_the_trainer_refuses_is_told_with_the_file(tmp_path, model):
    data = write_csv(tmp_path / "gaps.csv", [[*row[:3], None] for row in make_rows(100)])
    message = fail(1, "train", "--data", data, "--output", model)
    assert message.startswith(f"{data}: column net has no value") and "--exclude net" in message


def test_excluded_columns_are_no_features(normal, model):
    result = succeed_json("train", "--data", normal, "--output", model, "--exclude", "disk",
                          "--json", *QUICK)
    assert result["features"] == 3


def test_excluding_a_column_that_is_not_there_is_an_error(normal, model):
    message = fail(1, "train", "--data", normal, "--output", model, "--exclude", "dsk")
    assert "dsk" in message and str(normal) in message
    assert not model.exists()


def test_too_few_calibration_rows_warn_and_tell_how_many_are_needed(normal, model):
    done = succeed("train", "--data", normal, "--output", model, "--false-alarm-rate", 0.01, *QUICK)

    assert done.stderr.startswith(f"anomalyctl: warning: {normal}: ")
    assert "calibration rows are too few to promise a false-alarm rate of 0.01" in done.stderr
    assert re.search(r": 1000 are needed, about \d{4,} rows in all; ", done.stderr)
    assert "the threshold is an estimate, a tail fit to" in done.stderr
    assert "(tail-fit)" in done.stdout


def test_json_says_that_the_threshold_is_an_estimate_of_the_tail(normal, model):
    done = succeed_json("train", "--data", normal, "--output", model, "--json", *QUICK)
    assert done["threshold_basis"] == "tail-fit"


def test_equal_rows_have_no_tail_and_the_largest_error_is_the_threshold(tmp_path, model):
    data = write_csv(tmp_path / "equal.csv", [[1, 2, 3, 4]] * 100)
    done = succeed("train", "--data", data, "--output", model, *QUICK)
    assert "the threshold is the largest error seen" in done.stderr
    assert "(largest-error)" in done.stdout


def test_hidden_and_latent_decide_the_architecture(normal, model):
    result = succeed_json("train", "--data", normal, "--output", model, "--hidden", "3",
                          "--latent", 1, "--json", *QUICK)
    assert result["architecture"] == "4-3-1-3-4"
    assert result["parameters"] == (4 * 3 + 3) + (3 + 1) + (3 + 3) + (3 * 4 + 4)


def test_code_that_is_not_narrower_than_the_features_is_refused(normal, model):
    message = fail(1, "train", "--data", normal, "--output", model, "--latent", 4)
    assert "4" in message
    assert not model.exists()


def test_defaults_in_the_help_are_the_ones_in_force(normal, model):
    text = succeed("train", "--help").stdout
    result = succeed_json("train", "--data", normal, "--output", model, "--json")
    found = succeed_json("inspect", "--json", model)
    chosen = {choice["what"]: choice["value"] for choice in found["choices"]}

    assert "one classic network (best)" in text and result["preset"] == "best"
    assert "in closed form (autoencoder)" in text and len(result["networks"]) == 2
    assert "may be flagged (0.001)" in text and result["false_alarm_rate"] == 0.001
    assert "the same file (1)" in text and found["training"]["seed"] == 1
    assert "3,000\n" in text and "rows a step (64)" in text and "adamw (adam)" in text
    assert chosen["training"] == "3000 steps of 64 rows, adam"
    assert "(best, balanced: 0.8;" in text and "is set to 0 (gaussian)" in text
    assert chosen["denoising"] == "gaussian noise of 0.8"
    assert "0: none (400)" in text and chosen["prototypes"] == "225"  # no more than rows to fit to
    assert "0: none (4)" in text and chosen["clusters"] == "4"


def test_defaults_are_the_same_file_as_saying_them(normal, tmp_path):
    said = ["--learning-rate", 0.002, "--batch-size", 64, "--epochs", 400, "--patience", 20,
            "--optimizer", "adam", "--schedule", "constant", "--seed", 1, "--warmup", 0,
            "--activation", "tanh", "--hidden", 3, "--latent", 2, "--noise", 0, "--clip", 0]
    scores = []
    for i, options in enumerate([[], said]):
        model = tmp_path / f"{i}.safetensors"
        succeed("train", "--data", normal, "--output", model, "--preset", "fast", *options)
        scores.append(succeed("score", "--model", model, "--data", normal).stdout)
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "give --data"),
        (["--data"], "a value is missing after --data"),
        (["--data", "x", "--presett", "best"], "unknown option --presett; did you mean --preset?"),
        (["--data", "x", "--epoch=0"], "--epochs 0: must be a whole number from 1"),
        (["--data", "x", "--epochs", "1000000001"], "a whole number from 1 to 1000000000"),
        (["--data", "x", "--batch-size", "1000000001"], "a whole number from 1 to 1000000000"),
        (["--data", "x", "--epochs", "1.5"], "must be a whole number from 1"),
        (["--data", "x", "--false-alarm-rate", "1"], "from 1e-9 to below 1"),
        (["--data", "x", "--false-alarm-rate", "nan"], "from 1e-9 to below 1"),
        (["--data", "x", "--false-alarm-rate", "9e-10"], "from 1e-9 to below 1"),
        (["--data", "x", "--learning-rate", "inf"], "a number above 0"),
        (["--data", "x", "--hidden", "8,x"], "--hidden 8,x: must be at most 8 whole numbers"),
        (["--data", "x", "--hidden", "65537"], "whole numbers from 1 to 65536"),
        (["--data", "x", "--hidden", "9,8,7,6,5,4,3,2,1"], "must be at most 8 whole numbers"),
        (["--data", "x", "--hidden", "8,,4"], "whole numbers from 1 to 65536, as in 24,12, or none"),
        (["--data", "x", "--latent", "few"], "whole number from 1 to 1000000000, or auto"),
        (["--data", "x", "--seed", "-1"], "whole number from 0"),
        (["--data", "x", "--seed", "9223372036854775808"], "from 0 to 9223372036854775807"),
        (["--data", "x", "y"], "unexpected argument y"),
    ],
)
def test_wrong_usage_is_status_2(arguments, words):
    assert words in fail(2, "train", *arguments)


@pytest.mark.parametrize(
    "content, place, words",
    [
        ("a,b\n1,2\n3,x\n", ":3: column 2 (b): ", "x"),
        ("a,b\n1,2\n3\n", ":3: ", ""),
        ("a,b\n1,inf\n", ":2: column 2 (b): ", "inf"),
        ("a,a\n1,2\n", ":1: column 2", "a"),
        ("", ":", ""),
    ],
)
def test_bad_rows_are_named_by_file_line_and_column(tmp_path, model, content, place, words):
    data = tmp_path / "bad.csv"
    data.write_text(content, encoding="utf-8")
    message = fail(1, "train", "--data", data, "--output", model)

    assert message.startswith(f"{data}{place}")
    assert words in message.removeprefix(f"{data}{place}")
    assert not model.exists()


def test_file_that_is_not_there_is_named(tmp_path, model):
    message = fail(1, "train", "--data", tmp_path / "none.csv", "--output", model)
    assert message == f"{tmp_path}/none.csv: cannot open: No such file or directory"


def test_too_few_normal_rows_are_refused_with_both_numbers(tmp_path, model):
    data = write_csv(tmp_path / "few.csv", make_rows(30), labels=["0"] * 19 + ["leak"] * 11)
    message = fail(1, "train", "--data", data, "--label-column", "label", "--output", model)

    assert message.startswith(f"{data}: 19 normal rows are too few")
    assert "11 with another label" in message and "at least 20" in message
    assert message.endswith("; --label-column label: normal rows must say 0, the first other label "
                            "is \"leak\" (line 21)")


def test_rows_come_from_standard_input_too(normal, tmp_path, model):
    succeed("train", "--data", normal, "--output", model, *QUICK)
    other = tmp_path / "stdin.safetensors"
    succeed("train", "--data", "-", "--output", other, *QUICK,
            input=normal.read_text(encoding="utf-8"))
    assert other.read_bytes() == model.read_bytes()

    message = fail(1, "train", "--data", "-", "--output", model, input="a,b\n1,x\n")
    assert message.startswith("standard input:2: column 2 (b): ")


def test_npy_trains_the_same_model_as_its_csv(tmp_path, model):
    rows = [[round(value, 3) for value in row] for row in make_rows(100)]
    csv = write_csv(tmp_path / "rows.csv", rows, names=["f0", "f1", "f2", "f3"])
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (100, 4), }"
    header += " " * (117 - len(header)) + "\n"
    npy = tmp_path / "rows.npy"
    npy.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.encode()
                    + b"".join(struct.pack("<4d", *row) for row in rows))
    other = tmp_path / "npy.safetensors"

    succeed("train", "--data", csv, "--output", model, *QUICK)
    succeed("train", "--data", npy, "--output", other, *QUICK)
    assert other.read_bytes() == model.read_bytes()


def test_output_that_cannot_be_written_is_named(normal, tmp_path):
    model = tmp_path / "none" / "model.safetensors"
    message = fail(1, "train", "--data", normal, "--output", model, *QUICK)
    assert message == f"{model}: cannot write: No such file or directory"


def test_output_that_is_no_regular_file_is_left_alone(normal, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    message = fail(1, "train", "--data", normal, "--output", pipe, *QUICK)
    assert message.startswith(f"{pipe}: is not a regular file")
    assert pipe.is_fifo()


def test_output_through_a_symbolic_link_keeps_the_link(normal, tmp_path, model):
    link = tmp_path / "current"
    model.write_text("old", encoding="utf-8")
    link.symlink_to(model.name)
    succeed("train", "--data", normal, "--output", link, *QUICK)
    assert link.is_symlink() and model.stat().st_size > 3


def test_failed_training_leaves_the_old_model_alone(normal, tmp_path, model):
    succeed("train", "--data", normal, "--output", model, *QUICK)
    before = model.read_bytes()
    (tmp_path / "bad.csv").write_text("a\n1\nx\n", encoding="utf-8")

    fail(1, "train", "--data", tmp_path / "bad.csv", "--output", model)
    assert model.read_bytes() == before


def test_summary_that_cannot_be_written_is_a_failure(normal, model):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = run("train", "--data", normal, "--output", model, *QUICK, "--json", stdout=full)
    assert done.returncode == 1
    assert "standard output: cannot write: No space left on device" in done.stderr


class Terminal:
    """A child whose stderr is a terminal."""

    def __init__(self, *arguments):
        self.master, slave = pty.openpty()
        self.child = subprocess.Popen([ANOMALYCTL, *map(str, arguments)], stderr=slave,
                                      stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        os.close(slave)
        self.text = ""

    def read(self, until=None):
        """Reads until the text is there, or to the end."""
        deadline = time.monotonic() + 60
        while until is None or until not in self.text:
            ready, _, _ = select.select([self.master], [], [], deadline - time.monotonic())
            assert ready, f"no {until!r} in {self.text!r}"
            try:
                data = os.read(self.master, 4096)
            except OSError as error:  # Linux says so when the child has closed its side
                assert error.errno == errno.EIO
                data = b""
            if not data:
                break
            self.text += data.decode()
        return self.text

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()
        self.child.stdout.close()
        os.close(self.master)


def test_terminal_shows_progress_with_loss_and_time_left(normal, model):
    with Terminal("train", "--data", normal, "--output", model, "--false-alarm-rate", 0.05,
                  "--epochs", 10) as tty:
        text = tty.read()
        assert tty.child.wait(60) == 0

    assert re.search(r"\r\[#* *\] network \d/5  loss [\d.e-]+, validation [\d.e-]+  \d+ s left",
                     text)
    assert text.endswith("\r\x1b[K")  # nothing of it stays


def test_ctrl_c_ends_training_without_a_file(tmp_path):
    data = write_csv(tmp_path / "many.csv", make_rows(5000))
    folder = tmp_path / "out"
    folder.mkdir()
    with Terminal("train", "--data", data, "--output", folder / "m.safetensors",
                  "--epochs", 1000000, "--learning-rate", 1e-5) as tty:
        tty.read(until="network")
        tty.child.send_signal(signal.SIGINT)
        text = tty.read()
        assert tty.child.wait(60) == 1

    assert text.splitlines()[-1].endswith(
        "anomalyctl: train: interrupted, no model file was written")
    assert not list(folder.iterdir())

"""anomalyctl inspect: what is in a model file."""

import json
import re

import pytest
from ctl import FEATURES, fail, make_rows, succeed, succeed_json, train, write_csv


@pytest.fixture(name="model", scope="module")
def fixture_model(tmp_path_factory):
    return train(tmp_path_factory.mktemp("model"))


def test_json_tells_all_parts_of_the_model(model):
    found = succeed_json("inspect", model, "--json")
    layers = found["layers"]

    assert [layer["inputs"] for layer in layers] + [4] == [
        int(width) for width in found["architecture"].split("-")]
    assert found["parameters"] == sum(
        layer["inputs"] * layer["outputs"] + layer["outputs"] for layer in layers)
    assert layers[0]["activation"] == "tanh" and layers[-1]["activation"] == "linear"
    assert [layer["part"] for layer in layers].count("encoder") == len(layers) / 2
    assert [feature["name"] for feature in found["features"]] == FEATURES
    for feature in found["features"]:
        assert abs(feature["mean"]) < 0.5 and abs(feature["median"]) < 0.5
        assert 0.5 < feature["std"] < 3
    assert found["training"]["rows"] == 600
    assert found["training"]["seed"] == 1


def test_thresholds_grow_as_the_rate_falls_and_say_what_they_rest_on(model):
    calibration = succeed_json("inspect", model, "--json")["calibration"]
    thresholds = calibration["thresholds"]

    assert calibration["rows"] == 120
    assert calibration["in_force"]["false_alarm_rate"] == 0.05
    assert [entry["false_alarm_rate"] for entry in thresholds] == [0.1, 0.01, 0.001]
    assert [entry["threshold_basis"] for entry in thresholds] == [
        "conformal", "conformal", "largest-error"]
    assert thresholds[0]["threshold"] < calibration["in_force"]["threshold"]
    assert calibration["in_force"]["threshold"] < thresholds[1]["threshold"]


def test_histogram_holds_every_calibration_row(model):
    histogram = succeed_json("inspect", model, "--json")["calibration"]["histogram"]

    content = model.read_bytes()
    header = json.loads(content[8:8 + int.from_bytes(content[:8], "little")])
    errors = json.loads(header["__metadata__"]["detector"])["calibration"]["errors"]

    below = [sum(error < entry["up_to"] for error in errors) for entry in histogram[:-1]] + [120]
    assert len(errors) == 120
    assert [entry["rows"] for entry in histogram] == [
        after - before for before, after in zip([0] + below, below)]
    edges = [entry["up_to"] for entry in histogram]
    assert edges == sorted(edges)


def test_histogram_of_a_thinned_sample_still_counts_rows(tmp_path):
    data, model = write_csv(tmp_path / "many.csv", make_rows(25000)), tmp_path / "m.safetensors"
    succeed("train", "--data", data, "--output", model, "--epochs", 1)
    calibration = succeed_json("inspect", model, "--json")["calibration"]

    assert calibration["rows"] == 5000  # of which at most 4,096 errors are kept
    assert sum(entry["rows"] for entry in calibration["histogram"]) == 5000
    threshold = calibration["thresholds"][0]["threshold"]
    above = sum(entry["rows"] for entry in calibration["histogram"] if entry["up_to"] > threshold)
    at_least = above - next(entry["rows"] for entry in calibration["histogram"]
                            if entry["up_to"] > threshold)
    assert at_least <= 500 <= above  # a tenth of the rows lies above the threshold for 0.1


def test_histogram_agrees_with_the_thresholds(model):
    calibration = succeed_json("inspect", model, "--json")["calibration"]
    histogram = calibration["histogram"]

    # Of 120 errors, the ceil(121 (1 - rate))-th smallest is the threshold.
    for entry, rank in [(calibration["thresholds"][0], 109), (calibration["in_force"], 115)]:
        below = sum(part["rows"] for part in histogram if part["up_to"] <= entry["threshold"])
        part_of_it = next(part for part in histogram if part["up_to"] > entry["threshold"])
        assert below <= rank <= below + part_of_it["rows"]
    assert histogram[-1]["up_to"] == pytest.approx(calibration["thresholds"][2]["threshold"])
    assert histogram[-1]["rows"] > 0


def test_text_is_readable_in_80_columns(model):
    text = succeed("inspect", model).stdout

    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"^Architecture  4-[\d-]+-4, \d+ parameters$", text, re.M)
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
    assert {"rows", "training_rows", "validation_rows", "calibration_rows", "left_out_rows",
            "training_loss", "validation_loss"} <= set(
                succeed_json("inspect", model, "--json")["training"])


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

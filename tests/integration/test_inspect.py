"""anomalyctl inspect: what is in a model file."""

import re

import pytest
from ctl import FEATURES, fail, succeed, succeed_json, train


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
        assert 0.5 < feature["deviation"] < 3
    assert found["training"]["rows"] == 600
    assert found["training"]["seed"] == 1


def test_thresholds_grow_as_the_rate_falls_and_say_what_they_rest_on(model):
    calibration = succeed_json("inspect", model, "--json")["calibration"]
    thresholds = calibration["thresholds"]

    assert calibration["rows"] == 120
    assert calibration["in_force"]["false_alarm_rate"] == 0.05
    assert [entry["false_alarm_rate"] for entry in thresholds] == [0.1, 0.01, 0.001]
    assert [entry["basis"] for entry in thresholds] == ["conformal", "conformal", "largest-error"]
    assert thresholds[0]["threshold"] < calibration["in_force"]["threshold"]
    assert calibration["in_force"]["threshold"] < thresholds[1]["threshold"]


def test_histogram_holds_every_calibration_row(model):
    histogram = succeed_json("inspect", model, "--json")["calibration"]["histogram"]

    assert sum(entry["errors"] for entry in histogram) == 120
    edges = [entry["up_to"] for entry in histogram]
    assert edges == sorted(edges)


def test_histogram_agrees_with_the_thresholds(model):
    calibration = succeed_json("inspect", model, "--json")["calibration"]
    histogram = calibration["histogram"]

    # Of 120 errors, the ceil(121 (1 - rate))-th smallest is the threshold.
    for entry, rank in [(calibration["thresholds"][0], 109), (calibration["in_force"], 115)]:
        below = sum(part["errors"] for part in histogram if part["up_to"] <= entry["threshold"])
        part_of_it = next(part for part in histogram if part["up_to"] > entry["threshold"])
        assert below <= rank <= below + part_of_it["errors"]
    assert histogram[-1]["up_to"] == pytest.approx(calibration["thresholds"][2]["threshold"])
    assert histogram[-1]["errors"] > 0


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

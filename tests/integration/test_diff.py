"""anomalyctl diff: a person looks at what a version changes before it serves, or why it was refused."""

import json

import ctl
import pytest
from test_manage import Learner

OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture(name="learner", scope="module")
def fixture_learner(tmp_path_factory):
    """`web`: version 1 from a file, 2 of other rows by a run, 3 uploaded with other features; `fresh`
    has none."""
    folder = tmp_path_factory.mktemp("diff")
    learner = Learner(folder)
    rows = ctl.make_rows(4000, seed=3)  # fewer than begin a run by themselves
    for row in rows:
        row[0], row[3] = row[0] * 3, row[3] + 5
    learner.run("observe", "web", "--data", ctl.write_csv(folder / "moved.csv", rows))
    learner.json("retrain", "web", "--wait")
    data = ctl.write_csv(folder / "other.csv", [row[:3] + [row[0]] for row in ctl.make_rows(300)],
                         names=["cpu", "mem", "disk", "swap"])
    other = folder / "other.safetensors"
    ctl.succeed("train", "--data", data, "--output", other, "--preset", "fast", "--epochs", 5,
                "--false-alarm-rate", "0.01")
    learner.json("promote", "web", 2)
    yield learner, other
    learner.daemon.stop()


def sections(text):
    """Lines by what is the first word of their section."""
    found = {}
    for block in text.split("\n\n"):
        lines = block.splitlines()
        found[lines[0].split()[0].rstrip(":")] = lines
    return found


def test_left_out_versions_are_the_former_and_the_live_one(learner):
    learner, _ = learner
    text = learner.run("diff", "web")
    assert text == learner.run("diff", "web", 1, 2)
    assert max(map(len, text.splitlines())) <= 80
    head = sections(text)["web"]
    assert head[0].split() == ["web", "version", "1", "version", "2"]
    assert head[1].split() == ["state", "former,", "pinned", "live"]
    assert "file" in head[3] and "retrain, run 1 (request)" in head[3]
    assert head[4].split()[:3] == ["training", "rows", "600"]


def test_what_moved_stands_first_and_the_rest_is_counted(learner):
    learner, _ = learner
    features = sections(learner.run("diff", "web", 1, 2))["Features"]
    assert features[0] == "Features: 4 in both"
    assert features[2].split()[0] == "net" and "+3." in features[2]  # 5 by 1.4
    assert features[-1].endswith("moved by less than 0.2 sd")
    back = sections(learner.run("diff", "web", 2, 1))["Features"]
    assert "net" in back[2] and " -" in back[2]


def test_the_run_of_b_shows_its_comparison(learner):
    learner, _ = learner
    run = sections(learner.run("diff", "web", 1, 2))["Run"]
    assert run[0].startswith("Run 1 held version 2 against what was live then, on ")
    assert any(line.split()[0] == "flagged" and line.count("%") == 2 for line in run)
    assert "nothing compared it" in learner.run("diff", "web", 2, 1)


def test_json_tells_all(learner):
    learner, _ = learner
    found = learner.json("diff", "web")
    listed = {each["version"]: each for each in learner.json("versions", "web")["versions"]}
    for side, version in (("a", 1), ("b", 2)):
        assert found[side].items() >= listed[version].items()
        assert found[side]["architecture"] == "4-3-2-3-4" and found[side]["threshold"] > 0
    assert found["run"] == json.loads(learner.get("/v1/models/web/runs/1"))
    assert found["false_alarm_rate"] == 0.05 and found["options"] == []
    assert [each["name"] for each in found["features"]][0] == "net"
    moved = {each["name"]: each for each in found["features"]}
    assert set(moved) == set(ctl.FEATURES)
    assert abs(moved["net"]["shift_sd"] - 5 / moved["net"]["a"]["std"]) < 0.3
    assert moved["net"]["matters"] and not moved["mem"]["matters"]
    assert learner.json("diff", "web", 2, 1)["run"] is None


def test_other_features_and_options_are_named(learner):
    learner, other = learner
    reply = learner.daemon.request("PUT", "/v1/models/web?features=replace", other.read_bytes(), OCTETS)
    assert reply.status == 200
    found = learner.json("diff", "web", 1, 3)
    assert found["added"] == ["swap"] and found["removed"] == ["net"]
    assert {"option": "epochs", "a": "100", "b": "5"} in found["options"]
    text = learner.run("diff", "web", 1, 3)
    assert "    added: swap\n    removed: net\n" in text
    assert any(line.split() == ["epochs", "100", "5"] for line in text.splitlines())
    assert "Thresholds are for the rate in force, 1 %." in text


@pytest.mark.parametrize("arguments, status, text", [
    (["web", "1"], 2, "diff: give B"),
    (["web", "1", "2", "3"], 2, "unexpected argument 3"), (["web", "0", "1"], 2, "diff: 0: must be"),
    (["web", "1", "new"], 2, "diff: new: must be the number of a version"),
    (["../x", "1", "2"], 2, "is no name of a model"),
    (["web", "1", "77"], 1, 'status 404: Model "web" has no version 77'),
    (["fresh"], 1, "diff: fresh has no former version to compare with"),
    (["nobody"], 1, 'There is no model "nobody"'),
])
def test_what_cannot_be_compared_is_told(learner, arguments, status, text):
    assert text in learner[0].fail(status, "diff", *arguments)


def test_a_damaged_file_is_told(learner):
    learner, _ = learner
    file = learner.folder / "state" / "models" / "web" / "1.safetensors"
    good = file.read_bytes()
    file.write_bytes(good[:-1])
    assert "status 409: Version 1 cannot be read" in learner.fail(1, "diff", "web", 1, 2)
    file.write_bytes(good)

"""The recorded data of a real host, from the file to the verdicts: the way of `./bootstrap run`."""

import csv
import json
import math
import pathlib

import pytest

import ctl
from conftest import Daemon

DATA = pathlib.Path(__file__).parents[1] / "data" / "host"
KINDS = {
    "cpu_hog",
    "memory_leak",
    "disk_write_storm",
    "fork_storm",
    "connection_flood",
    "stalled_process",
}
RATE = 0.01


def read(name):
    with open(DATA / name, newline="") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("host")
    ctl.succeed(
        "train", "--data", DATA / "normal.csv", "--output", folder / "host.safetensors",
        "--false-alarm-rate", RATE,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def replayed(trained):
    """What `anomalyctl replay --json` says of incidents.csv, sent through a real daemon."""
    daemon = Daemon(trained, {}, {"host": {"file": "host.safetensors"}})
    try:
        return ctl.succeed_json(
            "replay", "--model", "host", "--data", DATA / "incidents.csv",
            "--label-column", "incident", "--url", f"http://127.0.0.1:{daemon.port}", "--json",
        )  # fmt: skip
    finally:
        daemon.stop()


def test_the_recording_is_as_large_as_promised():
    header, *rows = read("normal.csv")

    assert len(rows) >= 3000
    assert header[0] == "timestamp" and 40 <= len(header) <= 50
    assert read("incidents.csv")[0] == [*header, "incident"]


def test_every_recorded_value_is_a_finite_number():
    for name, last in (("normal.csv", None), ("incidents.csv", -1)):
        for row in read(name)[1:]:
            assert all(math.isfinite(float(cell)) for cell in row[1:last])


def test_incidents_have_every_kind_of_fault_between_quiet_stretches():
    labels = [row[-1] for row in read("incidents.csv")[1:]]

    assert set(labels) == KINDS | {"0", "recovery"}
    changes = [b for a, b in zip(labels, labels[1:]) if a != b]
    assert changes.count("0") >= len(KINDS)


def test_every_fault_kind_is_caught(replayed):
    caught = {incident["fault"] for incident in replayed["incidents"] if incident["caught"]}

    assert caught == KINDS


def test_caught_faults_are_flagged_in_more_rows_than_chance_would(replayed):
    for incident in replayed["incidents"]:
        if incident["caught"]:
            assert incident["flagged"] >= 5 * RATE * incident["rows"], incident


def test_quiet_stretches_alarm_at_most_three_times_as_often_as_asked(replayed):
    quiet = replayed["quiet"]

    assert quiet["rows"] >= 1000
    assert quiet["rate"] <= 3 * RATE
    assert quiet["rate_low"] <= quiet["rate"] <= quiet["rate_high"]
    assert quiet["rate_low"] < quiet["rate_high"]


def test_rows_score_the_same_through_the_daemon_and_offline(trained):
    header, *rows = read("incidents.csv")
    offline = [
        json.loads(line)
        for line in ctl.succeed(
            "score", "--model", trained / "host.safetensors", "--data", DATA / "incidents.csv",
            "--label-column", "incident", "--format", "ndjson",
        ).stdout.splitlines()
    ]  # fmt: skip
    daemon = Daemon(trained, {}, {"host": {"file": "host.safetensors"}})
    try:
        named = [dict(zip(header[1:-1], map(float, row[1:-1]))) for row in rows[:200]]
        online = daemon.request("POST", "/v1/score", {"instances": named}).json()["results"]
    finally:
        daemon.stop()
    for a, b in zip(offline, online):
        assert a["score"] == b["score"] and a["p_value"] == b["p_value"]


def test_the_row_of_the_readme_is_one_of_the_recording():
    with open(DATA / "row.json") as file:
        features = json.load(file)["features"]
    header, *rows = read("incidents.csv")

    values = [features[name] for name in header[1:-1]]
    assert any([float(cell) for cell in row[1:-1]] == values for row in rows)

"""anomalyctl record: this host's metrics as CSV."""

import csv
import datetime
import json
import math
import signal
import subprocess

import ctl
import pytest

from conftest import DEADLINE_S


def check_rows(lines):
    header, *rows = csv.reader(lines)
    assert header[0] == "timestamp"
    assert len(set(header)) == len(header) >= 30
    for row in rows:
        assert len(row) == len(header)
        assert all(math.isfinite(float(value)) for value in row[1:])
    times = [datetime.datetime.fromisoformat(row[0]) for row in rows]
    assert all(row[0].endswith("Z") and len(row[0]) == 24 for row in rows)
    assert times == sorted(times)
    return header, rows


def test_rows_go_to_standard_output():
    done = ctl.run("record", "--interval", "50ms", "--duration", "500ms")
    assert (done.returncode, done.stderr) == (0, "")
    _, rows = check_rows(done.stdout.splitlines())
    assert 1 <= len(rows) <= 10


def test_rows_go_to_a_file_and_the_summary_is_json(tmp_path):
    path = tmp_path / "a.csv"
    done = ctl.run("record", "--interval", "50ms", "--duration", "500ms", "--output", path, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    header, rows = check_rows(path.read_text().splitlines())
    summary = json.loads(done.stdout)
    assert summary["rows"] == len(rows)
    assert summary["rows"] + summary["skipped"] >= 9
    assert summary["features"] == len(header) - 1
    assert summary["seconds"] >= 0.4
    assert summary["output"] == str(path)
    assert " " not in done.stdout  # compact, as all JSON that anomalyctl writes


def test_the_values_are_those_of_the_kernel():
    done = ctl.run("record", "--interval", "200ms", "--duration", "200ms")
    header, rows = check_rows(done.stdout.splitlines())
    row = dict(zip(header[1:], map(float, rows[0][1:])))
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = {line.split()[0]: int(line.split()[1]) * 1024 for line in file}
    assert row["mem_free"] == pytest.approx(memory["MemFree:"], abs=0.2 * memory["MemTotal:"])
    shares = [value for name, value in row.items() if name.startswith("cpu_")]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert row["procs_running"] >= 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_well(number):
    command = [ctl.ANOMALYCTL, "record", "--interval", "10ms"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline() for _ in range(3)]  # rows come while it runs
        process.send_signal(number)
        lines += process.stdout.readlines()
        assert process.wait(timeout=DEADLINE_S) == 0
    assert all(line.endswith("\n") for line in lines)
    check_rows(lines)


def test_a_signal_ends_a_long_interval_at_once():
    command = [ctl.ANOMALYCTL, "record", "--interval", "1h"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.terminate()
        assert process.wait(timeout=DEADLINE_S) == 0


@pytest.mark.parametrize(
    "options, message",
    [
        (["--interval", "10"], "--interval 10: must be a number and a unit"),
        (["--interval", "1ms"], "--interval 1ms: must be at least 10ms"),
        (["--duration", "soon"], "--duration soon: must be a number and a unit"),
        (["--duration", "100ms"], "--duration 100ms: must be at least one interval"),
        (["--json"], "--json needs --output FILE"),
        (["--json", "--output", "-"], "--json needs --output FILE"),
        (["--output"], "--output"),
        (["--speed", "5"], "--speed"),
        (["now"], "now"),
    ],
)
def test_wrong_usage_is_refused(options, message):
    assert message in ctl.fail(2, "record", *options)


def test_help_names_every_option():
    done = ctl.run("record", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for option in ("--interval", "--duration", "--output", "--json", "--help"):
        assert option in done.stdout


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    path = tmp_path / "none" / "a.csv"
    message = ctl.fail(1, "record", "--output", path)
    assert message == f"{path}: cannot open: No such file or directory"


def test_a_full_disk_is_reported():
    message = ctl.fail(1, "record", "--output", "/dev/full")
    assert message == "/dev/full: cannot write: No space left on device"

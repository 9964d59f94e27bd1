"""anomalyctl replay: a labelled file through a running daemon."""

import json

import ctl
import pytest
from conftest import Daemon, free_port

START = 1767225600  # 2026-01-01T00:00:00Z
INTERVAL = 0.5


@pytest.fixture(name="urls", scope="module")
def fixture_urls(tmp_path_factory):
    """The daemon's two addresses; it serves the model `web`."""
    folder = tmp_path_factory.mktemp("daemon")
    model, path = ctl.train(folder), folder / "http.sock"
    daemon = Daemon(folder, {"threads": 2, "also": [f"unix:{path}"]}, {"web": {"file": model}})
    yield f"unix:{path}", f"http://127.0.0.1:{daemon.port}/"
    daemon.stop()


def write_story(path, timestamps=True):
    """200 rows: disk breaks from the 4th row of an incident, from the 1st of another, in one not."""
    rows = ctl.make_rows(200, seed=4)
    labels = ["0"] * 200
    for first, n_rows, label, broken_from in [
        (40, 20, "disk_hog", 43), (60, 10, "recovery", 70), (100, 10, "disk_hog", 100),
        (150, 5, "leak", 155),
    ]:
        for i in range(first, first + n_rows):
            labels[i] = label
            # A leak of nothing: the plainest row there is.
            rows[i] = [0, 0, 12 if i >= broken_from else 0, 0]
    names = ctl.FEATURES
    lines = [("timestamp," if timestamps else "") + ",".join(names) + ",incident"]
    for i, row in enumerate(rows):
        time_cell = [repr(START + i * INTERVAL)] if timestamps else []
        lines.append(",".join(time_cell + [f"{value:.6g}" for value in row] + [labels[i]]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def replay(url, data, *arguments):
    return ctl.succeed("replay", "--model", "web", "--data", data, "--label-column", "incident",
                       "--url", url, *arguments)


def replay_json(url, data, *arguments):
    return json.loads(replay(url, data, "--json", *arguments).stdout)


def test_json_tells_each_incident_when_it_was_caught_and_what_was_blamed(urls, tmp_path):
    found = replay_json(urls[0], write_story(tmp_path / "story.csv"))
    first, second, leak = found["incidents"]

    assert found["model"] == "web" and found["version"] == 1 and found["rows"] == 200
    assert found["false_alarm_rate"] == 0.05
    assert (first["incident"], first["first_row"], first["rows"]) == ("disk_hog", 40, 20)
    assert first["caught"] and first["flagged"] == 17
    assert first["alarm_after_rows"] == 3
    assert first["alarm_after_seconds"] == 3 * INTERVAL
    assert first["blamed"][0]["feature"] == "disk"
    assert 0 < first["blamed"][0]["share"] <= 1
    assert (second["incident"], second["fault"]) == ("disk_hog (2)", "disk_hog")
    assert second["alarm_after_rows"] == 0
    assert leak["caught"] is False and leak["flagged"] == 0
    assert leak["alarm_after_rows"] is None and leak["blamed"] == []


def test_recovery_counts_neither_as_fault_nor_as_quiet(urls, tmp_path):
    found = replay_json(urls[0], write_story(tmp_path / "story.csv"))
    assert [incident["fault"] for incident in found["incidents"]].count("recovery") == 0
    assert found["quiet"]["rows"] == 200 - 20 - 10 - 10 - 5
    assert found["quiet"]["stretches"] == 4


def test_the_result_does_not_depend_on_batch_or_address(urls, tmp_path):
    data = write_story(tmp_path / "story.csv")
    results = [replay_json(url, data, "--batch", batch)
               for url, batch in [(urls[0], 64), (urls[1], 1), (urls[0], 1000)]]
    for result in results:
        del result["seconds"]
    assert results[0] == results[1] == results[2]

    quiet = results[0]["quiet"]
    assert quiet["rate"] == quiet["false_alarms"] / quiet["rows"]
    assert quiet["rate_low"] <= quiet["rate"] <= quiet["rate_high"]
    assert quiet["episodes"] <= quiet["false_alarms"]
    assert quiet["block_rows"] == 30 / INTERVAL


def test_table_fits_100_columns_and_says_the_same(urls, tmp_path):
    lines = replay(urls[1], write_story(tmp_path / "story.csv")).stdout.splitlines()

    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["fault", "rows", "flagged", "first", "alarm", "blamed", "features"]
    assert lines[1].startswith("disk_hog ") and "after 1.5 s" in lines[1] and "disk " in lines[1]
    assert lines[2].startswith("disk_hog (2) ") and "after 0.0 s" in lines[2]
    assert lines[3].startswith("leak ") and lines[3].endswith("missed")
    text = "\n".join(lines[4:])
    assert "2 of 3 caught" in text
    assert "of 155 rows in 4 quiet stretches" in text
    assert "asked for 5 % (95 % interval " in text


def test_table_is_aligned_by_characters_and_free_of_control_characters(urls, tmp_path):
    data = write_story(tmp_path / "story.csv")
    text = data.read_text(encoding="utf-8").replace("disk_hog", "größe").replace("leak", "\x1b[2J")
    data.write_text(text, encoding="utf-8")
    lines = replay(urls[0], data).stdout.splitlines()

    assert lines[1].startswith("größe ") and lines[3].startswith("?[2J ")
    ends = [len(line[:line.index(word) + len(word)]) for line, word in zip(
        lines[:4], ["rows", " 20", " 10", " 5"])]
    assert len(set(ends)) == 1, ends
    assert "\x1b" not in "".join(lines)


def test_without_timestamps_alarms_are_told_in_rows(urls, tmp_path):
    data = write_story(tmp_path / "story.csv", timestamps=False)
    found = replay_json(urls[0], data)

    assert found["incidents"][0]["alarm_after_rows"] == 3
    assert found["incidents"][0]["alarm_after_seconds"] is None
    assert found["quiet"]["block_rows"] == 30
    assert "after 3 rows" in replay(urls[0], data).stdout


def fail_replay(status, data, *arguments, model="web"):
    return ctl.fail(status, "replay", "--model", model, "--data", data,
                    "--label-column", "incident", *arguments)


def test_daemon_that_does_not_run_is_told_plainly(tmp_path):
    data = write_story(tmp_path / "story.csv")
    for url in [f"unix:{tmp_path}/none.sock", f"http://127.0.0.1:{free_port()}"]:
        message = fail_replay(1, data, "--url", url)
        assert message.startswith(f"{url}: cannot connect; is anomalyd running")


def test_model_that_is_not_there_is_named_by_the_daemon(urls, tmp_path):
    message = fail_replay(1, write_story(tmp_path / "story.csv"), "--url", urls[0], model="wbe")
    assert "/v1/models/wbe: status 404: " in message


def test_unknown_column_is_named_before_anything_is_sent(urls, tmp_path):
    data = write_story(tmp_path / "story.csv")
    data.write_text(data.read_text(encoding="utf-8").replace("disk,", "dsk,", 1), encoding="utf-8")
    message = fail_replay(1, data, "--url", urls[0])
    assert message.startswith(f"{data}:1: column 4") and "dsk" in message


def test_row_that_the_daemon_refuses_is_told_with_its_batch(urls, tmp_path):
    data = write_story(tmp_path / "story.csv")
    lines = data.read_text(encoding="utf-8").splitlines()
    lines[71] = ",".join([lines[71].split(",")[0], "", "", "", "0.1", "0"])
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    message = fail_replay(1, data, "--url", urls[0], "--batch", 10)

    assert message.startswith(f"{data}:72: and 9 rows after it: ")
    assert "status 422" in message and "/instances/0" in message


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--url", "ftp://host"], "is no address of anomalyd"),
        (["--url", "unix:"], "is no address of anomalyd"),
        (["--batch", "0"], "--batch 0: must be a whole number from 1"),
        (["--model", "a/../b"], "is no name of a model"),
        (["--independent-rows"], "unknown option"),
    ],
)
def test_wrong_usage_is_status_2(tmp_path, arguments, words):
    assert words in fail_replay(2, tmp_path / "none.csv", *arguments)

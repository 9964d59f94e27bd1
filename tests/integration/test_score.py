"""anomalyctl score, and what all commands have in common."""

import csv
import io
import json
import math
import signal
import subprocess

import pytest
from ctl import (
    ANOMALYCTL,
    FEATURES,
    fail,
    make_rows,
    refuse_constant,
    run,
    succeed,
    train,
    write_csv,
    write_incidents,
)


@pytest.fixture(name="model", scope="module")
def fixture_model(tmp_path_factory):
    return train(tmp_path_factory.mktemp("model"))


def score_csv(*arguments, **options):
    return list(csv.DictReader(io.StringIO(succeed("score", *arguments, **options).stdout)))


def score_ndjson(*arguments, **options):
    done = succeed("score", "--format", "ndjson", *arguments, **options)
    return [json.loads(line, parse_constant=refuse_constant) for line in done.stdout.splitlines()]


def test_csv_has_one_verdict_a_row_in_the_columns_of_the_contract(model, tmp_path):
    data = write_incidents(tmp_path / "incidents.csv")
    done = succeed("score", "--model", model, "--data", data, "--label-column", "label")
    lines = done.stdout.splitlines()

    assert lines[0] == "row,reconstruction_error,score,p_value,anomaly"
    assert len(lines) == 201
    assert [line.split(",")[0] for line in lines[1:]] == [str(i) for i in range(200)]
    assert {line.split(",")[4] for line in lines[1:]} == {"0", "1"}
    assert done.stderr == ""


def test_broken_rows_are_anomalies_and_few_others(model, tmp_path):
    data = write_incidents(tmp_path / "incidents.csv")
    verdicts = score_csv("--model", model, "--data", data, "--label-column", "label")
    flagged = [i for i, verdict in enumerate(verdicts) if verdict["anomaly"] == "1"]

    assert set(range(100, 120)) <= set(flagged)
    assert len(flagged) < 20 + 30


def test_anomaly_means_a_score_above_1(model, tmp_path):
    data = write_incidents(tmp_path / "incidents.csv")
    for verdict in score_ndjson("--model", model, "--data", data, "--label-column", "label"):
        assert verdict["anomaly"] == (verdict["score"] > 1)
        assert verdict["anomaly"] == (verdict["reconstruction_error"] > verdict["threshold"])
        assert math.isclose(verdict["score"],
                            verdict["reconstruction_error"] / verdict["threshold"])
        assert 0 < verdict["p_value"] <= 1


def test_csv_and_ndjson_agree_to_the_last_digit(model, tmp_path):
    data = write_csv(tmp_path / "rows.csv", make_rows(20, seed=3))
    for in_csv, in_json in zip(score_csv("--model", model, "--data", data),
                               score_ndjson("--model", model, "--data", data), strict=True):
        for key in ["row", "reconstruction_error", "score", "p_value", "anomaly"]:
            assert float(in_csv[key]) == in_json[key]


def test_ndjson_verdict_has_the_keys_of_the_contract(model, tmp_path):
    data = write_csv(tmp_path / "rows.csv", make_rows(1))
    (verdict,) = score_ndjson("--model", model, "--data", data)
    assert list(verdict) == ["row", "reconstruction_error", "threshold", "score", "p_value",
                             "anomaly"]


def test_json_is_ndjson(model, tmp_path):
    data = write_csv(tmp_path / "rows.csv", make_rows(5))
    arguments = ["score", "--model", model, "--data", data]
    assert (succeed(*arguments, "--json").stdout
            == succeed(*arguments, "--format", "ndjson").stdout)


def test_explain_blames_what_is_broken_and_says_what_was_expected(model, tmp_path):
    data = write_csv(tmp_path / "rows.csv", [[0, 0, 0, 0], [0, 0, 0, 30]])
    verdict = score_ndjson("--model", model, "--data", data, "--explain", 4)[1]
    shares = [part["share"] for part in verdict["contributions"]]

    assert verdict["contributions"][0]["feature"] == "net"
    assert verdict["contributions"][0]["value"] == 30
    assert abs(verdict["contributions"][0]["expected"]) < 1
    assert math.isclose(sum(shares), 1)
    assert shares == sorted(shares, reverse=True)


def test_explain_n_cuts_the_list_but_leaves_the_shares(model, tmp_path):
    data = write_csv(tmp_path / "rows.csv", make_rows(3))
    for whole, cut in zip(score_ndjson("--model", model, "--data", data, "--explain", 99),
                          score_ndjson("--model", model, "--data", data, "--explain", 2),
                          strict=True):
        assert len(whole["contributions"]) == 4
        assert cut["contributions"] == whole["contributions"][:2]


def test_columns_match_the_model_by_name_in_any_order(model, tmp_path):
    rows = make_rows(10)
    ordered = write_csv(tmp_path / "ordered.csv", rows)
    mixed = write_csv(tmp_path / "mixed.csv", [row[::-1] for row in rows], names=FEATURES[::-1])

    assert (score_csv("--model", model, "--data", ordered)
            == score_csv("--model", model, "--data", mixed))


def test_file_without_header_is_matched_by_position(model, tmp_path):
    rows = make_rows(10)
    named = write_csv(tmp_path / "named.csv", rows)
    bare = write_csv(tmp_path / "bare.csv", rows, names=None)

    assert (score_csv("--model", model, "--data", named)
            == score_csv("--model", model, "--data", bare))


def test_rows_come_from_standard_input_too(model, tmp_path):
    data = write_csv(tmp_path / "rows.csv", make_rows(3))
    text = data.read_text(encoding="utf-8")
    assert (score_csv("--model", model, "--data", "-", input=text)
            == score_csv("--model", model, "--data", data))


def test_unknown_column_is_an_error_with_the_nearest_name(model, tmp_path):
    data = write_csv(tmp_path / "rows.csv", make_rows(3), names=["cpu", "mem", "dsk", "net"])
    message = fail(1, "score", "--model", model, "--data", data)

    assert message.startswith(f"{data}:1: column 3")
    assert "dsk" in message and "disk" in message


def test_excluded_columns_may_be_unknown_to_the_model(model, tmp_path):
    rows = [[*row, 7] for row in make_rows(3)]
    data = write_csv(tmp_path / "rows.csv", rows, names=[*FEATURES, "rack"])
    fail(1, "score", "--model", model, "--data", data)
    assert len(score_csv("--model", model, "--data", data, "--exclude", "rack")) == 3


def test_missing_values_are_imputed_and_listed(model, tmp_path):
    data = write_csv(tmp_path / "rows.csv", [[0, None, 0, 0], [0, 0, 0, 0], [None, 0, None, 0]])
    verdicts = score_ndjson("--model", model, "--data", data, "--explain", 4)

    assert [verdict.get("imputed") for verdict in verdicts] == [["mem"], None, ["cpu", "disk"]]
    for part in verdicts[0]["contributions"]:
        if part["feature"] == "mem":
            assert part["value"] is None and part["share"] == 0


def test_absent_column_is_missing_in_every_row(model, tmp_path):
    rows = [row[:3] for row in make_rows(2)]
    data = write_csv(tmp_path / "rows.csv", rows, names=FEATURES[:3])
    verdicts = score_ndjson("--model", model, "--data", data)
    assert [verdict["imputed"] for verdict in verdicts] == [["net"], ["net"]]


def test_row_with_more_than_half_missing_is_an_error_before_any_output(model, tmp_path):
    data = write_csv(tmp_path / "rows.csv", [[0, 0, 0, 0], [None, None, 0, 0], [None] * 3 + [0]])
    message = fail(1, "score", "--model", model, "--data", data)
    assert message.startswith(f"{data}:4: 3 of the model's 4 features are missing")


def test_damaged_model_is_an_error_that_names_the_file(model, tmp_path):
    data = write_csv(tmp_path / "rows.csv", make_rows(1))
    cut = tmp_path / "cut.safetensors"
    for size in [0, 5, 100, model.stat().st_size - 1]:
        cut.write_bytes(model.read_bytes()[:size])
        assert fail(1, "score", "--model", cut, "--data", data).startswith(f"{cut}: ")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "give --model"),
        (["--format", "xml"], "--format must be csv or ndjson"),
        (["--explain", "3"], "--explain has no place in CSV"),
        (["--explain", "3", "--format", "csv"], "--explain has no place in CSV"),
        (["--explain", "0", "--json"], "--explain 0: must be a whole number from 1"),
        (["--json", "--format", "csv"], "--json means --format ndjson"),
        (["--mdel", "x"], "unknown option --mdel; did you mean --model?"),
    ],
)
def test_wrong_usage_is_status_2(arguments, words):
    complete = ["--model", "m", "--data", "d"] if arguments else []
    assert words in fail(2, "score", *complete, *arguments)


@pytest.mark.parametrize("n_rows", [1, 5000])
def test_full_disk_is_a_failure(model, tmp_path, n_rows):
    data = write_csv(tmp_path / "rows.csv", make_rows(n_rows))
    for output_format in ["csv", "ndjson"]:
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = run("score", "--model", model, "--data", data, "--format", output_format,
                       stdout=full)
        assert done.returncode == 1
        assert done.stderr == ("anomalyctl: standard output: cannot write: "
                               "No space left on device\n")


def test_reader_that_leaves_early_ends_it_quietly(model, tmp_path):
    data = write_csv(tmp_path / "rows.csv", make_rows(20000))
    with subprocess.Popen(
        [ANOMALYCTL, "score", "--model", model, "--data", data],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, restore_signals=False,
    ) as child:
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(60) == -signal.SIGPIPE
        assert child.stderr.read() == b""


def test_help_lists_the_commands_and_each_one_explains_itself():
    text = succeed("--help").stdout
    for command in ["train", "score", "evaluate", "inspect", "record", "replay"]:
        assert f"\n  {command} " in text
        done = succeed(command, "--help")
        assert done.stdout.startswith(f"Usage: anomalyctl {command} ")
        assert "--json" in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 100


def test_version_is_one_line():
    assert succeed("--version").stdout == "anomalyctl 0.1.0\n"
    assert succeed("score", "--version").stdout == "anomalyctl 0.1.0\n"


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "give a command"),
        (["scroe"], "unknown command scroe; see anomalyctl --help"),
        (["evaluat"], "unknown command evaluat; did you mean evaluate?"),
        (["--verbose"], "unknown option --verbose"),
    ],
)
def test_unknown_command_is_status_2(arguments, words):
    assert words in fail(2, *arguments)


def test_standard_input_cannot_be_both_model_and_data():
    message = fail(2, "score", "--model", "-", "--data", "-", input="")
    assert message == "score: --model and --data cannot both be standard input"

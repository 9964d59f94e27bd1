"""anomalyctl evaluate: verdicts against labels."""

import csv
import io

import pytest
from ctl import fail, make_rows, succeed, succeed_json, train, write_csv, write_incidents

KEYS = ["rows", "anomalies", "roc_auc", "average_precision", "threshold", "false_positive_rate",
        "recall", "precision", "f1", "seconds"]


@pytest.fixture(name="model", scope="module")
def fixture_model(tmp_path_factory):
    return train(tmp_path_factory.mktemp("model"))


def arguments(model, data):
    return ["--model", model, "--data", data, "--label-column", "label"]


def test_json_has_exactly_the_keys_of_the_contract(model, tmp_path):
    data = write_incidents(tmp_path / "incidents.csv")
    result = succeed_json("evaluate", *arguments(model, data), "--json")

    assert list(result) == KEYS
    assert result["rows"] == 200
    assert result["anomalies"] == 20
    assert result["recall"] == 1
    assert result["roc_auc"] > 0.99


def test_figures_match_the_verdicts_of_score(model, tmp_path):
    data = write_incidents(tmp_path / "incidents.csv")
    result = succeed_json("evaluate", *arguments(model, data), "--json")
    verdicts = list(csv.DictReader(
        io.StringIO(succeed("score", *arguments(model, data)).stdout)))
    scores = [float(verdict["score"]) for verdict in verdicts]
    flagged = [verdict["anomaly"] == "1" for verdict in verdicts]
    is_anomaly = [100 <= i < 120 for i in range(200)]

    hits = sum(f and a for f, a in zip(flagged, is_anomaly))
    false_alarms = sum(f and not a for f, a in zip(flagged, is_anomaly))
    pairs = [(a > b) + (a == b) / 2
             for a, bad in zip(scores, is_anomaly) if bad
             for b, other in zip(scores, is_anomaly) if not other]
    assert result["recall"] == pytest.approx(hits / 20)
    assert result["false_positive_rate"] == pytest.approx(false_alarms / 180)
    assert result["precision"] == pytest.approx(hits / (hits + false_alarms))
    assert result["f1"] == pytest.approx(2 * hits / (hits + false_alarms + 20))
    assert result["roc_auc"] == pytest.approx(sum(pairs) / len(pairs))


def test_table_has_the_same_figures_for_people(model, tmp_path):
    data = write_incidents(tmp_path / "incidents.csv")
    lines = succeed("evaluate", *arguments(model, data)).stdout.splitlines()

    assert [line.split()[0] for line in lines] == KEYS
    assert lines[0].split()[1] == "200"
    assert len({len(line) for line in lines}) == 1  # aligned


def test_one_is_an_anomaly_like_any_name(model, tmp_path):
    named = write_incidents(tmp_path / "named.csv")
    numbered = write_incidents(tmp_path / "numbered.csv", label="1")
    results = [succeed_json("evaluate", *arguments(model, data), "--json")
               for data in [named, numbered]]
    for result in results:
        del result["seconds"]
    assert results[0] == results[1]


@pytest.mark.parametrize("label", ["2", "-1", "0.5", "inf"])
def test_other_numbers_are_no_labels(model, tmp_path, label):
    data = write_incidents(tmp_path / "incidents.csv", label=label)
    message = fail(1, "evaluate", *arguments(model, data))

    assert message.startswith(f"{data}:102: --label-column label: label {label} ")


def test_recovery_rows_are_left_out_and_counted(model, tmp_path):
    data = write_incidents(tmp_path / "incidents.csv", label="recovery")
    text = data.read_text(encoding="utf-8").replace("recovery", "leak", 5)
    data.write_text(text, encoding="utf-8")
    result = succeed_json("evaluate", *arguments(model, data), "--json")

    assert list(result) == [*KEYS, "left_out"]
    assert (result["rows"], result["anomalies"], result["left_out"]) == (185, 5, 15)
    assert "left_out" in succeed("evaluate", *arguments(model, data)).stdout


def test_normal_rows_alone_give_null_and_a_warning(model, tmp_path):
    data = write_csv(tmp_path / "quiet.csv", make_rows(50, seed=5), labels=["0"] * 50)
    done = succeed("evaluate", *arguments(model, data))
    result = succeed_json("evaluate", *arguments(model, data), "--json")

    assert done.stderr.startswith(
        f"anomalyctl: warning: {data}: --label-column label: no row is an anomaly")
    assert result["roc_auc"] is None
    assert result["average_precision"] is None
    assert result["recall"] is None
    assert result["false_positive_rate"] is not None
    assert "roc_auc                       -\n" in done.stdout


def test_anomalies_alone_give_null_and_a_warning(model, tmp_path):
    data = write_csv(tmp_path / "loud.csv", make_rows(50, seed=5), labels=["leak"] * 50)
    assert "no row is normal" in succeed("evaluate", *arguments(model, data)).stderr

    result = succeed_json("evaluate", *arguments(model, data), "--json")
    assert result["roc_auc"] is None
    assert result["false_positive_rate"] is None


def test_label_column_must_be_given_and_be_there(model, tmp_path):
    data = write_incidents(tmp_path / "incidents.csv")

    assert "give --label-column" in fail(2, "evaluate", "--model", model, "--data", data)
    message = fail(1, "evaluate", "--model", model, "--data", data, "--label-column", "lable")
    assert str(data) in message and "lable" in message


def test_standard_input_cannot_be_both_model_and_data():
    message = fail(2, "evaluate", "--model", "-", "--data", "-", "--label-column", "label",
                   input="")
    assert message == "evaluate: --model and --data cannot both be standard input"

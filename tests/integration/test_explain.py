"""Whose fault a row is: shares, expected and usual values, on the command line and over HTTP."""

import json
import random

import numpy
import pytest

from conftest import FEATURES, NORMAL, ODD, check_problem
from ctl import fail, succeed


def walk(n_rows, seed=1, fault=None, begin=40):
    """Rows of one series; from `begin` on the feature `fault` is far off and stays there."""
    draw = random.Random(seed)
    rows = []
    for i in range(n_rows):
        row = [value + draw.gauss(0, 0.1) for value in NORMAL]
        if fault is not None and i >= begin:
            row[fault] += 60
        rows.append([float(f"{value:.6g}") for value in row])
    return rows


def score_file(model_file, tmp_path, rows, *options, series=None):
    lines = [",".join([*FEATURES, *(["series"] if series else [])])]
    for i, row in enumerate(rows):
        lines.append(",".join([*map(repr, row), *([series[i]] if series else [])]))
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    out = succeed("score", "--model", model_file, "--data", path, "--format", "ndjson",
                  "--explain", len(FEATURES), *options).stdout
    return [json.loads(line)["contributions"] for line in out.splitlines()]


def score_daemon(daemon, rows, **options):
    body = {"instances": rows, "explain": "all", "top": len(FEATURES), **options}
    return [result["contributions"] for result in daemon.score(body).json()["results"]]


def test_a_fault_that_stays_is_still_named_first_after_many_rows(daemon):
    for fault, name in enumerate(FEATURES):
        blamed = score_daemon(daemon, walk(200, fault=fault), series=name)
        assert {parts[0]["feature"] for parts in blamed[40:]} == {name}


def test_the_daemon_blames_as_the_command_line_does_for_the_same_rows(daemon, model_file, tmp_path):
    rows = walk(120, fault=2)
    in_file = score_file(model_file, tmp_path, rows)
    over_http = score_daemon(daemon, rows[:50], series="batch and single rows")
    over_http += [daemon.score({"features": row, "explain": "all", "top": len(FEATURES),
                                "series": "batch and single rows"}).json()["contributions"]
                  for row in rows[50:]]
    assert over_http == in_file


def test_rows_without_a_series_are_one_series(start_daemon, model_file, tmp_path):
    daemon = start_daemon()
    rows = walk(60, fault=1)
    assert score_daemon(daemon, rows) == score_file(model_file, tmp_path, rows)


def test_a_series_on_another_level_than_the_training_rows_is_not_blamed_for_that(
        model_file, tmp_path):
    rows = walk(160)
    for i, row in enumerate(rows):
        row[5] += 120  # 12 deviations, from the first row on
        if i >= 100:
            row[2] += 30  # 6 deviations, a fault
    blamed = [parts[0]["feature"] for parts in score_file(model_file, tmp_path, rows)]
    assert blamed[0] == FEATURES[5]
    assert set(blamed[100:]) == {FEATURES[2]}


def test_independent_rows_know_nothing_of_each_other(daemon, model_file, tmp_path):
    rows = walk(60, fault=1)
    alone = score_file(model_file, tmp_path, rows, "--independent-rows")
    assert alone == score_file(model_file, tmp_path, rows[::-1], "--independent-rows")[::-1]
    assert alone == score_daemon(daemon, rows, series=None)
    assert alone != score_file(model_file, tmp_path, rows)


def test_a_column_series_keeps_rows_apart(model_file, tmp_path):
    one, two = walk(50, seed=1, fault=0), walk(50, seed=2, fault=3)
    mixed = [row for pair in zip(one, two) for row in pair]
    blamed = score_file(model_file, tmp_path, mixed, series=["one", "two"] * 50)
    assert blamed[::2] == score_file(model_file, tmp_path, one)
    assert blamed[1::2] == score_file(model_file, tmp_path, two)


def test_movement_goes_on_over_a_reload(start_daemon, model_file, tmp_path):
    daemon = start_daemon()
    rows = walk(60, fault=1)
    blamed = score_daemon(daemon, rows[:50])
    daemon.reload("reloaded")
    blamed += score_daemon(daemon, rows[50:])
    assert blamed == score_file(model_file, tmp_path, rows)


def test_rows_that_are_not_explained_count_as_movement_too(daemon, model_file, tmp_path):
    rows = walk(60, fault=1)
    daemon.score({"instances": rows[:50], "explain": "none", "series": "quiet"})
    assert (score_daemon(daemon, rows[50:], series="quiet")
            == score_file(model_file, tmp_path, rows)[50:])


def test_what_is_expected_lies_in_what_was_seen_and_direction_says_which_side(daemon):
    parts = daemon.score({"features": ODD, "explain": "all", "top": 6,
                          "series": None}).json()["contributions"]
    for part in parts:
        low, high = part["usual"]
        assert low <= high
        if part["value"] != part["expected"]:
            assert part["direction"] == ("above" if part["value"] > part["expected"] else "below")
    odd = parts[0]
    assert odd["feature"] == "cpu" and odd["direction"] == "above"
    assert odd["usual"][0] <= odd["expected"] <= odd["usual"][1] < odd["value"]


def test_details_are_told_on_request(daemon):
    plain = daemon.score({"features": ODD, "series": None}).json()
    in_body = daemon.score({"features": ODD, "series": None, "detail": True}).json()
    in_query = daemon.score({"features": ODD, "series": None}, "?detail=true").json()
    assert in_body == in_query
    assert "counterfactual" not in plain and "error_share" not in plain["contributions"][0]
    assert [part["error_share"] for part in in_body["contributions"]]
    assert daemon.score({"features": ODD, "series": None, "detail": False}).json() == plain


def test_error_shares_sum_to_one(daemon):
    parts = daemon.score({"features": ODD, "detail": True, "top": 6}).json()["contributions"]
    assert sum(part["error_share"] for part in parts) == pytest.approx(1)


def test_a_counterfactual_makes_the_row_normal(daemon):
    found = daemon.score({"features": ODD, "detail": True}).json()["counterfactual"]
    row = {**dict(zip(FEATURES, ODD)), **found["features"]}
    again = daemon.score({"features": row}).json()
    assert found["features"] and not again["anomaly"]
    assert again["score"] == pytest.approx(found["score"])


def test_relations_that_no_longer_hold_are_named(daemon):
    verdict = daemon.score({"features": [10, 8, -3, 0.2, 1, 0], "series": None}).json()
    relation = verdict["broken_relations"][0]
    assert set(relation["features"]) == {"cpu", "load"}  # 10 + 3 a and 2 a
    assert relation["correlation"] > 0.95 and relation["distance"] > 4


def test_details_of_many_rows_are_refused(daemon):
    problem = check_problem(daemon.score({"instances": [ODD] * 1001, "detail": True}), 413)
    assert "at most 1000 rows" in problem["detail"]
    assert daemon.score({"instances": [NORMAL] * 1001, "detail": False}).status == 200


def test_the_command_line_tells_details_too(model_file, tmp_path):
    path = tmp_path / "odd.csv"
    path.write_text(",".join(FEATURES) + "\n" + ",".join(map(str, ODD)) + "\n", encoding="ascii")
    arguments = ["score", "--model", model_file, "--data", path, "--format", "ndjson"]
    verdict = json.loads(succeed(*arguments, "--explain", 6, "--detail").stdout)
    assert verdict["counterfactual"]["score"] <= 1 < verdict["score"]
    assert sum(part["error_share"] for part in verdict["contributions"]) == pytest.approx(1)
    assert verdict["summary"].startswith("cpu 100")
    assert "--explain N" in fail(2, *arguments, "--detail")


def tensor(model_file, name):
    data = model_file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    begin, end = header[name]["data_offsets"]
    return (numpy.frombuffer(data[8 + length + begin:8 + length + end], "<f4")
            .reshape(header[name]["shape"]).astype("f8"))


def document(model_file):
    data = model_file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(json.loads(data[8:8 + length])["__metadata__"]["detector"])


class ByNumpy:
    """The explanation as docs/model-file.md writes it."""

    def __init__(self, model_file):
        scaler = document(model_file)["scaler"]
        self.mean, self.std = numpy.array(scaler["mean"]), numpy.array(scaler["std"])
        self.precision = tensor(model_file, "explanation.precision")
        self.jumps = tensor(model_file, "explanation.jumps")
        self.low, self.high, *_ = tensor(model_file, "explanation.ranges")
        self.deviation = 1 / numpy.sqrt(numpy.diag(self.precision))
        self.averages, self.hold = numpy.zeros_like(self.jumps), numpy.zeros(len(self.mean))
        self.n_rows = 0

    def distance(self, z, fault, i):
        return fault[i] + (self.precision[i] @ (z - fault)) * self.deviation[i] ** 2

    def sweep(self, z, fault, n_sweeps, reduce):
        for _ in range(n_sweeps):
            changed = False
            for i in range(len(z)):
                wanted = reduce(self.distance(z, fault, i), self.deviation[i])
                if abs(wanted - fault[i]) > 1e-3 * self.deviation[i]:
                    fault[i], changed = wanted, True
            if not changed:
                break

    def begin(self, z):
        fault = numpy.zeros(len(z))
        for _ in range(3):
            for i in numpy.flatnonzero((z < self.low) | (z > self.high)):
                fault[i] = self.distance(z, fault, i)
        return fault

    def explain(self, row):
        z = numpy.clip((row - self.mean) / self.std, -100, 100)
        windows = numpy.array([[20], [1440]])
        jump = (numpy.abs(z - self.averages) / (self.jumps + 0.2)).max(axis=0)
        self.hold = numpy.maximum(0.9 * self.hold, jump)
        self.n_rows += 1
        self.averages += (z - self.averages) / (windows if self.n_rows >= 20 else self.n_rows)

        def soft(by):
            return lambda u, deviation: numpy.sign(u) * max(abs(u) - by * deviation, 0)

        fault = self.begin(z)
        self.sweep(z, fault, 15, soft(3))
        unusual = [abs(self.distance(z, fault, i)) / self.deviation[i] for i in range(len(z))]
        weights = self.hold ** 0.7 * numpy.array(unusual) ** 0.3
        fault = self.begin(z)
        self.sweep(z, fault, 15, soft(2))
        self.sweep(z, fault, 10, lambda u, deviation: u if abs(u) > 3 * deviation else 0)
        expected = [numpy.clip(z[i] - self.distance(z, fault, i), self.low[i], self.high[i])
                    for i in range(len(z))]
        return weights / weights.sum(), self.mean + self.std * expected


@pytest.mark.parametrize("fault", [None, 0, 3])
def test_numpy_explains_the_same_from_the_model_file_alone(model_file, tmp_path, fault):
    rows = walk(80, fault=fault)
    reference = ByNumpy(model_file)
    for row, parts in zip(rows, score_file(model_file, tmp_path, rows), strict=True):
        shares, expected = reference.explain(numpy.array(row, dtype="f4").astype("f8"))
        for part in parts:
            i = FEATURES.index(part["feature"])
            assert part["share"] == pytest.approx(shares[i], abs=2e-3)
            assert part["expected"] == pytest.approx(expected[i], rel=2e-3, abs=2e-3)

"""POST /v1/models/{m}/score and /v1/score: bodies, options, verdicts; GET /v1/models."""

import json
import math
import struct

import pytest

from conftest import FEATURES, NORMAL, ODD, check_problem

VERDICT_KEYS = {"model", "version", "reconstruction_error", "threshold", "score", "p_value",
                "anomaly"}


def named(row):
    return dict(zip(FEATURES, row))


def test_a_normal_row_is_no_anomaly(daemon):
    verdict = daemon.score(NORMAL).json()
    assert set(verdict) == VERDICT_KEYS
    assert verdict["model"] == "web" and verdict["version"] == 1
    assert verdict["anomaly"] is False and 0 <= verdict["score"] <= 1
    assert 0 < verdict["p_value"] <= 1


def test_an_odd_row_is_an_anomaly_with_contributions(daemon):
    reply = daemon.score(ODD)
    verdict = reply.json()
    assert reply.status == 200 and reply.headers["content-type"] == "application/json"
    assert set(verdict) - {"broken_relations"} == VERDICT_KEYS | {"contributions", "summary"}
    assert verdict["summary"].startswith("cpu 100 (expected 1")
    assert verdict["anomaly"] is True and verdict["score"] > 1
    assert verdict["reconstruction_error"] > verdict["threshold"] > 0
    assert len(verdict["contributions"]) == 5
    assert verdict["contributions"][0]["feature"] == "cpu"
    assert verdict["contributions"][0]["value"] == 100
    assert 5 < verdict["contributions"][0]["expected"] < 15


def test_score_is_error_over_threshold(daemon):
    for row in (NORMAL, ODD):
        verdict = daemon.score(row).json()
        assert verdict["score"] == verdict["reconstruction_error"] / verdict["threshold"]
        assert verdict["anomaly"] == (verdict["score"] > 1)


@pytest.mark.parametrize("body", [ODD, {"features": ODD}, {"features": named(ODD)},
                                  {"features": dict(reversed(named(ODD).items()))}],
                         ids=["array", "features", "named", "named in another order"])
def test_all_forms_of_one_row_say_the_same(daemon, body):
    # The blame goes by what came before the row (test_explain.py).
    assert (daemon.score(body, "?explain=none").body
            == daemon.score({"features": ODD}, "?explain=none").body)


def test_the_only_model_needs_no_name(daemon):
    assert (daemon.request("POST", "/v1/score?explain=none", ODD).body
            == daemon.score(ODD, "?explain=none").body)


def test_a_batch_is_bit_equal_to_its_rows_alone(daemon):
    rows = [[value + step / 7 for value in NORMAL] for step in range(50)] + [ODD]
    batch = daemon.score({"instances": rows, "series": None}).json()
    assert set(batch) == {"model", "version", "threshold", "results"}
    assert len(batch["results"]) == len(rows)
    for row, result in zip(rows, batch["results"]):
        alone = daemon.score({"features": row, "series": None}).json()
        for key in ("model", "version", "threshold"):
            del alone[key]
        assert result == alone
        for key in ("reconstruction_error", "score", "p_value"):
            assert struct.pack("<d", result[key]) == struct.pack("<d", alone[key])


def test_a_batch_may_mix_arrays_and_objects(daemon):
    results = daemon.score({"instances": [ODD, named(ODD)], "series": None}).json()["results"]
    assert results[0] == results[1]


@pytest.mark.parametrize("body", [
    {"features": [100, None, -3, 0, 1, 0]},
    {"features": {**named(ODD), "load": None}},
    {"features": {name: value for name, value in named(ODD).items() if name != "load"}},
], ids=["null in an array", "null by name", "absent by name"])
def test_a_missing_value_is_imputed_and_listed(daemon, body):
    verdict = daemon.score(body).json()
    assert verdict["imputed"] == ["load"]
    shares = {entry["feature"]: entry["share"] for entry in verdict["contributions"]}
    assert shares.get("load", 0) == 0


def test_a_missing_value_is_null_in_its_contribution(daemon):
    verdict = daemon.score({"features": [100, None, -3, 0, 1, 0], "explain": "all", "top": 6}).json()
    entry = [entry for entry in verdict["contributions"] if entry["feature"] == "load"]
    assert entry[0]["value"] is None and entry[0]["expected"] is not None


def test_contributions_are_sorted_and_sum_to_one(daemon):
    contributions = daemon.score(ODD, "?top=6").json()["contributions"]
    shares = [entry["share"] for entry in contributions]
    assert len(shares) == len(FEATURES)
    assert math.isclose(sum(shares), 1, abs_tol=1e-9)
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("explain, normal, odd", [("none", False, False),
                                                  ("anomalies", False, True), ("all", True, True)])
def test_explain_says_whose_contributions_are_shown(daemon, explain, normal, odd):
    body = {"instances": [NORMAL, ODD], "series": None}
    in_body = daemon.score({**body, "explain": explain}).json()["results"]
    in_query = daemon.score(body, f"?explain={explain}").json()["results"]
    assert in_body == in_query
    assert ["contributions" in result for result in in_body] == [normal, odd]


def test_top_cuts_the_contributions(daemon):
    assert len(daemon.score({"features": ODD, "top": 2}).json()["contributions"]) == 2
    assert len(daemon.score(ODD, "?top=3").json()["contributions"]) == 3
    assert len(daemon.score(ODD, "?top=1000").json()["contributions"]) == len(FEATURES)


@pytest.mark.parametrize("content_type", [
    None, "application/json", "application/json; charset=utf-8", "Application/JSON;charset=\"UTF-8\"",
    "application/x-www-form-urlencoded", "text/plain;charset=utf-8",
])
def test_json_is_taken_under_these_types(daemon, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    with daemon.connect() as client:
        body = json.dumps(ODD).encode()
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        client.send(f"POST /v1/score HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {len(body)}"
                    "\r\n\r\n".encode() + body)
        assert client.read().json()["anomaly"] is True


def test_a_chunked_body_is_taken(daemon):
    pieces = (piece for piece in [b"[100,0,", b"-3,0", b",1,0]"])
    assert daemon.score(pieces).json()["anomaly"] is True


def test_a_large_batch_is_answered(daemon):
    rows = [[value + step % 13 / 10 for value in NORMAL] for step in range(20000)]
    results = daemon.score({"instances": rows, "explain": "none"}).json()["results"]
    assert len(results) == 20000
    assert results[0] == results[13] == results[19994 - 19994 % 13]


def test_a_sane_request_id_is_taken_over(daemon):
    reply = daemon.request("GET", "/healthz", headers={"X-Request-Id": "abc-1.2_Z"})
    assert reply.headers["x-request-id"] == "abc-1.2_Z"


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 65, "ä", "<script>"])
def test_other_request_ids_are_made_up(daemon, given):
    headers = {"X-Request-Id": given.encode()} if given is not None else {}
    ids = {daemon.request("GET", "/healthz", headers=headers).headers["x-request-id"]
           for _ in range(3)}
    assert len(ids) == 3 and given not in ids
    assert all(len(made) >= 8 for made in ids)


def test_models_are_listed(daemon):
    assert daemon.request("GET", "/v1/models").json() == {
        "models": [{"name": "web", "version": 1, "state": "serving"}]
    }


def test_a_model_tells_about_itself(daemon, model_file):
    import hashlib

    model = daemon.request("GET", "/v1/models/web").json()
    assert model["name"] == "web" and model["version"] == 1 and model["state"] == "serving"
    assert model["features"] == FEATURES
    assert model["false_alarm_rate"] == 0.05
    assert model["threshold"] == daemon.score(NORMAL).json()["threshold"]
    assert model["threshold_basis"] == "conformal"
    assert len(model["architecture"]) == 2  # networks, which see each feature twice
    for widths in model["architecture"]:
        assert widths[0] == widths[-1] == 2 * len(FEATURES)
        assert min(widths) < len(FEATURES)
    assert model["rows"] == 500
    assert model["trained_at"].endswith("Z") and model["trained_at"][10] == "T"
    assert model["sha256"] == hashlib.sha256(model_file.read_bytes()).hexdigest()


def test_a_rate_that_needs_more_rows_is_said_to_rest_on_the_tail(start_daemon, model_file):
    daemon = start_daemon({"web": {"file": model_file, "false_alarm_rate": "0.0001"}})
    model = daemon.request("GET", "/v1/models/web").json()
    assert model["threshold_basis"] == "tail-fit" and model["false_alarm_rate"] == 0.0001


def test_missing_reject_names_the_missing_features(start_daemon, model_file):
    daemon = start_daemon({"web": {"file": model_file, "missing": "reject"}})
    problem = check_problem(daemon.score({"instances": [ODD, [1, None, 1, 1, None, 1]]}), 422)
    assert problem["missing"] == ["load", "temp"] and "Row 1" in problem["detail"]
    assert daemon.score(ODD).status == 200


def test_head_is_allowed_where_get_is(daemon):
    for path in ("/healthz", "/v1/models", "/metrics"):
        reply = daemon.request("HEAD", path)
        assert reply.status == 200 and reply.body == b""


def test_health_and_readiness(daemon):
    assert daemon.request("GET", "/healthz").json() == {"status": "ok"}
    assert daemon.request("GET", "/readyz").json() == {"status": "ready"}

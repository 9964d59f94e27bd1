"""GET /metrics: format, counters from 0, counts that are right at once."""

import shutil
import subprocess

import pytest

from conftest import NORMAL, ODD

ROUTES = ["/v1/models/{m}/score", "/v1/score", "/v1/models", "/v1/models/{m}", "/healthz", "/readyz",
          "/metrics", "other"]
ROUTES += ["/v1/models/{m}/" + name for name in (
    "observe", "retrain", "runs", "runs/{id}", "versions", "versions/{v}/promote", "rollback",
    "feedback", "freeze", "unfreeze", "rebaseline", "reset", "buffer", "events")]


def requests(metrics, route, code):
    return metrics.get(f'anomalyd_http_requests_total{{route="{route}",code="{code}"}}', 0)


def test_the_page_has_the_type_of_the_text_format(daemon):
    reply = daemon.request("GET", "/metrics")
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert reply.body.endswith(b"\n")


def test_promtool_has_nothing_to_say(daemon):
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    daemon.score({"instances": [NORMAL, ODD]})
    page = daemon.request("GET", "/metrics").body
    check = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True)
    assert check.returncode == 0 and check.stdout + check.stderr == b""


def test_counters_are_there_at_0_from_the_start(start_daemon):
    metrics = start_daemon().metrics()
    assert metrics['anomalyd_rows_scored_total{model="web"}'] == 0
    assert metrics['anomalyd_anomalies_total{model="web"}'] == 0
    assert metrics['anomalyd_score_count{model="web"}'] == 0
    for route in ROUTES:
        assert any(name.startswith(f'anomalyd_http_requests_total{{route="{route}"')
                   for name in metrics), route
    assert any(name.startswith("anomalyd_build_info{") for name in metrics)
    assert metrics["process_resident_memory_bytes"] > 0


def test_rows_and_anomalies_are_counted_right_after_the_answer(daemon):
    before = daemon.metrics()
    for n in range(1, 6):
        daemon.score({"instances": [NORMAL, NORMAL, ODD]})
        after = daemon.metrics()
        for name, rows in (("rows_scored", 3), ("anomalies", 1)):
            key = f'anomalyd_{name}_total{{model="web"}}'
            assert after[key] - before[key] == n * rows
        key = 'anomalyd_score_bucket{model="web",le="1"}'
        assert after[key] - before[key] == 2 * n


@pytest.mark.parametrize("method, path, body, route, code", [
    ("POST", "/v1/models/web/score", ODD, "/v1/models/{m}/score", 200),
    ("POST", "/v1/models/web/score", [1], "/v1/models/{m}/score", 422),
    ("POST", "/v1/models/nix/score", ODD, "/v1/models/{m}/score", 404),
    ("GET", "/v1/score", None, "/v1/score", 405),
    ("GET", "/v1/models/web", None, "/v1/models/{m}", 200),
    ("GET", "/no/such/path", None, "other", 404),
])
def test_requests_are_counted_by_route_and_code(daemon, method, path, body, route, code):
    before = daemon.metrics()
    assert daemon.request(method, path, body).status == code
    after = daemon.metrics()
    assert requests(after, route, code) - requests(before, route, code) == 1


def test_what_never_became_a_request_is_counted(daemon):
    before = requests(daemon.metrics(), "other", 400)
    with daemon.connect() as client:
        client.send(b"rubbish\r\n\r\n")
        assert client.read().status == 400
    assert requests(daemon.metrics(), "other", 400) - before == 1


def test_the_duration_of_what_never_became_a_request_is_its_wait(start_daemon):
    daemon = start_daemon(request_timeout="300ms")
    name = "anomalyd_http_request_duration_seconds_sum"

    def total():
        return sum(value for key, value in daemon.metrics().items() if key.startswith(name))

    before = total()
    with daemon.connect() as client:
        client.send(b"GET /")
        assert client.read().status == 408
    assert total() - before > 0.25


def test_durations_are_a_histogram_of_all_requests(daemon):
    metrics = daemon.metrics()
    buckets = [value for name, value in metrics.items()
               if name.startswith("anomalyd_http_request_duration_seconds_bucket")]
    assert buckets and buckets[-1] > 0


def test_the_model_is_described(daemon):
    metrics = daemon.metrics()
    assert metrics['anomalyd_threshold{model="web"}'] == daemon.score(ODD).json()["threshold"]
    assert metrics['anomalyd_model_version{model="web"}'] == 1
    assert metrics['anomalyd_false_alarm_rate_target{model="web"}'] == 0.05
    assert metrics['anomalyd_model_trained_timestamp_seconds{model="web"}'] > 1e9

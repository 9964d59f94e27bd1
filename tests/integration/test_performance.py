"""`make bench` itself: what it reads, draws and judges, and a run of it that takes seconds."""

import json
import math
import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from conftest import ANOMALYCTL, IS_SANITIZED

BENCH = pathlib.Path(__file__).resolve().parents[1] / "bench"
sys.path.insert(0, str(BENCH))
numpy = pytest.importorskip("numpy")

import performance  # noqa: E402
import performance_curves  # noqa: E402
import performance_model  # noqa: E402
import performance_profile  # noqa: E402
import performance_report  # noqa: E402
import performance_servers  # noqa: E402
import performance_svg  # noqa: E402


@pytest.fixture(scope="module")
def fast_model(tmp_path_factory):
    """A model of preset fast, and rows it has not seen."""
    folder = tmp_path_factory.mktemp("fast")
    numpy.save(folder / "train.npy", performance_model.make_rows(600, 5, 1).astype(numpy.float32))
    subprocess.run([ANOMALYCTL, "train", "--preset", "fast", "--data", folder / "train.npy",
                    "--output", folder / "m.safetensors"], check=True, stderr=subprocess.DEVNULL)
    return folder / "m.safetensors", performance_model.make_rows(40, 5, 2).astype(numpy.float32)


def test_a_peers_network_judges_as_the_model_file_says(fast_model, tmp_path):
    path, rows = fast_model
    numpy.save(tmp_path / "rows.npy", rows)
    told = subprocess.run([ANOMALYCTL, "score", "--format", "ndjson", "--model", path, "--data",
                           tmp_path / "rows.npy"], check=True, stdout=subprocess.PIPE).stdout
    verdicts = [json.loads(line) for line in told.splitlines()]
    network = performance_model.Network(path)

    expected = [verdict["reconstruction_error"] for verdict in verdicts]
    assert network.errors(rows) == pytest.approx(expected, rel=1e-4)
    scores = [verdict["score"] for verdict in verdicts]
    assert network.errors(rows) / network.threshold == pytest.approx(scores, rel=1e-4)


def read_fields(data):
    """The (number, value) pairs of a protobuf message; values of fixed size do not occur."""
    def varint(at):
        number = shift = 0
        while True:
            number |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 128:
                return number, at

    at, fields = 0, []
    while at < len(data):
        key, at = varint(at)
        value, at = varint(at)
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        fields.append((key >> 3, value))
    return fields


def run_onnx(data, rows):
    """The few operators that our file uses, computed as ONNX defines them."""
    graph, = (value for number, value in read_fields(data) if number == 7)
    values = {"x": rows}
    for number, part in read_fields(graph):
        fields = read_fields(part)
        if number == 5:
            shape = [value for key, value in fields if key == 1]
            one = {key: value for key, value in fields}
            values[one[8].decode()] = numpy.frombuffer(one[9], "<f4").reshape(shape)
        if number == 1:
            inputs = [values[value.decode()] for key, value in fields if key == 1]
            kind, output = (value.decode() for number in (4, 2)
                            for key, value in fields if key == number)
            values[output] = {
                "Sub": lambda a, b: a - b, "Mul": lambda a, b: a * b, "Div": lambda a, b: a / b,
                "Clip": numpy.clip, "Tanh": numpy.tanh, "Gemm": lambda a, b, c: a @ b.T + c,
                "ReduceMean": lambda a: a.mean(axis=1)}[kind](*inputs)
    return values["error"]


def test_the_onnx_file_computes_the_same(fast_model):
    path, rows = fast_model
    network = performance_model.Network(path)

    told = run_onnx(performance_model.onnx_bytes(network), rows)

    assert told == pytest.approx(network.errors(rows), rel=1e-5)


def test_a_number_of_any_size_is_a_varint():
    assert performance_model.varint(0) == b"\0"
    assert performance_model.varint(127) == b"\x7f"
    assert performance_model.varint(300) == b"\xac\x02"


def results(**costs):
    """As of a run in which cases cost so many microseconds."""
    return {"cases": {name.replace("_", " "): {"rows": 1000 if "batch" in name else 1,
                                               "cpu_us": cost, "p50_us": cost}
                      for name, cost in costs.items()}}


def judged(told, words):
    goal, = (goal for goal in performance_report.evaluate(told) if words in goal["goal"])
    return goal


def test_a_goal_is_met_at_its_limit_and_not_beyond():
    words = "one row of 38, `fast`"
    assert judged(results(fast_38=11.5, nothing_38=10.0), words)["met"] is True
    assert judged(results(fast_38=11.6, nothing_38=10.0), words)["met"] is False
    words = "1000 × 38 JSON, `fast`, rows"
    assert judged(results(fast_38_batch=1000.0), words)["met"] is True
    assert judged(results(fast_38_batch=1001.0), words)["met"] is False


def test_a_goal_without_its_figures_is_not_measured():
    told = results(fast_38=11.5)
    told["cases"]["nothing 38"] = {"not_there": "why not"}

    goals = performance_report.evaluate(told)

    assert all(goal["measured"] is None and goal["met"] is None for goal in goals)
    table = performance_report.goal_table(goals)
    assert table.count(";") == len(goals) - 1 and "Not measured: " in table


def test_the_table_has_ratios_to_the_handler_that_read_the_same_body():
    told = {f"{name} {width}": {"rows": 1, "cpu_us": cost, "quartiles": [cost, cost],
                                "kernel_share": 0.5,
                                "requests_per_second": 1.0, "p50_us": 1.0, "p99_us": 1.0}
            for name, width, cost in (("nothing", 38, 10.0), ("nothing", 128, 20.0),
                                      ("best", 38, 15.0), ("best", 128, 25.0))}
    told["nginx 38"] = {"not_there": "it is not installed"}

    lines = performance_report.case_table(told).splitlines()

    assert len({len(line) for line in lines}) == 1
    ratios = {line.split("|")[1].strip(): line.split("|")[5].strip() for line in lines[2:]}
    assert ratios["best 38"] == "1.50" and ratios["best 128"] == "1.25"
    assert ratios["nginx 38: not there, it is not installed"] == "–"


def test_axes_have_round_ends_and_few_ticks():
    assert performance_svg.axis([1, 4096], True) == (1, 5000, [1, 10, 100, 1000])
    assert performance_svg.axis([12, 80], True) == (10, 100, [10, 20, 50, 100])
    assert performance_svg.axis([0.3, 9.2], False) == (0, 10, [0, 2, 4, 6, 8, 10])
    low, high, ticks = performance_svg.axis([7, 7], True)
    assert low < 7 < high and ticks
    for values in ([1e-6, 1e9], [3, 17], [0.2, 0.21], [99.9, 100.1]):
        for is_log in (True, False):
            low, high, ticks = performance_svg.axis(values, is_log)
            assert low <= min(values) and max(values) <= high and 2 <= len(ticks) <= 9


def test_a_place_on_an_axis_is_a_share_of_it():
    assert performance_svg.place(100, 10, 1000, True) == pytest.approx(0.5)
    assert performance_svg.place(2.5, 0, 10, False) == 0.25


def test_numbers_are_short():
    told = [performance_svg.number(value) for value in (0, 0.5, 1, 10000, 1e5, 2e6, 1e-5)]
    assert told == ["0", "0.5", "1", "10,000", "10⁵", "2·10⁶", "10⁻⁵"]


def test_charts_are_drawn_of_what_was_measured():
    curves = {"models": [{"models": 1, "cpu_us_hot": 9.0, "cpu_us_all": 9.5, "ready_mib": 4.0,
                          "pss_mib": 5.0},
                         {"models": 10, "not_there": "it did not get ready"}]}

    drawn = performance_curves.charts(curves)

    assert list(drawn) == ["models.svg"]
    root = xml.etree.ElementTree.fromstring(drawn["models.svg"])
    dots = [node for node in root.iter() if node.tag.endswith("circle")]
    assert len(dots) == 4
    assert all(math.isfinite(float(dot.get("cx"))) for dot in dots)


def test_a_profile_is_summed_by_program_and_library():
    objects, symbols = performance_profile.parse(
        "# Overhead\n"
        " 40.00%  |[kernel.kallsyms]       |[k] tcp_ack\n"
        " 30.00%  |anomalyd                |[.] packed_multiply.arch_x86_64_v3\n"
        " 20.00%  |libmicrohttpd.so.12.61.0|[.] 0x0000000000012345\n"
        " 10.00%  |anomalyd                |[.] scaler_apply\n")

    assert objects == pytest.approx({"kernel": 0.4, "anomalyd": 0.4, "libmicrohttpd": 0.2})
    assert symbols[0] == [0.3, "anomalyd", "packed_multiply"]


def test_docs_get_what_was_measured_between_their_marks():
    text = "a\n<!-- goals -->\nold\n<!-- /goals -->\nz\n"
    assert performance.put_between_marks(text, "goals", "new") == text.replace("old", "new")
    with pytest.raises(ValueError):
        performance.put_between_marks(text, "machine", "new")


def test_the_page_has_marks_for_everything():
    page = (BENCH.parents[1] / "docs/performance.md").read_text()
    for name in ("machine", "goals", "requests", "training", "limits", "profile", "detector"):
        performance.put_between_marks(page, name, "")
    for name in ("features", "batch", "connections", "models"):
        assert f"performance/{name}.svg" in page


def test_an_earlier_run_is_told_again_with_the_parts_that_are_measured_anew():
    earlier = {"machine": {"cpu": "old"}, "cases": {"a": 1, "b": 2}, "soak": 3, "curves": {"x": 4}}
    anew = {"machine": {"cpu": "new"}, "cases": {"b": 5}, "curves": {"y": 6}}

    assert performance.merge(earlier, anew) == {
        "machine": {"cpu": "new"}, "cases": {"a": 1, "b": 5}, "soak": 3, "curves": {"x": 4, "y": 6}}


def test_a_part_that_is_not_there_is_refused(capsys):
    with pytest.raises(SystemExit):
        performance.parse(["--only", "single,nosuch"])
    assert "there is no part nosuch" in capsys.readouterr().err


def test_files_that_a_server_closes_while_one_looks_do_not_count():
    opens_and_closes = "import os\nwhile True: os.close(os.open('/dev/null', 0))"
    with subprocess.Popen([sys.executable, "-c", opens_and_closes]) as process:
        try:
            for _ in range(5000):
                performance_servers.Sockets.count(process.pid)
        finally:
            process.kill()


@pytest.mark.skipif(IS_SANITIZED, reason="sanitizers cost more than what is measured")
def test_a_short_run_measures_the_daemon(tmp_path):
    """Needs tests/bench/http_load and http_nothing, which `make check` builds."""
    done = subprocess.run([sys.executable, BENCH / "performance.py", "--smoke", "--json",
                           tmp_path / "bench.json"], stdout=subprocess.PIPE, text=True, check=True,
                          env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))

    told = json.loads((tmp_path / "bench.json").read_text())

    for name in ("nothing 38", "fast 38", "best 38 named", "fast 38 batch"):
        assert told["cases"][name]["cpu_us"] > 0 and name in done.stdout
    assert 0 < told["stalls"]["least_share_of_connections"] <= 0.5
    assert told["memory"]["fast_mib"] > 0 and told["start"]["best_ms"] > 0
    assert [point["connections"] for point in told["curves"]["connections"]] == [1, 16]
    measured = {goal["goal"] for goal in told["goals"] if goal["measured"] is not None}
    assert len(measured) >= 10

"""What is said about inputs is said in the words of who sent them: names as they stand in the file,
where, and what to do."""

import csv
import random

import pytest

from conftest import check_problem
from ctl import fail, run, succeed, succeed_json
from learner import FAST, start_learner

QUICK = ["--preset", "fast", "--epochs", "2"]
IDLE = 'cpu{mode="idle",host="a"}'
USER = 'cpu{mode="user",host="a"}'


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def write(path, names, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
    return path


def make_rows(n, more=()):
    """timestamp, a, b, and what more says: a value, or a function of the row's number."""
    draw = random.Random(4)
    return [[1700000000 + 60 * i, round(draw.gauss(5, 1), 4), round(draw.gauss(0, 1), 4),
             *(each(i) if callable(each) else each for each in more)] for i in range(n)]


def train(folder, path, *options):
    return run("train", "--data", path, "--output", folder / "m", *QUICK, *options)


# ---- no value at all ----


@pytest.mark.parametrize("options, message", [
    (["--prepare", "c=log1p"],
     "column c has no value in the rows to train on; use --exclude c and take it out of --prepare"),
    (["--prepare", "c=rate"],
     "column c has no value in the rows to train on, or never one in a row before; use --exclude c "
     "and take it out of --prepare"),
    (["--prepare", "a=delta", "--context", "3"],
     "column c has no value in the rows to train on; use --exclude c"),
])
def test_a_prepared_column_without_a_value_has_its_own_name(options, message, tmp_path):
    path = write(tmp_path / "rows.csv", ["timestamp", "a", "b", "c"], make_rows(60, [""]))
    assert fail(1, "train", "--data", path, "--output", tmp_path / "m", *QUICK, *options) == (
        f"{path}: {message}")


def test_the_way_out_of_a_column_without_a_value_is_one(tmp_path):
    name = "c,d"
    path = write(tmp_path / "rows.csv", ["timestamp", "a", "b", name], make_rows(60, [""]))
    line = fail(1, "train", "--data", path, "--output", tmp_path / "m", *QUICK)
    assert line.endswith('use --exclude "c,d"')
    assert train(tmp_path, path, "--exclude", '"c,d"').returncode == 0


# ---- late rows ----


def test_rows_that_are_late_are_counted_and_what_to_do_is_said(tmp_path):
    path = write(tmp_path / "rows.csv", ["timestamp", "a", "b"], make_rows(60)[::-1])
    line = fail(1, "train", "--data", path, "--output", tmp_path / "m", *QUICK, "--prepare", "a=delta")
    assert line == (
        f"{path}: 1 normal rows are too few to train (left out: 0 with another label than 0, 0 with "
        "more than half of their features missing, 59 not newer than a row before them); give at "
        "least 20; sort the file by timestamp, or name each row's source in a column series if they "
        "come from several")


# ---- settings that change nothing ----


@pytest.mark.parametrize("options, told", [
    (["--timezone", "Europe/Berlin"], "--timezone Europe/Berlin changes nothing"),
    (["--prepare", "a=delta", "--timezone", "UTC"], "--timezone UTC changes nothing"),
    (["--prepare", "a=log1p", "--max-gap", "5m"], "--max-gap changes nothing"),
    (["--prepare", "timestamp=hour-of-day", "--timezone", "Europe/Berlin"], None),
    (["--prepare", "a=delta", "--max-gap", "5m"], None),
    (["--context", "2", "--max-gap", "5m"], None),
])
def test_a_setting_that_changes_nothing_is_told(options, told, tmp_path):
    rows = [[time, abs(a), b] for time, a, b in make_rows(200)]
    done = train(tmp_path, write(tmp_path / "rows.csv", ["timestamp", "a", "b"], rows), *options)
    assert done.returncode == 0
    assert (told in done.stderr) if told else ("changes nothing" not in done.stderr)


def test_a_key_that_changes_nothing_is_told_in_the_log(start_learner):
    learner = start_learner(models={
        "web": {**FAST, "prepare": "a=log1p", "timezone": "Europe/Berlin", "max_gap": "5m"},
        "gap": {**FAST, "prepare": "a=delta,timestamp=hour-of-day", "timezone": "Europe/Berlin",
                "max_gap": "5m"},
        "none": FAST})
    told = [line for line in learner.log().splitlines() if "changes nothing" in line]
    assert len(told) == 2 and all("model web: " in line for line in told)
    assert "timezone = Europe/Berlin" in told[0] and "max_gap" in told[1]


def test_a_gap_is_told_only_of_a_model_that_looks_back(tmp_path):
    path = write(tmp_path / "rows.csv", ["timestamp", "a", "b", "c"], make_rows(60, [1.5]))
    assert train(tmp_path, path, "--prepare", "c=log1p").returncode == 0
    assert "afresh" not in succeed("inspect", tmp_path / "m").stdout
    assert train(tmp_path, path, "--prepare", "c=delta").returncode == 0
    assert "begins afresh" in succeed("inspect", tmp_path / "m").stdout


# ---- counters ----


@pytest.mark.parametrize("begin, step, is_told", [
    (2**53, 5, True), (2**63, 5000, True), (2**53, 5000, False), (2**52, 1, False),
])
def test_a_counter_too_large_for_its_steps_is_told(begin, step, is_told, tmp_path):
    rows = make_rows(60, [lambda i: begin + step * i])
    done = train(tmp_path, write(tmp_path / "rows.csv", ["timestamp", "a", "b", "c"], rows),
                 "--prepare", "c=rate")
    assert done.returncode == 0, done.stderr
    assert ("column c is above 2^53" in done.stderr) == is_told


# ---- categories ----


def test_categories_that_no_value_is_are_refused(tmp_path):
    path = write(tmp_path / "rows.csv", ["timestamp", "a", "b", "state"], make_rows(60, ["up"]))
    line = fail(1, "train", "--data", path, "--output", tmp_path / "m", "--prepare",
                "state=onehot:1|2")
    assert "column state: no value is any of the categories" in line and '"up"' in line


def test_the_first_category_too_many_has_a_line(tmp_path):
    rows = make_rows(150, [lambda i: f"id-{i // 2 if i < 20 else i}"])
    path = write(tmp_path / "rows.csv", ["timestamp", "a", "b", "id"], rows)
    line = fail(1, "train", "--data", path, "--output", tmp_path / "m", "--prepare", "id=onehot")
    assert line.startswith(f'{path}:112: column id: "id-110" is one category too many')


def test_text_and_what_stands_for_a_missing_value_are_read_alike(tmp_path, start_daemon):
    """An empty cell and an empty string are both missing."""
    rows = make_rows(200, [lambda i: ["up", "down", ""][i % 3]])
    path = write(tmp_path / "rows.csv", ["timestamp", "a", "b", "state"], rows)
    assert train(tmp_path, path, "--prepare", "state=onehot").returncode == 0
    daemon = start_daemon({"web": {"file": tmp_path / "m"}})
    for text in ("", "NA", None):
        verdict = daemon.score({"features": {"a": 5, "b": 0, "state": text}}).json()
        assert verdict["imputed"] == ["state"]
    assert "imputed" not in daemon.score({"features": {"a": 5, "b": 0, "state": "other"}}).json()


def test_a_problem_of_a_list_names_its_feature(tmp_path, start_daemon):
    path = write(tmp_path / "rows.csv", ["a", "b"], [row[1:] for row in make_rows(60)])
    assert train(tmp_path, path).returncode == 0
    daemon = start_daemon({"web": {"file": tmp_path / "m"}})
    problem = check_problem(daemon.score({"instances": [[1, 2], [1, "up"]]}), 422)
    assert problem["errors"] == [{
        "pointer": "/instances/1/1",
        "detail": 'a string where a number or null must stand for "b": only a feature that is '
                  "prepared as onehot takes it"}]


# ---- names ----


@pytest.mark.parametrize("names, options, message", [
    (["rate(c)", "c"], ["--prepare", "c=rate"],
     '"rate(c)" and "c" would both make a feature called "rate(c)"; rename one of the two'),
    (["c", "c[-1]"], ["--context", "2"],
     '"c[-1]" and "c" would both make a feature called "c[-1]"'),
])
def test_inputs_that_clash_are_both_named(names, options, message, tmp_path):
    path = write(tmp_path / "rows.csv", ["timestamp", "a", "b", *names], make_rows(60, [1, 2]))
    line = fail(1, "train", "--data", path, "--output", tmp_path / "m", *options)
    assert line.startswith(f"{path}: --prepare: ") and message in line


def test_a_category_other_is_told(tmp_path):
    rows = make_rows(60, [lambda i: ["up", "(other)"][i % 2]])
    path = write(tmp_path / "rows.csv", ["timestamp", "a", "b", "st"], rows)
    line = fail(1, "train", "--data", path, "--output", tmp_path / "m", "--prepare", "st=onehot")
    assert 'two categories of "st" would both make a feature called "st=(other)"' in line
    assert "st=onehot:A|B" in line


def test_a_feature_whose_name_holds_commas_is_told_in_quotes(tmp_path, start_learner):
    """As Prometheus calls them; on the command line, in the configuration and in what is printed."""
    rows = make_rows(200, [lambda i: 40 * i, lambda i: 20 * i + i % 3])
    path = write(tmp_path / "rows.csv", ["timestamp", "a", "b", IDLE, USER], rows)
    done = train(tmp_path, path, "--prepare", f"{quoted(IDLE)}=rate, {quoted(USER)}=delta",
                 "--direction", f"{quoted(IDLE)}=below,a=above", "--tolerance", f"{quoted(USER)}=5%",
                 "--exclude", "b")
    assert done.returncode == 0, done.stderr
    about = succeed_json("inspect", tmp_path / "m", "--json")
    assert [each["name"] for each in about["features"]] == ["a", f"rate({IDLE})", f"delta({USER})"]
    assert f"{quoted(IDLE)}=below,a=above" in succeed("inspect", tmp_path / "m").stdout
    learner = start_learner(models={"web": {
        **FAST, "features": f"a, {quoted(IDLE)}", "prepare": f"{quoted(IDLE)}=rate",
        "direction": f"{quoted(IDLE)}=below"}})
    reply = learner.post("/observe", {"features": {"a": 1, IDLE: 5, "timestamp": 1700000000}})
    assert reply.status == 202, reply.body
    assert check_problem(learner.post("/observe", [1]), 422)["errors"][0]["detail"] == (
        "1 value given, but the model wants 2")


# ---- observe ----


def test_observe_says_how_many_rows_were_kept_and_how_many_late(tmp_path, start_learner):
    rows = make_rows(1200)
    path = write(tmp_path / "rows.csv", ["timestamp", "a", "b"], rows)
    assert train(tmp_path, path, "--prepare", "a=delta").returncode == 0
    learner = start_learner(models={"web": {**FAST, "file": tmp_path / "m"}})
    url = f"http://127.0.0.1:{learner.port}"
    mixed = write(tmp_path / "mixed.csv", ["timestamp", "a", "b"], rows[:600] + rows[:5] + rows[600:])
    told = succeed("observe", "web", "--data", mixed, "--url", url).stdout
    assert told.splitlines()[0] == "web: 1205 rows sent, 1200 kept, 5 late"
    assert learner.get("/buffer")["rows"] == 1200
    done = succeed_json("observe", "web", "--data", mixed, "--url", url, "--json")
    assert (done["rows"], done["kept"], done["late"]) == (1205, 0, 1205)

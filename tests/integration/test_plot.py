"""anomalyctl evaluate --plot: one SVG file that shows what was printed."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
from ctl import fail, make_rows, run, succeed, succeed_json, train, write_csv, write_incidents

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(name="model", scope="module")
def fixture_model(tmp_path_factory):
    return train(tmp_path_factory.mktemp("model"))


@pytest.fixture(name="data")
def fixture_data(tmp_path):
    return write_incidents(tmp_path / "incidents.csv")


def arguments(model, data, plot):
    return ["--model", model, "--data", data, "--label-column", "label", "--plot", plot]


def read_texts(plot):
    """All texts of the file, which must be well-formed."""
    root = ElementTree.parse(plot).getroot()
    assert root.tag == SVG + "svg"
    assert root.get("viewBox") and root.find(SVG + "title").text and root.find(SVG + "desc").text
    return ["".join(element.itertext()) for element in root.iter(SVG + "text")]


def find_text(texts, pattern):
    found = [match for match in (re.fullmatch(pattern, text) for text in texts) if match]
    assert len(found) == 1, (pattern, texts)
    return found[0]


def test_plot_shows_the_figures_that_are_printed(model, data, tmp_path):
    plot = tmp_path / "plot.svg"
    printed = dict(line.split() for line in
                   succeed("evaluate", *arguments(model, data, plot)).stdout.splitlines())
    texts = read_texts(plot)

    assert find_text(texts, r"ROC curve, AUC (\S+)").group(1) == printed["roc_auc"]
    assert find_text(texts, r"Precision and recall, AP (\S+)").group(1) == \
        printed["average_precision"]
    threshold = float(find_text(texts, r"threshold (\S+)").group(1))
    assert threshold == pytest.approx(float(printed["threshold"]), rel=0.01)
    find_text(texts, r"180 normal rows, \S+ % flagged")
    find_text(texts, r"20 anomalies, 100 % flagged")
    find_text(texts, r"Evaluation of incidents\.csv")


def test_figures_do_not_change_with_a_plot(model, data, tmp_path):
    plot = tmp_path / "plot.svg"
    drawn = succeed_json("evaluate", *arguments(model, data, plot), "--json")
    plain = succeed_json("evaluate", *arguments(model, data, plot)[:-2], "--json")

    assert {**drawn, "seconds": 0} == {**plain, "seconds": 0}


def test_same_input_gives_the_same_file(model, data, tmp_path):
    plots = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for plot in plots:
        succeed("evaluate", *arguments(model, data, plot))

    assert plots[0].read_bytes() == plots[1].read_bytes()


def test_plot_is_readable_in_the_dark_and_loads_nothing(model, data, tmp_path):
    plot = tmp_path / "plot.svg"
    succeed("evaluate", *arguments(model, data, plot))
    text = plot.read_text(encoding="utf-8")

    assert "prefers-color-scheme:dark" in text
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]
    assert "<script" not in text and "@import" not in text


def test_old_plot_is_replaced(model, data, tmp_path):
    plot = tmp_path / "plot.svg"
    plot.write_text("old", encoding="utf-8")
    succeed("evaluate", *arguments(model, data, plot))

    assert read_texts(plot)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["incidents.csv", "plot.svg"]


def test_normal_rows_alone_are_drawn(model, tmp_path):
    plot = tmp_path / "plot.svg"
    data = write_csv(tmp_path / "quiet.csv", make_rows(50, seed=5), labels=["0"] * 50)
    succeed("evaluate", *arguments(model, data, plot))

    texts = read_texts(plot)
    assert "no anomalies" in texts
    assert "ROC curve: needs both kinds" in texts


def test_name_of_the_data_is_escaped(model, data, tmp_path):
    odd = data.rename(tmp_path / "a<b>&\"c\".csv")
    plot = tmp_path / "plot.svg"
    succeed("evaluate", *arguments(model, odd, plot))

    assert "Evaluation of a<b>&\"c\".csv" in read_texts(plot)


def test_path_that_cannot_be_written_fails_and_leaves_nothing(model, data, tmp_path):
    plot = tmp_path / "missing" / "plot.svg"
    message = fail(1, "evaluate", *arguments(model, data, plot))

    assert message == f"{plot}: cannot write: No such file or directory"
    assert [file.name for file in tmp_path.iterdir()] == ["incidents.csv"]


def test_folder_and_standard_output_are_no_plot(model, data, tmp_path):
    message = fail(1, "evaluate", *arguments(model, data, tmp_path))
    assert message.startswith(f"{tmp_path}: is not a regular file")
    assert "--plot" in fail(1, "evaluate", *arguments(model, data, "-"))
    assert [file.name for file in tmp_path.iterdir()] == ["incidents.csv"]


def test_path_is_checked_before_the_work(data, tmp_path):
    plot = tmp_path / "missing" / "plot.svg"
    message = fail(1, "evaluate", *arguments(tmp_path / "no.safetensors", data, plot))

    assert message.startswith(str(plot))


def test_bad_data_leaves_an_old_plot_alone(model, tmp_path):
    plot = tmp_path / "plot.svg"
    plot.write_text("old", encoding="utf-8")
    data = write_incidents(tmp_path / "incidents.csv", label="2")
    fail(1, "evaluate", *arguments(model, data, plot))

    assert plot.read_text(encoding="utf-8") == "old"


def test_help_names_the_option():
    assert "--plot FILE.svg" in run("evaluate", "--help").stdout


def test_plot_may_not_be_the_model_or_the_data(model, data):
    for taken, option in [(model, "--model"), (data, "--data")]:
        before = taken.read_bytes()
        message = fail(1, "evaluate", *arguments(model, data, taken))
        assert message == f"--plot {taken}: is the file of {option} too; give another name"
        assert taken.read_bytes() == before

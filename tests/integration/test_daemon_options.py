"""anomalyd's options, and what --check-config says about files."""

import os
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
ANOMALYD = os.path.abspath(os.environ.get("ANOMALYD", TOP / "anomalyd"))


def run(*arguments, state_directory=""):
    return subprocess.run(
        [ANOMALYD, *map(str, arguments)],
        env={**os.environ, "STATE_DIRECTORY": str(state_directory)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@pytest.fixture(name="config")
def fixture_config(tmp_path):
    return tmp_path / "anomalyd.conf"


def test_version():
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("anomalyd ")


def test_help_shows_options_and_configuration_keys():
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for word in [
        "--config FILE",
        "--check-config",
        "listen = 127.0.0.1:8817",
        "[model NAME]",
        "[model *]",
        "retrain_min_interval = 10m",
        "preset = best|balanced|fast",
        "learning_rate = R",
        "tied = yes|no",
    ]:
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--config"], ["operand"]])
def test_wrong_usage_is_status_2(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.endswith("Try anomalyd --help\n")


def test_check_of_a_good_configuration_summarises_it(config):
    config.write_text("[server]\nlisten = 127.0.0.1:1, unix:/x\n")
    done = run("--check-config", "--config", config)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "listen: 127.0.0.1:1\nlisten: unix:/x\n0 models, the configuration is good\n"
    )


def test_check_tells_every_error(config):
    config.write_text("[server]\nthread = 1\nmax_body = -1\n")
    done = run("--check-config", "--config", config)
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.splitlines() == [
        f"{config}:2: thread is no key of section [server], did you mean threads?",
        f"{config}:3: max_body: -1 is not a size from 1K to 4G: write 65536, 64K or 64M",
    ]


def test_check_tells_what_learning_needs(config):
    config.write_text("[models]\nauto_create = yes\n[model a]\nlearn = auto\n[model b]\n")
    done = run("--check-config", "--config", config)
    assert (done.returncode, done.stdout) == (78, "")
    directory = "add directory = PATH to section [storage]"
    file = "add file = PATH, or directory = PATH to section [storage]"
    assert done.stderr.splitlines() == [
        f"{config}:2: auto_create: a model without a file learns from nothing: {directory}",
        f"{config}:4: learn: there is no folder to keep what is learned: {directory}, or write "
        "learn = off",
        f"{config}:3: the model a has no file: {file} so that it can learn from nothing",
        f"{config}:5: the model b has no file: {file} so that it can learn from nothing",
    ]


def test_check_takes_the_directory_of_systemd(config, tmp_path):
    config.write_text("[models]\nauto_create = yes\n[model *]\nlearn = auto\n")
    done = run("--check-config", "--config", config, state_directory=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    done = run("--check-config", "--config", config, state_directory="var:/tmp")
    assert done.returncode == 78
    assert done.stderr == (
        "$STATE_DIRECTORY: var is not an absolute path: write one that begins with /\n"
    )


def test_check_tells_bad_training_options_as_train_does(config):
    config.write_text("[model a]\nfile = a\npreset = quick\nlearning-rate = 1\nhidden = 24 12\n")
    done = run("--check-config", "--config", config)
    assert done.returncode == 78
    assert done.stderr.splitlines() == [
        f"{config}:3: preset: quick must be one of best, balanced, fast",
        f"{config}:4: learning-rate is no key of section [model], did you mean learning_rate?",
        f"{config}:5: hidden: 24 12 must be at most 8 whole numbers from 1 to 65536, as in 24,12, "
        "or none",
    ]


def test_check_loads_the_model_files(config, tmp_path):
    (tmp_path / "bad").write_text("no model")
    config.write_text("[model a]\nfile = bad\n[model b]\nfile = gone\n")
    done = run("--check-config", "--config", config)
    assert (done.returncode, done.stdout) == (78, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"model a: {tmp_path}/bad: ")
    assert lines[1] == f"model b: {tmp_path}/gone: cannot open: No such file or directory"


@pytest.mark.parametrize("options", [[], ["--check-config"]])
def test_a_missing_configuration_is_status_78(options, tmp_path):
    done = run("--config", tmp_path / "none.conf", *options)
    assert done.returncode == 78
    assert f"{tmp_path}/none.conf: cannot open: No such file" in done.stderr

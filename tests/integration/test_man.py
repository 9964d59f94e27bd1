"""The man pages say what --help says: every key, command and option, and no other."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import ctl
from conftest import ANOMALYD
from learner import FAST, start_learner

PAGES = Path(__file__).resolve().parents[2] / "docs/man"
COMMON = {"json", "help", "version"}  # options that anomalyctl(1) tells once for all commands


# ---- the pages ----


def page(name):
    return (PAGES / name).read_text(encoding="utf-8").splitlines()


def plain(lines):
    """What a reader sees of mdoc lines, near enough to look for words: options as --name."""
    words = []
    for line in lines:
        line = re.sub(r"^\.([A-Z][a-z]|No|Xo|Xc) ?", r"\1 ", line)
        words += line.replace("Fl -", "--").replace("\\&", "").split()
    macros = "Ar Cm Ev Fl Ic It Ns Oc Oo Op Pa Pq Pp Ql Xr Sx Dv".split()
    shown = " ".join(word for word in words if word not in macros)
    return re.sub(r" ([.,:;])(?= |$)", r"\1", shown)


def sections(lines):
    """{heading: lines} of .Sh and .Ss."""
    found, name = {}, None
    for line in lines:
        if re.match(r"\.S[hs] ", line):
            name = line[4:].replace("\\&", "")
            found[name] = []
        elif name:
            found[name].append(line)
    return found


def entries(lines, macro):
    """{first word: lines} of the items that begin with the macro, each with all below it."""
    found, name = {}, None
    for line in lines:
        head = re.match(rf"\.It {macro} (\S+)", line)
        if head:
            name = head[1]
            assert name not in found, f"{name} stands there twice"
            found[name] = []
        if name:
            found[name].append(line)
    return found


def examples(name):
    blocks, block = [], None
    for line in sections(page(name))["EXAMPLES"]:
        if line.startswith(".Bd"):
            block = []
        elif line.startswith(".Ed"):
            blocks.append("\n".join(block).replace("\\e", "\\") + "\n")
            block = None
        elif block is not None:
            block.append(line)
    return blocks


# ---- what is true ----


def help_of(*command):
    done = subprocess.run(
        [*command, "--help"], capture_output=True, encoding="utf-8", timeout=60, check=True
    )
    return done.stdout


def options_of(text):
    return set(re.findall(r"^  --([a-z0-9-]+)", text, re.MULTILINE))


class Key:
    def __init__(self, section, name, value, is_example, is_training):
        self.section, self.name, self.value = section, name, value
        self.is_example, self.is_training = is_example, is_training
        self.help = ""


def keys():
    """Those that anomalyd --help lists, in its order."""
    found, section, is_training = [], None, False
    for line in help_of(ANOMALYD).splitlines():
        head = re.fullmatch(r"\[(.+)\]", line)
        key = re.fullmatch(r"  (\w+) = (.+?)(    \(an example; unset by default\))?", line)
        if head:
            section = head[1]
        elif section and line.startswith("  How to train"):
            is_training = True
        elif section and key:
            found.append(Key(section, key[1], key[2], bool(key[3]), is_training))
        elif section and found and line.startswith("      "):
            found[-1].help += line[5:]
    assert len(found) > 40
    return found


def refusals(folder):
    """{key: what anomalyd says about a value that is none}."""
    config = folder / "anomalyd.conf"
    text = "".join(f"[{key.section}]\n{key.name} = ?\n" for key in keys())
    config.write_text(text.replace("[model NAME]", "[model a]"), encoding="utf-8")
    done = subprocess.run(
        [ANOMALYD, "--check-config", "--config", config],
        capture_output=True, encoding="utf-8", timeout=60, check=False,
    )
    assert done.returncode == 78
    return dict(re.findall(r"^\S+:\d+: (\w+): \? (.*)$", done.stderr, re.MULTILINE))


def commands():
    listed = re.search(r"Commands:\n(.*?)\n\n", help_of(ctl.ANOMALYCTL), re.DOTALL)[1]
    return [line.split()[0] for line in listed.splitlines()]


def conf_entries():
    return {
        (section[1:-1], name): plain(lines)
        for section, below in sections(page("anomalyd.conf.5")).items()
        if section.startswith("[")
        for name, lines in entries(below, "Ic").items()
    }


def ctl_entries():
    below = sections(page("anomalyctl.1"))
    files = entries(below["COMMANDS ON FILES"], "Ic")
    daemon = entries(below["COMMANDS ON A DAEMON"], "Ic")
    assert not set(files) & set(daemon)
    return files, daemon


# ---- tests ----


def test_conf_page_has_every_key_and_no_other():
    assert list(conf_entries()) == [(key.section, key.name) for key in keys()]


def test_conf_page_has_every_default():
    told = conf_entries()
    for key in keys():
        entry = told[key.section, key.name]
        default = re.search(r"\(([^()]*)\)$", key.help)
        if key.is_example:
            assert "Not set by default" in entry, key.name
        elif not key.is_training:
            assert f"The default is {key.value}." in entry, key.name
        elif default and re.fullmatch(r"[a-z0-9.]+", default[1]):
            assert re.search(rf"The default is {re.escape(default[1])}[.,:]", entry), key.name
        elif default:
            for number in re.findall(r"\d[\d,.]*", default[1]):
                assert number.rstrip(",.") in entry, key.name


def test_conf_page_has_every_range_and_choice(tmp_path):
    told, n = conf_entries(), 0
    refused = refusals(tmp_path)
    for key in keys():
        why = refused.get(key.name, "")
        values = re.findall(r"from \S+ to \w+", why.replace("from 1e-9 to below 1", ""))
        if key.is_training:  # told once for all of these
            values = [value for value in values if not value.endswith(" 1000000000")]
            values += ["| auto "] if why.endswith(", or auto") else []
        zero = re.match(r"is neither (\w+) nor (?:a|rows) ", why)
        words = re.match(r"(?:is neither|is none of|must be one of) (.*)$", why)
        if zero:
            values.append(f"| {zero[1]} ")  # in the head
        elif words and words[1] == "no nor yes":
            values.append("= flag ")
        elif words:
            values += re.split(r", | nor | and ", words[1])
        entry = told[key.section, key.name].replace("From ", "from ")
        for value in values:
            assert value in entry, key.name
        n += len(values)
    assert n > 40


def test_conf_page_has_examples_that_are_good(tmp_path):
    ctl.train(tmp_path, name="web.safetensors")
    config = tmp_path / "anomalyd.conf"
    blocks = examples("anomalyd.conf.5")
    assert len(blocks) >= 3
    for block in blocks:
        config.write_text(block.replace("/var/lib/anomalyd", f"{tmp_path}/state"), encoding="utf-8")
        done = subprocess.run(
            [ANOMALYD, "--check-config", "--config", config],
            capture_output=True, encoding="utf-8", timeout=60, check=False,
        )
        assert done.returncode == 0, block + done.stderr


def test_daemon_page_has_every_option_and_no_other():
    lines = page("anomalyd.8")
    told = set(re.findall(r"^\.It Fl -(\S+)", "\n".join(lines), re.MULTILINE))
    shown = set(re.findall(r"Fl -(\S+)", "\n".join(sections(lines)["SYNOPSIS"])))
    assert told == shown == options_of(help_of(ANOMALYD))


def test_daemon_page_has_every_exit_status():
    listed = help_of(ANOMALYD).split("Exit status: ")[1].split("\n\n")[0]
    told = re.findall(r"^\.It (\d+)$", "\n".join(page("anomalyd.8")), re.MULTILINE)
    assert told == re.findall(r"\b\d+\b", listed)


def test_daemon_page_has_every_kind_of_event_and_no_other(start_learner):
    counted = re.findall(r'kind="(\w+)"', " ".join(start_learner(FAST).metrics()))
    told = set(entries(sections(page("anomalyd.8"))["LEARNING"], "Sy"))
    assert told == {*counted, "verdict"}  # which events --verdicts lists apart


def test_ctl_page_has_every_command_and_no_other():
    files, daemon = ctl_entries()
    assert {*files, *daemon} == set(commands())


def test_ctl_page_has_every_option_of_each_command_and_no_other():
    files, daemon = ctl_entries()
    for name in commands():
        text = help_of(ctl.ANOMALYCTL, name)
        common = COMMON | {"url"} if name in daemon else COMMON
        told = set(re.findall(r"Fl -([a-z0-9-]+)", "\n".join({**files, **daemon}[name])))
        assert told | common == options_of(text), name
        operands = re.findall(r"\b[A-Z]+\b", text.splitlines()[0])
        for operand in set(operands) - {"OPTION"}:
            assert operand in plain({**files, **daemon}[name][:1]), name


def test_ctl_page_has_options_for_all_commands():
    below = sections(page("anomalyctl.1"))
    assert set(entries(below["DESCRIPTION"], "Fl")) == {f"-{name}" for name in COMMON}
    daemon = "\n".join(below["COMMANDS ON A DAEMON"]).split("\n.It Ic ")[0].splitlines()
    assert set(entries(daemon, "Fl")) == {"-url"}


def test_ctl_page_has_every_default():
    files, _ = ctl_entries()
    text = help_of(ctl.ANOMALYCTL, "train")
    told = entries(files["train"], "Fl")
    helped = re.split(r"^  --", text, flags=re.MULTILINE)[1:]
    for option in helped:
        name, default = option.split()[0], re.search(r"\(([^()]*)\)\s*$", option)
        for value in re.findall(r"\d[\d,.]*", default[1]) if default else []:
            assert value.rstrip(",.") in plain(told[f"-{name}"]), name


def run_lines(block, folder):
    """The shell runs them as they stand, and stops at the first that fails."""
    path = f"{os.path.dirname(ctl.ANOMALYCTL)}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-ec", block], cwd=folder, env={**os.environ, "PATH": path},
        capture_output=True, encoding="utf-8", timeout=300, check=False,
    )


def test_ctl_page_has_examples_on_files_that_work(tmp_path):
    ctl.write_csv(tmp_path / "normal.csv", ctl.make_rows(600))
    ctl.write_incidents(tmp_path / "known.csv")
    known = (tmp_path / "known.csv").read_text(encoding="utf-8")
    (tmp_path / "known.csv").write_text(known.replace(",label\n", ",incident\n"), encoding="utf-8")
    today = ctl.make_rows(50, seed=3)
    today[7][2] += 100
    ctl.write_csv(tmp_path / "today.csv", today)

    flagged, blamed, evaluated = examples("anomalyctl.1")[:3]
    done = run_lines(flagged, tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^7,.*,1$", done.stdout, re.MULTILINE)
    done = run_lines(blamed.replace("jq -c 'select(.anomaly)'", "grep '\"anomaly\":true'"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"row":7,' in done.stdout
    done = run_lines(evaluated, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "web.svg").exists()


def test_ctl_page_has_examples_on_a_daemon_that_are_right_usage():
    lines = "".join(examples("anomalyctl.1")[5:]).splitlines()
    assert len(lines) >= 5
    for line in lines:
        program, *arguments = line.split()
        assert program == "anomalyctl"
        told = ctl.fail(1, *arguments, "--url", "unix:/nonexistent/socket")
        assert "cannot connect" in told


def test_ctl_page_has_examples_of_recording_that_are_right_usage(tmp_path):
    to_file, to_daemon = examples("anomalyctl.1")[3:5]
    done = run_lines(to_file.replace(" 1h ", " 50ms --interval 10ms "), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "host.csv").exists()
    options = " --duration 50ms --interval 10ms --url unix:/nonexistent/socket"
    done = run_lines(to_daemon.rstrip() + options, tmp_path)
    assert done.returncode == 1
    assert "never reached host" in done.stderr


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
@pytest.mark.parametrize("name", ["anomalyctl.1", "anomalyd.conf.5", "anomalyd.8"])
def test_mandoc_finds_nothing_wrong(name):
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "style", PAGES / name],
        capture_output=True, encoding="utf-8", timeout=60, check=False,
    )
    found = [
        line
        for line in done.stdout.splitlines()
        if "referenced manual not found" not in line  # they need not be installed
    ]
    assert not found

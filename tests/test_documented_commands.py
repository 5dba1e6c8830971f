"""What the documents tell people to type: commands are composed, Python is run, links lead somewhere.

A block that cannot be tried here stands below a comment ``<!-- not run: REASON -->``.
"""

import re
import shlex
import tomllib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode

from stress_lab.cli.app import check_options
from stress_lab.cli.verbs import VERBS
from stress_lab.preflight.comparison_rules import check_comparison
from stress_lab.preflight.configs import config_folder
from stress_lab.preflight.rules import check_config
from stress_lab.sweeps.plan import list_corners

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "multirun" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
LANGUAGES = {"bash", "python", "text", "{toctree}", "{include}", "{eval-rst}"}
FENCE = re.compile(r"^(<!-- not run: [^\n]+ -->\n)?```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str
    is_run: bool


def blocks(page):
    return [Block(language, text, not mark) for mark, language, text in FENCE.findall(page.read_text())]


def commands(page):
    """Lines of the shell, and the commands of stress_lab within sentences and tables; those with … are abridged."""
    lines = "".join(block.text for block in blocks(page) if block.language == "bash" and block.is_run).splitlines()
    prose = FENCE.sub("", page.read_text())
    spans = [" ".join(span.split()) for span in re.findall(r"`((?:stress-lab|make) [^`]+)`", prose)]
    typed = [line for line in [*lines, *spans] if line.strip() and "…" not in line]
    return [line.replace("experiment=NAME", "experiment=demo") for line in typed]


def name(path):
    return str(path.relative_to(ROOT))


def try_stress_lab(words):
    """Compose what a command would run, of a sweep the last values, and apply the rules for values."""
    check_options([word for word in words if word not in VERBS])
    verb = words.pop(0) if words and words[0] in VERBS else "train"
    overrides = [word for word in words if "=" in word or word.startswith("~")]
    assert len(overrides) == len(words) - len([word for word in words if word in ("-m", "--help", "--cfg", "job")])
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        if "sweeper=optuna" in overrides:
            configs = list_corners(compose_sweep(overrides))
        else:
            configs = [compose(verb, list(map(last_value, OverridesParser.create().parse_overrides(overrides))))]
        for config in configs:
            if verb == "train":
                check_config(config)
            if verb == "compare" and overrides:
                check_comparison(config)


def last_value(override):
    if not override.is_sweep_override():
        return override.input_line
    return f"{override.get_key_element()}={list(override.sweep_string_iterator())[-1]}"


def compose_sweep(overrides):
    return GlobalHydra.instance().hydra.compose_config(
        "train", overrides, RunMode.MULTIRUN, from_shell=False, with_log_configuration=False
    )


def try_make(words):
    makefile = (ROOT / "Makefile").read_text()
    for target in (word for word in words if "=" not in word):
        assert re.search(rf"^{re.escape(target)}:", makefile.replace("$(READY):", ".venv/ready:"), re.MULTILINE)


def try_pip(words):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert words[0] == "install"
    wheel, extras = re.fullmatch(r"(\S*)\[(.*)\]", words[-1]).groups()
    assert wheel in (".", f"dist/stress_lab-{project['version']}-py3-none-any.whl")
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


def try_torchrun(words):
    assert words[1:3] == ["-m", "stress_lab"]
    try_stress_lab(words[3:])


PROGRAMS = {
    "stress-lab": try_stress_lab,
    "torchrun": try_torchrun,
    "make": try_make,
    "pip": try_pip,
    ".venv/bin/pip": try_pip,
}
COMMANDS = sorted({command for page in PAGES for command in commands(page)})


@pytest.mark.parametrize("command", [one for one in COMMANDS if one != ". .venv/bin/activate"])
def test_documented_commands_work_as_far_as_their_configs_go(command):
    program, *words = shlex.split(command, comments=True)
    PROGRAMS[program](words)


def test_commands_are_found_and_a_wrong_one_fails():
    assert len(COMMANDS) > 50
    for command in ("stress-lab -m experiment=nosuch", "stress-lab compare swep=FOLDER", "make nosuch"):
        program, *words = shlex.split(command)
        with pytest.raises(Exception, match=r"nosuch|swep"):
            PROGRAMS[program](words)
    with pytest.raises(Exception, match="gates"):
        try_stress_lab(["compare", "sweep=FOLDER", "gates.min_accuracy=93"])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_has_a_language(page):
    fences = re.findall(r"^```", page.read_text(), re.MULTILINE)
    assert len(fences) == 2 * len(blocks(page))
    assert {block.language for block in blocks(page)} <= LANGUAGES


WITH_PYTHON = [page for page in PAGES if any(block.language == "python" for block in blocks(page))]


@pytest.fixture
def given():
    """What the Python on the pages supposes to be there."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, size=400)

    def logits():
        return rng.normal(size=(400, 4)) + 2 * np.eye(4)[labels]

    models = {name: logits() for name in ("logits_a", "logits_a2", "logits_b", "logits_b2")}
    return {"labels": labels, "cameras": rng.choice(["left", "right"], size=400), **models}


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_documented_python_runs(page, given, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = set(given)
    for block in blocks(page):
        if block.language == "python" and block.is_run:
            exec(block.text, given)
    assert set(given) - before
    if "print(" in page.read_text():
        assert capsys.readouterr().out.strip()
    if "result.save" in page.read_text():
        assert (tmp_path / "folder" / "report.html").is_file()


def anchors(text):
    return {
        re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("page", LINKED, ids=name)
def test_every_link_leads_somewhere(page):
    text = FENCE.sub("", page.read_text())
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def test_every_page_is_in_the_contents():
    contents = " ".join(block.text for block in blocks(ROOT / "docs" / "index.md"))
    named = set(re.findall(r"^(\w+)$", contents, re.MULTILINE))
    assert named == {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"}

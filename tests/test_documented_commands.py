"""What the documents tell people to type: commands are composed, Python is run, links lead somewhere.

A block that cannot be tried here stands below a comment ``<!-- not run: REASON -->``.
"""

import re
import shlex
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from stress_lab.cli.verbs import VERBS
from stress_lab.preflight.comparison_rules import check_comparison
from stress_lab.preflight.configs import config_folder
from stress_lab.preflight.rules import check_config
from stress_lab.sweeps.plan import is_search, list_corners, plan_jobs

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "multirun" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
LANGUAGES = {"bash", "python", "text", "{toctree}", "{include}", "{eval-rst}"}
FENCE = re.compile(r"^(<!-- not run: [^\n]+ -->\n)?```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


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
    return [line for line in [*lines, *spans] if line.strip() and "…" not in line]


def name(path):
    return str(path.relative_to(ROOT))


@contextmanager
def configs():
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        yield GlobalHydra.instance().hydra


def try_stress_lab(words):
    """Compose what a command would run, each job of a sweep, and apply the rules for its values."""
    verb = words.pop(0) if words and words[0] in VERBS else "train"
    options = [word for word in words if word.startswith("-")]
    assert set(options) <= {"-m", "--help", "--cfg"}
    overrides = [word for word in words if "=" in word or word.startswith("~")]
    assert len(overrides) + len(options) + options.count("--cfg") == len(words)
    mode = RunMode.MULTIRUN if "-m" in options else RunMode.RUN
    with configs() as hydra:
        config = hydra.compose_config(verb, overrides, mode, from_shell=False, with_log_configuration=False)
        if verb == "compare" and overrides:
            check_comparison(config)
        if verb == "train":
            jobs = list_jobs(config) if mode is RunMode.MULTIRUN else [config]
            assert jobs
            for job in jobs:
                check_config(job)


def list_jobs(config):
    return list_corners(config) if is_search(config) else list(plan_jobs(config).values())


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


@pytest.fixture
def given():
    """What the Python on the pages supposes to be there."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, size=400)

    def logits():
        return rng.normal(size=(400, 4)) + 2 * np.eye(4)[labels]

    return {"labels": labels, **{name: logits() for name in ("logits_a", "logits_a2", "logits_b", "logits_b2")}}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(one.language == "python" for one in blocks(page))], ids=name
)
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

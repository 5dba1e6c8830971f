"""Hostile text from every source reaches no terminal, log, table, figure or page as anything but text."""

import ast
import csv
import io
import logging
import shlex
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text
from omegaconf import OmegaConf
from PIL import Image

from stress_lab.callbacks.board import describe_points
from stress_lab.cli import compare
from stress_lab.cli.app import leave_cleanly
from stress_lab.comparison.pairs import pair_name
from stress_lab.errors import RunError
from stress_lab.figures.confusion import draw_confusion_matrix
from stress_lab.figures.style import new_figure, save_figure
from stress_lab.figures.tiles import draw_gradcam_tile
from stress_lab.files import load_json, save_csv, save_json
from stress_lab.plain_text import PlainFormatter, as_override, cell, printable, printable_record
from stress_lab.preflight.configs import config_folder
from stress_lab.preflight.messages import stop_with_sentence
from stress_lab.publishing.tensorboard import folder_name
from stress_lab.records import Failure, RunInfo
from stress_lab.report.page import write_report
from stress_lab.report.table import make_failure_table
from stress_lab.runs.folder import RunDir
from stress_lab.runtime.terminal import open_terminal, print_line, print_wrapped
from stress_lab.saliency.maps import Cam
from stress_lab.training.loggers import list_hyperparameters
from tests.references import read_cell
from tests.test_sweep_end_to_end import run_command

PACKAGE = Path(__file__).parents[1] / "stress_lab"
HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07\x9b31m a\x00b\rc\x08 \u202egnp.exe\u2066 \u2028[red]x[/red] [link=http://x]y[/link] :cat:"
)
SHOWN = (
    r"\x1b[2J\x1b]0;owned\x07\x9b31m a\x00b\rc\x08 \u202egnp.exe\u2066 \u2028[red]x[/red] [link=http://x]y[/link] :cat:"
)
ACTING = ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")  # bidi classes that turn letters round


def acts(letter):
    """By Unicode's own tables: a control, a surrogate, a separator of lines, or one that turns letters round."""
    return unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(letter) in ACTING


def is_plain(text):
    return not any(acts(letter) for letter in text if letter not in "\n\t")


def test_every_character_that_acts_is_escaped_and_no_other():
    letters = list(map(chr, range(sys.maxunicode + 1)))
    assert [letter for letter in letters if printable(letter) != letter] == [one for one in letters if acts(one)]
    for letter in filter(acts, letters):
        assert ast.literal_eval(f'"{printable(letter)}"') == letter


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (HOSTILE, SHOWN),
        ("Großkatze, 長い, שלום, 👩‍👩‍👧, e\u0301", "Großkatze, 長い, שלום, 👩‍👩‍👧, e\u0301"),
        ("two\nlines\tand a tab", r"two\nlines\tand a tab"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), r"caf\udce9"),
        (r"C:\new", r"C:\new"),
        (Path("a\x1bb"), r"a\x1bb"),
    ],
)
def test_what_is_shown(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown


def test_a_record_is_shown_with_its_keys():
    record = {"a\x1b": [1, None, ("b\x00", True)], 3: {"c\u202e": 0.5, "two\nlines": "\r"}}
    assert printable_record(record) == {
        r"a\x1b": [1, None, [r"b\x00", True]],
        3: {r"c\u202e": 0.5, "two\nlines": r"\r"},
    }


# text for spreadsheets


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("\nx", "'\nx"),
        ("  =1", "'  =1"),
        ("＝1+1", "'＝1+1"),
        ("'=1", "''=1"),
        ("--1", "'--1"),
        ("-", "'-"),
        ("-5", "-5"),
        ("+0.5e-3", "+0.5e-3"),
        ("-.5", "-.5"),
        ("a=b", "a=b"),
        ("'quoted'", "'quoted'"),
        ("", ""),
        (-5, -5),
        (None, None),
        (True, True),
    ],
)
def test_cells_are_no_formulas(value, written):
    assert cell(value) == written


@given(st.text(alphabet=st.one_of(st.sampled_from("'=+-@ \t\r\n1.e"), st.characters()), max_size=8))
def test_every_cell_is_read_back(text):
    written = cell(text)
    assert read_cell(written) == text
    assert text == written or written[0] == "'"


def test_tables_are_read_back_by_others_and_hold_no_formula(tmp_path):
    texts = ["=1+1", "-3", "a,b;c", 'say "no"', "two\nlines", "cr\rlf", "ünïcode", "'=x", "@", "'", " ", "\tt"]
    path = save_csv(tmp_path / "a.csv", [{"id": one, "=n": -1.5} for one in texts], ["id", "=n"])
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert [read_cell(name) for name in header] == ["id", "=n"]
    assert header[1] == "'=n"
    assert [read_cell(row[0]) for row in rows] == texts
    assert {row[1] for row in rows} == {"-1.5"}
    assert not [row[0] for row in rows if row[0][0] in "=+@\t\r\n"]
    read = pd.read_csv(path, dtype={"id": str}, keep_default_na=False)
    assert list(map(read_cell, read["id"])) == texts
    assert (read["'=n"] == -1.5).all()


def test_names_that_are_not_utf_8_can_be_recorded(tmp_path):
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert load_json(save_json(tmp_path / "a.json", {name: [name, "é"]})) == {name: [name, "é"]}
    assert "é" in (tmp_path / "a.json").read_text(encoding="utf-8")
    save_csv(tmp_path / "a.csv", [{"a": name}], ["a"])
    assert (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()[1] == r"caf\udce9"
    run = RunDir(tmp_path / "run")
    run.save_config({"variant": name, "seed": 1})
    assert RunDir(tmp_path / "run").config["variant"] == name
    assert folder_name(name).isascii()
    assert pair_name(type("A", (), {"variant": name, "seed": 1}), type("B", (), {"variant": "b"})).isascii()


# text for the terminal and the logs


def logged(message, *arguments, error=None):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PlainFormatter("[%(levelname)s] %(message)s"))
    info = (type(error), error, None) if error else None
    handler.handle(logging.LogRecord("x", logging.INFO, "", 1, message, arguments, info))
    return stream.getvalue()


def test_log_lines_stay_lines():
    assert logged("%s: %d of %s", "a\n[INFO] forged", 3, Path("b\x1b")) == "[INFO] a\\n[INFO] forged: 3 of b\\x1b\n"
    assert logged("%(name)s", {"name": "a\rb"}) == "[INFO] a\\rb\n"
    assert logged(f"already in it: {HOSTILE}") == f"[INFO] already in it: {SHOWN}\n"
    text = logged("failed: %s", RunError("one\ntwo"), error=RunError("one\ntwo\x1b"))
    assert text.splitlines() == [r"[INFO] failed: one\ntwo", "stress_lab.errors.RunError: one", r"two\x1b"]


def test_every_logging_of_ours_is_plain():
    for name in ("train", "compare", "evaluate", "audit"):
        settings = OmegaConf.load(config_folder() / f"{name}.yaml").hydra
        assert settings.job_logging.formatters.simple["class"] == "stress_lab.plain_text.PlainFormatter"
    settings = OmegaConf.load(config_folder() / "train.yaml").hydra
    assert settings.hydra_logging.formatters.simple["class"] == "stress_lab.plain_text.PlainFormatter"
    handler = settings.job_logging.handlers.file
    assert (handler.encoding, handler.errors) == ("utf-8", "backslashreplace")


def test_the_terminal_shows_text_as_it_is(capsys):
    console = open_terminal()
    print_line(console, f"open {HOSTILE}")
    print_wrapped(console, f"  note: {HOSTILE}")
    console.print(make_failure_table({HOSTILE: RunInfo("a", 1, "failed", "", error=f"{HOSTILE}\nsecond line")}))
    printed = capsys.readouterr().out
    assert is_plain(printed)
    assert printed.splitlines()[0] == f"open {SHOWN}"
    assert "[red]x[/red]" in printed
    assert ":cat:" in printed
    assert "[link=http://x]" in " ".join(printed.split())


@pytest.mark.parametrize("columns", ["20", "0", "1", "-5", "garbage", "²", ""])
@pytest.mark.parametrize("forced", ["1", ""])
def test_any_width_will_do(monkeypatch, capsys, columns, forced):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", forced)
    console = open_terminal()
    print_wrapped(console, "  a sentence of seven words and more")
    console.print(make_failure_table({"0_a": RunInfo("a", 1, "failed", "", error="why not")}))
    assert " ".join(capsys.readouterr().out.split()).startswith("a sentence of seven words and more")


def test_errors_are_plain(capsys):
    with pytest.raises(SystemExit):
        stop_with_sentence(RunError(f"{HOSTILE} is not a run"))
    assert is_plain(capsys.readouterr().err)


def test_a_command_that_is_interrupted_says_so_in_one_line(capsys):
    with pytest.raises(SystemExit) as stop, leave_cleanly("try again"):
        raise KeyboardInterrupt
    assert stop.value.code == 130
    assert capsys.readouterr().err == "interrupted: try again\n"


# text in figures, on TensorBoard


def test_figures_show_escapes(tmp_path, recwarn):
    names = [f"{HOSTILE}{number}" for number in range(3)]
    figure = draw_confusion_matrix(np.eye(3, dtype=int).tolist(), names, f"title {HOSTILE}\nof two lines")
    save_figure(figure, tmp_path / "a.png")
    shown = [text.get_text() for text in figure.findobj(Text) if text.get_text()]
    assert all(map(is_plain, shown))
    assert {f"{SHOWN}{number}" for number in range(3)} <= set(shown)
    assert f"title {SHOWN}\nof two lines" in shown
    assert not [str(one.message) for one in recwarn if "Glyph" in str(one.message)]
    plain = new_figure(2, 2)
    plain.subplots().set_yscale("log")  # whose labels are formulas that matplotlib makes
    save_figure(plain, tmp_path / "b.png")
    assert Image.open(tmp_path / "b.png").size == (260, 260)


def test_tiles_show_escapes(recwarn):
    failure = Failure(1, 0, 0, 1, "two\nlines", HOSTILE, 0.9, 0.05)
    cam = Cam(np.ones((1, 2, 2), dtype=np.float32))
    hostile = draw_gradcam_tile(failure, np.zeros((1, 8, 8), np.uint8), cam, cam, "layer")
    plain = Failure(1, 0, 0, 1, r"two\nlines", SHOWN, 0.9, 0.05)
    wanted = draw_gradcam_tile(plain, np.zeros((1, 8, 8), np.uint8), cam, cam, "layer")
    np.testing.assert_array_equal(np.asarray(hostile), np.asarray(wanted))
    assert not recwarn.list


def test_tensorboard_gets_escapes(make_predictions):
    predictions = make_predictions([True, False], n_classes=2)
    rows = describe_points(predictions, np.arange(2), [HOSTILE, "a\tb"])
    assert all(is_plain("".join(row)) and "\t" not in "".join(row) for row in rows)
    config = {"variant": HOSTILE, "augment": {"name": "a\udce9", "list": ["a\udce9"]}}
    for value in list_hyperparameters(config).values():
        assert is_plain(value)
        value.encode("utf-8")


# the whole way: from files and folders of others to everything that a comparison leaves


def check_outputs(out, printed):
    """No output of a comparison lets hidden characters act, or a cell be a formula."""
    assert is_plain(printed.out + printed.err)
    assert is_plain((out / "report.html").read_text(encoding="utf-8").partition('<script type="application/json"')[0])
    for path in out.rglob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            cells = [one for row in csv.reader(file) for one in row]
        assert not [one for one in cells if cell(read_cell(one)) != one]


def test_hostile_prediction_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    classes, ids = [HOSTILE, "=cmd|' /C calc'!A0", "@third"], [f"=1+{n}{HOSTILE}" for n in range(60)]
    rng = np.random.default_rng(0)
    for name, right in (("a", 0.6), ("b", 0.8)):
        label = np.arange(60) % 3
        pred = np.where(rng.random(60) < right, label, (label + 1) % 3)
        rows = [
            {"id": one, "pred": classes[p], "confidence": 0.9, "label": classes[k]}
            for one, p, k in zip(ids, pred, label, strict=True)
        ]
        pd.DataFrame(rows).to_parquet(f"{name}.parquet")
    names = 'predictions=[{name: "-a [red]x", files: [a.parquet]},{name: "=b:cat:", files: [b.parquet]}]'
    status = run_command(monkeypatch, compare.main, names, "gates.min_accuracy=0.99", "resamples=100", "out=o")
    printed = capsys.readouterr()
    assert status == 3
    check_outputs(tmp_path / "o", printed)
    assert "-a [red]x" in printed.out
    assert "=b:cat:" in printed.err
    comparison = load_json(tmp_path / "o" / "comparison.json")
    assert set(comparison["data"]["classes"]) == set(classes)
    (table,) = (tmp_path / "o" / "disagreements").glob("*.csv")
    with table.open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert {read_cell(row["index"]) for row in listed} <= set(ids)
    assert {read_cell(row["label"]) for row in listed} <= set(classes)


def test_hostile_runs(tmp_path, monkeypatch, capsys, write_run):
    """Records of a folder that somebody else made."""
    rng, classes = np.random.default_rng(0), (*"abcdefghi", HOSTILE)
    for number, name in enumerate((f"plain {HOSTILE}", f"=cmd() {HOSTILE}")):
        run = write_run(f"sweep/{number}_x", name, rng.random(300) < 0.7 + 0.1 * number, classes=classes)
        hardware = {"device": HOSTILE, "precision": HOSTILE, "threads": 1}
        info = RunInfo(name, 1, "finished", "now", versions={HOSTILE: HOSTILE}, hardware=hardware, command=[HOSTILE])
        run.save_info(info)
        run.save_hydra("overrides", f'["seed=1 {HOSTILE.encode("unicode_escape").decode()}"]')
    write_run("sweep/2_lost", "lost", [True], state="failed")
    lost = RunDir(tmp_path / "sweep" / "2_lost")
    lost.save_info(RunInfo("lost", 1, "failed", "now", error=f"{HOSTILE}\nsecond line"))
    status = run_command(
        monkeypatch, compare.main, f"sweep={tmp_path / 'sweep'}", f"out={tmp_path / 'o'}", "resamples=100"
    )
    assert status == 1  # a run is lost
    printed = capsys.readouterr()
    check_outputs(tmp_path / "o", printed)
    assert "2_lost is left out: failed" in printed.out
    page = write_report(tmp_path / "o", {}).read_text(encoding="utf-8")
    assert r"\x1b[2J" in page
    assert "<script>alert" not in page


# files have an encoding, whatever the machine's is

BYTES = ("Image", "os", "gzip", "archive", "pacsv")  # whose ``open`` opens no text
OPENS = ("open", "read_text", "write_text", "FileHandler", "TextIOWrapper", "fdopen", "NamedTemporaryFile")


def needs_encoding(call):
    """Whether a call opens text and leaves its encoding to the machine."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    if owner in BYTES or (name not in OPENS and owner != "subprocess"):
        return False
    if any(word.arg in ("encoding", None) for word in call.keywords):
        return False
    if owner == "subprocess":
        return any(word.arg in ("text", "universal_newlines") for word in call.keywords)
    modes = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return not (name == "open" and any("b" in mode for mode in modes))


@pytest.mark.parametrize(
    "text", ["open(p)", "p.read_text()", "p.open('w')", "logging.FileHandler(f)", "subprocess.run(c, text=True)"]
)
def test_a_call_without_an_encoding_is_found(text):
    assert needs_encoding(ast.parse(text).body[0].value)


def test_every_file_has_an_encoding():
    files = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "hydra_plugins").glob("*.py")]
    found = [
        f"{path.name}:{node.lineno} {ast.unparse(node)[:60]}"
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and needs_encoding(node)
    ]
    assert found == []


PLACES = r"""
multirun/demo/0_a|a b|a  b|a'b|a"b|a\"b|a\\"b|ends\|a\b|a=b|a,b|a$b|${x}|\${x}|$(touch x)|`touch x`|{a: b}
[a]|~|~x|#a|a#b|!a|*|長い|é|2026|1e5|null|True|nan|-1|a:b|a;b|a&b|(a)|%s|@a|a&b| |${oc.env:HOME}|..||a
"""


@pytest.mark.parametrize("place", [*PLACES.strip().replace("\n", "|").split("|"), "a\tb", "two\nlines", "a|b"])
def test_what_is_told_to_type_can_be_typed(place):
    """By a shell's own rules, Hydra's and OmegaConf's."""
    (typed,) = shlex.split(as_override("run", place))
    override = OverridesParser.create().parse_override(typed)
    assert not override.is_sweep_override()
    config = OmegaConf.create({"run": None})
    OmegaConf.update(config, "run", override.value())
    assert config.run == place

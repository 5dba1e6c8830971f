"""Everything a comparison writes: records, tables, pictures, the page and the terminal output."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from stress_lab.comparison.assemble import compare_matched
from stress_lab.comparison.cards import (
    PICTURES,
    SAME,
    are_drawn,
    arrange_pictures,
    describe_cases,
    load_arrays,
    load_pictures,
    make_gallery,
    save_pictures,
)
from stress_lab.comparison.chosen import first_runs
from stress_lab.comparison.codec import to_record
from stress_lab.comparison.comparable import MatchedRuns
from stress_lab.comparison.gates import check_gates
from stress_lab.comparison.identity import identify
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.pairs import first_pairs, pair_name
from stress_lab.comparison.result import Comparison
from stress_lab.comparison.shown import narrow_runs
from stress_lab.comparison.triage import read_evidence
from stress_lab.errors import PairingError
from stress_lab.files import save_json
from stress_lab.publishing.exports import SUMMARY, write_exports
from stress_lab.publishing.label_check import write_labels
from stress_lab.publishing.near_duplicates import add_near_duplicates, save_pairs
from stress_lab.publishing.settings import Settings
from stress_lab.publishing.tables import write_tables
from stress_lab.publishing.tensorboard import list_board, write_sweep_board
from stress_lab.records import FloatArray, IntArray
from stress_lab.report.page import write_report
from stress_lab.report.table import COMMAND, describe_verdicts, make_table, style_verdicts
from stress_lab.runs.settings import explained_layer
from stress_lab.runtime.locks import COMPARISON_LOCK, hold
from stress_lab.runtime.terminal import announce, name_opener, open_terminal, print_line, print_wrapped
from stress_lab.stats.pairing import rows_of
from stress_lab.storage.filesets import COMPARISON, FileSet, stage
from stress_lab.storage.seals import TRUST, explain_foreign

log = logging.getLogger(__name__)

PATIENCE = 60.0  # seconds for another process that writes a comparison into the folder
ELSEWHERE = "wait for it, or write this one into another folder with out=FOLDER"


def write_comparison(
    matched: MatchedRuns,
    out: Path,
    title: str,
    settings: Settings,
    notes: Sequence[str] = (),
    unfinished: Sequence[str] = (),
    clusters: IntArray | None = None,
) -> Comparison:
    """Write the records of a comparison, its tables, pictures and page, all at once, and print the verdicts.

    Arguments that the statistics take are those of :func:`~stress_lab.comparison.assemble.compare_matched`.

    Raises:
        RunError: another process writes a comparison into the folder.
    """
    with _open(out) as files:
        announce(f"comparing {len(matched.runs)} runs")
        first = matched.runs[0]
        properties, evidence = load_properties(first), read_evidence(first, settings.soft_labels)
        evidence, pairs = add_near_duplicates(evidence, first, files, settings)
        comparison = compare_matched(
            matched, title, settings.options, notes, properties, unfinished, clusters, evidence
        )
        announce("drawing the pictures and writing the page" if settings.report else "drawing the pictures")
        comparison, has_cases = _write(comparison, matched, properties, files, settings)
        save_pairs(pairs, comparison.id, files)
    _print(comparison, out, has_cases, settings)
    return comparison


def save_comparison(
    comparison: Comparison,
    matched: MatchedRuns,
    out: Path,
    settings: Settings,
    properties: Mapping[str, FloatArray] | None,
) -> None:
    """Write the same for an existing comparison, and print nothing; raises RunError as above."""
    with _open(out) as files:
        _write(comparison, matched, properties, files, settings)


@contextmanager
def _open(out: Path) -> Iterator[FileSet]:
    """The files of a comparison, which appear in the folder at once when the block ends."""
    with hold(out / COMPARISON_LOCK, PATIENCE, ELSEWHERE, doing="compared"), stage(out, COMPARISON) as files:
        yield files


def _write(
    comparison: Comparison,
    matched: MatchedRuns,
    properties: Mapping[str, FloatArray] | None,
    files: FileSet,
    settings: Settings,
) -> tuple[Comparison, bool]:
    """Everything except the terminal output; returns the comparison with gates and id, and whether there are cases."""
    comparison = replace(comparison, gates=tuple(check_gates(comparison, settings.gates)))
    shown = narrow_runs(matched, comparison.shown)
    gallery = _describe_gallery(comparison, shown.comparable, settings, properties)
    gallery["id"] = identify(to_record(comparison), gallery)
    comparison = replace(comparison, id=gallery["id"])
    _write_records(comparison, gallery, files.path)
    write_tables(comparison, matched, files)
    write_labels(comparison, matched.comparable[0], files, settings)
    return comparison, _write_pictures(comparison, gallery, shown, files, settings)


def load_properties(first: LoadedRun) -> dict[str, Any] | None:
    """Measured properties of the test images, in the order of the predictions; None where not recorded."""
    if first.run is None or not first.run.has(first.run.properties_file("test")):
        return None
    index, properties = first.run.load_properties("test")
    try:
        rows = rows_of(index, first.scores.index)
    except PairingError as error:
        log.warning("%s: its properties are of other images, so only classes are searched: %s", first.name, error)
        return None
    return {name: values[rows] for name, values in properties.items()}


def _describe_gallery(
    comparison: Comparison,
    comparable: Sequence[LoadedRun],
    settings: Settings,
    properties: Mapping[str, FloatArray] | None,
) -> dict[str, Any]:
    """What ``gallery.json`` holds."""
    layers = [explained_layer(run.run, settings.layer) for run in first_runs(comparable).values() if run.run]
    shown = (settings.gallery, settings.cases_per_outcome, " and ".join(dict.fromkeys(layers)), layers)
    return make_gallery(comparable, comparison.patterns, properties, *shown)


def _write_records(comparison: Comparison, gallery: dict[str, Any], folder: Path) -> None:
    """The numbers, the gates, and what the page says about each image."""
    record = to_record(comparison)
    save_json(folder / "comparison.json", record)
    passed = all(gate.passed for gate in comparison.gates)
    save_json(folder / "gates.json", {"passed": passed, "gates": record["gates"], "id": comparison.id})
    save_json(folder / "gallery.json", gallery)


def _write_pictures(
    comparison: Comparison, gallery: dict[str, Any], matched: MatchedRuns, files: FileSet, settings: Settings
) -> bool:
    """Summary, cases, gallery, TensorBoard and the page; returns whether there are cases."""
    loaded = matched.runs
    write_exports(comparison, {run.name: run.history for run in loaded}, files, settings.figures)
    has_cases = bool(gallery["cards"] and loaded[0].run) and _explain_runs(matched, gallery, files, settings)
    _note_kept_pictures(files, gallery, {pair_name(a, b) for a, b in matched.pairs})
    histories = [(run.variant, run.history) for run in loaded if run.history]
    if histories and files.folder.resolve() == loaded[0].records.path.resolve().parent:  # a sweep's own folder
        write_sweep_board(histories, files.path)
        files.remove(list_board(files.folder))
    if settings.report:
        write_report(files.folder, {run.name: run.run.path for run in loaded if run.run is not None}, files.path)
    else:
        files.remove([files.folder / "report.html"])  # from another comparison
    return has_cases


def _explain_runs(matched: MatchedRuns, gallery: dict[str, Any], files: FileSet, settings: Settings) -> bool:
    """The part that needs nets and images, hence torch: cases and gallery; returns whether there are cases.

    Pictures that an earlier comparison drew for the same predictions are reused. No net is built for runs that are not
    the user's own; if pictures are missing for that reason, a warning says so.
    """
    pairs = first_pairs(matched.pairs)
    folders = {pair_name(*pair): files.folder / "cases" / pair_name(*pair) for pair in pairs}
    told = (settings.cases_per_outcome, settings.layer)
    lacking = [pair for pair in pairs if not are_drawn(folders[pair_name(*pair)], describe_cases(*pair, *told))]
    earlier = _find_earlier_pictures(files, gallery)
    shown = list(first_runs(matched.comparable).values()) if earlier is None or SAME not in earlier else []
    foreign = {run.name: run for run in [*shown, *(run for pair in lacking for run in pair)] if not run.trusted}
    if foreign:
        log.warning("%s", _describe_foreign(list(foreign.values()), len(matched.runs), earlier is not None))
    if not all(run.trusted for run in shown):
        shown = []
    drawable = [pair for pair in lacking if all(run.trusted for run in pair)]
    drawn = _draw(drawable, shown, matched, gallery, files, settings) if drawable or shown else []
    if earlier is not None and not shown:
        save_pictures(files.path / PICTURES, earlier, gallery)
    return bool(drawn) or any(next(folder.glob("case_*.png"), None) for folder in folders.values())


def _draw(
    pairs: Sequence[tuple[LoadedRun, LoadedRun]],
    shown: Sequence[LoadedRun],
    matched: MatchedRuns,
    gallery: dict[str, Any],
    files: FileSet,
    settings: Settings,
) -> list[Path]:
    """Draw the cases of pairs, and the gallery if its runs are given; returns the pictures of cases."""
    from stress_lab.publishing.explained import Explainer
    from stress_lab.publishing.maps import record_pictures, shown_index
    from stress_lab.publishing.side_by_side import draw_cases

    explainer = Explainer(settings.layer, settings.root)
    for run in shown:
        explainer.want(run, shown_index(gallery))
    drawn = draw_cases(pairs, files, settings.cases_per_outcome, explainer)
    if shown:
        record_pictures(matched.comparable, gallery, files, explainer)
    return drawn


def _find_earlier_pictures(files: FileSet, gallery: dict[str, Any]) -> dict[str, Any] | None:
    """Pictures that an earlier comparison drew for the same images and runs, arranged for this one's cards."""
    pictures = load_arrays(files.folder / PICTURES)
    return None if pictures is None else arrange_pictures(pictures, gallery)


def _describe_foreign(runs: Sequence[LoadedRun], n: int, kept: bool) -> str:
    """Why no net is built for some runs, and what to type."""
    first = runs[0].records
    names = f"{len(runs)} of {n} runs are" if n > 1 else "it is"
    earlier = "; those of an earlier comparison are shown" if kept else ""
    return (
        f"{explain_foreign(first.path, first.config_digest)}: {names} read as records only, and no images and maps "
        f"are drawn, since that would run the code that a config names{earlier}; {TRUST}"
    )


def _note_kept_pictures(files: FileSet, gallery: dict[str, Any], pairs: Container[str]) -> None:
    """Log what stays from an earlier comparison though it is not this one's: it may be impossible to redraw."""
    for folder in sorted({path.parent for path in (files.folder / "cases").glob("*/case_*.png")}):
        if folder.name not in pairs:
            log.warning("%s stays: its pictures are from an earlier comparison, not this one", folder)
    kept = files.folder / PICTURES
    if kept.is_file() and not files.has(PICTURES) and load_pictures(kept, gallery) is None:
        log.warning("gallery.npz holds other pictures than this comparison's: it stays but is not shown")


def _print(comparison: Comparison, out: Path, has_cases: bool, settings: Settings) -> None:
    """The table, the verdicts and the paths to open."""
    console = open_terminal()
    console.print(make_table(comparison))
    styles = style_verdicts(comparison)
    for line in describe_verdicts(comparison):
        if line.startswith(COMMAND):
            print_line(console, line)
        else:
            print_wrapped(console, line, styles.get(line, ""))
    console.print()
    summaries = [out / f"{SUMMARY}.{kind}" for kind in settings.figures[:1]]
    shown = [out / "report.html"] * settings.report + summaries + [out / "cases"] * has_cases
    for path in shown:
        print_line(console, f"{name_opener()}{shlex.quote(str(path))}")
    if (out / "tensorboard").is_dir():
        print_line(console, f"tensorboard --logdir {shlex.quote(str(out))}")

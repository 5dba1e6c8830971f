"""What a comparison leaves: records, tables, pictures, the page, and what the terminal shows."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from stress_lab.board import write_sweep_board
from stress_lab.comparison.agreement import list_rates
from stress_lab.comparison.cards import first_runs, fits_gallery, make_gallery
from stress_lab.comparison.comparable import keep_comparable
from stress_lab.comparison.gates import check_gates
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.options import Options
from stress_lab.comparison.pairs import find_pairs, pair_name
from stress_lab.comparison.whole import compare_runs
from stress_lab.figures.style import save_figure
from stress_lab.figures.summary import draw_summary
from stress_lab.files import flatten, remove_others, save_csv, save_json
from stress_lab.records import IntArray
from stress_lab.report.page import write_report
from stress_lab.report.table import describe_verdicts, make_table
from stress_lab.runs import explained_layer
from stress_lab.stats.agreement import list_disagreements
from stress_lab.terminal import open_terminal, say, say_wrapped

log = logging.getLogger(__name__)

DIFFERENCE_COLUMNS = (
    *("a", "b", "seed", "metric", "n", "rate_a", "rate_b", "difference", "low", "high", "level", "method"),
    *("mcnemar_exact_p", "mcnemar_mid_p", "permutation_p"),
    *("table_both", "table_only_a", "table_only_b", "table_neither"),
)
DISAGREEMENT_COLUMNS = ("index", "outcome", "label", "pred_a", "pred_b", "confidence_a", "confidence_b")


def write_comparison(
    loaded: Sequence[LoadedRun],
    out: Path,
    title: str,
    cfg: DictConfig,
    strict: bool,
    notes: Sequence[str] = (),
    unfinished: Sequence[str] = (),
) -> dict[str, Any]:
    """Write the records of a comparison, its tables, pictures and page, and print the verdicts.

    Returns:
        What ``comparison.json`` holds.
    """
    options = Options(cfg.level, cfg.resamples, dict(cfg.margins), tuple(cfg.primary), cfg.power)
    properties = load_properties(loaded[0])
    comparison = compare_runs(loaded, title, options, strict, notes, properties, unfinished)
    comparison["gates"] = check_gates(comparison, cfg.gates)
    save_json(out / "comparison.json", comparison)
    save_json(
        out / "gates.json", {"passed": all(g["passed"] for g in comparison["gates"]), "gates": comparison["gates"]}
    )
    _write_tables(comparison, loaded, out)
    comparable, _ = keep_comparable(loaded, strict=False)
    has_cases = _write_pictures(comparison, loaded, comparable, out, cfg, properties)
    _print(comparison, out, has_cases, cfg.report)
    return comparison


def load_properties(first: LoadedRun) -> dict[str, Any] | None:
    """What was measured on the test images, in the order of the predictions; None where that is not recorded."""
    if first.run is None or not first.run.properties_file("test").is_file():
        return None
    index, properties = first.run.load_properties("test")
    return properties if np.array_equal(index, first.scores.index) else None


def _write_tables(comparison: dict[str, Any], loaded: Sequence[LoadedRun], out: Path) -> None:
    """The record as tables for spreadsheets."""
    save_csv(out / "comparison.csv", list_differences(comparison), DIFFERENCE_COLUMNS)
    left_out = {"curves", "hardware", "versions", "overrides"}
    summaries = [
        flatten({key: value for key, value in run.items() if key not in left_out}) for run in comparison["runs"]
    ]
    save_csv(out / "runs.csv", summaries, list(dict.fromkeys(key for row in summaries for key in row)))
    rates = list_rates(keep_comparable(loaded, strict=False)[0])
    save_csv(out / "failure_rates.csv", rates, list(rates[0]) if rates else ["index", "label"])
    written = []
    for a, b in find_pairs(loaded, strict=False)[0]:
        disagreements = list_disagreements(a.scores, b.scores, a.classes)
        if a.ids is not None:
            disagreements = [{**row, "index": a.ids[row["index"]]} for row in disagreements]
        path = out / "disagreements" / f"{pair_name(a, b)}.csv"
        written.append(save_csv(path, disagreements, DISAGREEMENT_COLUMNS))
    remove_others((out / "disagreements").glob("*.csv"), written)  # of another comparison


def _write_pictures(
    comparison: dict[str, Any],
    loaded: Sequence[LoadedRun],
    comparable: Sequence[LoadedRun],
    out: Path,
    cfg: DictConfig,
    properties: dict[str, Any] | None,
) -> bool:
    """Summary, cases, gallery, TensorBoard and the page; tells whether there are cases."""
    save_figure(draw_summary(comparison, {run.name: run.history for run in loaded}), out / "comparison_summary.png")
    layers = [explained_layer(run.run, cfg.layer) for run in first_runs(comparable).values() if run.run]
    named = " and ".join(dict.fromkeys(layers))
    shown = (cfg.gallery, cfg.cases_per_outcome, named, layers)
    gallery = make_gallery(comparable, comparison["patterns"], properties, *shown)
    save_json(out / "gallery.json", gallery)
    has_cases = False
    if gallery["cards"] and loaded[0].run:
        index = np.array([card["index"] for card in gallery["cards"]])
        has_cases = _explain_runs(loaded, comparable, index, out, cfg)
    _note_kept_pictures(out, gallery, {pair_name(a, b) for a, b in find_pairs(loaded, strict=False)[0]})
    histories = [(run.variant, run.history) for run in loaded if run.history]
    if histories and out.resolve() == loaded[0].records.path.resolve().parent:  # a sweep's own folder
        write_sweep_board(histories, out)
    if cfg.report:
        write_report(out, {run.name: run.run.path for run in loaded if run.run is not None})
    else:
        (out / "report.html").unlink(missing_ok=True)  # of another comparison
    return has_cases


def _explain_runs(
    loaded: Sequence[LoadedRun],
    comparable: Sequence[LoadedRun],
    index: IntArray,
    out: Path,
    cfg: DictConfig,
) -> bool:
    """What needs the runs' nets and images, hence torch: cases and gallery; tells whether there are cases."""
    from stress_lab.cases import draw_cases
    from stress_lab.gallery import record_pictures

    pairs = find_pairs(loaded, strict=False)[0]
    cases = draw_cases(pairs, out / "cases", cfg.cases_per_outcome, cfg.layer, cfg.root)
    record_pictures(comparable, index, out / "gallery.npz", cfg.layer, cfg.root)
    return bool(cases)


def _note_kept_pictures(out: Path, gallery: dict[str, Any], pairs: Container[str]) -> None:
    """Say what stays from an earlier comparison and is not this one's: perhaps nobody can draw it again."""
    for folder in sorted({path.parent for path in (out / "cases").glob("*/case_*.png")}):
        if folder.name not in pairs:
            log.warning("%s stays: its pictures are of an earlier comparison, not of this one", folder)
    if (out / "gallery.npz").is_file():
        with np.load(out / "gallery.npz", allow_pickle=False) as arrays:
            if not fits_gallery(gallery, arrays):
                log.warning("gallery.npz holds other pictures than this comparison's: it stays, and is not shown")


def list_differences(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each pair and metric, then one for each question over several seeds."""
    pairs = [
        {
            "a": pair["a"],
            "b": pair["b"],
            "seed": pair["seed"],
            "metric": metric,
            "n": pair["n"],
            **{key: pair[metric][key] for key in ("rate_a", "rate_b")},
            **_difference(pair[metric], comparison["level"]),
            **{key: pair[metric][key] for key in ("mcnemar_exact_p", "mcnemar_mid_p")},
            **{f"table_{cell}": count for cell, count in pair[metric]["table"].items()},
        }
        for pair in comparison["pairs"]
        for metric in ("accuracy", "confident_failures_matched", "confident_failures")
        if pair[metric] is not None
    ]
    recipes = [
        {
            **{key: question[key] for key in ("a", "b", "n")},
            "seed": "all",
            "metric": question["measure"],
            "rate_a": question["mean_a"],
            "rate_b": question["mean_b"],
            **_difference(question, comparison["level"]),
            "permutation_p": question["p"],
        }
        for question in comparison["questions"]
        if question["unit"] == "recipes"
    ]
    return [*pairs, *recipes]


def _difference(found: dict[str, Any], level: float) -> dict[str, Any]:
    """A difference of rates with its interval and how that was made."""
    low, high = found["interval"]
    method = found["interval_method"]
    return {"difference": found["difference"], "low": low, "high": high, "level": level, "method": method}


def _print(comparison: dict[str, Any], out: Path, has_cases: bool, has_report: bool) -> None:
    """The table, the verdicts and the paths to open."""
    console = open_terminal()
    console.print(make_table(comparison))
    for line in describe_verdicts(comparison):
        say_wrapped(console, line)
    console.print()
    shown = [out / "report.html"] * has_report + [out / "comparison_summary.png"] + [out / "cases"] * has_cases
    for path in shown:
        say(console, f"open {shlex.quote(str(path))}")
    if (out / "tensorboard").is_dir():
        say(console, f"     tensorboard --logdir {shlex.quote(str(out))}")

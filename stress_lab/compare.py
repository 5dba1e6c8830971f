"""Compare the variants of a sweep, runs, or files of predictions, from their records; nothing is trained.

stress-lab-compare sweep=multirun/demo/2026-11-21_10-00-00
stress-lab-compare 'runs=[multirun/a/0_baseline_seed42,multirun/b/0_cutout_seed42]'
stress-lab-compare 'predictions=[a.csv,b.csv]' labels=labels.csv
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from stress_lab.check import check_comparison, check_comparison_values
from stress_lab.door import config_folder, open_door
from stress_lab.errors import ConfigError, RunError
from stress_lab.runs import RunDir, flatten, is_run, load_runs
from stress_lab.sweep import GATE_FAILED

if TYPE_CHECKING:
    from stress_lab.comparison.loading import LoadedRun

log = logging.getLogger(__name__)

MISSING = object()
DISAGREEMENT_COLUMNS = ("index", "outcome", "label", "pred_a", "pred_b", "confidence_a", "confidence_b")


def main() -> None:
    """The command ``stress-lab-compare``."""
    open_door("compare", _task)


def _task(cfg: DictConfig) -> None:
    """Compare what the config names, and let the gates speak."""
    check_comparison(cfg)
    if cfg.sweep is not None:
        comparison = compare_sweep(Path(cfg.sweep), cfg)
    elif cfg.runs:
        comparison = compare(_find_runs(cfg.runs), Path(cfg.out or "comparison"), "comparison", cfg, strict=True)
    else:
        comparison = compare_files(cfg)
    failed = list_failed_gates(comparison)
    for line in failed:
        print(line, file=sys.stderr)
    if failed:
        sys.exit(GATE_FAILED)


def list_failed_gates(comparison: dict[str, Any]) -> list[str]:
    """A line for each gate that failed."""
    return [
        f"gate {gate['gate']}={gate['limit']}{' (' + gate['variant'] + ')' if gate['variant'] else ''} failed: "
        f"{gate['value']}"
        for gate in comparison["gates"]
        if not gate["passed"]
    ]


def _find_runs(folders: Sequence[str]) -> list[RunDir]:
    """The runs named."""
    for folder in folders:
        if not is_run(Path(folder)):
            raise RunError(f"{folder} is not a run folder: it lacks status.json or config.yaml")
    return list(map(RunDir, folders))


def make_options(chosen: DictConfig | None = None) -> DictConfig:
    """``conf/compare.yaml`` with the keys that ``comparison`` in a training's config chose.

    Raises:
        ConfigError: a key is unknown, or a value does not work.
    """
    known = OmegaConf.to_container(OmegaConf.load(config_folder() / "compare.yaml"))
    options = OmegaConf.create({key: value for key, value in known.items() if key not in ("defaults", "hydra")})  # type: ignore[union-attr]
    OmegaConf.set_struct(options, True)
    for key in flatten(OmegaConf.to_container(chosen, resolve=True) if chosen else {}):
        if key and OmegaConf.select(options, key, default=MISSING) is MISSING:
            raise ConfigError(f"there is no config key comparison.{key}: see stress-lab-compare --cfg job")
    merged = OmegaConf.merge(options, chosen or {})
    check_comparison_values(merged)  # type: ignore[arg-type]
    return merged  # type: ignore[return-value]


def compare_sweep(folder: Path, cfg: DictConfig | None = None) -> dict[str, Any]:
    """Compare the runs below a sweep's folder; a function of that folder, repeatable at will."""
    options = make_options() if cfg is None else cfg
    runs = load_runs(folder)
    title = str(runs[0].config["name"])
    return compare(runs, Path(options.out or folder), title, options, strict=False)


def compare(runs: Sequence[RunDir], out: Path, title: str, cfg: DictConfig, strict: bool) -> dict[str, Any]:
    """Compare runs and write everything: see :func:`write_comparison`.

    Args:
        runs: in launch order; those that did not finish are left out.
        out: folder to write into.
        title: of the figures.
        cfg: of ``conf/compare.yaml``.
        strict: raise where two runs cannot be compared, instead of leaving the pair out with a note.
    """
    from stress_lab.comparison.loading import list_unfinished, load_finished

    unfinished = list_unfinished(runs)
    if strict and unfinished:
        raise RunError(f"only finished runs can be compared: {unfinished[0]}")
    return write_comparison(load_finished(runs), out, title, cfg, strict, unfinished)


def compare_files(cfg: DictConfig) -> dict[str, Any]:
    """Compare the predictions that other programs made."""
    from stress_lab.comparison.loading import from_files
    from stress_lab.prediction_files import read_prediction_files

    groups = name_files(OmegaConf.to_container(cfg.predictions))
    paths = [path for files in groups.values() for path in files]
    read = read_prediction_files(paths, Path(cfg.labels) if cfg.labels is not None else None)
    named = iter(read)
    loaded = from_files({variant: [next(named) for _ in files] for variant, files in groups.items()}, cfg.threshold)
    notes = [note for file in read for note in file.notes]
    return write_comparison(loaded, Path(cfg.out or "comparison"), "predictions", cfg, True, notes)


def name_files(predictions: Any) -> dict[str, list[Path]]:
    """Files by variant: a list has one variant a file, called after it; a mapping names them, with one or more files.

    Raises:
        ConfigError: nothing is named, or a variant has no file.
    """
    if isinstance(predictions, dict):
        groups = {
            str(name): [Path(one) for one in (files if isinstance(files, list) else [files])]
            for name, files in predictions.items()
        }
        if not groups or not all(groups.values()):
            raise ConfigError("predictions names no files: write 'predictions={baseline: [a.csv], fix: [b.csv]}'")
        return groups
    paths = [Path(one) for one in predictions]
    stems = [path.stem for path in paths]
    return {path.stem if stems.count(path.stem) == 1 else str(path): [path] for path in paths}


def write_comparison(
    loaded: Sequence[LoadedRun], out: Path, title: str, cfg: DictConfig, strict: bool, notes: Sequence[str]
) -> dict[str, Any]:
    """Write the records of a comparison, its tables, pictures and page, and print the verdicts.

    Returns:
        What ``comparison.json`` holds.
    """
    from stress_lab.comparison.gates import check_gates
    from stress_lab.comparison.options import Options
    from stress_lab.comparison.whole import compare_runs, keep_comparable
    from stress_lab.runs import save_json

    options = Options(cfg.level, cfg.resamples, dict(cfg.margins), tuple(cfg.primary), cfg.power)
    properties = load_properties(loaded[0])
    comparison = compare_runs(loaded, title, options, strict, notes, properties)
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
    import numpy as np

    if first.run is None or not first.run.properties_file("test").is_file():
        return None
    index, properties = first.run.load_properties("test")
    return properties if np.array_equal(index, first.scores.index) else None


def _write_tables(comparison: dict[str, Any], loaded: Sequence[LoadedRun], out: Path) -> None:
    """The record as tables for spreadsheets."""
    from stress_lab.comparison.agreement import list_rates
    from stress_lab.comparison.pairs import find_pairs, pair_name
    from stress_lab.comparison.whole import keep_comparable
    from stress_lab.runs import flatten, save_csv
    from stress_lab.stats.agreement import list_disagreements

    for stale in (out / "disagreements").glob("*.csv"):
        stale.unlink()
    rows = flatten_pairs(comparison)
    save_csv(out / "comparison.csv", rows, list(rows[0]) if rows else ["a", "b", "seed", "metric"])
    left_out = {"curves", "hardware", "versions", "overrides"}
    summaries = [
        flatten({key: value for key, value in run.items() if key not in left_out}) for run in comparison["runs"]
    ]
    save_csv(out / "runs.csv", summaries, list(dict.fromkeys(key for row in summaries for key in row)))
    rates = list_rates(keep_comparable(loaded, strict=False)[0])
    save_csv(out / "failure_rates.csv", rates, list(rates[0]) if rates else ["index", "label"])
    for a, b in find_pairs(loaded, strict=False)[0]:
        disagreements = list_disagreements(a.scores, b.scores, a.classes)
        if a.ids is not None:
            disagreements = [{**row, "index": a.ids[row["index"]]} for row in disagreements]
        save_csv(out / "disagreements" / f"{pair_name(a, b)}.csv", disagreements, DISAGREEMENT_COLUMNS)


def _write_pictures(
    comparison: dict[str, Any],
    loaded: Sequence[LoadedRun],
    comparable: Sequence[LoadedRun],
    out: Path,
    cfg: DictConfig,
    properties: dict[str, Any] | None,
) -> bool:
    """Summary, cases, gallery, TensorBoard and the page; tells whether there are cases."""
    from stress_lab.board import write_sweep_board
    from stress_lab.cases import draw_cases
    from stress_lab.comparison.pairs import find_pairs
    from stress_lab.figures.style import save_figure
    from stress_lab.figures.summary import draw_summary
    from stress_lab.gallery import record_gallery
    from stress_lab.report.page import write_report

    for stale in (out / "cases").glob("*/case_*.png"):
        stale.unlink()
    save_figure(draw_summary(comparison, {run.name: run.history for run in loaded}), out / "comparison_summary.png")
    pairs = [pair for pair in find_pairs(loaded, strict=False)[0] if pair[0].run and pair[1].run]
    cases = (
        draw_cases(pairs, out / "cases", cfg.cases_per_outcome, cfg.layer, cfg.root) if cfg.cases_per_outcome else []
    )
    record_gallery(comparable, comparison, out, cfg.gallery, cfg.cases_per_outcome, cfg.layer, cfg.root, properties)
    histories = [(run.variant, run.history) for run in loaded if run.history]
    if histories and out.resolve() == loaded[0].records.path.resolve().parent:  # a sweep's own folder
        write_sweep_board(histories, out)
    if cfg.report:
        write_report(out, {run.name: run.run.path for run in loaded if run.run is not None})
    return bool(cases)


def flatten_pairs(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each pair and metric."""
    return [
        {
            "a": pair["a"],
            "b": pair["b"],
            "seed": pair["seed"],
            "metric": metric,
            "n": pair["n"],
            **{key: pair[metric][key] for key in ("rate_a", "rate_b", "difference")},
            "low": pair[metric]["bootstrap_interval"][0],
            "high": pair[metric]["bootstrap_interval"][1],
            **{key: pair[metric][key] for key in ("mcnemar_exact_p", "mcnemar_mid_p")},
            **{f"table_{cell}": count for cell, count in pair[metric]["table"].items()},
        }
        for pair in comparison["pairs"]
        for metric in ("accuracy", "confident_failures")
        if pair[metric] is not None
    ]


def _print(comparison: dict[str, Any], out: Path, has_cases: bool, has_report: bool) -> None:
    """The table, the verdicts and the paths to open."""
    from stress_lab.report.table import describe_verdicts, make_table

    console = Console(width=None if Console().is_terminal else 110, highlight=False)
    console.print(make_table(comparison))
    for line in describe_verdicts(comparison):
        console.print(line, markup=False, soft_wrap=True)
    console.print()
    shown = [out / "report.html"] * has_report + [out / "comparison_summary.png"] + [out / "cases"] * has_cases
    for path in shown:
        console.print(f"open {path}", markup=False, soft_wrap=True)
    if (out / "tensorboard").is_dir():
        console.print(f"     tensorboard --logdir {out}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()

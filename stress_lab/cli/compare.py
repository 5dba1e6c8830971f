"""Compare the variants of a sweep, runs, or files of predictions, from their records; nothing is trained.

stress-lab compare sweep=multirun/demo/2026-11-21_10-00-00
stress-lab compare 'runs=[multirun/a/0_baseline_seed42,multirun/b/0_cutout_seed42]'
stress-lab compare 'predictions=[a.csv,b.csv]' labels=labels.csv
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from stress_lab.cli.app import leave_cleanly, open_door
from stress_lab.comparison.option_rules import check_reference
from stress_lab.errors import ConfigError, RunError
from stress_lab.plain_text import printable
from stress_lab.preflight.comparison_rules import check_comparison
from stress_lab.preflight.messages import GATE_FAILED, RUN_LOST
from stress_lab.preflight.places import check_environment, check_writable
from stress_lab.preflight.unused import check_typed_in_comparison
from stress_lab.publishing.compare import compare, compare_sweep, list_failed_gates
from stress_lab.runs.find import list_absent, open_run
from stress_lab.runs.folder import RunDir

if TYPE_CHECKING:
    from stress_lab.comparison.result import Comparison


def main() -> None:
    """The command ``stress-lab compare``."""
    with leave_cleanly("run the same command to compare from the start"):
        open_door("compare", _task)


def _task(cfg: DictConfig) -> None:
    """Compare what the config names, and apply the gates."""
    check_comparison(cfg)
    check_typed_in_comparison(cfg)
    check_environment()
    if cfg.out is not None:
        check_writable(Path(cfg.out), "out")
    if cfg.sweep is not None:
        comparison = compare_sweep(Path(cfg.sweep), cfg)
    elif cfg.runs:
        runs = _find_runs(cfg.runs)
        title = runs[0].path.name if len(runs) == 1 else "comparison"
        comparison = compare(runs, Path(cfg.out or "comparison"), title, cfg, strict=True)
    else:
        comparison = compare_files(cfg)
    failed, lost = list_failed_gates(comparison), comparison.lost
    for line in [*failed, *(f"a run is missing: {sentence}" for sentence in lost)]:
        print(printable(line), file=sys.stderr)
    if failed or lost:
        sys.exit(GATE_FAILED if failed else RUN_LOST)


def _find_runs(folders: Sequence[str]) -> list[RunDir]:
    """The runs named; raises RunError where a folder is not a run."""
    runs = list(map(open_run, folders))
    for run in runs:
        if not (run.status_file.is_file() and run.config_file.is_file()):
            raise RunError(f"{run.path} is not a run folder: it lacks {list_absent(run.path)}")
    return runs


def compare_files(cfg: DictConfig) -> Comparison:
    """Compare the predictions that other programs made."""
    from stress_lab.comparison.comparable import match_runs
    from stress_lab.comparison.loading import from_files
    from stress_lab.comparison.reference import put_first
    from stress_lab.prediction_files import read_clusters, read_prediction_files

    groups = name_files(OmegaConf.to_container(cfg.predictions))
    check_reference(list(groups), cfg.reference)
    paths = [path for files in groups.values() for path in files]
    labels = Path(cfg.labels) if cfg.labels is not None else None
    clusters = None if cfg.clusters is None else read_clusters(labels or paths[0], cfg.clusters)
    read = read_prediction_files(paths, labels)
    named = iter(read)
    loaded = from_files({variant: [next(named) for _ in files] for variant, files in groups.items()}, cfg.threshold)
    if cfg.corrected_labels:
        from stress_lab.comparison.corrections import correct_labels  # imports SciPy

        loaded = correct_labels(loaded, Path(cfg.corrected_labels))
    matched = match_runs(put_first(loaded, cfg.reference), strict=True)
    notes = [note for file in read for note in file.notes]
    from stress_lab.publishing.settings import Settings
    from stress_lab.publishing.write import write_comparison  # the statistics and pictures take seconds to import

    out, settings = Path(cfg.out or "comparison"), Settings.from_config(cfg)
    title = "predictions" if len(groups) > 1 else next(iter(groups))
    return write_comparison(matched, out, title, settings, notes, clusters=clusters)


def name_files(predictions: Any) -> dict[str, list[Path]]:
    """Files by variant: a list has one variant a file, called after it; a mapping names them, with one or more files.

    In a list ``{name: "any text", files: [a.csv, b.csv]}`` names a variant by text that Hydra allows in quotes only.

    Raises:
        ConfigError: a variant has no file, a file is named twice, or two variants have one name.
    """
    named = _list_variants(predictions)
    files = [one for _, paths in named for one in paths]
    if not all(isinstance(one, str) for one in files):
        raise ConfigError(f"predictions={predictions} does not work: {NAMING}")
    places = [os.path.realpath(one) for one in files]
    twice = next((one for one, place in zip(files, places, strict=True) if places.count(place) > 1), None)
    if twice:
        raise ConfigError(f"predictions names {twice} twice: a copy is neither another seed nor another model")
    stems = [_stem(paths[0]) for name, paths in named if name is None]
    groups: dict[str, list[Path]] = {}
    for name, paths in named:
        if not paths:
            raise ConfigError(f"{name or 'predictions'} names no files: {NAMING}")
        stem = "" if name is not None else _stem(paths[0])
        variant = name if name is not None else stem if stems.count(stem) == 1 else paths[0]
        if variant in groups:
            raise ConfigError(f"predictions calls two variants {variant}: give each a name of its own")
        groups[variant] = list(map(Path, paths))
    return groups


NAMING = "write 'predictions=[a.csv,b.csv]' or 'predictions={baseline: [a.csv], fix: [b.csv]}', with paths in quotes"


def _list_variants(predictions: Any) -> list[tuple[str | None, list[Any]]]:
    """Names (None where a file gives its own) and files of the variants."""
    if isinstance(predictions, dict):
        return [(str(name), _as_list(files)) for name, files in predictions.items()] or [("predictions", [])]
    return [
        (str(one["name"]), _as_list(one["files"]))
        if isinstance(one, dict) and set(one) == {"name", "files"}
        else (None, [one])
        for one in predictions
    ]


def _as_list(files: Any) -> list[Any]:
    """Files of a variant, where one may be named without brackets."""
    return files if isinstance(files, list) else [files]


def _stem(path: Any) -> str:
    """A file's name without its suffixes."""
    return re.sub(r"(\.[ct]sv)?\.\w+$", "", Path(str(path)).name)


if __name__ == "__main__":
    main()

"""Compare the variants of a sweep, runs, or files of predictions, from their records; nothing is trained.

stress-lab-compare sweep=multirun/demo/2026-11-21_10-00-00
stress-lab-compare 'runs=[multirun/a/0_baseline_seed42,multirun/b/0_cutout_seed42]'
stress-lab-compare 'predictions=[a.csv,b.csv]' labels=labels.csv
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stress_lab.check import check_comparison, check_comparison_values
from stress_lab.door import config_folder, leave_cleanly, open_door
from stress_lab.errors import ConfigError, RunError
from stress_lab.files import flatten
from stress_lab.launches import Outcome, load_jobs
from stress_lab.locks import LOCK, is_held
from stress_lab.plain_text import printable
from stress_lab.preflight.classes import check_layer
from stress_lab.preflight.places import check_environment, check_writable
from stress_lab.preflight.run import name_net
from stress_lab.preflight.unused import check_typed_in_comparison
from stress_lab.runs import RunDir, find_runs, has_traces, is_run, list_absent, open_run, say_lost
from stress_lab.sweep import GATE_FAILED

MISSING = object()
RUN_LOST = 1  # exit status, as that of a sweep in which a run failed
NOT_IN_TRAINING = ("sweep", "runs", "predictions", "labels", "out", "threshold", "trust")
WRITTEN = ("cases", "disagreements", "tensorboard")  # folders in which a comparison writes and removes files


def main() -> None:
    """The command ``stress-lab-compare``."""
    with leave_cleanly("the same command compares from the start"):
        open_door("compare", _task)


def _task(cfg: DictConfig) -> None:
    """Compare what the config names, and let the gates speak."""
    check_comparison(cfg)
    check_typed_in_comparison(cfg)
    check_environment()
    if cfg.out is not None:
        check_writable(Path(cfg.out), "out")
    if cfg.sweep is not None:
        comparison = compare_sweep(Path(cfg.sweep), cfg)
    elif cfg.runs:
        comparison = compare(_find_runs(cfg.runs), Path(cfg.out or "comparison"), "comparison", cfg, strict=True)
    else:
        comparison = compare_files(cfg)
    failed, lost = list_failed_gates(comparison), comparison.get("lost", [])
    for line in [*failed, *(f"a run is missing: {sentence}" for sentence in lost)]:
        print(printable(line), file=sys.stderr)
    if failed or lost:
        sys.exit(GATE_FAILED if failed else RUN_LOST)


def list_failed_gates(comparison: dict[str, Any]) -> list[str]:
    """A line for each gate that failed."""
    return [_describe_gate(gate) for gate in comparison["gates"] if not gate["passed"]]


def _describe_gate(gate: dict[str, Any]) -> str:
    """What failed, and by what number."""
    value = gate["value"]
    if gate["gate"] == "all_runs":
        return f"gate failed: {'; '.join(value)}"
    if isinstance(value, dict):
        said = "; ".join(f"{what} {verdict}" for what, verdict in value.items()) or "nothing could be compared"
        hint = " (primary=[accuracy] asks no more than hard labels tell)" if "not asked" in value.values() else ""
        return f"gate {gate['gate']} failed: {said}{hint}"
    measured = "not known here" if value is None else f"{value:g}"
    return f"gate {gate['gate']}={gate['limit']} ({gate['variant']}) failed: {measured}"


def _find_runs(folders: Sequence[str]) -> list[RunDir]:
    """The runs named; raises RunError where a folder is none."""
    runs = list(map(open_run, folders))
    for run in runs:
        if not (run.status_file.is_file() and run.config_file.is_file()):
            raise RunError(f"{run.path} is not a run folder: it lacks {list_absent(run.path)}")
    return runs


def make_options(chosen: DictConfig | None = None) -> DictConfig:
    """``conf/compare.yaml`` with the keys that ``comparison`` in a training's config chose.

    Raises:
        ConfigError: a key is unknown, or a value does not work.
    """
    known = OmegaConf.to_container(OmegaConf.load(config_folder() / "compare.yaml"))
    options = OmegaConf.create({key: value for key, value in known.items() if key not in ("defaults", "hydra")})  # type: ignore[union-attr]
    OmegaConf.set_struct(options, True)
    for key in flatten(OmegaConf.to_container(chosen, resolve=True) if chosen else {}):
        if key.split(".")[0] in NOT_IN_TRAINING:
            raise ConfigError(f"comparison.{key} does not work in training: only stress-lab-compare takes {key}")
        if key and OmegaConf.select(options, key, default=MISSING) is MISSING:
            near = difflib.get_close_matches(key, flatten(known), n=1)
            hint = f"did you mean comparison.{near[0]}?" if near else "see stress-lab-compare --cfg job"
            raise ConfigError(f"there is no config key comparison.{key}: {hint}")
    merged = OmegaConf.merge(options, chosen or {})
    check_comparison_values(merged)  # type: ignore[arg-type]
    return merged  # type: ignore[return-value]


def compare_sweep(
    folder: Path, cfg: DictConfig | None = None, left_out: Mapping[str, str] | None = None, trust: bool = False
) -> dict[str, Any]:
    """Compare the runs below a sweep's folder; a function of that folder, repeatable at will.

    Runs that the folder's last launch does not list are no part of its question: they are left out and named.

    Args:
        folder: of the sweep.
        cfg: of ``conf/compare.yaml``.
        left_out: a sentence about each job of the launch that failed, by name of its folder; None finds them.
        trust: whether the runs are of a sweep that was just trained, by the configs that the user typed.
    """
    from stress_lab.comparison.loading import is_training

    options = make_options() if cfg is None else cfg
    (found, absent), jobs = find_runs(folder), load_jobs(folder)
    notes = note_other_runs(found, jobs) + [absent[name] for name in absent if jobs is not None and name not in jobs]
    if left_out is None:
        left_out = find_unfinished(folder, jobs or {})
        notes += note_later_failures(folder, jobs or {})
    left_out = {**{name: said for name, said in absent.items() if jobs is None or name in jobs}, **left_out}
    runs = [run for run in found if run.path.name not in left_out and (jobs is None or run.path.name in jobs)]
    if not runs:
        raise RunError(f"none of the runs that the last command lists for {folder} finished: give that command again")
    title, out = _find_title(runs), Path(options.out or folder)
    waits = is_held(folder / LOCK)  # for a sweep that is still running
    lost = [] if waits else [said for name, said in left_out.items() if not is_training(RunDir(folder / name))]
    unfinished = [*left_out.values()]
    return compare(runs, out, title, options, strict=False, unfinished=unfinished, notes=notes, lost=lost, trust=trust)


def _find_title(runs: Sequence[RunDir]) -> str:
    """The name that a sweep was given: that of the first run whose config can be read."""
    for run in runs:
        with contextlib.suppress(RunError):  # which the comparison tells
            return str(run.config.get("name", run.path.parent.name))
    return runs[0].path.parent.name


def note_other_runs(found: Sequence[RunDir], jobs: Mapping[str, Outcome] | None) -> list[str]:
    """A sentence about the runs of a folder that its last launch does not list, where it lists any."""
    others = [run.path.name for run in found if jobs is not None and run.path.name not in jobs]
    said = "is left out: it is a run" if len(others) == 1 else "are left out: they are runs"
    return [f"{', '.join(others)} {said} of an earlier command in this folder"] if others else []


def find_unfinished(folder: Path, jobs: Mapping[str, Outcome]) -> dict[str, str]:
    """The jobs of a launch that have no results, by name of their folder, and a sentence about each."""
    return {name: said for name, outcome in jobs.items() if (said := _say_unfinished(folder / name, outcome))}


def _say_unfinished(path: Path, outcome: Outcome) -> str | None:
    """Why a job has no results, or None where it has some."""
    from stress_lab.comparison.loading import list_unfinished

    if is_run(path):
        try:
            return next(iter(list_unfinished([RunDir(path)])), None)
        except RunError as error:
            return f"{path.name} is left out: {error}"
    if has_traces(path):
        return say_lost(path)
    return f"{path.name} is left out: {f'failed ({outcome.error})' if outcome.error else 'it did not run'}"


def note_later_failures(folder: Path, jobs: Mapping[str, Outcome]) -> list[str]:
    """A sentence about each run that finished once, and that the last launch failed on."""
    return [
        f"{name}: the last command failed on it ({outcome.error}); these are the records of an earlier one"
        for name, outcome in jobs.items()
        if outcome.error and is_run(folder / name) and _say_unfinished(folder / name, outcome) is None
    ]


def compare(
    runs: Sequence[RunDir],
    out: Path,
    title: str,
    cfg: DictConfig,
    strict: bool,
    unfinished: Sequence[str] = (),
    notes: Sequence[str] = (),
    lost: Sequence[str] = (),
    trust: bool = False,
) -> dict[str, Any]:
    """Compare runs and write everything: see ``publishing.write_comparison``.

    Args:
        runs: in launch order; those that did not finish are left out.
        out: folder to write into.
        title: of the figures.
        cfg: of ``conf/compare.yaml``.
        strict: raise where two runs cannot be compared, instead of leaving the pair out with a note.
        unfinished: a sentence for each run that was left out before.
        notes: other sentences for the reader.
        lost: those of ``unfinished`` whose results will not come by themselves.
        trust: whether nets may be built of runs that are not the user's own, as ``trust=true`` says too.

    Returns:
        What ``comparison.json`` holds, and in ``lost`` a sentence for each run whose results are lost.
    """
    from stress_lab.comparison.comparable import keep_comparable
    from stress_lab.comparison.loading import list_unfinished, load_finished, load_readable

    trust = trust or cfg.trust
    if strict:
        unfinished = [*unfinished, *list_unfinished(runs)]
        if unfinished:
            raise RunError(f"only finished runs can be compared: {unfinished[0]}")
        loaded = load_finished(runs, trust)
    else:
        loaded, left_out, more = load_readable(runs, trust)
        unfinished, lost = [*unfinished, *left_out], [*lost, *more]
    keep_comparable(loaded, strict)
    for one in loaded:
        check_layer(name_net(one.records), cfg.layer, "layer")
    check_writable(out, "out")
    _refuse_links(out)
    from stress_lab.publishing import write_comparison  # the statistics and pictures take seconds to import

    return {**write_comparison(loaded, out, title, cfg, strict, notes, unfinished), "lost": [*lost]}


def _refuse_links(out: Path) -> None:
    """Raise RunError where a copied folder would have a comparison write, and remove files, somewhere else."""
    for name in WRITTEN:
        if (out / name).is_symlink():
            raise RunError(
                f"{out / name} is a link to another folder, in which files would be replaced: remove the link, or say "
                "out=FOLDER"
            )


def compare_files(cfg: DictConfig) -> dict[str, Any]:
    """Compare the predictions that other programs made."""
    from stress_lab.comparison.comparable import keep_comparable
    from stress_lab.comparison.loading import from_files
    from stress_lab.prediction_files import read_prediction_files

    groups = name_files(OmegaConf.to_container(cfg.predictions))
    paths = [path for files in groups.values() for path in files]
    read = read_prediction_files(paths, Path(cfg.labels) if cfg.labels is not None else None)
    named = iter(read)
    loaded = from_files({variant: [next(named) for _ in files] for variant, files in groups.items()}, cfg.threshold)
    keep_comparable(loaded, strict=True)
    notes = [note for file in read for note in file.notes]
    from stress_lab.publishing import write_comparison  # the statistics and pictures take seconds to import

    return write_comparison(loaded, Path(cfg.out or "comparison"), "predictions", cfg, True, notes)


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
    """Names, None where a file gives its own, and files of the variants."""
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

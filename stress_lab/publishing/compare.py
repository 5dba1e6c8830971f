"""Compare runs, or those of a sweep, and write the results: the flow that commands and the end of a sweep share."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from omegaconf import DictConfig, OmegaConf

from stress_lab.errors import RunError
from stress_lab.preflight.classes import check_layer
from stress_lab.preflight.comparison_rules import make_options
from stress_lab.preflight.finished_run import name_net
from stress_lab.preflight.places import check_writable
from stress_lab.runs.find import describe_lost, find_runs, has_traces, is_run
from stress_lab.runs.folder import RunDir
from stress_lab.runtime.locks import LOCK, is_held
from stress_lab.runtime.terminal import announce
from stress_lab.storage.launches import Outcome, load_jobs

if TYPE_CHECKING:
    from stress_lab.comparison.result import Comparison, Gate


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
) -> Comparison:
    """Compare runs and write everything: see ``publishing.write_comparison``.

    Args:
        runs: in launch order; those that did not finish are left out.
        out: folder to write into.
        title: of the figures.
        cfg: of ``conf/compare.yaml``.
        strict: raise where two runs cannot be compared, instead of leaving the pair out with a note.
        unfinished: a sentence for each run already left out.
        notes: other sentences for the reader.
        lost: those of ``unfinished`` whose results are lost.
        trust: whether to build nets of runs that are not the user's own, like ``trust=true``.

    Returns:
        The comparison; its ``lost`` has a sentence for each run whose results are lost.
    """
    from stress_lab.comparison.comparable import match_runs
    from stress_lab.comparison.loading import list_unfinished, load_finished, load_readable
    from stress_lab.comparison.reference import note_absence, put_first

    trust = trust or cfg.trust
    announce(f"reading {len(runs)} runs")
    if strict:
        unfinished = [*unfinished, *list_unfinished(runs)]
        if unfinished:
            raise RunError(f"only finished runs can be compared: {unfinished[0]}")
        loaded = load_finished(runs, trust)
    else:
        loaded, left_out, more = load_readable(runs, trust)
        unfinished, lost = [*unfinished, *left_out], [*lost, *more]
    absent = note_absence(loaded, cfg.reference) if unfinished else []
    if absent:
        cfg = cast(DictConfig, OmegaConf.merge(cfg, {"reference": None}))
    loaded = put_first(loaded, cfg.reference)
    if cfg.corrected_labels:
        from stress_lab.comparison.corrections import correct_labels  # imports SciPy

        loaded = correct_labels(loaded, Path(cfg.corrected_labels))
    matched = match_runs(loaded, strict)
    for one in loaded:
        check_layer(name_net(one.records), cfg.layer, "layer")
    check_writable(out, "out")
    _refuse_links(out)
    from stress_lab.publishing.settings import Settings
    from stress_lab.publishing.write import write_comparison  # the statistics and pictures take seconds to import

    written = write_comparison(matched, out, title, Settings.from_config(cfg), [*notes, *absent], unfinished)
    return replace(written, lost=tuple(lost))


def compare_sweep(
    folder: Path, cfg: DictConfig | None = None, left_out: Mapping[str, str] | None = None, trust: bool = False
) -> Comparison:
    """Compare the runs in a sweep's folder; it depends only on that folder and can be repeated.

    Runs that the folder's last launch does not list are left out and named.

    Args:
        folder: of the sweep.
        cfg: of ``conf/compare.yaml``.
        left_out: a sentence about each failed job of the launch, by folder name; None finds them.
        trust: whether the sweep was just trained here, from configs the user typed.
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
        raise RunError(f"none of the runs that the last command lists for {folder} finished: run that command again")
    title, out = _find_title(runs), Path(options.out or folder)
    waits = is_held(folder / LOCK)  # for a sweep that is still running
    lost = [] if waits else [said for name, said in left_out.items() if not is_training(RunDir(folder / name))]
    unfinished = [*left_out.values()]
    return compare(runs, out, title, options, strict=False, unfinished=unfinished, notes=notes, lost=lost, trust=trust)


WRITTEN = ("cases", "disagreements", "tensorboard")  # folders in which a comparison writes and removes files


def _refuse_links(out: Path) -> None:
    """Raise RunError where links in a copied folder would make a comparison write or remove files elsewhere."""
    for name in WRITTEN:
        if (out / name).is_symlink():
            raise RunError(
                f"{out / name} is a link to another folder, in which files would be replaced: remove the link, or set "
                "out=FOLDER"
            )


def _find_title(runs: Sequence[RunDir]) -> str:
    """The name of a sweep: from the first run whose config can be read."""
    for run in runs:
        with contextlib.suppress(RunError):  # which the comparison reports
            return str(run.config.get("name", run.path.parent.name))
    return runs[0].path.parent.name


def note_other_runs(found: Sequence[RunDir], jobs: Mapping[str, Outcome] | None) -> list[str]:
    """A sentence about runs in a folder that its last launch does not list, if it lists any."""
    others = [run.path.name for run in found if jobs is not None and run.path.name not in jobs]
    reason = "is left out: it is a run" if len(others) == 1 else "are left out: they are runs"
    return [f"{', '.join(others)} {reason} of an earlier command in this folder"] if others else []


def find_unfinished(folder: Path, jobs: Mapping[str, Outcome]) -> dict[str, str]:
    """The jobs of a launch without results: by folder name, a sentence about each."""
    return {name: said for name, outcome in jobs.items() if (said := _describe_unfinished(folder / name, outcome))}


def _describe_unfinished(path: Path, outcome: Outcome) -> str | None:
    """Why a job has no results, or None where it has some."""
    from stress_lab.comparison.loading import list_unfinished

    if is_run(path):
        try:
            return next(iter(list_unfinished([RunDir(path)])), None)
        except RunError as error:
            return f"{path.name} is left out: {error}"
    if has_traces(path):
        return describe_lost(path)
    return f"{path.name} is left out: {f'failed ({outcome.error})' if outcome.error else 'it did not run'}"


def note_later_failures(folder: Path, jobs: Mapping[str, Outcome]) -> list[str]:
    """A sentence about each run that finished earlier but failed in the last launch."""
    return [
        f"{name}: the last command failed on it ({outcome.error}); these are the records of an earlier one"
        for name, outcome in jobs.items()
        if outcome.error and is_run(folder / name) and _describe_unfinished(folder / name, outcome) is None
    ]


def list_failed_gates(comparison: Comparison) -> list[str]:
    """A line for each gate that failed."""
    return [_describe_gate(gate) for gate in comparison.gates if not gate.passed]


def _describe_gate(gate: Gate) -> str:
    """Which gate failed, with the number."""
    value = gate.value
    if gate.gate == "all_runs":
        return f"gate failed: {'; '.join(value)}"
    if isinstance(value, dict):
        found = "; ".join(f"{what} {verdict}" for what, verdict in value.items()) or "nothing could be compared"
        hint = " (primary=[accuracy] needs only hard labels)" if "not asked" in value.values() else ""
        return f"gate {gate.gate} failed: {found}{hint}"
    measured = "not known here" if value is None else f"{value:g}"
    return f"gate {gate.gate}={gate.limit} ({gate.variant}) failed: {measured}"

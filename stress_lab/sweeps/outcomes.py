"""How each job of a launch ended."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from omegaconf import DictConfig

from stress_lab.errors import RunError
from stress_lab.files import write_atomic
from stress_lab.records import RunInfo
from stress_lab.runs.find import natural
from stress_lab.runs.folder import RunDir
from stress_lab.storage.launches import (
    DAMAGED,
    FAILED,
    GOOD,
    REFUSED,
    SKIPPED,
    STARTED,
    Outcome,
    forget_outcomes,
    load_outcomes,
    save_jobs,
)
from stress_lab.sweeps.jobs import NEVER, UNNOTICED, list_lost, record_lost


@dataclass(frozen=True)
class Launch:
    """A sweep that runs in this process.

    Attributes:
        config: with the node ``hydra``. ``id``: of this launch.
        jobs: names of the job folders that are known ahead.
        verified: those that an earlier launch finished, which need not go to a launcher.
        before: the contents of ``launch.json`` and ``multirun.yaml`` that an earlier launch left.
    """

    config: DictConfig
    id: str
    jobs: Sequence[str]
    verified: Sequence[str] = ()
    before: Mapping[Path, bytes] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The sweep's folder."""
        return Path(self.config.hydra.sweep.dir)


def collect_outcomes(launch: Launch) -> dict[str, Outcome]:
    """How each job of a launch ended, in launch order; a job that left no outcome failed.

    ``launch.json`` then lists them, unless no job changed anything: then the folder is restored.
    """
    found = {**load_outcomes(launch.folder, launch.id), **dict.fromkeys(launch.verified, Outcome(SKIPPED))}
    lost = list_lost()
    names = [*launch.jobs, *sorted({*found, *lost} - {*launch.jobs}, key=natural)]
    lost |= record_lost(launch.folder, names)
    outcomes = {name: _judge(launch.folder, name, found.get(name), lost.get(name)) for name in names}
    if launch.before and all(one.state == REFUSED or one.error == NEVER for one in outcomes.values()):
        for file, content in launch.before.items():
            write_atomic(file, functools.partial(Path.write_bytes, data=content))
        forget_outcomes(launch.folder)
    else:
        save_jobs(launch.folder, outcomes)
    return outcomes


def _judge(folder: Path, name: str, outcome: Outcome | None, lost: str | None) -> Outcome:
    """How a job ended, by the outcome it left in this launch, if any; a finished run must be readable."""
    if outcome is None or outcome.state == STARTED:
        unsaid = NEVER if outcome is None else UNNOTICED
        return Outcome(FAILED, lost or unsaid)
    damage = RunDir(folder / name).find_damage() if outcome.state in GOOD else None
    return outcome if damage is None else Outcome(DAMAGED, damage)


def describe_failed(run: RunDir, outcome: Outcome) -> RunInfo:
    """What is known of a job that failed: the reason, and how long it ran in this launch or before."""
    try:
        info = run.load_info()
    except RunError:
        info = RunInfo("", 0, FAILED, "")
    return replace(info, state=FAILED, error=outcome.error, seconds=info.seconds if info.state == FAILED else 0.0)

"""The seal of a folder whose records were written again: what was written is signed, the rest keeps its digests."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from stress_lab.runs.folder import RunDir
from stress_lab.storage.filesets import READ_ONLY
from stress_lab.storage.seals import is_own, load_seal, write_seal

log = logging.getLogger(__name__)

WRITTEN = (("predictions/", "."), ("properties/", "."), ("figures/", "_"))  # around a split in the paths of its records


def list_starts(splits: Sequence[str]) -> list[str]:
    """How the paths of the records that an evaluation of splits writes begin."""
    of_splits = [f"{start}{split}{end}" for split in splits for start, end in WRITTEN]
    return [*of_splits, "failures/", "evaluation."]


def reseal(run: RunDir, run_id: str, starts: Sequence[str], drew: bool) -> None:
    """Sign what was written into a folder; its other records keep the digests they were sealed with, if any.

    Args:
        run: the folder. ``run_id``: of the run.
        starts: how the paths of what was written begin.
        drew: whether maps were drawn, and those of other failures removed.
    """
    base, records = load_seal(run.path), run.list_records()
    if base is None:
        run.write_seal(run_id)
        return
    removed = [name for name in base.files if name.startswith("gradcam/") and name not in records] if drew else []
    starts = [*starts, *["gradcam/"] * drew]
    written = [name for name in records if name.startswith(tuple(starts))]
    write_seal(run.place(""), written, run_id, base, removed, run.find)


def adopt(run: RunDir, elsewhere: bool) -> None:
    """Sign a run that the user trusts as the user's own; records written just now are signed already."""
    if elsewhere:
        try:
            reseal(run, run.load_info().id, ["config."], drew=False)
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            log.warning("%s cannot be written, so it is not signed as yours: set trust=true next time too", run.path)
    if is_own(run.path):
        log.info("%s is now signed as your own", run.path)

"""Checkpoints in the run's folder, under fixed names, each verified before it replaces another."""

from __future__ import annotations

import io
import logging
import os
import tempfile
import uuid
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.plugins.io.wrapper import _WrappingCheckpointIO

from stress_lab.errors import RunError
from stress_lab.files import write_atomic
from stress_lab.runs.folder import RunDir
from stress_lab.storage.checkpoint_files import MARK, DamagedError, check_checkpoint, inspect_checkpoint

log = logging.getLogger(__name__)


class RunCheckpoint(ModelCheckpoint):
    """Lightning's checkpoint, written to ``checkpoints/<filename>.ckpt`` of the run and replaced as training proceeds.

    Args:
        filename: without suffix.
        monitor: metric to select by, or None to keep the newest.
        keep: file name, without suffix, for the one before the newest; None keeps none.
        **options: of ModelCheckpoint.
    """

    def __init__(self, filename: str, monitor: str | None = None, keep: str | None = None, **options: Any) -> None:
        super().__init__(filename=filename, monitor=monitor, enable_version_counter=False, **options)
        self.keep = keep

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Point to the run's folder, and check that it can be written before hours are spent."""
        folder = Path(RunDir(trainer.default_root_dir).checkpoints).absolute()
        self.dirpath = str(folder)
        if any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks):  # type: ignore[attr-defined]
            self.save_weights_only = False  # it puts the average only into a full checkpoint
        if trainer.is_global_zero and stage == "fit":
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(prefix=".partial-", dir=folder).close()
        super().setup(trainer, pl_module, stage)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Record with the state whether training ends with this epoch, because something stopped it."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        enough = trainer.current_epoch + 1 >= (trainer.min_epochs or 0) and trainer.global_step >= (
            trainer.min_steps or 0
        )
        checkpoint["ended"] = bool(trainer.should_stop and enough)

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        """Name the file that keeps the current checkpoint."""
        writer = _innermost(trainer)
        if self.keep is not None and isinstance(writer, VerifiedCheckpointIO):
            writer.kept[Path(filepath)] = Path(filepath).with_name(f"{self.keep}.ckpt")
        super()._save_checkpoint(trainer, filepath)


class VerifiedCheckpointIO(TorchCheckpointIO):
    """Writes each checkpoint beside its place, reads it back, and only then moves it there.

    Lightning itself writes into the temporary folder and moves from there, which copies if that is
    another disk, so a full disk leaves half a file under the final name; and it ignores a folder that it
    may not write. All ways of saving end here: each callback's, with and without the optimiser, averaged or not, and in
    a thread (``AsyncCheckpointIO`` around this). Only the first process is asked to save.

    Args:
        run: id of the run, which each checkpoint carries beside its epoch.

    Attributes:
        kept: by path, where its checkpoint goes when another replaces it.
    """

    def __init__(self, run: str = "") -> None:
        self.run = run
        self.kept: dict[Path, Path] = {}
        self._verified: dict[Path, tuple[int, ...]] = {}
        self._warned = False

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write it, or leave everything unchanged and raise.

        Raises:
            OSError: it cannot be written.
            RunError: what was written cannot be read back.
        """
        if storage_options is not None or "://" in str(path):  # not in a folder
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        place, epoch = Path(path), int(checkpoint.get("epoch", -1)) + 1
        marked = {**checkpoint, MARK: {"run": self.run, "epoch": epoch}}

        def write(partial: Path) -> None:
            _save(marked, partial)
            self._verify(partial, place, epoch)
            self._set_aside(place)

        write_atomic(place, write)
        self._verified[place] = _identify(place)

    def load_checkpoint(self, path: str | Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Read it after verifying its checksums, which torch does not check."""
        if "://" not in str(path):
            check_checkpoint(Path(path))
        loaded: dict[str, Any] = super().load_checkpoint(path, *arguments, **options)
        return loaded

    def _verify(self, partial: Path, place: Path, epoch: int) -> None:
        """Raise RunError where a file is not the checkpoint just written."""
        try:
            found = inspect_checkpoint(partial)
            if not found.odd and (found.run, found.epoch) != (self.run, epoch):
                raise DamagedError(partial, ValueError(f"it reports epoch {found.epoch}"))
        except DamagedError as error:
            raise RunError(
                f"{place} was written but cannot be read back ({error.reason}): the disk or the memory here is at "
                "fault; the checkpoint before it is still there, and the same command resumes from it"
            ) from None
        strange = f"more than is read ({found.odd})" if found.odd else next(iter(found.called), "")
        if strange and not self._warned:
            self._warned = True
            log.warning(
                "checkpoints of this run hold %s, which is never loaded: it can be neither resumed nor evaluated; let "
                "the states of your classes be numbers, text, lists, dicts and tensors",
                strange,
            )

    def _set_aside(self, place: Path) -> None:
        """Keep the checkpoint that is about to be replaced, if it is intact and this run's."""
        kept = self.kept.get(place)
        if kept is None or not place.is_file():
            return
        if self._verified.get(place) != _identify(place):
            try:
                found = inspect_checkpoint(place)
            except DamagedError as error:
                log.warning("%s is damaged (%s); it is replaced, and %s stays as it is", place, error.reason, kept.name)
                return
            if found.run not in ("", self.run):
                log.warning("%s is of another run; it is replaced, and %s stays as it is", place, kept.name)
                return
        _link(place, kept)


def _link(place: Path, kept: Path) -> None:
    """Give a file a second name, replacing what has it, so that the first name always exists."""
    beside = kept.with_name(f".partial-{uuid.uuid4().hex[:12]}-{kept.name}")
    try:
        os.link(place, beside)
    except OSError:  # a file system without such links
        os.replace(place, kept)
        return
    os.replace(beside, kept)


def _save(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a file; through memory, since torch's own writer does not report why a disk refuses."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    with path.open("wb") as file:
        file.write(buffer.getbuffer())


def _identify(path: Path) -> tuple[int, ...]:
    """A stamp that changes when somebody else writes a file."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def verify_checkpoints(trainer: Trainer, run: str) -> None:
    """Let every checkpoint of a Trainer be written by :class:`VerifiedCheckpointIO`, except for the user's own writer.

    Args:
        trainer: not in use yet.
        run: id of the run.
    """
    strategy: Any = trainer.strategy
    holder: Any = None
    held: Any = strategy._checkpoint_io  # the property would replace what a wrapper holds
    while isinstance(held, _WrappingCheckpointIO):  # in a thread
        holder, held = held, held._checkpoint_io
    if held is not None and type(held) is not TorchCheckpointIO:
        return
    if holder is None:
        strategy.checkpoint_io = VerifiedCheckpointIO(run)
    else:
        holder._checkpoint_io, holder._base_checkpoint_io_configured = VerifiedCheckpointIO(run), True


def _innermost(trainer: Trainer) -> Any:
    """The writer of a Trainer's checkpoints, inside any thread wrappers."""
    held: Any = trainer.strategy.checkpoint_io
    while isinstance(held, _WrappingCheckpointIO):
        held = held.checkpoint_io
    return held

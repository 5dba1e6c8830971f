"""Between the config and the records of a run: build, train, record. One process runs it, or each of several ranks."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import WeightAveraging
from omegaconf import DictConfig
from torch.optim.swa_utils import get_ema_multi_avg_fn

from stress_lab.callbacks.base import Recorder
from stress_lab.callbacks.checkpoint import verify_checkpoints
from stress_lab.callbacks.ending import TrainingEnd
from stress_lab.callbacks.finite import FiniteLoss
from stress_lab.callbacks.history import HistoryWriter
from stress_lab.callbacks.seed import EpochSeed
from stress_lab.data.datamodules import ImageDataModule
from stress_lab.models.shared_norm import make_norms_accurate, share_norms
from stress_lab.preflight.configs import resolve_config
from stress_lab.preflight.finished_run import ANEW, check_images_of
from stress_lab.recording import collect_metrics
from stress_lab.runs.checkpoints import find_checkpoint, load_info
from stress_lab.runs.folder import RunDir
from stress_lab.runtime import hardware
from stress_lab.runtime.disks import NAMELESS, find_failing, quiet_writers
from stress_lab.runtime.process_group import ALONE, World, make_strategy
from stress_lab.storage.checkpoint_files import Checkpoint
from stress_lab.training import build, rehearsal, weights
from stress_lab.training.code import list_named_versions, pick_groups
from stress_lab.training.fingerprints import fingerprint_start, refuse_equal_starts
from stress_lab.training.loggers import log_results

log = logging.getLogger(__name__)


def train_here(cfg: DictConfig, run: RunDir, resumed: bool, learnt: dict[str, Any], world: World = ALONE) -> None:
    """Train in this process and leave the records.

    Args:
        cfg: of the run.
        run: its folder; the first rank writes into it.
        resumed: whether to resume from the last complete epoch, if one was saved.
        learnt: filled with what ``status.json`` reports: hardware, versions, parameters, epochs, metrics.
        world: the ranks that train together, and which of them is this process.
    """
    quieten_lightning()
    threads = hardware.set_threads(cfg.threads, world.local_size)
    hardware.keep_freed_memory()
    hardware.release_memory()
    accelerator = hardware.choose_accelerator(cfg.trainer.accelerator)
    device = hardware.choose_device(cfg, accelerator) if world.size == 1 else None
    gpu = hardware.first_device(cfg.trainer.devices) if device is None else device
    precision = hardware.choose_precision(cfg.trainer.precision, accelerator, gpu)
    facts = hardware.describe_hardware(accelerator, precision, threads, gpu) | world.describe()
    log.info("%s, seed %d, on %s, %s, %s", cfg.variant, cfg.seed, world.name(facts["device"]), accelerator, precision)
    seed_everything(cfg.seed, workers=True, verbose=False)
    source = build.build_datamodule(cfg)
    classifier = build.build_classifier(cfg, source.spec)
    facts["memory_format"] = str(classifier.memory_format).removeprefix("torch.")
    rehearsal.rehearse(cfg, classifier, source)
    build.init_from_data(classifier.net, source)
    if cfg.compile:
        classifier.compile_steps()
    facts["compiled"] = classifier.compiled
    world.check_batches(len(source.indices["train"]), cfg.optim.batch_size, len(source.indices.get("val", ())))
    versions = hardware.list_versions() | list_named_versions(*pick_groups(cfg))
    learnt.update(hardware=facts, versions=versions, max_epochs=cfg.trainer.max_epochs)
    learnt["parameters"] = sum(parameter.numel() for parameter in classifier.parameters())
    if world.rank == 0:
        _record_start(run, classifier, source, resumed, learnt["parameters"])
    if world.size > 1:
        share_norms(classifier.net, accelerator)
    elif accelerator == "cpu":
        make_norms_accurate(classifier.net)
    with name_disk(run), quiet_writers():
        trainer = _build_trainer(cfg, run, precision, world, "val" in source.indices, device)
        _fit(trainer, classifier, source, run, resumed)
        learnt.update(epochs=trainer.current_epoch, trained=True)
        if world.rank == 0:
            learnt["metrics"] = collect_metrics(run)
            log_results(trainer.loggers, resolve_config(cfg), learnt["metrics"])


@contextmanager
def name_disk(run: RunDir) -> Iterator[None]:
    """Add the path to errors of a full or failing disk, which loggers leave out: the run's folder or below."""
    try:
        yield
    except BaseException as error:
        cause: BaseException | None = error
        while cause is not None:  # Lightning wraps what TensorBoard raised
            if isinstance(cause, OSError) and cause.filename is None and cause.errno in NAMELESS:
                folders = [run.path, *sorted(run.path.glob("*/")), Path(tempfile.gettempdir())]
                cause.filename = str(find_failing(cause.errno, folders) or run.path)
            cause = cause.__cause__
        raise


def _record_start(
    run: RunDir, classifier: LightningModule, source: ImageDataModule, resumed: bool, parameters: int
) -> None:
    """Write what is known before the first step; a seed that changes nothing ends the run here."""
    spec = source.spec
    if resumed and run.data_file.is_file():
        check_images_of(run, run.load_spec(), spec.fingerprint, spec.source, ANEW)
    run.save_spec(spec)
    run.save_split({name: index for name, index in source.indices.items() if name != "test"})
    run.save_fingerprint(fingerprint_start(classifier, source))
    refuse_equal_starts(run)
    sizes = " + ".join(f"{n:,} {split}" for split, n in spec.sizes.items())
    log.info("%s: %s images of %d classes; %s parameters", spec.name, sizes, len(spec.classes), f"{parameters:,}")


def _build_trainer(
    cfg: DictConfig, run: RunDir, precision: str, world: World, has_val: bool, device: int | None
) -> Trainer:
    """The Trainer with its callbacks and loggers, all of them writing into the run's folder; on one GPU, if given."""
    root = str(run.path)
    callbacks = [instantiate(callback, _convert_="all") for callback in cfg.callbacks.values() if callback is not None]
    if cfg.optim.get("ema_decay") is not None:
        callbacks.append(
            WeightAveraging(
                device=hardware.choose_accelerator(cfg.trainer.accelerator),
                multi_avg_fn=get_ema_multi_avg_fn(cfg.optim.ema_decay),  # type: ignore[no-untyped-call]
            )
        )
    callbacks.sort(key=lambda callback: not isinstance(callback, WeightAveraging))  # records use the average
    callbacks = [TrainingEnd(), FiniteLoss(), *callbacks, EpochSeed(cfg.seed)]
    loggers = [instantiate(logger, save_dir=root) for logger in (cfg.logger or {}).values() if logger is not None]
    chosen: dict[str, Any] = {"precision": precision, "default_root_dir": root, **make_strategy(cfg.trainer, world)}
    if not has_val:
        chosen["limit_val_batches"] = 0
    if device is not None:
        chosen["devices"] = [device]
    trainer: Trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers, _convert_="all", **chosen)
    info = load_info(run)
    verify_checkpoints(trainer, "" if info is None else info.id)
    # SIGTERM is for stop_on_signals and for submitit: Lightning's handler meets other ranks in mid-step
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return trainer


def _fit(trainer: Trainer, classifier: LightningModule, source: ImageDataModule, run: RunDir, resumed: bool) -> None:
    """Train from the start, or from the last complete epoch that an interrupted run saved."""
    found = find_checkpoint(run, weights.load_content) if resumed else None
    if resumed:
        log.info("resuming %s", f"after epoch {found.epoch}" if found else "from the start: no epoch was saved")
    if found is not None and _is_trained(run, found, trainer.max_epochs or 0):  # it was interrupted while recording
        record_again(trainer, classifier, source, found)
        return
    if found is not None and not found.resumable:
        log.warning("%s holds only weights, which is not enough to resume: training starts over", found.path)
        found = None
    try:
        trainer.fit(classifier, datamodule=source, ckpt_path=found.path if found else None, weights_only=True)
    except SystemExit as stop:
        if trainer.interrupted and stop.code == 1:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from None
        raise


def _is_trained(run: RunDir, found: Checkpoint, max_epochs: int) -> bool:
    """Whether a checkpoint is of the last epoch: the last one planned, or the one at which training ended early."""
    info = run.load_info()
    epoch = found.epoch or 0
    return found.ended or epoch >= max_epochs or (info.trained and epoch >= info.epochs)


def record_again(trainer: Trainer, classifier: LightningModule, source: ImageDataModule, found: Checkpoint) -> None:
    """Write the records that the end of training writes, from the last checkpoint; one rank is enough."""
    trainer.fit_loop.epoch_progress.current.completed = found.epoch or 0  # sets trainer.current_epoch
    if not trainer.is_global_zero:
        return
    source.setup("fit")
    classifier.load_state_dict(weights.load_state(found.path))
    classifier.to(trainer.strategy.root_device)
    trainer.datamodule = source  # type: ignore[attr-defined]
    lost_history = not RunDir(trainer.default_root_dir).history_file.is_file()
    states = weights.load_callback_states(found.path) if lost_history else {}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, HistoryWriter) and callback.state_key in states:
            callback.load_state_dict(states[callback.state_key])
        if isinstance(callback, Recorder):
            callback.on_train_end(trainer, classifier)


def quieten_lightning() -> None:
    """Drop Lightning's own handler, which prints every line twice, and the warnings that are useless to a user."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=r".*LeafSpec.*", category=FutureWarning)
    warnings.filterwarnings(
        "ignore", message=r".*Grad strides do not match bucket view strides.*"
    )  # from 1×1 convolutions
    warnings.filterwarnings("ignore", message=r".*exists and is not empty.*")  # when a run resumes

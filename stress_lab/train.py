"""Train one run, or with -m every variant of an experiment and then compare them.

stress-lab                            one quick run on the bundled sample
stress-lab -m experiment=demo         baseline and cutout, then the comparison
stress-lab --cfg job                  every config key
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from stress_lab import gpus, sweep
from stress_lab.check import check_config
from stress_lab.door import explain, open_door
from stress_lab.errors import ConfigError
from stress_lab.records import RunInfo
from stress_lab.resume import describe_code
from stress_lab.runs import RunDir, flatten
from stress_lab.signals import stop_on_signals

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule, LightningModule, Trainer

log = logging.getLogger(__name__)

# config keys worth a column in TensorBoard's table of runs
HYPERPARAMETERS = (
    "variant",
    "seed",
    "data.",
    "augment.",
    "model.",
    "optim.",
    "trainer.max_epochs",
    "trainer.precision",
)


def main() -> None:
    """The command ``stress-lab``."""
    sweep.forget()
    try:
        open_door("train", _task)
    except Exception as error:  # of a launcher that is not ours, say: the runs that finished are compared all the same
        if not sweep.finish_after(error):
            raise
    sys.exit(sweep.exit_status())


def _task(cfg: DictConfig) -> dict[str, float] | None:
    """One job; in a sweep a failed run is recorded and reported at the end, and the others go on."""
    hydra_config = HydraConfig.get()
    run_dir = Path(hydra_config.runtime.output_dir)
    try:
        metrics = train(cfg, run_dir).metrics
    except Exception as error:
        if hydra_config.mode != RunMode.MULTIRUN:
            raise
        sentence = explain(error)
        log.error("%s failed: %s", run_dir.name, sentence or error, exc_info=sentence is None)
        return None
    if hydra_config.mode == RunMode.RUN and RunDir(run_dir).evaluation_file.is_file():
        sweep.compare_alone(cfg, run_dir)
    return metrics


def train(cfg: DictConfig, run_dir: Path) -> RunInfo:
    """Turn a config into a folder of records.

    Args:
        cfg: composed from ``conf/train.yaml``, without the node ``hydra``.
        run_dir: of this run.

    Returns:
        What the run's ``status.json`` holds, with the final metrics.

    Raises:
        StressLabError: the input cannot work; nothing was trained.
    """
    check_config(cfg)
    run, config = RunDir(run_dir), resolve_config(cfg)
    info = RunInfo(cfg.variant, cfg.seed, "started", datetime.now(UTC).isoformat(timespec="seconds"))
    if run.status_file.exists():
        earlier = _find_earlier(run, config, cfg.resume)
        if earlier.state == "finished":
            log.info("%s finished before: skipped", run_dir.name)
            return earlier
        info = replace(info, started=earlier.started, resumed=earlier.resumed + 1)
        set_aside(run)
    run.save_config(config)
    info = replace(info, command=["stress-lab", *sys.argv[1:]], code=describe_code())
    with _status(run, info) as learnt, stop_on_signals(), gpus.give_back():
        trainer, classifier, source = _prepare(cfg, run, learnt)
        _fit(trainer, classifier, source, run, info.resumed > 0)
        learnt["metrics"] = collect_metrics(run)
        _log_hyperparameters(trainer, cfg, learnt["metrics"])
    return run.load_info()


def _find_earlier(run: RunDir, config: dict[str, Any], resume: bool) -> RunInfo:
    """What an earlier process left in the folder.

    Raises:
        ConfigError: it may not be taken up, or is a run of another config.
    """
    if not resume:
        raise ConfigError(f"{run.path} holds a run already: choose another folder, remove that one, or say resume=true")
    known, now = flatten(run.config), flatten(config)
    other = sorted(
        key for key in {*known, *now} if known.get(key) != now.get(key) and key not in ("threads", "resume", "jobs")
    )
    if other:
        raise ConfigError(
            f"{run.path} holds a run of another config ({', '.join(other[:5])}): choose another folder, or remove it"
        )
    return run.load_info()


def set_aside(run: RunDir) -> None:
    """Remove half-written records, and keep Lightning's table of epochs: its logger starts a new one in its place."""
    for partial in run.path.rglob(".partial-*"):
        partial.unlink()  # half a record of the process that was killed
    table = run.path / "csv" / "metrics.csv"
    if table.is_file():
        number = 1 + len(list(table.parent.glob("metrics_before_*.csv")))
        table.replace(table.with_name(f"metrics_before_{number}.csv"))


def _fit(
    trainer: Trainer, classifier: LightningModule, source: LightningDataModule, run: RunDir, resumed: bool
) -> None:
    """Train from the start, or from the last whole epoch that an interrupted run saved."""
    from stress_lab.callbacks.checkpoint import find_checkpoint

    found = find_checkpoint(run) if resumed else None
    if resumed:
        log.info("taken up again %s", f"after epoch {found.epoch}" if found else "from the start: no epoch was saved")
    if found is not None and found.epoch >= (trainer.max_epochs or 0):  # it was interrupted while it recorded
        record_again(trainer, classifier, source, found.path)
    else:
        trainer.fit(classifier, datamodule=source, ckpt_path=found.path if found else None, weights_only=True)


def record_again(trainer: Trainer, classifier: LightningModule, source: LightningDataModule, checkpoint: Path) -> None:
    """Write the records that the end of training writes, from the last checkpoint."""
    from stress_lab import build
    from stress_lab.callbacks.base import Recorder

    source.setup("fit")
    classifier.load_state_dict(build.load_state(checkpoint))
    classifier.to(trainer.strategy.root_device)
    trainer.datamodule = source  # type: ignore[attr-defined]
    trainer.fit_loop.epoch_progress.current.completed = trainer.max_epochs or 0
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Recorder):
            callback.on_train_end(trainer, classifier)


def _prepare(
    cfg: DictConfig, run: RunDir, learnt: dict[str, Any]
) -> tuple[Trainer, LightningModule, LightningDataModule]:
    """Choose the device, build everything, and write down what is known before the first step."""
    from lightning.pytorch import seed_everything  # torch and Lightning take ten seconds to import

    from stress_lab import build, hardware

    quieten_lightning()
    threads = hardware.set_threads(cfg.threads)
    accelerator = hardware.choose_accelerator(cfg.trainer.accelerator)
    precision = hardware.choose_precision(cfg.trainer.precision, accelerator)
    facts = hardware.describe_hardware(accelerator, precision, threads, cfg.channels_last)
    log.info("%s, seed %d, on %s, %s, %s", cfg.variant, cfg.seed, facts["device"], accelerator, precision)
    seed_everything(cfg.seed, workers=True, verbose=False)
    source = build.build_datamodule(cfg)
    spec = source.spec
    classifier = build.build_classifier(cfg, spec)
    build.check_layer(cfg, classifier, spec)
    run.save_spec(spec)
    run.save_split({name: index for name, index in source.indices.items() if name != "test"})
    parameters = sum(parameter.numel() for parameter in classifier.parameters())
    learnt.update(
        hardware=facts, versions=hardware.list_versions(), parameters=parameters, epochs=cfg.trainer.max_epochs
    )
    sizes = " + ".join(f"{n:,} {split}" for split, n in spec.sizes.items())
    log.info("%s: %s images of %d classes; %s parameters", spec.name, sizes, len(spec.classes), f"{parameters:,}")
    device = hardware.choose_device(cfg, accelerator)
    return _build_trainer(cfg, run, precision, "val" in source.indices, device), classifier, source


def resolve_config(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain values, with the data folder absolute, so that it means the same from anywhere."""
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    if config["data"].get("root"):
        config["data"]["root"] = str(Path(config["data"]["root"]).expanduser().absolute())
    return config


def _build_trainer(cfg: DictConfig, run: RunDir, precision: str, has_val: bool, device: int | None) -> Trainer:
    """The Trainer with its callbacks and loggers, all of them writing into the run's folder; on one GPU, if given."""
    from hydra.utils import instantiate

    from stress_lab.callbacks.seed import EpochSeed

    root = str(run.path)
    callbacks = [instantiate(callback, _convert_="all") for callback in cfg.callbacks.values() if callback is not None]
    callbacks.append(EpochSeed(cfg.seed))
    loggers = [instantiate(logger, save_dir=root) for logger in (cfg.logger or {}).values() if logger is not None]
    chosen: dict[str, Any] = {"precision": precision, "default_root_dir": root} | (
        {} if has_val else {"limit_val_batches": 0}
    )
    if device is not None:
        chosen["devices"] = [device]
    trainer: Trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers, _convert_="all", **chosen)
    return trainer


@contextmanager
def _status(run: RunDir, info: RunInfo) -> Iterator[dict[str, Any]]:
    """Keep status.json true: started, then finished, or failed with the error; yields the fields learnt on the way."""
    begun = time.perf_counter()
    learnt: dict[str, Any] = {}
    run.save_info(info)
    try:
        yield learnt
    except BaseException as error:
        reason = explain(error) or f"{type(error).__name__}: {error}"
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            reason = "interrupted"
        run.save_info(replace(info, state="failed", error=reason, seconds=time.perf_counter() - begun, **learnt))
        raise
    run.save_info(replace(info, state="finished", seconds=time.perf_counter() - begun, **learnt))


def collect_metrics(run: RunDir) -> dict[str, float]:
    """The final numbers of a run from its records, under the names that loggers and sweepers see."""
    metrics: dict[str, float] = {}
    if not run.evaluation_file.is_file():
        return metrics
    for split, evaluation in run.load_evaluation().items():
        metrics |= {
            f"{split}/acc": evaluation["accuracy"],
            f"{split}/nll": evaluation["nll"],
            f"{split}/ece": evaluation["ece"],
        }
        if split == "test":
            metrics["failures/count"] = float(evaluation["confident_failures"]["count"])
    return metrics


def _log_hyperparameters(trainer: Trainer, cfg: DictConfig, metrics: dict[str, float]) -> None:
    """Fill TensorBoard's hyper-parameters tab with the config and the final metrics."""
    from lightning.pytorch.loggers import TensorBoardLogger

    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            final = {f"final/{name}": value for name, value in metrics.items()}  # apart from the curves
            chosen = list_hyperparameters(resolve_config(cfg))
            logger.log_hyperparams(chosen, final)
            logger.finalize("success")


def list_hyperparameters(config: dict[str, Any]) -> dict[str, Any]:
    """The keys that TensorBoard compares runs by; groups within groups as text, so that every run has the same keys.

    >>> list_hyperparameters({"augment": {"name": "cutout", "cutout": {"holes": 1}}, "threads": 2})
    {'augment.name': 'cutout', 'augment.cutout': '{"holes": 1}'}
    """
    short = {
        f"{group}.{key}" if isinstance(values, dict) else group: value
        for group, values in config.items()
        for key, value in (values.items() if isinstance(values, dict) else [("", values)])
    }
    return {
        key: json.dumps(value) if isinstance(value, (dict, list)) else value
        for key, value in short.items()
        if key.startswith(HYPERPARAMETERS)
    }


def quieten_lightning() -> None:
    """Drop Lightning's own handler, which prints every line twice, and the warnings that tell a user nothing."""
    import warnings

    import lightning  # noqa: F401  (adds the handler)

    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=r".*LeafSpec.*", category=FutureWarning)
    warnings.filterwarnings("ignore", message=r".*exists and is not empty.*")  # of a run that is taken up again


if __name__ == "__main__":
    main()

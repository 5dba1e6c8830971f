"""The jobs of a sweep before the first one starts: which they are, and whether each can work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.compose import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from stress_lab.comparison.naming import name_configs
from stress_lab.comparison.option_rules import check_reference
from stress_lab.errors import ConfigError, RunError, StressLabError
from stress_lab.preflight.ahead import check_ahead
from stress_lab.preflight.configs import resolve_config
from stress_lab.preflight.finished_run import ANEW, check_images_of
from stress_lab.preflight.rules import check_config
from stress_lab.runs.folder import RunDir
from stress_lab.runtime.process_group import plan_world
from stress_lab.storage.launches import (
    REFUSED,
    Outcome,
)
from stress_lab.sweeps import (
    resolvers,  # noqa: F401  (jobs are composed here)
    search,
)
from stress_lab.sweeps.jobs import compose_jobs
from stress_lab.sweeps.resume import refuse_other_config

if TYPE_CHECKING:
    from stress_lab.data.datamodules import ImageDataModule


def is_search(config: DictConfig) -> bool:
    """Whether Optuna chooses the jobs."""
    return bool(config.hydra.sweeper._target_.endswith("OptunaSweeper"))


def plan_jobs(config: DictConfig) -> dict[str, DictConfig]:
    """The config of every job whose folder is known ahead, by the name of that folder.

    Those are the jobs that Hydra's own sweeper is about to launch, and the trials that a search finished before. Raises
    ConfigError where there are none.
    """
    if is_search(config):
        return compose_jobs(config, search.list_done(config))
    if not config.hydra.sweeper._target_.endswith("BasicSweeper"):
        return {}
    params = config.hydra.sweeper.params or {}
    arguments = [f"{key}={value}" for key, value in params.items()] + list(config.hydra.overrides.task)
    overrides = OverridesParser.create().parse_overrides(arguments)
    jobs = BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]
    if not jobs:
        raise ConfigError("the sweep has no jobs: give each of its keys at least one value")
    return compose_jobs(config, dict(enumerate(jobs)))


def list_corners(config: DictConfig) -> list[DictConfig]:
    """The configs of a search that show whether every value can work; raises ConfigError for a search that cannot."""
    search.check_search(config)
    return [compose(config.hydra.job.config_name, job) for job in search.list_corners(config)]


def find_refused(
    config: DictConfig, planned: Mapping[str, DictConfig], refuse: Callable[[RunDir, DictConfig], None]
) -> dict[str, Outcome]:
    """The jobs that may not be trained in their folders, by the folders' names.

    Args:
        config: with the node ``hydra``.
        planned: config of each job, by the name of its folder.
        refuse: raises where a job may not train in the folder of an existing run.

    Raises:
        ConfigError: finished trials of a search may not be resumed.
    """
    folder, refused = Path(config.hydra.sweep.dir), {}
    for name, cfg in planned.items():
        run = RunDir(folder / name)
        try:
            if run.status_file.is_file():
                refuse(run, cfg)
        except StressLabError as error:
            refused[name] = Outcome(REFUSED, str(error))
    if refused and is_search(config):
        raise ConfigError(next(iter(refused.values())).error)
    return refused


def refuse_other_run(run: RunDir, cfg: DictConfig) -> None:
    """Raise ConfigError where a folder holds a run of another config, or one that may not be resumed."""
    try:
        run.config, run.load_info()
    except RunError:  # a broken record is for the job to report
        return
    refuse_other_config(run, resolve_config(cfg), bool(cfg.resume))


def refuse_other_images(run: RunDir, cfg: DictConfig, sources: dict[str, ImageDataModule]) -> None:
    """Raise RunError where the images are no longer those of the run in a folder.

    Args:
        run: the folder.
        cfg: of the job.
        sources: image sources already read, by their config.
    """
    from stress_lab.training import build

    try:
        recorded = run.load_spec() if run.data_file.is_file() else None
    except RunError:  # a broken record is for the job to report
        recorded = None
    if recorded is None:
        return
    key = OmegaConf.to_yaml(cfg.data, resolve=True)
    if key not in sources:
        sources[key] = build.build_datamodule(cfg)
    check_images_of(run, recorded, sources[key].spec.fingerprint, sources[key].spec.source, ANEW)


def rehearse(jobs: list[DictConfig], folder: Path, here: bool = True) -> tuple[dict[str, ImageDataModule], int]:
    """Check each config, then find the data and build the net for each that differs in more than its seed.

    Args:
        jobs: in launch order.
        folder: of the sweep.
        here: whether they will run on this machine, so that its devices matter.

    Returns:
        The images that were read, by their config, and the bytes of memory that the largest of the jobs may use.

    Raises:
        StressLabError: the first mistake found.
    """
    configs: dict[str, int] = {}
    for number, cfg in enumerate(jobs):
        check_config(cfg)
        twin = configs.setdefault(OmegaConf.to_yaml(cfg, resolve=True), number)
        if twin != number:
            raise ConfigError(f"jobs {twin} and {number} of the sweep are the same: name each value once")
    shapes = {OmegaConf.to_yaml(OmegaConf.merge(cfg, {"seed": 0}), resolve=True): cfg for cfg in reversed(jobs)}
    distinct = list(reversed(shapes.values()))
    check_ahead(distinct, folder, here)
    sources: dict[str, ImageDataModule] = {}
    return sources, max([_build(cfg, here, sources) for cfg in distinct], default=0)


def check_reference_of(config: DictConfig, jobs: Sequence[DictConfig]) -> None:
    """Raise ConfigError where the variant to compare against is not among the jobs; a search is not known ahead."""
    reference = None if is_search(config) or not jobs else (jobs[0].comparison or {}).get("reference")
    if reference is not None:
        check_reference(name_configs(list(map(resolve_config, jobs))), reference, "+comparison.reference")


def _build(cfg: DictConfig, here: bool, sources: dict[str, ImageDataModule]) -> int:
    """Build all but the Trainer; ``sources``, by their config, let jobs share the images already read.

    Returns the bytes of memory that the run may use.
    """
    from stress_lab.runtime import hardware
    from stress_lab.training import build, rehearsal

    if here:
        accelerator = hardware.choose_accelerator(cfg.trainer.accelerator)
        hardware.choose_precision(cfg.trainer.precision, accelerator)
        plan_world(cfg.trainer)
    source = build.build_datamodule(cfg)
    first = sources.setdefault(OmegaConf.to_yaml(cfg.data, resolve=True), source)
    if first is not source:
        source.images, source.spec = first.images, first.spec
    source.setup("fit")
    classifier = build.build_classifier(cfg, source.spec)
    rehearsal.rehearse(cfg, classifier, source)
    build.init_from_data(classifier.net, source)
    return rehearsal.estimate_memory(classifier, source)

"""Hydra sweeper: Optuna proposes values, Hydra's launcher runs them, and the metric on val decides.

Hydra's own plugin needs Optuna below version 3; this uses Optuna's ask-and-tell interface, which has been stable since.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from stress_lab.sweeps import jobs as launching
from stress_lab.sweeps import search

log = logging.getLogger(__name__)


@dataclass
class OptunaConfig:
    """Keys of ``hydra.sweeper``."""

    _target_: str = "hydra_plugins.stress_lab_optuna.OptunaSweeper"
    metric: str = "val/acc"  # val/acc, val/nll or val/ece
    direction: str = "maximize"  # or minimize
    n_trials: int = 20  # runs in total
    n_jobs: int = 1  # runs proposed at a time
    seed: int = 0  # of the proposals
    storage: str | None = None  # where a study is kept; null keeps it in memory
    params: dict[str, Any] = field(default_factory=dict)  # key: choices or interval, in Hydra's syntax


ConfigStore.instance().store(group="hydra/sweeper", name="stress_lab_optuna", node=OptunaConfig)


class OptunaSweeper(Sweeper):
    """Runs ``n_trials`` jobs in batches of ``n_jobs``; an interrupted study resumes."""

    def __init__(
        self,
        metric: str,
        direction: str,
        n_trials: int,
        n_jobs: int,
        seed: int,
        storage: str | None,
        params: DictConfig,
    ) -> None:
        self.metric, self.direction = metric, direction
        self.n_trials, self.n_jobs, self.seed, self.storage = n_trials, n_jobs, seed, storage

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Create the launcher."""
        self._config = config
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the trials and write the outcome."""
        folder = Path(self._config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self._config, folder / "multirun.yaml")
        self.fixed, self.space = search.read_space(self._config)
        self.study = self._open_study()
        for trial in search.list_open(self.study):
            self._run([trial.number], [trial.params])
        while (done := len(self.study.trials)) < self.n_trials:
            trials = self._propose(min(self.n_jobs, self.n_trials - done))
            self._run([trial.number for trial in trials], [trial.params for trial in trials])
        numbered = {trial.number: [*self.fixed, *search.write_overrides(trial.params)] for trial in self.study.trials}
        names = zip(numbered, launching.compose_jobs(self._config, numbered), strict=True)
        search.write_outcome(self.study, folder, self.metric, dict(names))

    def _open_study(self) -> Any:
        """The study in the storage, or a new one."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            study_name=search.STUDY,
            direction=self.direction,  # type: ignore[arg-type]
            storage=self.storage,
            load_if_exists=self.storage is not None,
        )
        study.set_user_attr("metric", self.metric)
        return study

    def _propose(self, count: int) -> list[Any]:
        """New trials; the sampler restarts from seed and trials so far, so that any process proposes the same."""
        import numpy as np
        import optuna

        seed = int(np.random.SeedSequence([self.seed, len(self.study.trials)]).generate_state(1)[0])
        self.study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=self.n_jobs > 1)
        return [self.study.ask(self.space) for _ in range(count)]

    def _run(self, numbers: Sequence[int], values: Sequence[dict[str, Any]]) -> None:
        """Run trials with consecutive numbers side by side, and report the results to the study.

        A failed run, whose status.json says why, is not reported: the same command then retries that trial.
        """
        jobs = [[*self.fixed, *search.write_overrides(one)] for one in values]
        for number, returned in zip(numbers, self._launcher.launch(jobs, numbers[0]), strict=True):
            metrics = returned.return_value
            if metrics is not None:
                self.study.tell(number, metrics[self.metric])
                log.info("trial %d: %s %.4f", number, self.metric, metrics[self.metric])

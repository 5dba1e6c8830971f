"""Hydra launcher: jobs as tasks of Ray, on a cluster or on this machine.

Hydra's own plugin requires cloudpickle below version 3 and an old boto3; this uses Ray itself.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn

from stress_lab.errors import ConfigError
from stress_lab.sweeps.jobs import Job, ProcessLauncher, report


@dataclass
class RayConfig:
    """Keys of ``hydra.launcher``."""

    _target_: str = "hydra_plugins.stress_lab_ray.RayLauncher"
    address: str | None = None  # of a cluster, or auto; null starts Ray here
    num_cpus: float = 1  # CPU cores reserved per job
    num_gpus: float = 0  # GPUs reserved per job
    max_retries: int = 0  # how often a job restarts after its worker died


ConfigStore.instance().store(group="hydra/launcher", name="stress_lab_ray", node=RayConfig)


class RayLauncher(ProcessLauncher):
    """Runs as many jobs at a time as their resources allow."""

    def __init__(self, address: str | None, num_cpus: float, num_gpus: float, max_retries: int) -> None:
        self.address = address
        self.resources: dict[str, Any] = {"num_cpus": num_cpus, "num_gpus": num_gpus, "max_retries": max_retries}

    def describe(self) -> str:
        """Where the jobs run."""
        return f"Ray at {self.address}" if self.address else "Ray on this machine"

    def run_jobs(self, jobs: Sequence[Job]) -> Sequence[JobReturn | BaseException]:
        """Submit every job to Ray; shut Ray down afterwards unless it was running before."""
        import ray

        ours = not ray.is_initialized()
        if ours:
            ray.init(
                address=self.address,
                log_to_driver=False,
                include_dashboard=None if self.address else False,
                logging_level=logging.ERROR,
                configure_logging=False,
            )
        try:
            if self.address is None:
                self._check(ray.cluster_resources())  # type: ignore[no-untyped-call]
            remote = ray.remote(**self.resources, max_calls=1)(_run)  # a fresh process for each job
            references = [remote.remote(job) for job in jobs]
            return [report(job, _wait(one)) for job, one in zip(jobs, references, strict=True)]
        finally:
            if ours:
                ray.shutdown()

    def _check(self, there: dict[str, float]) -> None:
        """Raise ConfigError where this machine lacks what a job reserves: Ray would wait forever."""
        for key, kind in (("num_cpus", "CPU"), ("num_gpus", "GPU")):
            wanted, found = self.resources[key], there.get(kind, 0)
            if wanted > found:
                raise ConfigError(f"hydra.launcher.{key}={wanted:g}, but this machine has {found:g}: use less")
        if there.get("GPU", 0) and not self.resources["num_gpus"] and self.config.trainer.accelerator != "cpu":
            raise ConfigError(
                "a job that reserves no GPU sees none: set hydra.launcher.num_gpus=1, or trainer=cpu to run without"
            )


def _run(job: Job) -> JobReturn:
    """The work of a worker."""
    return job()


def _wait(reference: Any) -> JobReturn | BaseException:
    """What a task returned, or its error."""
    import ray

    try:
        returned: JobReturn = ray.get(reference)
        return returned
    except Exception as error:
        return error

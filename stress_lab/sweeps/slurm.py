"""The batch script of a sweep on SLURM."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from stress_lab.errors import ConfigError
from stress_lab.plain_text import printable


def write_script(launcher: DictConfig, n_jobs: int) -> str:
    """The batch script that SLURM would get for this many jobs, as submitit writes it; creates no file.

    Raises:
        ConfigError: submitit does not know a parameter.
    """
    from submitit.slurm.slurm import SlurmExecutor

    class Writer(SlurmExecutor):  # type: ignore[misc]
        """An executor that does not ask for ``srun`` on this machine."""

        @classmethod
        def affinity(cls) -> int:
            return 1

    writer = Writer(Path(launcher.folder), launcher.max_num_timeout)
    parameters = {key: value for key, value in launcher.parameters.items() if value is not None}
    shared = {key: value for key, value in parameters.items() if not key.startswith(("slurm_", "local_"))}
    own = {key.removeprefix("slurm_"): value for key, value in parameters.items() if key.startswith("slurm_")}
    own = {key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value for key, value in own.items()}
    try:
        writer.update_parameters(**writer._convert_parameters(shared), **own, array_parallelism=launcher.at_a_time)
    except ValueError as error:
        raise ConfigError(f"hydra.launcher.parameters: {' '.join(str(error).split())}") from None
    if n_jobs > 1:
        writer.parameters["map_count"] = n_jobs
    text: str = writer._make_submission_file_text(writer._submitit_command_str, "")
    return text


def print_submission(config: DictConfig, jobs: Sequence[DictConfig]) -> None:
    """Print the batch script that SLURM would get, and the jobs in its array."""
    print(printable(write_script(config.hydra.launcher, len(jobs)).strip(), keep="\n\t"), end="\n\n")
    print(f"# {len(jobs)} jobs; nothing was submitted")
    for number, cfg in enumerate(jobs):
        print(printable(f"#   {number}: {cfg.variant}, seed {cfg.seed}"))

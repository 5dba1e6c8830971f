"""All that is checked of a config after its rules and before torch is imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from stress_lab.preflight.classes import (
    check_arguments,
    check_device,
    check_layer,
    check_optimizer,
    check_tracker,
    list_targets,
)
from stress_lab.preflight.images import check_images
from stress_lab.preflight.places import check_environment, check_writable


def check_ahead(jobs: Sequence[DictConfig], folder: Path, here: bool = True) -> None:
    """Check jobs that keep the rules of ``check_config``, as far as possible without torch.

    Args:
        jobs: their configs.
        folder: to be written.
        here: whether the jobs will run on this machine, so that its devices matter.

    Raises:
        StressLabError: the first mistake found.
    """
    check_environment()
    check_writable(folder, "hydra.run.dir or hydra.sweep.dir")
    for cfg in jobs:
        for key, node in list_targets(cfg):
            check_arguments(key, node)
            check_tracker(key, str(node._target_))
        check_optimizer(cfg)
        check_layer(
            str(cfg.model._target_), OmegaConf.select(cfg, "callbacks.gradcam.layer"), "callbacks.gradcam.layer"
        )
        if here:
            check_device(str(cfg.trainer.accelerator), "trainer.accelerator")
    check_images(jobs)

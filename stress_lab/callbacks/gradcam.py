"""Show what the net looked at in its confident failures."""

from __future__ import annotations

import logging

from lightning.pytorch import LightningModule, Trainer

from stress_lab.callbacks.base import Recorder
from stress_lab.data.datamodules import ImageDataModule
from stress_lab.plain_text import as_override
from stress_lab.recording import Figures, describe_drawn, record_gradcam, record_road
from stress_lab.runs.folder import RunDir
from stress_lab.saliency.gradcam import find_layer

log = logging.getLogger(__name__)


class GradCamGallery(Recorder):
    """Grad-CAM of the first failures, for the predicted and for the true class.

    Args:
        layer: dotted name of the explained part of the net.
        limit: failures explained; None explains all.
        method: ``gradcam``, ``hirescam`` or ``layercam``.
        road: whether to score the maps by ROAD.
    """

    def __init__(self, layer: str, limit: int | None, method: str = "gradcam", road: bool = False) -> None:
        self.layer, self.method, self.road = layer, method, road
        self.limit = limit

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a layer that the net lacks before training starts."""
        find_layer(getattr(pl_module, "net", pl_module), self.layer)  # type: ignore[arg-type]

    def record(self, run: RunDir, module: LightningModule, source: ImageDataModule) -> Figures:
        """Read the failures and write their maps."""
        net = getattr(module, "net", module)
        told = (self.layer, "test", self.limit, self.method)
        figures = record_gradcam(run, module, net, source, *told)  # type: ignore[arg-type]
        if self.road and (scored := record_road(run, module, source, "test")):
            log.info("%s", scored)
        if note := describe_drawn(run, f"stress-lab evaluate {as_override('run', run.path)}"):
            log.info("%s", note)
        return figures

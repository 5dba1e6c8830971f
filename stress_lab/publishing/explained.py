"""Images of runs and their Grad-CAM maps, each computed once for everything that shows them."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from torch import nn

from stress_lab.auditing.reopen import load_audited_net, load_audited_source
from stress_lab.comparison.loading import LoadedRun
from stress_lab.data.image_source import ImageSource
from stress_lab.preflight.finished_run import find_checkpoint
from stress_lab.recording import read_inputs
from stress_lab.records import IntArray
from stress_lab.runs.checkpoints import check_own
from stress_lab.runs.folder import CHECKPOINTS, RunDir
from stress_lab.runs.settings import explained_layer, setting
from stress_lab.runtime.hardware import choose_accelerator
from stress_lab.runtime.terminal import announce
from stress_lab.saliency.gradcam import find_layer, grad_cam
from stress_lab.saliency.maps import Cam
from stress_lab.stats.pairing import rows_of
from stress_lab.storage.checkpoint_files import check_checkpoint
from stress_lab.training.build import load_classifier, load_datamodule

log = logging.getLogger(__name__)


class Explainer:
    """Loads each run's data and net once, and explains each image once.

    Announce first what each run must explain (:meth:`want`): the first request computes all of it.

    Args:
        layer: dotted name within the nets; None takes the one of each run's own maps.
        root: folder of the data, where it has moved.
    """

    def __init__(self, layer: str | None, root: str | None = None) -> None:
        self.layer, self.root = layer, root
        self._wanted: dict[str, IntArray] = {}
        self._maps: dict[str, tuple[IntArray, Cam, Cam]] = {}
        self._sources: dict[str, ImageSource] = {}

    def want(self, run: LoadedRun, index: IntArray) -> None:
        """Announce positions in the test split whose maps will be needed."""
        known = self._wanted.get(run.name, np.arange(0))
        self._wanted[run.name] = np.union1d(known, index).astype(np.int64)

    def source(self, run: LoadedRun) -> ImageSource:
        """The data of a run; raises StressLabError where it is missing or another run's."""
        if run.name not in self._sources:
            load = load_audited_source if run.records.is_audit else load_datamodule
            self._sources[run.name] = load(run.records, self.root, run.trusted)
        return self._sources[run.name]

    def explain(self, run: LoadedRun, index: IntArray) -> tuple[Cam, Cam]:
        """Maps of test images for the predicted and for the true classes, in the order of ``index (n,)``.

        Raises:
            StressLabError: the images or the checkpoint are missing or another run's.
        """
        self.want(run, index)
        known = self._maps.get(run.name)
        if known is None or not np.isin(index, known[0]).all():
            wanted = self._wanted[run.name]
            announce(f"Grad-CAM maps of {run.name}: run {len(self._maps) + 1} of {len(self._wanted)}")
            known = self._maps[run.name] = (wanted, *explain_images(run, self.source(run), wanted, self.layer))
        rows = np.searchsorted(known[0], index)
        return Cam(known[1].raw[rows]), Cam(known[2].raw[rows])


def explain_images(loaded: LoadedRun, source: ImageSource, index: IntArray, layer: str | None) -> tuple[Cam, Cam]:
    """Maps of test images under the weights that made a run's predictions, for the predicted and true classes.

    They are computed on the GPU if there is one, unless the run was set to use the CPU; on the CPU if that fails.

    Args:
        loaded: the run. ``source`` its data.
        index: (n,) positions in the test split.
        layer: dotted name within the net; None takes that of the run's own maps.
    """
    inputs = read_inputs(source, "test", index)
    predictions = loaded.predictions["test"]
    rows = rows_of(predictions.index, index)
    said, label = predictions.pred[rows], predictions.label[rows]

    records = loaded.records
    open_net = _find_opener(loaded, source)

    def explain(device: str) -> tuple[Cam, Cam]:
        model, net = open_net(device)
        module, batch = find_layer(net, explained_layer(records, layer)), source.batch_size
        method = setting(records, "gradcam", "method", "gradcam")
        return tuple(grad_cam(model, module, inputs, one, batch, method) for one in (said, label))  # type: ignore[return-value]

    device = choose_accelerator("cpu" if records.config["trainer"]["accelerator"] == "cpu" else "auto")
    try:
        return explain(device)
    except RuntimeError as error:  # its memory is full, or torch cannot use it
        if device == "cpu":
            raise
        log.warning("Grad-CAM runs on the CPU, since %s failed: %s", device, str(error).partition("\n")[0])
        return explain("cpu")


def _find_opener(loaded: LoadedRun, source: ImageSource) -> Callable[[str], tuple[nn.Module, nn.Module]]:
    """A function that puts a run's net on a device: images to logits, and the part of it that has the layers.

    Raises:
        RunError: the weights are missing, or another run's.
    """
    records = loaded.records
    if records.is_audit:
        made = load_audited_net(records, loaded.trusted)
        return lambda device: (made.to(device), made.net)
    checkpoint = records.config.get("checkpoint")  # in a folder that stress-lab evaluate made within the run's
    trained = records if checkpoint is None else RunDir(records.path.parent)
    which = checkpoint or "last"
    weights = find_checkpoint(trained, which)
    if which in CHECKPOINTS:  # not for a path
        check_own(check_checkpoint(weights), trained, which)

    def open_classifier(device: str) -> tuple[nn.Module, nn.Module]:
        model = load_classifier(records, str(weights), source.spec, loaded.trusted).to(device)
        return model, model.net

    return open_classifier

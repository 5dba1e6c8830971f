"""From config to objects: the one place that instantiates a user's classes, for training and for finished runs."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import get_object, instantiate
from lightning.pytorch.utilities.seed import isolate_rng
from omegaconf import DictConfig, OmegaConf
from torch import nn

from stress_lab.data.datamodules import ImageDataModule
from stress_lab.errors import ConfigError, RunError
from stress_lab.inference import eval_mode
from stress_lab.models.classifier import Classifier
from stress_lab.models.recipe import make_optimizer, make_schedule
from stress_lab.preflight.classes import refuse_tools
from stress_lab.preflight.run import check_images_of, find_checkpoint, load_config
from stress_lab.records import DatasetSpec
from stress_lab.runs import RunDir
from stress_lab.saliency.gradcam import find_layer, grad_cam

log = logging.getLogger(__name__)

INIT_IMAGES = 1_000  # that a net may begin from
# memory of a process: itself in bytes, copies of images and of weights, and of what the backward pass needs in float32.
# Peaks in throughput.json of benchmarks/results, and what this makes of them in GB: demo 1.1 to 1.4, 1.7;
# fashion_mnist_optim 1.9 (3.3 for the second run of a process), 2.7; cifar10_fast 4.4 and 4.9, 6.2
PROCESS, COPIES, KEPT = 3 * 2**29, 4, 1.5


def build_datamodule(cfg: DictConfig) -> ImageDataModule:
    """The data module of a config, with the run's batch size, augmentation and seed."""
    refuse_tools(cfg.data, "data")
    refuse_tools(cfg.augment, "augment")
    module = instantiate(
        cfg.data,
        batch_size=cfg.optim.batch_size,
        augment=instantiate(cfg.augment, _convert_="all"),
        seed=cfg.seed,
    )
    if not isinstance(module, ImageDataModule):
        raise ConfigError(f"data._target_={cfg.data._target_} is no ImageDataModule: derive your class from it")
    module.epochs = cfg.trainer.max_epochs
    return module


def build_net(cfg: DictConfig, spec: DatasetSpec) -> nn.Module:
    """The net of a config, checked against the data by one forward pass.

    A class that has arguments ``in_channels`` or ``num_classes`` gets them from the data; others take what their config
    says.

    Raises:
        ConfigError: it is no net, cannot take the images, or gives another number of classes.
    """
    refuse_tools(cfg.model, "model")
    target = cfg.model._target_
    from_data = {"in_channels": spec.channels, "num_classes": len(spec.classes)}
    accepted = inspect.signature(_locate(target)).parameters
    if "width" in cfg.model and "width" not in accepted:
        raise ConfigError(f"model._target_={target} takes no width: say model=custom before it, which gives none")
    net = instantiate(
        cfg.model, **{key: value for key, value in from_data.items() if key in accepted and key not in cfg.model}
    )
    if not isinstance(net, nn.Module):
        raise ConfigError(f"model._target_={target} is no torch.nn.Module")
    shape = (2, spec.channels, spec.height, spec.width)
    try:
        with eval_mode(net), torch.no_grad():  # not inference mode: lazy layers make their weights here
            logits = net(torch.zeros(shape))
    except Exception as error:  # a net of the user's may raise anything
        raise ConfigError(
            f"model._target_={target} cannot take images of {shape[1:]}: {' '.join(str(error).split())}"
        ) from None
    if getattr(logits, "shape", None) != (2, len(spec.classes)):
        raise ConfigError(
            f"model._target_={target} gives {tuple(getattr(logits, 'shape', ()))[1:]} outputs an image, but "
            f"the data has {len(spec.classes)} classes: say +model.num_classes={len(spec.classes)}"
        )
    return net


def _locate(target: str) -> Any:
    """A class or function by its dotted name."""
    try:
        return get_object(target)
    except Exception as error:  # the module named may raise anything on import
        raise ConfigError(f"model._target_={target} cannot be imported: {' '.join(str(error).split())}") from None


def rehearse(cfg: DictConfig, classifier: Classifier, source: ImageDataModule) -> None:
    """Try what training alone needs, so that a mistake is found before it: optimiser, small images, explained layer.

    Raises:
        ConfigError: one of them does not work.
    """
    make_schedule(classifier.optim, make_optimizer(classifier.optim, classifier.net), cfg.trainer.max_epochs)
    spec = source.spec
    size = (spec.height, spec.width)
    _learn_once(cfg, classifier, source)
    resizing = source.train_pipeline.resizing
    if resizing is not None:
        try:
            with eval_mode(classifier), torch.no_grad():
                for small in sorted({resizing.size_in(epoch, size) for epoch in range(resizing.epochs)}):
                    classifier(torch.zeros(2, spec.channels, *small))
        except Exception as error:  # a net of the user's may raise anything
            raise ConfigError(
                f"augment.initial_scale={resizing.initial_scale} does not work: model._target_={cfg.model._target_} "
                f"cannot take images of {(spec.channels, *small)}: {' '.join(str(error).split())}; "
                "say augment.initial_scale=null"
            ) from None
    layer = OmegaConf.select(cfg, "callbacks.gradcam.layer")
    if layer is not None:
        blank = torch.zeros(1, spec.channels, *size)
        grad_cam(classifier, find_layer(classifier.net, layer), blank, np.array([0]))


def _learn_once(cfg: DictConfig, classifier: Classifier, source: ImageDataModule) -> None:
    """One forward pass of a copy in training mode, where nets may behave otherwise; of one image if a batch has one."""
    spec, index = source.spec, source.indices["train"]
    try:
        net = copy.deepcopy(classifier.net).train()
    except Exception as error:  # it holds what cannot be copied; training does not copy it
        log.debug("not tried in training mode: %s", error)
        return
    images = source.normalize(
        torch.from_numpy(source.split("train").images[np.sort(index[: _smallest_batch(cfg, source)])])
    )
    try:
        with isolate_rng(include_cuda=False), torch.no_grad():
            logits = net(images)
    except Exception as error:  # a net of the user's may raise anything
        raise ConfigError(
            f"model._target_={cfg.model._target_} cannot learn from a batch of {len(images)}: "
            f"{' '.join(str(error).split())}; choose another net or optim.batch_size"
        ) from None
    if getattr(logits, "shape", None) != (len(images), len(spec.classes)):
        raise ConfigError(
            f"model._target_={cfg.model._target_} gives {type(logits).__name__} in training, where logits of shape "
            f"(images, {len(spec.classes)}) are needed: wrap it in a class that gives them alone"
        )


def estimate_memory(classifier: Classifier, source: ImageDataModule) -> int:
    """Bytes of memory that a process may take at most to train a net on the CPU; rather too many than too few.

    What one image leaves for its backward pass is counted in float32; a net that cannot be tried counts without.
    """
    images = sum(part.images.nbytes for part in source.images.splits.values())
    weights = sum(part.numel() * part.element_size() for part in classifier.parameters())
    batch = min(source.batch_size, len(source.indices["train"]))
    try:
        kept = batch * _count_kept(classifier.net, source)
    except Exception as error:  # a net of the user's may raise anything
        log.debug("what it keeps for its backward pass is not known: %s", error)
        kept = 0
    return PROCESS + COPIES * (images + weights) + int(KEPT * kept)


def _count_kept(net: nn.Module, source: ImageDataModule) -> int:
    """Bytes that a forward pass in training mode keeps for the backward pass of one image, weights aside."""
    net = copy.deepcopy(net).train()
    weights = {part.untyped_storage().data_ptr() for part in net.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    images = source.normalize(torch.from_numpy(source.split("train").images[np.sort(source.indices["train"][:2])]))
    with isolate_rng(include_cuda=False), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits = net(images)  # holds on to what is kept
    total = sum(size for place, size in kept.items() if place not in weights)
    del logits
    return total // len(images)


def _smallest_batch(cfg: DictConfig, source: ImageDataModule) -> int:
    """1 where a batch of an epoch has one image, else 2, which serve as any more."""
    batches, rest = divmod(len(source.indices["train"]), source.batch_size)
    limit = cfg.trainer.get("limit_train_batches")
    reached = not isinstance(limit, int) or limit > batches
    return 1 if source.batch_size == 1 or (rest == 1 and reached) else 2


def init_from_data(net: nn.Module, source: ImageDataModule) -> None:
    """Show a net that has a method of this name images of train before its first step.

    The method gets up to 1,000 of them, from the whole of train at even distances, as ``(B, C, H, W)`` float32,
    normalised, not augmented.

    Raises:
        ConfigError: the method fails.
    """
    begin = getattr(net, "init_from_data", None)
    if not callable(begin):
        return
    index = source.indices["train"]
    chosen = np.linspace(0, len(index) - 1, min(INIT_IMAGES, len(index))).astype(int)  # files may lie sorted by class
    images = source.split("train").images[index[chosen]]
    try:
        begin(source.normalize(torch.from_numpy(images)))
    except Exception as error:  # a net of the user's may raise anything
        raise ConfigError(
            f"{type(net).__name__}.init_from_data fails with images of {images.shape}: {' '.join(str(error).split())}"
        ) from None


def build_classifier(cfg: DictConfig, spec: DatasetSpec) -> Classifier:
    """The net of a config, with what training it takes."""
    optim: dict[str, Any] = OmegaConf.to_container(cfg.optim, resolve=True)  # type: ignore[assignment]
    net = build_net(cfg, spec)
    return Classifier(net, len(spec.classes), optim, cfg.channels_last and not is_narrow(net))


def is_narrow(net: nn.Module) -> bool:
    """Whether a convolution has fewer than 16 outputs.

    With such nets in the memory format channels-last, torch 2.15's backward pass writes beyond its memory on the CPU,
    for batches that the threads do not divide evenly (8 channels, 2 threads; benchmarks/narrow_crash.py).
    """
    return any(isinstance(part, nn.Conv2d) and part.out_channels < 16 for part in net.modules())


def load_datamodule(run: RunDir, root: str | None = None) -> ImageDataModule:
    """The data of a finished run.

    Args:
        run: its folder.
        root: where the data lies now, if it has moved.

    Raises:
        RunError: the images found are not those of the run.
    """
    module = build_datamodule(load_config(run, root))
    check_images_of(run, run.load_spec(), module.spec.fingerprint, module.spec.source)
    return module


def load_classifier(run: RunDir, checkpoint: str, spec: DatasetSpec) -> Classifier:
    """The trained net of a run, on the CPU.

    Args:
        run: its folder.
        checkpoint: ``last``, ``best`` or a path.
        spec: of the data.

    Raises:
        RunError: the checkpoint is missing, broken, or of another net.
    """
    path = find_checkpoint(run, checkpoint)
    classifier = build_classifier(OmegaConf.create(run.config), spec)
    state = load_state(path)
    try:
        classifier.load_state_dict(state)
    except RuntimeError as error:
        first = " ".join(str(error).split("\n")[1:2]).strip() or str(error)
        raise RunError(
            f"{path} is a checkpoint of another net than {run.config_file} describes: {first[:200]}"
        ) from None
    return classifier


def load_state(path: Path) -> Mapping[str, torch.Tensor]:
    """The weights in a Lightning checkpoint, read without executing anything in it."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        return checkpoint["state_dict"]  # type: ignore[no-any-return]
    except Exception as error:  # torch raises whatever the broken bytes lead to
        reason = " ".join(str(error).split())[:160]
        raise RunError(
            f"{path} cannot be read as a checkpoint, it is cut or something else ({reason}): use another one"
        ) from None

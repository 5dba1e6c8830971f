"""What training and explaining need of a net, tried before long work, and the memory that they will take."""

from __future__ import annotations

import copy
import logging

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from omegaconf import DictConfig, OmegaConf
from torch import nn

from stress_lab.data.datamodules import ImageDataModule
from stress_lab.errors import ConfigError
from stress_lab.inference import check_answers, describe_output, eval_mode
from stress_lab.models.classifier import Classifier
from stress_lab.models.recipe import make_optimizer, make_schedule
from stress_lab.saliency.gradcam import check_layer, find_layer, grad_cam
from stress_lab.training.build import are_logits

log = logging.getLogger(__name__)

# memory of a process: its own bytes, then copies of the images, of the weights and of the float32 backward pass.
# Peaks in throughput.json of benchmarks/results, and this estimate of them in GB: demo 1.1 to 1.4, 1.7;
# fashion_mnist_optim 1.9 (3.3 for the second run of a process), 2.7; cifar10_fast 4.4 and 4.9, 6.2
PROCESS, COPIES, KEPT = 3 * 2**29, 4, 1.5
TRIED = 4  # images to try a net with
SMALL = 0.02  # spread of the weights that replace zeros in the tried copy of a net


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
        except Exception as error:  # a user's net may raise anything
            raise ConfigError(
                f"augment.initial_scale={resizing.initial_scale} does not work: model._target_={cfg.model._target_} "
                f"cannot take images of {(spec.channels, *small)}: {' '.join(str(error).split())}; "
                "set augment.initial_scale=null"
            ) from None
    layer = OmegaConf.select(cfg, "callbacks.gradcam.layer")
    check_trained(_wake(classifier.net), source, "train", layer)
    if layer is not None:
        blank = torch.zeros(1, spec.channels, *size)
        grad_cam(classifier, find_layer(classifier.net, layer), blank, np.array([0]))


def _learn_once(cfg: DictConfig, classifier: Classifier, source: ImageDataModule) -> None:
    """One forward pass of a copy in training mode, where nets may act differently; one image if a batch has one."""
    spec, index = source.spec, source.indices["train"]
    try:
        net = copy.deepcopy(classifier.net).train()
    except Exception as error:  # part of it cannot be copied; training does not copy it
        log.debug("not tried in training mode: %s", error)
        return
    images = source.normalize(
        torch.from_numpy(source.split("train").images[np.sort(index[: _smallest_batch(cfg, source)])])
    )
    try:
        with isolate_rng(include_cuda=False), torch.no_grad():
            logits = net(images)
    except Exception as error:  # a user's net may raise anything
        raise ConfigError(
            f"model._target_={cfg.model._target_} cannot learn from a batch of {len(images)}: "
            f"{' '.join(str(error).split())}; choose another net or optim.batch_size"
        ) from None
    if not are_logits(logits, len(images), spec):
        raise ConfigError(
            f"model._target_={cfg.model._target_} returns {describe_output(logits)} in training, where logits of shape "
            f"(images, {len(spec.classes)}) are needed: wrap it in a class that returns them alone"
        )


def estimate_memory(classifier: Classifier, source: ImageDataModule) -> int:
    """An upper estimate of the bytes of memory that a process needs to train a net on the CPU.

    What one image keeps for its backward pass is counted in float32, or left out for a net that cannot be tried.
    """
    images = sum(part.images.nbytes for part in source.images.splits.values())
    weights = sum(part.numel() * part.element_size() for part in classifier.parameters())
    batch = min(source.batch_size, len(source.indices["train"]))
    try:
        kept = batch * _count_kept(classifier.net, source)
    except Exception as error:  # a user's net may raise anything
        log.debug("what it keeps for its backward pass is not known: %s", error)
        kept = 0
    return PROCESS + COPIES * (images + weights) + int(KEPT * kept)


def _count_kept(net: nn.Module, source: ImageDataModule) -> int:
    """Bytes that a forward pass in training mode keeps for the backward pass of one image, without the weights."""
    net = copy.deepcopy(net).train()
    weights = {part.untyped_storage().data_ptr() for part in net.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    images = source.normalize(torch.from_numpy(source.split("train").images[np.sort(source.indices["train"][:2])]))
    with isolate_rng(include_cuda=False), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits = net(images)  # keeps alive what is kept
    total = sum(size for place, size in kept.items() if place not in weights)
    del logits
    return total // len(images)


def check_trained(
    net: nn.Module, source: ImageDataModule, split: str, layer: str | None, key: str = "callbacks.gradcam.layer"
) -> None:
    """Try a net on a few images of a split, before long work.

    Args:
        net: images to logits.
        source: of the images.
        split: train, val or test.
        layer: the one Grad-CAM explains; None for no maps.
        key: of the config that names it.

    Raises:
        ConfigError: it does not return logits, is random or fails in evaluation mode, or the layer gives no map.
    """
    index = source.indices[split]
    chosen = index[np.linspace(0, len(index) - 1, min(TRIED, len(index))).astype(int)]
    images = source.normalize(torch.from_numpy(source.split(split).images[chosen]))
    with isolate_rng(include_cuda=False):
        check_answers(net, images)
        if layer is not None:
            check_layer(net, layer, images, key)


def _wake(net: nn.Module) -> nn.Module:
    """A copy of a net with small random numbers for weights that begin as zeros, which could hide what is random."""
    try:
        awake = copy.deepcopy(net)
    except Exception as error:  # part of it cannot be copied
        log.debug("tried as it is: %s", error)
        return net
    with isolate_rng(include_cuda=False), torch.no_grad():
        for weight in awake.parameters():
            if weight.is_floating_point() and not weight.any():
                weight.normal_(0, SMALL)
    return awake


def _smallest_batch(cfg: DictConfig, source: ImageDataModule) -> int:
    """1 where a batch of an epoch has one image, else 2, which is as good as more."""
    batches, rest = divmod(len(source.indices["train"]), source.batch_size)
    limit = cfg.trainer.get("limit_train_batches")
    reached = not isinstance(limit, int) or limit > batches
    return 1 if source.batch_size == 1 or (rest == 1 and reached) else 2

"""From config to objects: the one place that instantiates a user's classes, for training and for finished runs."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from stress_lab.data.datamodules import ImageDataModule
from stress_lab.errors import ConfigError, RunError, StressLabError
from stress_lab.inference import describe_output, eval_mode
from stress_lab.models.classifier import Classifier
from stress_lab.models.named_weights import find_prefix, list_weights
from stress_lab.preflight.classes import check_call, say_inherited
from stress_lab.preflight.finished_run import check_images_of, describe_owner, load_config, open_checkpoint
from stress_lab.preflight.targets import explain_call
from stress_lab.records import DatasetSpec
from stress_lab.runs.folder import RunDir
from stress_lab.storage.seals import require_own
from stress_lab.training.weights import load_content

log = logging.getLogger(__name__)

INIT_IMAGES = 1_000  # images a net may initialise from
OUTPUTS = (  # common names of the argument for the number of outputs
    *("num_classes", "n_classes", "nb_classes", "num_class", "n_class", "nclass", "class_num", "classes", "num_labels"),
    *("n_labels", "num_outputs", "n_outputs", "n_out", "out_features", "out_dim", "output_dim"),
)


def build_datamodule(cfg: DictConfig) -> ImageDataModule:
    """The data module of a config, with the run's batch size, augmentation and seed."""
    module = _call(
        "data",
        cfg.data,
        batch_size=cfg.optim.batch_size,
        augment=instantiate(cfg.augment, _convert_="all"),
        seed=cfg.seed,
    )
    if not isinstance(module, ImageDataModule):
        raise ConfigError(f"data._target_={cfg.data._target_} is not an ImageDataModule: derive your class from it")
    module.epochs = cfg.trainer.max_epochs
    return module


def build_net(cfg: DictConfig, spec: DatasetSpec) -> nn.Module:
    """The net of a config, checked against the data by one forward pass.

    A class that has arguments ``in_channels`` or ``num_classes`` gets them from the data; others use what their config
    holds.

    Raises:
        ConfigError: it is not a net, cannot take the images, or returns another number of classes.
    """
    target = cfg.model._target_
    from_data = {"in_channels": spec.channels, "num_classes": len(spec.classes)}
    accepted = _list_accepted(cfg.model)
    given = {key: value for key, value in from_data.items() if key in accepted and key not in cfg.model}
    net = _call("model", cfg.model, **given)
    if not isinstance(net, nn.Module):
        raise ConfigError(f"model._target_={target} is not a torch.nn.Module")
    shape = (2, spec.channels, spec.height, spec.width)
    try:
        with eval_mode(net), torch.no_grad():  # not inference mode: lazy layers make their weights here
            logits = net(torch.zeros(shape))
    except Exception as error:  # a user's net may raise anything
        raise ConfigError(
            f"model._target_={target} cannot take images of {shape[1:]}: {' '.join(str(error).split())}"
        ) from None
    if not are_logits(logits, 2, spec):
        raise ConfigError(
            f"model._target_={target} returns {describe_output(logits)} for 2 images, but the data has "
            f"{len(spec.classes)} classes: {_advise_outputs(cfg.model, logits, len(spec.classes), accepted)}"
        )
    return net


def are_logits(output: Any, n: int, spec: DatasetSpec) -> bool:
    """Whether an output of a net has a number for each class of ``n`` images."""
    return isinstance(output, torch.Tensor) and output.is_floating_point() and output.shape == (n, len(spec.classes))


def _advise_outputs(model: DictConfig, output: Any, k: int, accepted: Mapping[str, inspect.Parameter]) -> str:
    """What to type, or to code, so that a net returns ``k`` logits per image."""
    if not isinstance(output, torch.Tensor):
        items = (
            output.items()
            if isinstance(output, Mapping)
            else enumerate(output if isinstance(output, (tuple, list)) else ())
        )
        shapes = ((key, getattr(part, "shape", ())) for key, part in items)
        part = next((f"output[{key!r}]" for key, shape in shapes if tuple(shape) == (2, k)), "the logits")
        return f"wrap the net in a class whose forward returns {part} alone, a tensor (images, {k})"
    if output.shape == (2, k):
        return "return the logits themselves, as floats"
    if output.ndim > 2:
        return f"let it end in a tensor (images, {k}), for instance by pooling over height and width"
    name = next((name for name in OUTPUTS if name in accepted and (name != "num_classes" or name in model)), None)
    if name is None and "num_classes" not in accepted and any(one.kind is one.VAR_KEYWORD for one in accepted.values()):
        name = "num_classes"
    if name is not None and model.get(name) != k:
        return f"set {'' if name in model else '+'}model.{name}={k}"
    one = (
        " (two classes need two logits; a single sigmoid output is not enough)"
        if k == 2 and output.shape in ((2, 1), (2,))
        else ""
    )
    return f"let it end in {k} outputs, as nn.Linear(features, {k}) has{one}"


def _call(key: str, node: DictConfig, **given: Any) -> Any:
    """What the class of a node makes of its arguments; raises ConfigError where they do not suit it, or it fails."""
    try:
        return instantiate(node, **given)
    except InstantiationException as error:
        if error.__cause__ is None or isinstance(error.__cause__, StressLabError):
            raise
        signature, said = _find_signature(key, node), " ".join(str(error.__cause__).split())
        if isinstance(error.__cause__, TypeError) and "argument" in said:
            explain_call(node._target_, signature, lambda told: check_call(key, node, told))
        hint = say_inherited(key, node, signature)
        raise ConfigError(f"{key}._target_={node._target_} cannot be built: {said}{hint}") from error


def _find_signature(key: str, node: DictConfig) -> inspect.Signature | None:
    """What a class or function says of its arguments, if it does; raises ConfigError where there is none."""
    try:
        return inspect.signature(get_object(node._target_))
    except (TypeError, ValueError):  # nothing to call, or it is compiled
        return None
    except Exception as error:  # the module named may raise anything on import
        raise ConfigError(
            f"{key}._target_={node._target_} cannot be imported: {' '.join(str(error).split())}"
        ) from None


def _list_accepted(model: DictConfig) -> dict[str, inspect.Parameter]:
    """The arguments that can be given to a net by name, beside the positional ones of its config."""
    signature = _find_signature("model", model)
    parameters = {} if signature is None else dict(signature.parameters)
    for name in [*parameters][: len(model.get("_args_") or ())]:
        del parameters[name]
    return {name: one for name, one in parameters.items() if one.kind is not one.POSITIONAL_ONLY}


def init_from_data(net: nn.Module, source: ImageDataModule) -> None:
    """Show training images, before the first step, to a net that has a method of this name.

    The method gets up to 1,000 of them, evenly spaced over all of train, as ``(B, C, H, W)`` float32,
    normalised, not augmented.

    Raises:
        ConfigError: the method fails.
    """
    begin = getattr(net, "init_from_data", None)
    if not callable(begin):
        return
    index = source.indices["train"]
    chosen = np.linspace(0, len(index) - 1, min(INIT_IMAGES, len(index))).astype(int)  # files may be sorted by class
    images = source.split("train").images[index[chosen]]
    try:
        begin(source.normalize(torch.from_numpy(images)))
    except Exception as error:  # a user's net may raise anything
        raise ConfigError(
            f"{type(net).__name__}.init_from_data fails with images of {images.shape}: {' '.join(str(error).split())}"
        ) from None


def build_classifier(cfg: DictConfig, spec: DatasetSpec) -> Classifier:
    """The net of a config, with its optimiser settings."""
    optim: dict[str, Any] = OmegaConf.to_container(cfg.optim, resolve=True)  # type: ignore[assignment]
    net = build_net(cfg, spec)
    return Classifier(net, len(spec.classes), optim, cfg.channels_last and not is_narrow(net))


def is_narrow(net: nn.Module) -> bool:
    """Whether a convolution has fewer than 16 outputs.

    With such nets in the memory format channels-last, torch 2.15's backward pass writes beyond its memory on the CPU,
    for batches that the threads do not divide evenly (8 channels, 2 threads; benchmarks/narrow_crash.py). The bug is
    oneDNN's, in the gradient of strided 1×1 convolutions with fewer input channels than a block
    (https://github.com/uxlfoundation/oneDNN/issues/6035): this guard stays until a torch release fixes it.
    """
    return any(isinstance(part, nn.Conv2d) and part.out_channels < 16 for part in net.modules())


def load_datamodule(run: RunDir, root: str | None = None, trust: bool = False) -> ImageDataModule:
    """The data of a finished run.

    Args:
        run: its folder.
        root: where the data is now, if it has moved.
        trust: whether to call the classes that its config names although the run is not the user's own.

    Raises:
        RunError: the run is not the user's own, or the images found are not those of the run.
    """
    if not trust:
        require_own(run.path, run.config_digest, "reading its images")
    module = build_datamodule(load_config(run, root))
    check_images_of(run, run.load_spec(), module.spec.fingerprint, module.spec.source)
    return module


def load_classifier(run: RunDir, checkpoint: str, spec: DatasetSpec, trust: bool = False) -> Classifier:
    """The trained net of a run, on the CPU.

    Args:
        run: its folder.
        checkpoint: ``last``, ``best`` or a path.
        spec: of the data.
        trust: whether to call the class that its config names although the run is not the user's own.

    Raises:
        RunError: the run is not the user's own, or the checkpoint is missing, damaged, of another net, or in place
            of one of another run.
    """
    if not trust:
        require_own(run.path, run.config_digest, "building its net")
    found = open_checkpoint(run, checkpoint)
    path, whose = found.path, describe_owner(found, run, checkpoint)
    if whose is not None:
        log.warning("%s", whose)
    classifier = build_classifier(OmegaConf.create(run.config), spec)
    weights = list_weights(load_content(path))
    prefix = find_prefix(weights, classifier.net.state_dict(), path)
    named = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    try:
        classifier.net.load_state_dict(named)
    except RuntimeError as error:
        first = " ".join(str(error).split("\n")[1:2]).strip() or str(error)
        raise RunError(
            f"{path} is a checkpoint of a different net than {run.config_file} describes: {first[:200]}"
        ) from None
    return classifier

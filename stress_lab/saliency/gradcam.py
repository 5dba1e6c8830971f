"""Grad-CAM (Selvaraju et al. 2017) by the grad-cam package, behind one adapter that leaves the model as it found it.

For a class c with logit z_c and activations A of a layer: ``raw = Σ_k α_k A^k`` with ``α_k`` the mean over positions of
``∂z_c/∂A^k``. The raw map is kept at the resolution of the layer, before the ReLU: its sum is the logit minus
bias where only average pooling and a linear layer follow. A map shows which positions raised the logit, no finer
than one cell of the layer, and not why.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stress_lab.errors import ConfigError
from stress_lab.inference import describe_output, device_of, eval_mode, full_precision
from stress_lab.saliency.layouts import Layout, Shape, find_grid, fits
from stress_lab.saliency.maps import METHODS, Cam, Maps

log = logging.getLogger(__name__)

NAMED = 4  # layers suggested in a message
ALONG_CHANNELS = (  # parts with output channels before height and width
    *(nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)


def find_layer(net: nn.Module, name: str, key: str = "callbacks.gradcam.layer") -> nn.Module:
    """A part of a net by its dotted name; raises ConfigError with the config key and the existing names."""
    try:
        return net.get_submodule(name)
    except AttributeError:
        stages = ", ".join(child for child, _ in net.named_children())
        raise ConfigError(f"{key}={name} is not a part of the net: its parts are {stages}") from None


def check_layer(net: nn.Module, name: str, images: Tensor, key: str = "callbacks.gradcam.layer") -> None:
    """Refuse a layer whose output is not a map of the images, before long work.

    Args:
        net: ``(B, C, H, W)`` to logits ``(B, K)``.
        name: dotted name of the layer.
        images: a few, normalised.
        key: of the config, for the message.

    Raises:
        ConfigError: there is no such layer, or its output is not a map; the message names layers that give one.
    """
    layer = find_layer(net, name, key)
    outputs = watch_outputs(net, images)
    found = find_layout(layer, outputs, images)
    fault = found if isinstance(found, str) else None
    tiny = tuple(images.shape[2:]) == (1, 1)  # such images have maps of one cell
    if fault is None:
        if _is_one_cell(outputs[layer]) and not tiny:
            log.warning("%s=%s is one cell for images of this size: its maps show no position in the image", key, name)
        return
    proven = {outputs[part] for part in outputs if isinstance(part, ALONG_CHANNELS)}  # attention may be square too
    proven = {shape for shape in proven if tiny or not _is_one_cell(shape)}
    parts = [part for part in net.named_modules() if part[0] and outputs.get(part[1]) in proven]
    maps = {path: place for place, (path, part) in enumerate(parts) if find_fault(part, outputs, images) is None}
    outermost = sorted(maps, key=lambda path: (path.count("."), -maps[path]))[:NAMED]  # the last of them first
    outermost = [f"{path} ({describe_shape(outputs[net.get_submodule(path)])})" for path in outermost]
    use = f"use {' or '.join(outermost)}, or" if maps else "no part of this net gives one, so"
    without = "'~callbacks.gradcam'" if key.startswith("callbacks") else "limit=0"
    raise ConfigError(f"{key}={name} gives no feature map, {fault}: {use} leave out Grad-CAM with {without}")


def watch_outputs(model: nn.Module, images: Tensor) -> dict[nn.Module, Shape | str]:
    """Shape of each part's output at its first call, or a description if it is not a tensor."""
    seen: dict[nn.Module, Shape | str] = {}

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        seen.setdefault(module, tuple(output.shape) if isinstance(output, Tensor) else describe_output(output))

    with ExitStack() as hooks, eval_mode(model), torch.no_grad():
        for module in model.modules():
            hooks.callback(module.register_forward_hook(keep).remove)
        model(images.clone().to(device_of(model)))
    return seen


def describe_shape(shape: Shape | str) -> str:
    """``256×14×14`` of an output (B, 256, 14, 14)."""
    return shape if isinstance(shape, str) else "×".join(map(str, shape[1:]))


def find_layout(layer: nn.Module, outputs: Mapping[nn.Module, Shape | str], images: Tensor) -> Layout | str:
    """How the output of a layer is read as a map of the images, or why it is not one; arguments as in find_fault."""
    fault = find_fault(layer, outputs, images)
    shape, size = outputs.get(layer, ""), (images.shape[2], images.shape[3])
    if fault is None:
        return Layout("first", (int(shape[2]), int(shape[3])))
    if isinstance(shape, str) or shape[0] != len(images):
        return fault
    if len(shape) == 4 and fits(shape[1:3], size) and shape[1] * shape[2] > 1:
        return Layout("last", (shape[1], shape[2]))
    if len(shape) == 3:
        proven = (outputs[part] for part in outputs if isinstance(part, ALONG_CHANNELS))
        grids = {one[2:] for one in proven if not isinstance(one, str) and len(one) == 4}
        return find_grid(shape[1], size, grids) or fault
    return fault


def find_fault(layer: nn.Module, outputs: Mapping[nn.Module, Shape | str], images: Tensor) -> str | None:
    """Why the output of a layer is not a map of the images, or None where it is one.

    A map has the image's height and width divided by one number and rounded. If a
    part known to keep channels first gives exactly this shape, strides may differ.

    Args:
        layer: part of a model.
        outputs: of the parts of the model, from :func:`watch_outputs`.
        images: ``(N, C, H, W)`` that they processed.
    """
    shape, size = outputs.get(layer), (images.shape[2], images.shape[3])
    if shape is None:
        return "the forward pass does not use it"
    if isinstance(shape, str):
        return f"it returns {shape}"
    if len(shape) != 4:
        return f"its output of shape {shape} has no channels, height and width"
    if shape[0] != len(images):
        return f"its output of shape {shape} is of parts of images"
    if _is_one_cell(shape):  # check_layer warns about it
        return None
    alike = [part for part in layer.modules() if outputs.get(part) == shape]
    if any(isinstance(part, ALONG_CHANNELS) for part in alike):
        return None
    is_fitting, is_last = fits(shape[2:], size), any(_is_along_last(part) for part in alike)
    known = not is_last and any(outputs[part] == shape for part in outputs if isinstance(part, ALONG_CHANNELS))
    if known or (is_fitting and not is_last):
        return None
    if fits(shape[1:3], size):
        return f"its output of shape {shape} has the channels last"
    if is_fitting:
        return None
    return f"its output of shape {shape} is not a {shape[2]}×{shape[3]} map of {size[0]}×{size[1]} images"


def _is_one_cell(shape: Shape | str) -> bool:
    """Whether an output has height and width of one, as after pooling over the whole image."""
    return tuple(shape[2:]) == (1, 1)


def _is_along_last(part: nn.Module) -> bool:
    """Whether a part works on the last dimension; norms for channels-first have 2d in their names."""
    return isinstance(part, (nn.Linear, nn.LayerNorm)) and "2d" not in type(part).__name__


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Restore modes and gradients, which the package changes."""
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    try:
        for parameter, _ in gradients:
            parameter.grad = None
        with eval_mode(model):
            yield
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient


def grad_cam(
    model: nn.Module,
    layer: nn.Module,
    images: Tensor,
    targets: NDArray[np.integer],
    batch_size: int = 64,
    method: str = "gradcam",
) -> Cam:
    """Raw maps of Grad-CAM or its kin; works in any Lightning hook, in float32, with frozen parameters too.

    Args:
        model: ``(B, C, H, W)`` to logits ``(B, K)``.
        layer: part of ``model`` whose output is ``(B, k, h, w)``, ``(B, h, w, k)`` or tokens ``(B, n, k)``.
        images: (N, C, H, W) normalised.
        targets: (N,) class that each map explains.
        batch_size: images differentiated at once.
        method: ``gradcam``; ``hirescam``, Σ_k A^k ∂z_c/∂A^k position by position (Draelos and Carin 2020), whose sum is
            exact wherever the rest of the net is linear; or ``layercam``, which keeps only positive gradients of it
            (Jiang et al. 2021), so nothing counts against the class after a ReLU.

    Raises:
        ConfigError: the method is unknown, the layer's output is not a map of the images, or the forward pass does not
            use the layer.
    """
    if method not in METHODS:
        raise ConfigError(f"method={method} is not known: choose one of {', '.join(METHODS)}")
    layout = find_layout(layer, watch_outputs(model, images[:2]), images[:2])
    if isinstance(layout, str):
        raise ConfigError(f"the layer chosen for Grad-CAM gives no feature map, {layout}: choose another one")
    import pytorch_grad_cam  # imported late: it brings OpenCV
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    class RawGradCAM(getattr(pytorch_grad_cam, METHODS[method])):  # type: ignore[misc]
        """Keeps the map before the package clips, scales and enlarges it."""

        raw: Maps

        def get_cam_image(self, *args: object, **kwargs: object) -> Maps:
            self.raw = super().get_cam_image(*args, **kwargs)
            return self.raw

    device = device_of(model)
    parts: list[Maps] = []
    with (
        _untouched(model),
        torch.inference_mode(False),
        torch.enable_grad(),
        full_precision(device),
        RawGradCAM(model=model, target_layers=[layer], reshape_transform=layout.to_map) as cam,
    ):
        for start in range(0, len(images), batch_size):
            # channels first, whatever the loader uses: oneDNN writes past its memory otherwise (build.is_narrow)
            batch = images[start : start + batch_size].clone(memory_format=torch.contiguous_format).to(device)
            batch = batch.requires_grad_() * 1  # a graph even with frozen weights; nets may change it in place
            wanted = [ClassifierOutputTarget(int(target)) for target in targets[start : start + batch_size]]
            try:
                cam(batch, wanted)
            except (AttributeError, ValueError, IndexError):
                raise ConfigError(
                    "Grad-CAM cannot explain that layer: no gradient reaches its output; choose another one"
                ) from None
            parts.append(cam.raw.astype(np.float32))
    return Cam(np.concatenate(parts))

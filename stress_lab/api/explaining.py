"""Where in an image a net finds evidence for a class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stress_lab.api.inputs import as_array, as_column, checked
from stress_lab.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

METHODS = ("gradcam", "hirescam", "layercam")


@checked
def explain(
    model: nn.Module,
    images: Any,
    targets: Any = None,
    layer: str = "layer3",
    method: str = "gradcam",
    *,
    batch_size: int = 64,
) -> NDArray[np.float32]:
    """Raw maps of Grad-CAM (Selvaraju et al. 2017) or its kin: which positions raised the logit of a class, not why.

    The model's mode, hooks and gradients are restored. No map is finer than a cell of the layer.

    Args:
        model: a torch.nn.Module that turns (B, C, H, W) into logits (B, K).
        images: (N, C, H, W) floating-point numbers, normalised as the model expects; a tensor or an array.
        targets: (N,) class numbers, or one for all images; None takes the predicted class.
        layer: dotted name of a part of the model whose output is (B, k, h, w), such as ``layer3`` of a ResNet.
        method: ``gradcam``, ``hirescam`` (Draelos and Carin 2020) or ``layercam`` (Jiang et al. 2021).
        batch_size: images differentiated at once.

    Returns:
        (N, h, w) float32 before the ReLU, in units of the logit: above 0 is evidence for the class.

    Raises:
        InputError: there is no such layer, its output is not a map, or the images do not suit a model.
    """
    import torch

    from stress_lab.saliency.gradcam import find_layer, grad_cam

    if method not in METHODS:
        raise InputError(f"method={method!r} does not work: pass one of {', '.join(map(repr, METHODS))}")
    if not isinstance(model, torch.nn.Module):
        raise InputError(f"model is of type {type(model).__name__}: pass a torch.nn.Module")
    batch = _as_images(images)
    part = find_layer(model, layer, "layer")
    wanted = _choose_targets(model, batch, targets, batch_size)
    return grad_cam(model, part, batch, wanted, batch_size, method).raw


def _as_images(images: Any) -> Tensor:
    """(N, C, H, W) in float32."""
    import torch

    tensor = images.detach() if isinstance(images, torch.Tensor) else torch.from_numpy(as_array(images, "images"))
    if tensor.ndim != 4 or not len(tensor):
        raise InputError(
            f"images has shape {tuple(tensor.shape)}: pass (N, C, H, W), such as image[None] for one image"
        )
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise InputError(f"images holds {kind}: pass what the model takes, such as images.float() / 255, normalised")
    return tensor.float()


def _choose_targets(model: nn.Module, images: Tensor, targets: Any, batch_size: int) -> NDArray[np.integer[Any]]:
    """(N,) the class that each map explains."""
    import torch

    from stress_lab.inference import describe_output, device_of, eval_mode, full_precision

    device = device_of(model)
    with eval_mode(model), torch.no_grad(), full_precision(device):
        shown = images if targets is None else images[:1]
        parts = [model(shown[at : at + batch_size].clone().to(device)) for at in range(0, len(shown), batch_size)]
    if not isinstance(parts[0], torch.Tensor) or parts[0].ndim != 2:
        raise InputError(f"model returns {describe_output(parts[0])}: pass one that returns logits (B, K)")
    if targets is None:
        return torch.cat(parts).argmax(dim=1).cpu().numpy()
    several = as_array(targets, "targets").ndim > 0
    chosen = as_column(targets, "targets") if several else np.full(len(images), as_array(targets, "targets"))
    classes = parts[0].shape[1]
    if len(chosen) != len(images):
        raise InputError(f"targets has {len(chosen)} entries and images has {len(images)}: pass one class per image")
    if chosen.dtype.kind not in "iu" or chosen.min() < 0 or chosen.max() >= classes:
        raise InputError(f"targets holds values that are not class numbers: pass whole numbers from 0 to {classes - 1}")
    return chosen

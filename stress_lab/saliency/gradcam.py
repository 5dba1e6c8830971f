"""Grad-CAM (Selvaraju et al. 2017) by the grad-cam package, behind one adapter that leaves the model as it found it.

For a class c with logit z_c and activations A of a layer: ``raw = Σ_k α_k A^k`` with ``α_k`` the mean over positions of
``∂z_c/∂A^k``. The raw map is kept at the resolution of the layer, before the ReLU: its sum is the logit minus
bias where nothing but average pooling and a linear layer follow. A map tells which positions raised the logit, no finer
than one cell of the layer, and not why.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stress_lab.errors import ConfigError
from stress_lab.inference import device_of, eval_mode, full_precision
from stress_lab.saliency.maps import Cam, Maps


def find_layer(net: nn.Module, name: str) -> nn.Module:
    """A part of a net by its dotted name; raises ConfigError with the names there are."""
    try:
        return net.get_submodule(name)
    except AttributeError:
        stages = ", ".join(child for child, _ in net.named_children())
        raise ConfigError(f"callbacks.gradcam.layer={name} is no part of the net: its parts are {stages}") from None


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Put back modes and gradients, which the package changes."""
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
    model: nn.Module, layer: nn.Module, images: Tensor, targets: NDArray[np.integer], batch_size: int = 64
) -> Cam:
    """Raw Grad-CAM maps; works in any hook of Lightning, in float32, with frozen parameters too.

    Args:
        model: ``(B, C, H, W)`` to logits ``(B, K)``.
        layer: part of ``model`` whose output is ``(B, k, h, w)``.
        images: (N, C, H, W) normalised.
        targets: (N,) class that each map speaks of.
        batch_size: images differentiated at once.

    Raises:
        ConfigError: the layer's output is no feature map, or the forward pass does not use the layer.
    """
    from pytorch_grad_cam import GradCAM  # imported late: it brings OpenCV
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    class RawGradCAM(GradCAM):  # type: ignore[misc]
        """Keeps the map that the package goes on to clip, scale and enlarge."""

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
        RawGradCAM(model=model, target_layers=[layer], reshape_transform=torch.clone) as cam,
    ):
        # the clone above keeps the activations apart from what an in-place ReLU after the layer makes of them
        cam.compute_input_gradient = True  # so that a graph exists even where all parameters are frozen
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size].clone().to(device)
            wanted = [ClassifierOutputTarget(int(target)) for target in targets[start : start + batch_size]]
            try:
                cam(batch, wanted)
            except (AttributeError, ValueError, IndexError) as error:
                raise ConfigError(f"callbacks.gradcam.layer gives no feature map to explain: {error}") from None
            parts.append(cam.raw.astype(np.float32))
    return Cam(np.concatenate(parts))

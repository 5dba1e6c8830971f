"""Which layer of a net Grad-CAM explains, found from the shapes that its parts return."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from stress_lab.inference import device_of, eval_mode
from stress_lab.saliency.gradcam import ALONG_CHANNELS, find_layout, watch_outputs
from stress_lab.saliency.layouts import Layout, Shape


def choose_layer(net: nn.Module, images: Tensor) -> str | None:
    """Dotted name of the last part whose output is a map larger than one cell, and which the logits depend on.

    In a net that reads its answer from a class token alone, the patches of the last block have no influence any
    more: their gradient is zero, and the part before the last attention is chosen.

    Args:
        net: ``(B, C, H, W)`` to logits ``(B, K)``.
        images: two or more, as the net takes them.

    Returns:
        The name; None where no part gives such a map.
    """
    outputs = watch_outputs(net, images)
    maps = _list_maps(outputs, images)
    names: dict[nn.Module, str] = {part: name for name, part in net.named_modules() if name}
    order, gradients = _differentiate(net, images, {part for part in maps if part in names})
    for part in reversed(order):
        gradient = gradients.get(part)
        if gradient is not None and bool(maps[part].to_map(gradient).any()):
            return names[part]
    return None


def _list_maps(outputs: Mapping[nn.Module, Shape | str], images: Tensor) -> dict[nn.Module, Layout]:
    """The parts whose output is a map larger than one cell.

    Attention of tokens to tokens is square like a map; queries, keys, and what is inside a multilayer perceptron have
    another width than the tokens themselves.
    """
    shapes = {part: shape for part, shape in outputs.items() if not isinstance(shape, str)}
    sequences = [shape for shape in shapes.values() if len(shape) == 3 and shape[0] == len(images)]
    width = Counter(shape[2] for shape in sequences).most_common(1)[0][0] if sequences else 0
    lengths = {shape[1] for shape in sequences}
    found = {}
    for part, shape in shapes.items():
        layout = find_layout(part, outputs, images)
        if isinstance(layout, str) or layout.grid == (1, 1) or (len(shape) == 3 and shape[2] != width):
            continue
        if layout.kind == "first" and shape[2] == shape[3] in lengths and not isinstance(part, ALONG_CHANNELS):
            continue
        found[part] = layout
    return found


def _differentiate(
    net: nn.Module, images: Tensor, parts: set[nn.Module]
) -> tuple[list[nn.Module], dict[nn.Module, Tensor]]:
    """The parts in the order in which they ended, and the gradient of the highest logits by the output of each."""
    order: list[nn.Module] = []
    seen: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        if module not in seen and output.requires_grad:
            order.append(module)
            seen[module] = output

    with ExitStack() as hooks, eval_mode(net), torch.inference_mode(False), torch.enable_grad():
        for part in parts:
            hooks.callback(part.register_forward_hook(keep).remove)
        logits = net(images.clone().to(device_of(net)).requires_grad_() * 1)
        if not order:
            return [], {}
        found = torch.autograd.grad(logits.max(dim=1).values.sum(), [seen[part] for part in order], allow_unused=True)
    return order, {part: one for part, one in zip(order, found, strict=True) if one is not None}

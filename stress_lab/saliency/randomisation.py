"""Cascading randomisation (Adebayo et al. 2018, section 3): do the maps depend on what the net has learnt?"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stress_lab.saliency.attention import rank_correlation
from stress_lab.saliency.gradcam import find_layer, grad_cam


@dataclass(frozen=True)
class Step:
    """What is left of the maps once a part and all after it have new weights.

    Attributes:
        part: dotted name of the part that was randomised last.
        similarity: mean over images of Spearman's correlation with the maps of the trained net.
        n: images whose maps are not flat under either.
    """

    part: str
    similarity: float
    n: int


def randomise_in_cascade(
    model: nn.Module,
    layer: str,
    images: Tensor,
    targets: NDArray[np.integer],
    method: str = "gradcam",
    seed: int = 0,
) -> list[Step]:
    """Similarity of the maps to the trained net's as its parts get new weights, from the output to the input.

    Maps that stay alike do not depend on what those parts have learnt. The order is that in which the parts are
    defined, turned round; the model itself stays as it is.

    Args:
        model: ``(B, C, H, W)`` to logits ``(B, K)``.
        layer: dotted name of the explained part.
        images: (N, C, H, W) normalised. ``targets``: (N,) classes.
        method: as for :func:`~stress_lab.saliency.gradcam.grad_cam`.
        seed: of the new weights.
    """
    changed = copy.deepcopy(model)
    explained = find_layer(changed, layer)
    trained = grad_cam(changed, explained, images, targets, method=method)
    steps = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, part in reversed([*changed.named_modules()]):
            if not callable(getattr(part, "reset_parameters", None)) or not [*part.parameters(recurse=False)]:
                continue
            part.reset_parameters()
            similarity = rank_correlation(trained, grad_cam(changed, explained, images, targets, method=method))
            known = similarity[np.isfinite(similarity)]
            steps.append(Step(name, float(known.mean()) if len(known) else float("nan"), len(known)))
    return steps

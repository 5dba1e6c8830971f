"""Slow, plain versions of what the package computes, written apart from it: the other side of the comparisons."""

import numpy as np
import torch

from stress_lab.plain_text import cell


def grad_cam_by_autograd(model, layer, image, target):
    """Grad-CAM before the ReLU of one image (C, H, W), by torch.autograd alone."""
    kept = []
    hook = layer.register_forward_hook(lambda module, inputs, output: kept.append(output))
    logits = model(image[None])
    hook.remove()
    (gradient,) = torch.autograd.grad(logits[0, target], kept[0])
    return (gradient.mean(dim=(2, 3), keepdim=True) * kept[0]).sum(dim=1)[0].detach().numpy()


def cutout_by_loop(image, row, col, length):
    """DeVries and Taylor's square, pixel by pixel; image (C, H, W)."""
    image = image.clone()
    _, height, width = image.shape
    for y in range(row - length // 2, row - length // 2 + length):
        for x in range(col - length // 2, col - length // 2 + length):
            if 0 <= y < height and 0 <= x < width:
                image[:, y, x] = 0
    return image


def crop_by_loop(image, top, left, padding):
    """The window at (top, left) of a zero-padded image (C, H, W)."""
    channels, height, width = image.shape
    padded = torch.zeros((channels, height + 2 * padding, width + 2 * padding), dtype=image.dtype)
    padded[:, padding : padding + height, padding : padding + width] = image
    return padded[:, top : top + height, left : left + width]


def augrc_by_trapezoid(confidence, correct):
    """Area under (k/N, errors among the k surest over N); images of equal confidence are entered together."""
    levels, member = np.unique(-confidence, return_inverse=True)
    coverage = np.cumsum(np.bincount(member)) / len(confidence)
    errors = np.cumsum(np.bincount(member, weights=1.0 - correct, minlength=len(levels))) / len(confidence)
    return float(np.trapezoid(np.r_[0, errors], np.r_[0, coverage]))


def read_cell(text):
    """The text that a cell of a CSV file was written for: without the apostrophe that kept a formula from running."""
    return text[1:] if text.startswith("'") and cell(text[1:]) == text else text


def ece_by_loop(confidence, correct, bins):
    """Expected calibration error with bins ((m-1)/M, m/M], 0 in the first."""
    total = 0.0
    for m in range(1, bins + 1):
        members = [i for i, c in enumerate(confidence) if (m - 1) / bins < c <= m / bins or (m == 1 and c == 0)]
        if members:
            accuracy = np.mean([correct[i] for i in members])
            mean = np.mean([float(confidence[i]) for i in members])
            total += len(members) / len(confidence) * abs(accuracy - mean)
    return total


def softmax(logits):
    """Softmax in float64."""
    exponent = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return exponent / exponent.sum(axis=1, keepdims=True)

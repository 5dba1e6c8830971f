#!/usr/bin/env python3
"""How far batch norms in channels-last on the CPU are from float64, what that does to a training step, and the cost.

    GOMP_SPINCOUNT=0 python benchmarks/batch_norm.py [--rounds 15] [--cifar10 FOLDER/train]

Norms: errors of the result, the gradients of images and factors, and the running mean, each relative to its largest
value, on the output of a stem at width 64, batch 128. Steps: error of the update of all weights, as one vector, in the
first step of ResNet-18 at the recipe's rate; once as it is and once with SiLU for ReLU, which has no kink that rounding
decides. Cost: CPU seconds a step on one thread, medians of interleaved rounds, torch twice as a
control; bf16 where the processor has it.
Writes results/batch_norm/batch_norm.json.
"""

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from machine import describe
from PIL import Image
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from stress_lab.data.datamodules import FashionSampleDataModule
from stress_lab.files import save_json
from stress_lab.models import resnet
from stress_lab.models.recipe import make_optimizer
from stress_lab.models.resnet import ResNet18
from stress_lab.models.shared_norm import batch_norm
from stress_lab.runtime import hardware

OUT = Path(__file__).parent / "results" / "batch_norm" / "batch_norm.json"
RECIPE = {"optimizer": "SGD", "lr": 0.1, "args": {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}}
PLAIN = {"crop_padding": 0, "flip": False, "cutout": None, "extra": ()}
BATCH = 128
Norm = Callable[..., Tensor]


def convert(images: Tensor, *rest: Any) -> Tensor:
    """The contiguous kernel of torch between channels-last convolutions."""
    return F.batch_norm(images.contiguous(), *rest).contiguous(memory_format=torch.channels_last)


def shift(images: Tensor, mean: Tensor, variance: Tensor, *rest: Any) -> Tensor:
    """What torch's kernel makes of images less their running mean."""
    away = torch.zeros_like(mean)
    normal = F.batch_norm(images - mean.view(1, -1, 1, 1), away, variance, *rest)
    mean.add_(away)
    return normal


def plain(images: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, *rest: Any) -> Tensor:
    """Two passes of torch's operations; autograd does the rest."""
    return normalize(images, images.mean((0, 2, 3)), mean, weight, bias)


def widen(images: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, *rest: Any) -> Tensor:
    """The same with the mean summed in float64."""
    return normalize(images, images.double().mean((0, 2, 3)).float(), mean, weight, bias)


def normalize(images: Tensor, middle: Tensor, mean: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """By the variance about a mean."""
    mean.lerp_(middle.detach(), 0.1)
    away = images - middle.view(1, -1, 1, 1)
    factor = weight * (away.square().mean((0, 2, 3)) + 1e-5).rsqrt()
    return away * factor.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)


NORMS: dict[str, Norm] = {
    "torch": F.batch_norm,
    "ours": batch_norm,
    "contiguous": convert,
    "shifted": shift,
    "plain": plain,
    "float64": widen,
}
NORMED_IN_BF16 = ["torch", "ours", "contiguous"]


class Instead(TorchFunctionMode):
    """Within it another norm is ``F.batch_norm``."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.norm = norm

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.batch_norm:
            return self.norm(*args, *kwargs.values())  # which torch names in the order of the arguments
        return func(*args, **(kwargs or {}))


def load_images(cifar10: Path | None) -> dict[str, Tensor]:
    """Batches by their names: normalised images of each data set that is there."""
    source = FashionSampleDataModule(val_size=1000, batch_size=BATCH, augment=PLAIN, seed=0)
    found = {"Fashion-MNIST": next(iter(source.train_dataloader()))[0].contiguous()}
    if cifar10:
        files = sorted(cifar10.glob("*/*.png"))
        pixels = np.stack([np.asarray(Image.open(file)) for file in files[:: len(files) // BATCH][:BATCH]])
        found["CIFAR-10"] = torch.from_numpy(pixels / 127.5 - 1).float().permute(0, 3, 1, 2).contiguous()
    return found


def measure_norms(batches: dict[str, Tensor]) -> list[dict[str, Any]]:
    """Errors of each norm on the outputs of a stem, and on random numbers."""
    torch.manual_seed(0)
    stems = {name: nn.Conv2d(images.shape[1], 64, 3, padding=1, bias=False) for name, images in batches.items()}
    with torch.no_grad():
        inputs = {name: stems[name](images) for name, images in batches.items()}
    inputs["random"] = torch.randn(BATCH, 64, 32, 32)
    rows = []
    for data, images in inputs.items():
        for kind in ("float32", "bf16"):
            rounded = images.bfloat16().float() if kind == "bf16" else images
            exact = learn(F.batch_norm, rounded.double())
            given = rounded.to(torch.bfloat16 if kind == "bf16" else torch.float32)
            for name in NORMS if kind == "float32" else NORMED_IN_BF16:
                found = learn(NORMS[name], given.contiguous(memory_format=torch.channels_last))
                errors = {key: relate(found[key], exact[key]) for key in exact}
                rows.append({"data": data, "type": kind, "norm": name, **errors})
                print(
                    *(f"{one:.1e}" if isinstance(one, float) else f"{one:14}" for one in rows[-1].values()), flush=True
                )
    return rows


def relate(found: Tensor, exact: Tensor) -> float:
    """Largest error relative to the largest value."""
    return float((found.double() - exact).abs().max() / exact.abs().max())


def learn(norm: Norm, images: Tensor) -> dict[str, Tensor]:
    """Result, gradients and running mean."""
    kind = torch.promote_types(images.dtype, torch.float32)
    mean, bias = (torch.zeros(images.shape[1], dtype=kind) for _ in range(2))
    variance, weight = (torch.ones(images.shape[1], dtype=kind) for _ in range(2))
    images = images.detach().requires_grad_()
    weight.requires_grad_()
    normal = norm(images, mean, variance, weight, bias, True, 0.1, 1e-5)
    slopes = torch.randn(normal.shape, generator=torch.Generator().manual_seed(1)) + 0.1
    slopes = slopes.bfloat16().to(normal.dtype).contiguous(memory_format=torch.channels_last)
    gradients = torch.autograd.grad(normal, (images, weight), slopes)
    return {"result": normal.detach(), "images": gradients[0], "factors": gradients[1], "running mean": mean}


@contextmanager
def activation(function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """ResNet-18 with another activation."""
    resnet.F = SimpleNamespace(relu=function)
    try:
        yield
    finally:
        resnet.F = F


def take_step(net: nn.Module, images: Tensor, norm: Norm = F.batch_norm) -> Tensor:
    """The update of all weights, as one vector."""
    before = list_weights(net)
    optimizer = make_optimizer(RECIPE, net)
    with Instead(norm):
        F.cross_entropy(net(images), torch.arange(len(images)) % 10).backward()
    optimizer.step()
    return list_weights(net) - before


def list_weights(net: nn.Module) -> Tensor:
    """Every weight of a net, in one vector of float64."""
    return torch.cat([weight.detach().double().flatten() for weight in net.parameters()])


def measure_steps(batches: dict[str, Tensor]) -> list[dict[str, Any]]:
    """Errors of the first update."""
    rows = []
    for data, images in batches.items():
        for width, batch in ((16, BATCH), (64, 32)):
            for name, function in (("ReLU", F.relu), ("SiLU", F.silu)):
                with activation(function):
                    torch.manual_seed(0)
                    net = ResNet18(images.shape[1], 10, width=width)
                    exact = take_step(copy.deepcopy(net).double(), images[:batch].double())
                    given = images[:batch].contiguous(memory_format=torch.channels_last)
                    found = {
                        norm: take_step(copy.deepcopy(net).to(memory_format=torch.channels_last), given, NORMS[norm])
                        for norm in ("torch", "ours")
                    }
                errors = {norm: float((one - exact).norm() / exact.norm()) for norm, one in found.items()}
                rows.append({"data": data, "width": width, "batch": batch, "activation": name, **errors})
                print(rows[-1], flush=True)
    return rows


def measure_cost(rounds: int) -> list[dict[str, Any]]:
    """CPU milliseconds a step with each norm, one thread; the rounds take turns."""
    rows = []
    native = hardware.choose_precision("auto", "cpu") == "bf16-mixed"
    for width in (16, 64):
        for kind in (torch.float32, *((torch.bfloat16,) if native else ())):
            net = ResNet18(width=width).to(memory_format=torch.channels_last)
            images = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
            norms = {name: NORMS[name] for name in (NORMS if kind == torch.float32 else NORMED_IN_BF16)}
            norms["torch again"] = F.batch_norm  # how far equal ones are apart here
            seconds: dict[str, list[float]] = {name: [] for name in norms}
            for number in range(rounds + 1):
                for name, norm in norms.items():
                    spent = time_step(net, images, norm, kind)
                    if number:
                        seconds[name].append(spent)
            medians = {name: 1e3 * float(np.median(values)) for name, values in seconds.items()}
            rows.append({"width": width, "type": str(kind).removeprefix("torch."), "ms": medians})
            relative = {name: f"{value:.0f} ms {value / medians['torch'] - 1:+.1%}" for name, value in medians.items()}
            print(width, kind, relative, flush=True)
    return rows


def time_step(net: nn.Module, images: Tensor, norm: Norm, kind: torch.dtype) -> float:
    """CPU seconds of a forward and a backward pass."""
    began = time.process_time()
    with Instead(norm), torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
        loss = F.cross_entropy(net(images), torch.arange(len(images)) % 10)
    loss.backward()
    return time.process_time() - began


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cifar10", type=Path, help="class folders of CIFAR-10's training images")
    options = parser.parse_args()
    torch.set_num_threads(1)
    hardware.keep_freed_memory()
    batches = load_images(options.cifar10)
    record = {"on": describe(), "threads": 1, "batch": BATCH}
    record |= {"norms": measure_norms(batches), "steps": measure_steps(batches), "cost": measure_cost(options.rounds)}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    save_json(OUT, record)


if __name__ == "__main__":
    main()

"""Where height and width are in a layer's output: channels first, channels last, or a sequence of tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

Shape = tuple[int, ...]
EXTRA = 32  # class and register tokens before those of the patches, at most


@dataclass(frozen=True)
class Layout:
    """How to read an output as a map.

    Attributes:
        kind: ``first`` (B, C, h, w), ``last`` (B, h, w, C) or ``tokens`` (B, extra + h·w, C).
        grid: (h, w).
        extra: class and register tokens before those of the patches, which have no place in the image.
    """

    kind: str
    grid: tuple[int, int]
    extra: int = 0

    def to_map(self, output: Tensor) -> Tensor:
        """(B, C, h, w), a copy, since nets may change an output in place afterwards."""
        if self.kind == "first":
            return output.clone()
        if self.kind == "last":
            return output.permute(0, 3, 1, 2).clone()
        height, width = self.grid
        cells = output[:, self.extra :]
        return cells.reshape(len(cells), height, width, -1).permute(0, 3, 1, 2).clone()


def fits(cells: Shape, size: tuple[int, int]) -> bool:
    """Whether a grid can come from an image by one stride in both directions, within less than a cell."""
    low = max(pixels / (n + 1) for pixels, n in zip(size, cells, strict=True))
    high = min(pixels / (n - 1) if n > 1 else float("inf") for pixels, n in zip(size, cells, strict=True))
    return low < high


def find_grid(tokens: int, size: tuple[int, int], known: Iterable[Shape] = ()) -> Layout | None:
    """The grid of patches in a sequence of tokens; None where none fits the image.

    Args:
        tokens: in the sequence.
        size: height and width of the image.
        known: grids that other parts of the net give, such as the convolution that makes the patches. One of them is
            taken before any other that fits.
    """
    proven = [grid for grid in known if len(grid) == 2 and 1 < grid[0] * grid[1] <= tokens]
    for height, width in sorted(proven, key=lambda grid: tokens - grid[0] * grid[1]):
        if tokens - height * width <= EXTRA and fits((height, width), size):
            return Layout("tokens", (height, width), tokens - height * width)
    extras = range(min(EXTRA, tokens - 2) + 1)
    found = [(extra, grid) for extra in extras if (grid := _divide(tokens - extra, size)) is not None]
    whole = [one for one in found if all(pixels % n == 0 for pixels, n in zip(size, one[1], strict=True))]
    for extra, grid in (*whole, *found):  # those whose cells are a whole number of pixels come first
        return Layout("tokens", grid, extra)
    return None


def _divide(cells: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """Height and width whose product is the number of cells and whose ratio is nearest to the image's; None if none."""
    pairs = [(height, cells // height) for height in range(1, cells + 1) if cells % height == 0]
    aspect = size[0] / size[1]
    best = min(pairs, key=lambda pair: max(pair[0] / pair[1] / aspect, aspect * pair[1] / pair[0]))
    return best if fits(best, size) and min(best) > 1 else None

"""Which failures and pictures a page takes, so that it stays small enough to open and to send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from stress_lab.report.failures import cut_gallery
from stress_lab.report.sprites import Sprite, make_sprites

PAGE_BYTES, PAGE_CARDS = 15_000_000, 400  # of a page with so many failures; one that was asked for more may be larger
FIXED_BYTES, CARD_BYTES, MODEL_BYTES = 1_000_000, 1_000, 1_500  # of text, about: of the rest, a card, a model on it
LEAST = 24  # failures that are shown, whatever they take


@dataclass(frozen=True)
class Shown:
    """The pictures of a page.

    Attributes:
        gallery: with the failures that fit. ``cut``: megabytes that were the reason for fewer, None where all fit.
        sprites: sheets. ``spots``: place on each of them, and ``empty``: which maps are empty, by number of the card.
    """

    gallery: Mapping[str, Any] | None
    sprites: tuple[Sprite, ...] = ()
    spots: Mapping[int, int] | None = None
    empty: Mapping[int, Mapping[str, bool]] | None = None
    cut: int | None = None

    def place(self, sprite: Sprite, number: int) -> Markup:
        """CSS with column and row of a card's tile on every sheet."""
        spot = (self.spots or {})[number]
        return Markup("--c:{};--r:{}").format(spot % sprite.columns, spot // sprite.columns)


def fit_page(
    gallery: Mapping[str, Any] | None,
    pictures: Mapping[str, Any] | None,
    variants: int,
    examples: frozenset[Any] = frozenset(),
    size: int = PAGE_BYTES,
) -> Shown:
    """Choose pictures, and where even small ones take too much fewer failures.

    Args:
        gallery: what ``gallery.json`` holds. ``pictures``: arrays of ``gallery.npz``, or None.
        variants: how many there are.
        examples: index of images that the page shows elsewhere too.
        size: bytes of a page with 400 failures.
    """
    if gallery is None:
        return Shown(gallery)
    allowed = size * max(1, len(gallery["order"]) / PAGE_CARDS)
    shown = len(gallery["order"])
    while True:
        kept = gallery if shown == len(gallery["order"]) else cut_gallery(gallery, shown)
        budget = allowed - FIXED_BYTES - shown * (CARD_BYTES + MODEL_BYTES * variants)
        found = _draw(kept, pictures, variants, examples, budget)
        taken = sum(len(sprite.uri) for sprite in found.sprites)
        if taken <= budget or shown <= LEAST:
            return (
                found if kept is gallery else Shown(kept, found.sprites, found.spots, found.empty, round(allowed / 1e6))
            )
        needed = shown * (CARD_BYTES + MODEL_BYTES * variants) + taken
        shown = max(LEAST, min(int(0.95 * shown), int(shown * (allowed - FIXED_BYTES) / needed)))


def _draw(
    gallery: Mapping[str, Any],
    pictures: Mapping[str, Any] | None,
    variants: int,
    examples: frozenset[Any],
    budget: float,
) -> Shown:
    """The sheets of what a gallery shows."""
    if pictures is None:
        return Shown(gallery)
    wanted = {*gallery["order"], *(case["card"] for case in gallery["cases"])}
    wanted |= {number for number, card in enumerate(gallery["cards"]) if card["index"] in examples}
    numbers = np.array(sorted(wanted), dtype=np.int64)
    names = ["images", *(f"{kind}_{v}" for v in range(variants) for kind in ("predicted", "true"))]
    sprites, empty = make_sprites({name: pictures[name][numbers] for name in names}, variants, budget)
    spots = {number: spot for spot, number in enumerate(numbers.tolist())}
    return Shown(gallery, tuple(sprites), spots, dict(zip(spots, empty, strict=True)))

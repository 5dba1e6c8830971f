"""Images of no known class (out of distribution): how well scores tell them apart, and how sure the net is of them.

Every score is larger for images that look more unknown. Unknown images are the positive ones in ``fpr95`` and
``aupr_unknown``, as in OpenOOD and torch-uncertainty; many papers take the known ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import entr, log_softmax, logsumexp, softmax
from scipy.stats import rankdata

from stress_lab.errors import InputError
from stress_lab.records import FloatArray
from stress_lab.stats.rates import wilson_interval

CONVENTION = "unknown images are the positive ones: FPR95 is the share of known images flagged when 95 % of unknown are"
NEIGHBOURS = 50
ROWS = 1024  # features compared at once


def score_logits(logits: FloatArray) -> dict[str, FloatArray]:
    """Scores from logits ``(N, K)``, each (N,), larger for more unknown.

    - ``msp``: one minus the largest probability (Hendrycks and Gimpel 2017);
    - ``max_logit``: minus the largest logit (Hendrycks et al. 2022);
    - ``energy``: minus the log of the summed exponentials, at temperature 1 (Liu et al. 2020);
    - ``entropy``: of the probabilities, in nats.
    """
    logits = logits.astype(np.float64)
    return {
        "msp": -np.expm1(log_softmax(logits, axis=1).max(axis=1)),
        "max_logit": -logits.max(axis=1),
        "energy": -logsumexp(logits, axis=1),
        "entropy": entr(softmax(logits, axis=1)).sum(axis=1),
    }


def score_neighbours(features: FloatArray, bank: FloatArray, k: int = NEIGHBOURS) -> FloatArray:
    """(N,) distance to the k-th nearest training feature, all scaled to length 1 (Sun et al. 2022).

    Args:
        features: ``(N, D)`` penultimate features, see :func:`stress_lab.inference.predict_features`.
        bank: ``(M, D)`` those of training images.
        k: the neighbour; M where there are fewer.

    Raises:
        stress_lab.errors.InputError: the bank is empty, or the features have another length.
    """
    if not len(bank) or features.shape[1:] != bank.shape[1:] or k < 1:
        raise InputError(
            f"features {features.shape} need a bank of the same length and k from 1, got {bank.shape}, k={k}"
        )
    ours, theirs = (_to_unit(part.astype(np.float64)) for part in (features, bank))
    place = min(k, len(bank)) - 1
    squares = [
        np.partition(2 - 2 * ours[start : start + ROWS] @ theirs.T, place, axis=1)[:, place]
        for start in range(0, len(ours), ROWS)
    ]
    return np.asarray(np.sqrt(np.maximum(np.concatenate(squares), 0)) if squares else np.zeros(0))


def _to_unit(features: FloatArray) -> FloatArray:
    """Rows scaled to length 1; a row of zeros stays."""
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12))


def find_auroc(known: FloatArray, unknown: FloatArray) -> float:
    """Probability that an unknown image has the larger score than a known one; ties count half.

    >>> find_auroc(np.array([0.1, 0.2, 0.3]), np.array([0.2, 0.9]))
    0.75
    """
    ranks = rankdata(np.concatenate([known, unknown]))[len(known) :]
    n = len(unknown)
    return float((ranks.sum() - n * (n + 1) / 2) / (n * len(known)))


def find_aupr(negative: FloatArray, positive: FloatArray) -> float:
    """Average precision: the mean precision at each positive found, from the largest score down, ties together."""
    scores = np.concatenate([negative, positive])
    levels, place = np.unique(-scores, return_inverse=True)
    hits = np.bincount(place[len(negative) :], minlength=len(levels))
    found = np.cumsum(np.bincount(place, minlength=len(levels)))
    return float((np.cumsum(hits) / found) @ hits / len(positive))


def find_fpr(known: FloatArray, unknown: FloatArray, caught: float = 0.95) -> float:
    """Share of known images flagged by the highest threshold that flags at least ``caught`` of the unknown ones."""
    threshold = np.sort(unknown)[::-1][int(np.ceil(caught * len(unknown) - 1e-9)) - 1]
    return float((known >= threshold).mean())


@dataclass(frozen=True)
class Detection:
    """How well a score tells unknown images from known ones.

    Attributes:
        auroc: chance 0.5. ``fpr95``: share of known images flagged when 95 % of the unknown are; lower is better.
        aupr_unknown, aupr_known: average precision with unknown, and with known images as the positive ones.
    """

    auroc: float
    aupr_unknown: float
    aupr_known: float
    fpr95: float


def measure_unknown(known: FloatArray, unknown: FloatArray) -> Detection:
    """How well a score, larger for more unknown, tells both kinds apart.

    Args:
        known, unknown: (N,) and (M,) scores.

    Raises:
        stress_lab.errors.InputError: one of them is empty.
    """
    if not len(known) or not len(unknown):
        raise InputError(f"both kinds of images are needed, got {len(known)} known and {len(unknown)} unknown")
    return Detection(
        auroc=find_auroc(known, unknown),
        aupr_unknown=find_aupr(known, unknown),
        aupr_known=find_aupr(-unknown, -known),
        fpr95=find_fpr(known, unknown),
    )


def count_confident(confidence: FloatArray, threshold: float = 0.7, level: float = 0.95) -> dict[str, float]:
    """How many unknown images get more confidence than the threshold: ``count``, ``n``, ``share``, ``low``, ``high``.

    Args:
        confidence: (M,) of unknown images.
        threshold: exceeded strictly, as for confident failures.
        level: of the Wilson interval.
    """
    count = int((confidence > threshold).sum())
    low, high = wilson_interval(count, len(confidence), level)
    return {"count": count, "n": len(confidence), "share": count / len(confidence), "low": low, "high": high}

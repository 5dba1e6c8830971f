"""Selective prediction: how many errors remain when only the most confident predictions are kept.

Images are ranked by confidence, the most confident first. Among images of equal confidence the order is unknown, so
everything here is the mean over all their orders, so nothing depends on file order. Loss is 1 for an
error and 0 otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stress_lab.calibration.bins import require_confidence
from stress_lab.errors import ConfigError
from stress_lab.records import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class _Groups:
    """Images of equal confidence, the most confident group first.

    ``member (N,)`` group of each image; ``count (G,)`` images, ``errors (G,)``, ``before (G,)`` images more confident.
    """

    member: IntArray
    count: IntArray
    errors: FloatArray
    before: IntArray


def _group(confidence: FloatArray, correct: BoolArray) -> _Groups:
    """Group the images by confidence."""
    require_confidence(confidence, correct)
    _, member, count = np.unique(-confidence, return_inverse=True, return_counts=True)
    errors = np.asarray(np.bincount(member, weights=1.0 - correct), dtype=np.float64)
    return _Groups(member, count, errors, np.cumsum(count) - count)


def _from_below(values: FloatArray) -> FloatArray:
    """(G,) sum over this group and all less confident ones."""
    return np.cumsum(values[::-1])[::-1]


def risk_coverage(confidence: FloatArray, correct: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Selective risk of the k most confident predictions, for k = 1 … N (Geifman and El-Yaniv 2017).

    Args:
        confidence, correct: (N,) probability of the predicted class, and whether it is the label.

    Returns:
        ``coverage (N,)`` = k/N and ``risk (N,)`` = errors among the first k, over k; expected errors if the k-th
        image is tied with others.

    Raises:
        RunError: the shapes differ, or a confidence is outside [0, 1].
    """
    groups = _group(confidence, correct)
    ends, errors = np.cumsum(groups.count), np.cumsum(groups.errors)
    k = np.arange(1, len(confidence) + 1)
    expected = np.interp(k, np.r_[0, ends], np.r_[0, errors])  # among tied images errors grow evenly
    return k / len(k), expected / k


def aurc(confidence: FloatArray, correct: BoolArray) -> float:
    """Area under the risk-coverage curve, (1/N) Σ_k risk_k (Geifman and El-Yaniv 2017); 0 is best.

    >>> round(aurc(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, True])), 4)  # (0 + 0 + 1/3 + 1/4) / 4
    0.1458
    """
    return float(risk_coverage(confidence, correct)[1].mean())


def optimal_aurc(errors: int, n: int) -> float:
    """AURC of a ranking that puts all errors last: the best a model with that many errors can reach.

    (1/n) Σ_j j/(n - e + j) for j = 1 … e, which tends to r + (1 - r) ln(1 - r) at error rate r (Geifman, Uziel and
    El-Yaniv 2019, section 3).

    Raises:
        ConfigError: there are more errors than images, or no images.
    """
    if not 0 <= errors <= n or n < 1:
        raise ConfigError(f"{errors} errors among {n} images are impossible: give 0 to n errors and at least one image")
    j = np.arange(1, errors + 1)
    return float((j / (n - errors + j)).sum() / n)


def excess_aurc(confidence: FloatArray, correct: BoolArray) -> float:
    """AURC above the optimum at the same number of errors (E-AURC, Geifman, Uziel and El-Yaniv 2019): ranking only."""
    return aurc(confidence, correct) - optimal_aurc(int(np.logical_not(correct).sum()), len(confidence))


def aurc_contributions(confidence: FloatArray, correct: BoolArray) -> FloatArray:
    """(N,) values whose mean is ``aurc`` and whose variance over N is its asymptotic variance.

    With AURC = E[l w], w = −ln G and G = P(conf ≥ c), an image contributes its own loss, and moves all less confident
    errors one place down the ranking: ψ_i = l_i w_i − E[l_j 1(c_j ≤ c_i)/G_j] + E[l]. Tied images share the mean w of
    the places A … B they take, so 1/G is replaced by the derivatives of that mean by A and by B. The harmonic sum
    of the finite sample stands for −ln G, so that the mean is the statistic itself (own derivation; tests compare with
    bootstrap and jackknife).
    """
    groups, n = _group(confidence, correct), len(confidence)
    loss, count, before = 1.0 - correct, groups.count, groups.before
    tail = np.cumsum(1 / np.arange(n, 0, -1))[::-1]  # Σ 1/k over k = place … n
    weight = np.add.reduceat(tail, before) / count
    widening = np.log1p(count[1:] / before[1:])  # ln(B/A); the first group has A = 0
    by_last = np.r_[1.0, 1 - before[1:] / count[1:] * widening]  # −∂w/∂B times the group's share
    by_first = np.r_[0.0, widening - by_last[1:]]  # −∂w/∂A times the same
    rate = groups.errors / count
    pushed = _from_below(rate * by_last) + _from_below(rate * by_first) - rate * by_first
    return np.asarray(loss * weight[groups.member] - pushed[groups.member] + loss.mean())


def augrc_contributions(confidence: FloatArray, correct: BoolArray) -> FloatArray:
    """(N,) values whose mean is the AUGRC, and whose variance over N is its asymptotic variance.

    The area under the generalised risk-coverage curve, ∫ coverage · risk (Traub et al. 2024, section 3), is 0 at best.
    The curve joins (0, 0) and all (k/N, errors among the first k over N) with straight lines. A random ranking then
    gives r/2 at error rate r, and AUGRC = r (1 − r) (1 − AUROC) + r²/2 holds exactly.

    AUGRC = E[l (1 − M)] with M = P(conf > c) + P(conf = c)/2, so ψ_i = l_i (1 − M_i) − E[l_j (1(c_j < c_i) +
    1(c_j = c_i)/2)] + E[l M] (the same kind of derivation as for AURC, here a U-statistic).
    """
    groups, n = _group(confidence, correct), len(confidence)
    middle, share = (groups.before + groups.count / 2) / n, groups.errors / n
    shift = (share * middle).sum() - _from_below(share) + share / 2
    return np.asarray((1.0 - correct) * (1 - middle[groups.member]) + shift[groups.member])


def coverage_at_risk(confidence: FloatArray, correct: BoolArray, risk: float = 0.05) -> float:
    """Largest share of images that can be kept with a selective risk of at most ``risk``; 0 if none."""
    coverage, risks = risk_coverage(confidence, correct)
    within = np.flatnonzero(risks <= risk + 1e-12)  # tied errors are means, which may round up
    return float(coverage[within[-1]]) if len(within) else 0.0


def risk_at_coverage(confidence: FloatArray, correct: BoolArray, coverage: float = 0.8) -> float:
    """Selective risk when the ⌈coverage · N⌉ most confident predictions are kept.

    Raises:
        ConfigError: ``coverage`` is not in (0, 1].
    """
    if not 0 < coverage <= 1:
        raise ConfigError(f"coverage must be a fraction in (0, 1], got {coverage}: 0.8 keeps four of five images")
    k = max(1, int(np.ceil(coverage * len(confidence) - 1e-9)))  # 0.55 · 100 is a little above 55
    return float(risk_coverage(confidence, correct)[1][k - 1])

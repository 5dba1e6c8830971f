"""Failure patterns: kinds of image that fail more often, found on one half of the images and confirmed on the other.

A pattern is a set of images that can be named without knowing the outcome: a true class, a property in its lowest or
highest fifth, both at once, a class mistaken for another, or two mistaken for each other. Searching many
such sets always finds some that look bad by chance (Chung et al. 2019, Slice Finder, ICDE), so the search sees only
half of the images, and every number of a pattern comes from the other half, with Holm's correction over the
patterns tested there.

Units are images of one trained model. With several runs, pass the event of one run or of the majority of runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import binom, hypergeom
from scipy.stats.contingency import relative_risk

from stress_lab.errors import DataError
from stress_lab.records import BoolArray, FloatArray, IntArray
from stress_lab.slices.asked import MIN_EVENTS, MIN_IMAGES, NOT_ASKED, count_asked, explain_outcome
from stress_lab.slices.pairs import hold_both_ways, orient_pairs
from stress_lab.slices.patterns import Asked, Counts, Pattern, Patterns
from stress_lab.slices.rules import Slice, combine, is_member, make_fifths, name_ends, name_pair
from stress_lab.stats.multiplicity import holm

MAX_OVERLAP = 0.8  # Jaccard overlap above which two candidates are the same


def split_halves(label: IntArray, seed: int) -> BoolArray:
    """(N,) True on a random half of the images; the halves differ by at most one image in every class."""
    order = np.random.default_rng(seed).permutation(len(label))
    order = order[np.argsort(label[order], kind="stable")]
    discovery = np.zeros(len(label), bool)
    discovery[order[::2]] = True
    return discovery


class PatternSearch:
    """The sets of images of one data set, built once and searched for any number of events.

    Candidates are each true class, each property's lowest and highest fifth, each class within each fifth, and each
    pair of classes, one way or both, as in the discovery half (:mod:`stress_lab.slices.pairs`). On the discovery half a
    candidate needs 30 images and 5 events, and must fail more often by more than one standard error; the ``limit``
    best by that lower bound go to the other half, at most a third of them pairs, and of two sets that share over
    80 % of their images only the better one.

    Three comparisons guard a pattern; the largest of their p-values counts, so that all must hold:

    - Inside against all other images, by Fisher's exact test (one-sided): every candidate.
    - A class within a fifth also against the rest of the class and against the rest of the fifth. Otherwise "Shirt with
      low contrast" would be confirmed merely because Shirts fail.
    - A pair also within its own failures: were they spread evenly over the K-1 wrong classes, the number that goes to
      the other one is Binomial(failures, 1/(K-1)). Otherwise "Shirt mistaken for Trouser" would be confirmed merely
      because Shirts fail. For the first comparison each image counts K-1 times, once for each class it can be
      mistaken for.

    A pattern shows where failures are, not why: a property may only be typical of a class, and vice versa.

    Args:
        label: (N,) class numbers. ``classes``: K names.
        properties: (N,) values by name, without NaN; may be empty.
        seed: of the split into halves.

    Raises:
        DataError: the arrays do not match.
    """

    def __init__(
        self, label: IntArray, classes: Sequence[str], properties: Mapping[str, FloatArray], seed: int = 0
    ) -> None:
        if not len(label) or label.min() < 0 or label.max() >= len(classes):
            raise DataError(f"labels must be numbers below {len(classes)}, one per image, for these class names")
        for name, values in properties.items():
            if values.shape != label.shape or not np.isfinite(values).all():
                raise DataError(f"the property {name} needs one finite number for each of the {len(label)} images")
        self.label, self.classes, self.properties = label, classes, properties
        self.discovery = split_halves(label, seed)
        everything = Slice("all", "all images", {"classes": None, "bounds": {}, "pair": False})
        by_class = [Slice(f"true:{c}", f"true class {c}", everything.rule | {"classes": [c]}) for c in classes]
        fifths = [part for name, values in properties.items() for part in make_fifths(name, np.asarray(values, float))]
        self.slices = [everything, *by_class, *fifths]
        self.plain = len(self.slices)  # those that follow are conjunctions
        members = [is_member(one.rule, label, properties, classes) for one in self.slices]
        for at in range(1 + len(classes), len(self.slices)):
            support = np.bincount(label[members[at] & self.discovery], minlength=len(classes))
            for number in np.flatnonzero(support >= MIN_IMAGES):
                self.slices.append(combine(self.slices[at], self.slices[1 + number], (at, 1 + int(number))))
                members.append(members[at] & members[1 + number])
        self.members = csr_array(np.array(members), dtype=np.int64)  # (S, N)
        self.enclosing = np.array([(0, *one.parts) for one in self.slices])  # (S, 3)
        self.twins = _find_twins(self.members)

    def run(
        self, event: BoolArray, pred: IntArray, alpha: float = 0.05, limit: int = 12, min_ratio: float = 1.2
    ) -> Patterns:
        """Search the discovery half and test on the other.

        Args:
            event: (N,) the failure: wrong, or wrong with confidence. ``pred``: (N,) predicted class numbers.
            alpha: of Holm's procedure over the tested patterns. ``limit``: the most that are tested.
            min_ratio: smallest ratio worth confirming.

        Raises:
            DataError: the arrays do not match, or the event marks an image that is predicted right.
        """
        if event.shape != self.label.shape or pred.shape != self.label.shape or event.dtype != bool:
            raise DataError(f"event (bool) and pred need one entry for each of the {len(self.label)} images")
        if (event & (pred == self.label)).any():
            raise DataError("the event must be a failure, but it marks images whose prediction is right")
        slices, pairs, found = self._discover(event, pred, limit)
        tested = self._count(slices, pairs, event, pred, ~self.discovery)
        p = self._p_values(tested, np.arange(len(tested.n)) >= len(slices))
        holds = hold_both_ways(pairs, self._confusion(event, pred, ~self.discovery))
        names = [self.slices[row] for row in slices] + [
            self._name_pair(pair, both) for pair, both in zip(pairs, holds, strict=True)
        ]
        patterns = [
            _pattern(name, tested, row, found.ratio(row), float(p[row]), adjusted, alpha, min_ratio)
            for row, (name, adjusted) in enumerate(zip(names, holm(p.tolist()), strict=True))
        ]
        order = np.argsort(-found.lower_bounds(), kind="stable")
        return self._result([patterns[row] for row in order], event, pred)

    def _list_asked(self, patterns: list[Pattern], event: BoolArray, pred: IntArray) -> list[Asked]:
        """The outcome of each class and each fifth, counted on the confirmation half."""
        rows, no_pairs = np.arange(1, self.plain), np.empty((0, 3), np.int64)
        seen = self._count(rows, no_pairs, event, pred, self.discovery)
        other = self._count(rows, no_pairs, event, pred, ~self.discovery)
        tested = {pattern.key: pattern.confirmed for pattern in patterns}
        asked = [
            count_asked(self.slices[row], other, at, explain_outcome(seen, at, tested.get(self.slices[row].key)))
            for at, row in enumerate(rows)
        ]
        known = {one.key for one in self.slices}
        ends = [end for name, values in self.properties.items() for end in name_ends(name, values)]
        return asked + [Asked(key, words, NOT_ASKED) for key, words in ends if key not in known]

    def _discover(self, event: BoolArray, pred: IntArray, limit: int) -> tuple[IntArray, IntArray, Counts]:
        """Rows of the slices (s,), pairs (p, 3) worth testing, and the counts of both on the discovery half."""
        pairs = orient_pairs(self._confusion(event, pred, self.discovery))
        pairs = pairs if len(self.classes) > 2 else pairs[:0]  # with two classes every error is the other class
        rows = np.arange(1, len(self.slices))
        counts = self._count(rows, pairs, event, pred, self.discovery)
        bound = counts.lower_bounds()
        good = np.flatnonzero((counts.n >= MIN_IMAGES) & (counts.events >= MIN_EVENTS) & (bound > 0))
        kept: list[int] = []
        for at in good[np.argsort(-bound[good], kind="stable")]:
            if len(kept) < limit and self._is_new(int(at), kept, len(rows), limit):
                kept.append(int(at))
        chosen = np.array(sorted(kept), np.int64)
        is_slice = chosen < len(rows)
        return rows[chosen[is_slice]], pairs[chosen[~is_slice] - len(rows)], counts.take(chosen)

    def _is_new(self, at: int, kept: list[int], slices: int, limit: int) -> bool:
        """Whether a candidate differs enough from those kept, and pairs have not used up their third of the places."""
        if at >= slices:
            return sum(other >= slices for other in kept) < limit // 3
        return not any((at + 1, other + 1) in self.twins for other in kept)

    def _confusion(self, event: BoolArray, pred: IntArray, half: BoolArray) -> IntArray:
        """(K, K) events of a half by true and predicted class."""
        k, use = len(self.classes), event & half
        return np.bincount(self.label[use] * k + pred[use], minlength=k * k).reshape(k, k)

    def _count(self, slices: IntArray, pairs: IntArray, event: BoolArray, pred: IntArray, half: BoolArray) -> Counts:
        """Count slices, then pairs (true class, predicted class, 1 if the other way counts too), within a half."""
        events, n = self.members @ (event & half).astype(np.int64), self.members @ half.astype(np.int64)
        within = self.enclosing[slices]
        k, (a, b, back), confusion = len(self.classes), pairs.T, self._confusion(event, pred, half)
        swapped, size = confusion[a, b] + back * confusion[b, a], n[1 + a] + back * n[1 + b]
        failures = confusion.sum(axis=1)[a] + back * confusion.sum(axis=1)[b]
        rest, cells = failures - swapped, size * (k - 2)
        return Counts(
            np.concatenate([events[slices], swapped]),
            np.concatenate([n[slices], size]),
            np.concatenate(
                [events[within] - events[slices, None], np.stack([events[0] - swapped, rest, rest], axis=1)]
            ),
            np.concatenate([n[within] - n[slices, None], np.stack([n[0] * (k - 1) - size, cells, cells], axis=1)]),
        )

    def _p_values(self, counts: Counts, is_pair: BoolArray) -> FloatArray:
        """(M,) the largest one-sided p-value over the outsides: Fisher's; for a pair's failures the binomial one."""
        x, n = counts.events[:, None], counts.n[:, None]
        p = np.asarray(hypergeom.sf(x - 1, n + counts.n_outside, x + counts.events_outside, n))
        failures = counts.events + counts.events_outside[:, 1]
        p[is_pair, 1:] = binom.sf(x - 1, failures[:, None], 1 / max(1, len(self.classes) - 1))[is_pair]
        return np.asarray(p.max(axis=1))

    def _name_pair(self, pair: IntArray, holds: bool) -> Slice:
        """A pair of classes as a slice; ``holds`` says whether both ways occur on the confirmation half too."""
        a, b, back = pair.tolist()
        named = name_pair(self.classes[a], self.classes[b], one_way=not back)
        if back and not holds:
            return named._replace(words=f"{self.classes[a]} and {self.classes[b]} confused (mostly one way)")
        return named

    def _result(self, found: list[Pattern], event: BoolArray, pred: IntArray) -> Patterns:
        """Add the sentence about the outcome."""
        n, seen = len(event), int(self.discovery.sum())
        events = int((event & self.discovery).sum())
        note = f"{events:,} of the {seen:,} images searched have the event"
        if found:
            note += f"; {sum(pattern.confirmed for pattern in found)} of {len(found)} patterns hold on the others"
        elif events < MIN_EVENTS:
            note = f"Only {note}, {MIN_EVENTS} are needed"
        else:
            note += f"; no set of {MIN_IMAGES} images with {MIN_EVENTS} events fails more often than the others"
        return Patterns(found, self._list_asked(found, event, pred), seen, n - seen, note, self.discovery)


def _find_twins(members: csr_array) -> set[tuple[int, int]]:
    """Pairs of rows of ``members (S, N)`` that share more than 80 % of their images (Jaccard)."""
    size, shared = np.diff(members.indptr), (members @ members.T).tocoo()
    one, other = shared.coords
    same = shared.data > MAX_OVERLAP * (size[one] + size[other] - shared.data)
    return set(zip(one[same].tolist(), other[same].tolist(), strict=True))


def _pattern(
    one: Slice, counts: Counts, row: int, found: float | None, p: float, adjusted: float, alpha: float, least: float
) -> Pattern:
    """The numbers of one pattern on the confirmation half."""
    events, n = int(counts.events[row]), int(counts.n[row])
    outside, m = int(counts.events_outside[row, 0]), int(counts.n_outside[row, 0])
    ratio, interval = counts.ratio(row), None
    if events and outside:
        low, high = relative_risk(events, n, outside, m).confidence_interval(0.95)
        interval = (float(low), float(high))
    return Pattern(
        key=one.key,
        words=one.words,
        rule=one.rule,
        n=n,
        events=events,
        rate=events / n if n else 0.0,
        n_outside=m,
        events_outside=outside,
        rate_outside=outside / m if m else 0.0,
        compared_with="any other wrong class of any image" if one.rule["pair"] else "all other images",
        ratio=ratio,
        ratio_interval=interval,
        ratio_interval_method="Katz log ratio",
        p=p,
        p_adjusted=adjusted,
        confirmed=adjusted < alpha and (ratio is None or ratio >= least),
        found_rate_ratio=found,
    )


def find_patterns(
    event: BoolArray,
    label: IntArray,
    pred: IntArray,
    classes: Sequence[str],
    properties: Mapping[str, FloatArray],
    alpha: float = 0.05,
    seed: int = 0,
    limit: int = 12,
) -> Patterns:
    """Search and test once; see ``PatternSearch``, which can be kept for further events of the same images.

    Args:
        event: (N,) wrong, or wrong with confidence, under the reference model. ``pred``: its predictions.
        label: (N,) class numbers. ``classes``: K names. ``properties``: (N,) values by name; may be empty.
        alpha: of Holm's procedure. ``seed``: of the halves. ``limit``: most patterns tested.
    """
    return PatternSearch(label, classes, properties, seed).run(event, pred, alpha, limit)

"""A verdict: the finding, the numbers, the evidence."""

from __future__ import annotations

from dataclasses import dataclass

from stress_lab.report.numbers import KINDS, p_value
from stress_lab.report.words import FOUND, ONE_EACH, SMALL


@dataclass(frozen=True)
class Verdict:
    """The answer to one question about two models, with its evidence.

    Attributes:
        question: ``accuracy`` or ``confident_failures``, the latter at equal coverage: wrong answers among equally many
            of each model's surest predictions.
        verdict: ``helped``, ``hurt``, ``equivalent`` or ``cannot tell``.
        a, b: the reference and the other model. ``runs_a``, ``runs_b``: training runs of each.
        rate_a, rate_b: fractions of the n images. ``difference``: B minus A, with its ``interval`` at ``level``.
        margin: the largest difference that counts as none. ``equivalent``: whether the difference is surely within it.
        p: of ``test``; ``p_adjusted``: after Holm's correction over the ``questions`` of the comparison.
        images_more: further test images that would probably decide between two networks; None if unknown.
        kept: how many of each model's most confident predictions are counted; None for accuracy.
    """

    question: str
    verdict: str
    a: str
    b: str
    runs_a: int
    runs_b: int
    n: int
    rate_a: float
    rate_b: float
    difference: float
    interval: tuple[float, float]
    interval_method: str
    level: float
    margin: float
    equivalent: bool
    test: str
    p: float
    p_adjusted: float
    questions: int
    images_more: int | None = None
    kept: int | None = None

    @property
    def headline(self) -> str:
        """The finding, in words."""
        return _write_headline(self)

    @property
    def numbers(self) -> str:
        """Both rates, the difference and its interval."""
        return _write_numbers(self)

    @property
    def evidence(self) -> str:
        """The test, what was compared, and its limits."""
        return _write_evidence(self)

    @property
    def caveat(self) -> str | None:
        """That one model of each says nothing about other training runs; None with several."""
        return ONE_EACH if self.runs_a == self.runs_b == 1 else None

    def __str__(self) -> str:
        return " ".join(filter(None, [self.sentence, self.caveat]))

    @property
    def sentence(self) -> str:
        """The finding, its numbers and its evidence, without the caveat."""
        return f"{self.headline}: {self.numbers} ({self.evidence})."


def _write_headline(one: Verdict) -> str:
    """``new is more accurate than old``."""
    text = FOUND[one.question, one.verdict].format(a=one.a, b=one.b, margin=_points(one.margin))
    small = one.equivalent and one.verdict in ("helped", "hurt")
    return SMALL.format(found=text, margin=_points(one.margin)) if small else text


def _write_numbers(one: Verdict) -> str:
    """``94.10 % against 93.50 %, +0.60 points (95 % interval +0.21 to +0.99)``."""
    rate_a, rate_b = KINDS["percent"](one.rate_a), KINDS["percent"](one.rate_b)
    low, high = map(KINDS["points"], one.interval)
    of = " of images" if one.kept is not None else ""
    change = KINDS["points"](one.difference)
    return f"{rate_b} against {rate_a}{of}, {change} points ({100 * one.level:.9g} % interval {low} to {high})"


def _write_evidence(one: Verdict) -> str:
    """The test, its basis, and what would change it."""
    p = p_value(one.p_adjusted)
    after = f", {p} after Holm's correction over {one.questions} questions" if one.questions > 1 else ""
    parts = f"{one.test} {p_value(one.p)}{after}; interval: {one.interval_method}; {one.n:,} test images{_count(one)}"
    if one.runs_a == one.runs_b == 1:
        return f"{parts}{_more(one)}"
    return f"{parts}; {one.runs_a} and {one.runs_b} runs"


def _count(one: Verdict) -> str:
    """How many of the surest predictions are wrong."""
    if one.kept is None:
        return ""
    a, b = (KINDS["count"](one.n * rate) for rate in (one.rate_a, one.rate_b))
    return f"; {b} against {a} wrong among the {one.kept:,} surest predictions of each model"


def _more(one: Verdict) -> str:
    """How many more images would help, if known."""
    if one.verdict != "cannot tell" or not one.images_more:
        return ""
    return f"; about {KINDS['about'](one.images_more)} more test images would show a difference of this size"


def _points(rate: float) -> str:
    """A size in percentage points."""
    return KINDS["size"](rate)

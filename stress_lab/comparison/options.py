"""The options of a comparison: ``conf/compare.yaml`` as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

QUESTIONS = ("accuracy", "confident_failures")


@dataclass(frozen=True)
class Options:
    """The confidence level, and what counts as equal.

    Attributes:
        level: of every interval; 1 - level is the risk of a false *helped* or *hurt* over all primary questions
            together, and equally that of a false *equivalent*.
        resamples: of the bootstrap.
        margins: the difference of rates below which two variants are called equivalent, by question.
        primary: questions that get a verdict; Holm's correction covers them. Everything else is exploratory.
        power: for estimating "how many more".
        reference: the variant that the others are compared against; None takes the first one.
        max_risk: share of wrong answers that the threshold for abstaining allows.
    """

    level: float = 0.95
    resamples: int = 10_000
    margins: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(QUESTIONS, 0.005))
    primary: tuple[str, ...] = QUESTIONS
    power: float = 0.8
    reference: str | None = None
    max_risk: float = 0.05

    @property
    def alpha(self) -> float:
        """Risk of a false verdict."""
        return round(1 - self.level, 12)  # 1 - 0.9 is below 0.1

"""All measures of all runs, with the same resampled images for every one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.measures import MEASURES, Contributions, kept_predictions, measure_run
from stress_lab.comparison.options import Options
from stress_lab.records import FloatArray, IntArray
from stress_lab.stats.resampling import bootstrap_means


@dataclass(frozen=True)
class Measured:
    """Runs of comparable images with all their measures.

    Attributes:
        runs: in launch order, the reference variant first.
        contributions: of each run, (N,) by measure.
        draws: of each run, (B,) means over resampled images by measure; the same images for all runs.
        kept: predictions that the matched count keeps, None without confidences.
        clusters: (N,) which images belong together; None where each stands on its own.
    """

    runs: Sequence[LoadedRun]
    contributions: Sequence[Contributions]
    draws: Sequence[Mapping[str, FloatArray]]
    kept: int | None
    clusters: IntArray | None = None

    @property
    def variants(self) -> list[str]:
        """Names in launch order; the first is the reference."""
        return list(dict.fromkeys(run.variant for run in self.runs))

    def rows(self, variant: str) -> list[int]:
        """Positions of a variant's runs."""
        return [place for place, run in enumerate(self.runs) if run.variant == variant]

    def shared(self, rows: Sequence[int]) -> list[str]:
        """Measures that all of these runs have."""
        return [name for name in MEASURES if all(name in self.contributions[row] for row in rows)]

    def values(self, variant: str, measure: str) -> FloatArray:
        """(k,) one value a run."""
        return np.array([self.contributions[row][measure].mean() for row in self.rows(variant)])

    def resampled(self, variant: str, measure: str) -> FloatArray:
        """(k, B) of each run."""
        return np.stack([self.draws[row][measure] for row in self.rows(variant)])


def measure_runs(runs: Sequence[LoadedRun], options: Options, clusters: IntArray | None = None) -> Measured:
    """Measure every run and resample the images, or whole clusters of them, the same ones for all."""
    reference = [run for run in runs if run.variant == runs[0].variant]
    kept = kept_predictions(reference)
    contributions = [measure_run(run, kept) for run in runs]
    flat = np.stack([values for one in contributions for values in one.values()])
    means = iter(bootstrap_means(flat, options.resamples, clusters=clusters))
    draws = [{name: next(means) for name in one} for one in contributions]
    return Measured(runs, contributions, draws, kept, clusters)

"""Is the test split honest? These findings are shown above every verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from stress_lab.comparison.label_findings import LabelFindings
from stress_lab.comparison.loading import LoadedRun
from stress_lab.comparison.result import Finding
from stress_lab.comparison.summary import split_gap
from stress_lab.errors import RunError
from stress_lab.plain_text import as_override
from stress_lab.runs.settings import setting
from stress_lab.stats.multiplicity import holm

LEAK = 0.01  # share of test images with a near-duplicate in train from which it is an alarm
# what a seed decides, by its key in fingerprint.json
STARTS = {"weights": "initial weights", "order": "order of images", "augmentation": "augmentation"}


def inspect_splits(runs: Sequence[LoadedRun], alpha: float) -> list[Finding]:
    """Findings about the splits.

    Raises:
        RunError: a run chose its weights on the test split, or its val and test images went through different
            preprocessing, so its numbers mean nothing.
    """
    for run in runs:
        _refuse_selection_on_test(run)
        _refuse_other_preprocessing(run)
    return [
        *_compare_val_with_test(runs, alpha),
        *_report_duplicates(runs),
        *_report_selection(runs),
        *_report_seeds(runs),
    ]


def _refuse_selection_on_test(run: LoadedRun) -> None:
    """Raise RunError where a callback watched a metric of the test split."""
    callbacks = run.run.config.get("callbacks") if run.run else None
    for name in callbacks if run.run and isinstance(callbacks, dict) else ():
        monitor = str(setting(run.run, name, "monitor", ""))  # type: ignore[arg-type]
        if monitor.startswith("test"):
            raise RunError(
                f"{run.name} chose its weights by {monitor} (callbacks.{name}.monitor): a test split that selects "
                f"cannot judge; train it again with monitor=val/acc"
            )


def _refuse_other_preprocessing(run: LoadedRun) -> None:
    """Raise RunError where the splits were prepared in different ways."""
    ways = {
        split: str(one["preprocessing"])
        for split, one in run.evaluation.items()
        if split in ("val", "test") and "preprocessing" in one
    }
    if len(set(ways.values())) > 1:
        described = "; ".join(f"{split}: {way}" for split, way in ways.items())
        raise RunError(
            f"{run.name} prepared its splits in different ways ({described}): evaluate both the same way with "
            f"stress-lab evaluate {as_override('run', run.run.path if run.run else run.folder)}"
        )


def _compare_val_with_test(runs: Sequence[LoadedRun], alpha: float) -> list[Finding]:
    """Two-proportion z test of val against test accuracy in each run, Holm-corrected over the runs."""
    tested = [run for run in runs if {"val", "test"} <= run.evaluation.keys()]
    gaps = [split_gap(run, "val", "test", 1 - alpha) for run in tested]
    found = []
    for run, gap, p in zip(tested, gaps, holm([gap.p for gap in gaps]) if gaps else [], strict=True):
        if p < alpha:
            found.append(
                Finding(
                    check="val-test gap",
                    alarm=True,
                    sentence=f"{run.name}: val and test accuracy differ by {_signed(gap.gap)} points "
                    f"(z = {gap.z:.1f}), more than chance usually explains: check that the splits, and "
                    f"the way they were evaluated, are alike",
                    facts=asdict(gap),
                )
            )
    if tested and not found:
        largest = max(gaps, key=lambda gap: abs(gap.gap))
        found.append(
            Finding(
                check="val-test gap",
                alarm=False,
                sentence=f"no difference between val and test accuracy was seen in {len(tested)} runs (largest gap "
                f"{_signed(largest.gap)} points, interval {_signed(largest.low)} to {_signed(largest.high)})",
                facts=asdict(largest),
            )
        )
    return found


def _signed(rate: float) -> str:
    """A difference in points, formatted as on the page."""
    return f"{100 * rate:+.2f}".replace("-", "−")


def _report_duplicates(runs: Sequence[LoadedRun]) -> list[Finding]:
    """Test images that are also training images, pixel by pixel."""
    counts = {
        (run.spec.fingerprint.get("train"), run.spec.fingerprint["test"]): run.spec.duplicates
        for run in runs
        if run.spec is not None and run.spec.duplicates is not None
    }
    found = []
    for duplicates in counts.values():
        n = duplicates["n"]
        found.append(
            Finding(
                check="duplicates",
                alarm=duplicates["in_train"] > 0,
                sentence=f"{duplicates['in_train']} of {n:,} test images are also training images, pixel by pixel"
                + (f"; {duplicates['other_label']} of them with another label" if duplicates["other_label"] else ""),
                facts=duplicates,
            )
        )
    return found


def report_near_duplicates(labels: LabelFindings | None) -> list[Finding]:
    """Test images that are training images but for small changes, where that was looked for; an alarm from LEAK on."""
    if labels is None or labels.twins is None:
        return []
    share = labels.twins / labels.n
    return [
        Finding(
            check="near_duplicates",
            alarm=share >= LEAK,
            sentence=f"{labels.twins:,} of {labels.n:,} test images ({100 * share:.1f} %) have a near-duplicate in "
            "train, see near_duplicates.png: accuracy on them is partly memory",
            facts={"n": labels.n, "near_duplicates": labels.twins},
        )
    ]


def _report_selection(runs: Sequence[LoadedRun]) -> list[Finding]:
    """How the weights were chosen."""
    chosen = [run for run in runs if run.run is not None]
    if not chosen:
        return []
    return [
        Finding(
            check="selection",
            alarm=False,
            sentence=f"final numbers use the weights of {_name_weights(chosen)}; "
            "no callback of these runs chose weights by the test split",
        )
    ]


def _name_weights(runs: Sequence[LoadedRun]) -> str:
    """The last epoch, or each run's own where they differ."""
    names = {run.weights for run in runs}
    shown = {name: "the last epoch" if name == "last epoch" else name for name in names}
    return shown[names.pop()] if len(names) == 1 else ", ".join(f"{shown[run.weights]} ({run.name})" for run in runs)


def _report_seeds(runs: Sequence[LoadedRun]) -> list[Finding]:
    """Whether different seeds really started from different weights, orders and augmentations."""
    starts = [(run, run.fingerprint) for run in runs if run.fingerprint]
    pairs = [(a, b) for place, a in enumerate(starts) for b in starts[place + 1 :] if a[0].seed != b[0].seed]
    if not pairs:
        return []
    equal = [
        (what, a[0].name, b[0].name)
        for a, b in pairs
        for key, what in STARTS.items()
        if a[1][key] == b[1][key] and a[1][key] not in (None, [None, None])
    ]
    if not equal:
        seeds = len({run.seed for run, _ in starts})
        sentence = f"all {seeds} seeds started from their own weights, order of images and augmentations"
    else:
        what, a, b = equal[0]
        more = f", and {len(equal) - 1} more such pairs" if len(equal) > 1 else ""
        sentence = (
            f"{a} and {b} had the same {what}{more}: these seeds repeat each other there, so the spread over "
            f"seeds is too small"
        )
    facts = {"pairs": len(pairs), "equal": len(equal)}
    return [Finding(check="seeds", alarm=bool(equal), sentence=sentence, facts=facts)]

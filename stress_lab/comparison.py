"""The comparison of a sweep as one record, computed from the runs' records alone."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from stress_lab.errors import PairingError, RunError
from stress_lab.failures import is_confident_failure
from stress_lab.records import BoolArray, DatasetSpec, Predictions, RunInfo
from stress_lab.runs import RunDir, flatten, name_variants
from stress_lab.stats.agreement import OUTCOMES, check_paired, outcomes
from stress_lab.stats.paired import (
    PairedTable,
    bootstrap_interval,
    mcnemar_exact,
    mcnemar_mid_p,
    tabulate,
    wald_interval,
)
from stress_lab.stats.rates import epochs_to_reach, rate_gap, wilson_interval


@dataclass(frozen=True)
class LoadedRun:
    """A finished run with the records that a comparison reads."""

    run: RunDir
    name: str
    variant: str
    seed: int
    threshold: float
    spec: DatasetSpec
    info: RunInfo
    history: list[dict[str, Any]]
    evaluation: dict[str, Any]
    predictions: dict[str, Predictions]

    @property
    def failed(self) -> BoolArray:
        """(N,) whether each test image is a confident failure."""
        return is_confident_failure(self.predictions["test"], self.threshold)


def list_unfinished(runs: Sequence[RunDir]) -> list[str]:
    """A sentence for each run that has no results to compare."""
    infos = [(run.path.name, run.load_info()) for run in runs]
    return [
        f"{name} is left out: {info.state}{f' ({info.error})' if info.error else ''}"
        for name, info in infos
        if info.state != "finished"
    ]


def load_finished(runs: Sequence[RunDir]) -> list[LoadedRun]:
    """Read the runs that finished.

    Raises:
        RunError: none did.
    """
    finished = [run for run in runs if run.load_info().state == "finished"]
    if not finished:
        raise RunError(f"none of the {len(runs)} runs finished: see status.json in {runs[0].path}")
    return [_load(run, variant) for run, variant in zip(finished, name_variants(finished), strict=True)]


def _load(run: RunDir, variant: str) -> LoadedRun:
    """Read one run."""
    evaluation = run.load_evaluation()
    return LoadedRun(
        run=run,
        name=f"{variant}, seed {run.config['seed']}",
        variant=variant,
        seed=run.config["seed"],
        threshold=run.config["threshold"],
        spec=run.load_spec(),
        info=run.load_info(),
        history=run.load_history() if run.history_file.is_file() else [],
        evaluation=evaluation,
        predictions={split: run.load_predictions(split) for split in evaluation},
    )


def find_pairs(runs: Sequence[LoadedRun], strict: bool) -> tuple[list[tuple[LoadedRun, LoadedRun]], list[str]]:
    """Runs of different variants with the same seed, the variant that was launched first as the reference.

    Args:
        runs: in launch order.
        strict: raise where two runs cannot be compared, instead of leaving the pair out with a note.

    Raises:
        PairingError: two runs saw other test images or used another threshold.
    """
    pairs, notes = [], []
    if strict:
        for other in runs[1:]:
            check_same_images(runs[0], other)
    for a, b in itertools.combinations(runs, 2):
        if a.seed != b.seed or a.variant == b.variant:
            continue
        try:
            check_comparable(a, b)
        except PairingError as error:
            if strict:
                raise
            notes.append(str(error))
        else:
            pairs.append((a, b))
    if not pairs and not notes:
        one = len({run.variant for run in runs}) == 1
        reason = "there is one variant only" if one else "no two variants share a seed"
        notes.append(f"{reason}, so that nothing is compared in pairs")
    return pairs, notes


def pair_name(a: LoadedRun, b: LoadedRun) -> str:
    """File name of a pair, such as ``cutout_vs_baseline_seed42``; nothing in a variant's name can leave the folder."""
    variants = f"{b.variant}_vs_{a.variant}"
    plain = "".join(c if c.isalnum() or c in "._-=" else "_" for c in variants)
    if len(plain) > 100 or plain != variants:  # cut or changed: keep names apart
        plain = f"{plain[:100]}_{zlib.crc32(variants.encode()):08x}"
    return f"{plain}_seed{a.seed}"


def check_comparable(a: LoadedRun, b: LoadedRun) -> None:
    """Raise PairingError unless both runs were tested on the same images under the same threshold."""
    check_same_images(a, b)
    if a.threshold != b.threshold:
        raise PairingError(f"{a.name} has threshold={a.threshold}, {b.name} has {b.threshold}: use one for both")
    check_paired(a.predictions["test"], b.predictions["test"])


def check_same_images(a: LoadedRun, b: LoadedRun) -> None:
    """Raise PairingError unless both runs have the same test split."""
    if a.spec.fingerprint["test"] != b.spec.fingerprint["test"]:
        raise PairingError(
            f"{a.name} ({a.spec.name}) and {b.name} ({b.spec.name}) have different test images: "
            f"compare runs of one data set"
        )


def summarize_run(loaded: LoadedRun, level: float) -> dict[str, Any]:
    """One run's numbers, with the gaps between its splits and the speed at which it converged."""
    test = loaded.evaluation["test"]
    failures = test["confident_failures"]
    values = [(row["epoch"], row["val/acc"]) for row in loaded.history if "val/acc" in row]
    return {
        "name": loaded.name,
        "variant": loaded.variant,
        "seed": loaded.seed,
        "folder": loaded.run.path.name,
        "n": test["n"],
        "accuracy": test["accuracy"],
        "accuracy_interval": wilson_interval(test["n"] - test["errors"], test["n"], level),
        "errors": test["errors"],
        "failures": failures["count"],
        "failure_rate": failures["rate"],
        "failure_rate_interval": wilson_interval(failures["count"], test["n"], level),
        "nll": test["nll"],
        "ece": test["ece"],
        "split_accuracy": {split: one["accuracy"] for split, one in loaded.evaluation.items()},
        "gaps": {
            f"{first}-{second}": split_gap(loaded, first, second, level)
            for first, second in (("train", "val"), ("train", "test"), ("val", "test"))
            if first in loaded.evaluation and second in loaded.evaluation
        },
        "threshold": loaded.threshold,
        "epochs": loaded.info.epochs,
        "epochs_to_90_percent": epochs_to_reach(values, 0.90),
        "epochs_to_95_percent": epochs_to_reach(values, 0.95),
        "seconds": loaded.info.seconds,
    }


def split_gap(loaded: LoadedRun, first: str, second: str, level: float) -> dict[str, float]:
    """Accuracy on one split minus that on another, final weights, plain images."""
    a, b = loaded.evaluation[first], loaded.evaluation[second]
    return rate_gap(a["n"] - a["errors"], a["n"], b["n"] - b["errors"], b["n"], level)


def compare_pair(a: LoadedRun, b: LoadedRun, level: float, resamples: int) -> dict[str, Any]:
    """What changed from run a to run b on the same test images."""
    test_a, test_b = a.predictions["test"], b.predictions["test"]
    outcome = outcomes(test_a.correct, test_b.correct)
    return {
        "a": a.variant,
        "b": b.variant,
        "seed": a.seed,
        "n": len(test_a),
        "differs_in": config_difference(a.run, b.run),
        "accuracy": compare_events(test_a.correct, test_b.correct, level, resamples),
        "confident_failures": compare_events(a.failed, b.failed, level, resamples),
        "outcomes": {name: int((outcome == number).sum()) for number, name in enumerate(OUTCOMES)},
        "other_prediction": int((test_a.pred != test_b.pred).sum()),
        "fixed": test_a.index[outcome == 1].tolist(),
        "broken": test_a.index[outcome == 2].tolist(),
        "failures_gone": test_a.index[a.failed & ~b.failed].tolist(),
        "failures_new": test_a.index[~a.failed & b.failed].tolist(),
        "train_test_gap_change": compare_gaps(a, b, level),
    }


def config_difference(a: RunDir, b: RunDir) -> list[str]:
    """Dotted config keys in which two runs differ, their names aside."""
    first, second = flatten(a.config), flatten(b.config)
    keys = {key for key in {*first, *second} if first.get(key) != second.get(key)}
    return sorted(keys - {"variant", "name"})


def compare_events(event_a: BoolArray, event_b: BoolArray, level: float, resamples: int) -> dict[str, Any]:
    """Paired test and intervals for one event an image, such as being right."""
    table = tabulate(event_a, event_b)
    return {
        "table": {"both": table.both, "only_a": table.only_a, "only_b": table.only_b, "neither": table.neither},
        "rate_a": (table.both + table.only_a) / table.n,
        "rate_b": (table.both + table.only_b) / table.n,
        "difference": table.difference,
        "wald_interval": wald_interval(table, level),
        "bootstrap_interval": bootstrap_interval(table, level, resamples),
        "mcnemar_exact_p": mcnemar_exact(table),
        "mcnemar_mid_p": mcnemar_mid_p(table),
    }


def compare_gaps(a: LoadedRun, b: LoadedRun, level: float) -> dict[str, Any] | None:
    """Change of the gap between train and test accuracy, "overfitting", from run a to run b; None without train.

    Both runs predicted the same training and the same test images, so each side is a paired difference, and the two
    sides are independent. The word is "reduced" or "increased" only where the interval leaves zero out.
    """
    if "train" not in a.predictions or "train" not in b.predictions:
        return None
    same_images = a.spec.fingerprint.get("train") == b.spec.fingerprint.get("train")
    if not same_images or not np.array_equal(a.predictions["train"].index, b.predictions["train"].index):
        return None
    tables = [tabulate(a.predictions[split].correct, b.predictions[split].correct) for split in ("train", "test")]
    change = tables[0].difference - tables[1].difference
    half = norm.ppf(0.5 + level / 2) * np.sqrt(sum(_variance(table) for table in tables))
    low, high = float(change - half), float(change + half)
    word = "reduced" if high < 0 else "increased" if low > 0 else "cannot tell"
    return {
        "change": change,
        "interval": (low, high),
        "overfitting": word,
        "n_train": tables[0].n,
        "n_test": tables[1].n,
    }


def _variance(table: PairedTable) -> float:
    """Variance of the difference of paired rates."""
    b, c, n = table.only_a, table.only_b, table.n
    return max(0.0, b + c - (b - c) ** 2 / n) / n**2


def compare_runs(
    runs: Sequence[LoadedRun], title: str, level: float, resamples: int, strict: bool, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """The whole comparison, ready to be written as JSON; ``notes`` are put before those of its own."""
    pairs, found = find_pairs(runs, strict)
    first = runs[0]
    found += [f"{run.name} has no history.json: no curve and no convergence" for run in runs if not run.history]
    compared = [compare_pair(a, b, level, resamples) for a, b in pairs]
    for pair in compared:
        parts = sorted({key.split(".")[0] for key in pair["differs_in"]})
        if len(parts) > 1:
            found.append(f"{pair['b']} and {pair['a']} differ in more than one thing: {', '.join(parts)}")
    return {
        "title": title,
        "data": {
            "name": first.spec.name,
            "source": first.spec.source,
            "test_fingerprint": first.spec.fingerprint["test"],
        },
        "level": level,
        "resamples": resamples,
        "weights": "last epoch",
        "runs": [summarize_run(run, level) for run in runs],
        "pairs": compared,
        "notes": list(dict.fromkeys([*notes, *found])),
    }

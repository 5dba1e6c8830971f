#!/usr/bin/env python3
"""Label triage on planted faults: how many of the labels that it ranks first are wrong, and how many it finds.

    python benchmarks/label_faults.py RUN [RUN …] --out benchmarks/results/labels/faults.json

RUN is a folder with predictions/test.parquet; several are averaged. Some test labels are flipped to another class,
uniformly or along the confusion matrix of the nets, and ranked by this package and by cleanlab from the same
probabilities. The data set's own label errors count as mistakes of the ranking, so the precision is a lower bound.
Each row is the mean of several plantings, with Wilson's interval for one inspection of that size.
"""

import argparse
import json
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from machine import describe
from numpy.typing import NDArray

from stress_lab.labels.confident_learning import find_label_issues
from stress_lab.records import Predictions
from stress_lab.stats.rates import wilson_interval

INSPECTED = (100, 300, 1_000)
RATES = (0.01, 0.02, 0.05)
Array = NDArray[Any]


def load(folders: Sequence[Path]) -> tuple[list[Predictions], Array]:
    """Test predictions of each run, and their labels."""
    found = []
    for folder in folders:
        table = pq.read_table(folder / "predictions" / "test.parquet", columns=["index", "label", "logits"])
        logits = np.stack(table["logits"].to_numpy()).astype(np.float32)
        found.append(Predictions(table["index"].to_numpy(), table["label"].to_numpy(), logits))
    return found, found[0].label


def plant(label: Array, confusion: Array, rate: float, kind: str, rng: np.random.Generator) -> tuple[Array, Array]:
    """Labels with a share of them flipped, and the flipped rows."""
    rows = rng.choice(len(label), round(rate * len(label)), replace=False)
    chances = np.ones_like(confusion) if kind == "uniform" else confusion + 1e-9
    np.fill_diagonal(chances, 0)
    chances = chances / chances.sum(axis=1, keepdims=True)
    flipped = label.copy()
    flipped[rows] = [rng.choice(len(chances), p=chances[label[row]]) for row in rows]
    return flipped, rows


def rank_ours(probs: Array, label: Array) -> tuple[Array, int]:
    """All rows, the suspects first, each part by its normalised margin; and the number of suspects."""
    found = find_label_issues([probs], label)
    return np.lexsort((found.normalized_margin, ~found.is_suspect)), int(found.is_suspect.sum())


def rank_cleanlab(probs: Array, label: Array, **options: str) -> tuple[Array, int]:
    """The same from cleanlab."""
    import cleanlab

    marked = cleanlab.filter.find_label_issues(label, probs, n_jobs=1, **options)
    score = cleanlab.rank.get_label_quality_scores(label, probs, method=options.get("rank", "self_confidence"))
    return np.lexsort((score, ~marked)), int(marked.sum())


RANKINGS: dict[str, Callable[[Array, Array], tuple[Array, int]]] = {
    "stress_lab": rank_ours,
    "cleanlab, as it comes": rank_cleanlab,
    "cleanlab, confident learning": lambda probs, label: rank_cleanlab(probs, label, filter_by="confident_learning"),
}


def measure(probs: Array, label: Array, confusion: Array, kind: str, rate: float, repeats: int) -> dict[str, Any]:
    """Precision and recall of each ranking at each number inspected."""
    hits: dict[str, list[list[int]]] = {name: [] for name in RANKINGS}
    suspects: dict[str, list[int]] = {name: [] for name in RANKINGS}
    for seed in range(repeats):
        flipped, rows = plant(label, confusion, rate, kind, np.random.default_rng(seed))
        for name, rank in RANKINGS.items():
            order, marked = rank(probs, flipped)
            hits[name].append([int(np.isin(order[:m], rows).sum()) for m in INSPECTED])
            suspects[name].append(marked)
    planted = round(rate * len(label))
    return {name: summarize(np.mean(hits[name], axis=0), planted, float(np.mean(suspects[name]))) for name in RANKINGS}


def summarize(hits: Array, planted: int, suspects: float) -> dict[str, Any]:
    """Rates with Wilson intervals, by number inspected."""
    rows = {}
    for m, found in zip(INSPECTED, hits.tolist(), strict=True):
        rows[str(m)] = {
            "precision": found / m,
            "precision_interval": wilson_interval(round(found), m),
            "recall": found / planted,
            "recall_interval": wilson_interval(round(found), planted),
        }
    return {"planted": planted, "suspects": suspects, "inspected": rows}


class Endless:
    """Probabilities of a million images and a thousand classes, made when a part of them is read."""

    shape = (1_000_000, 1_000)

    def __init__(self) -> None:
        self.tile = np.random.default_rng(0).dirichlet(np.full(self.shape[1], 0.05), 4_194).astype(np.float32)

    def __getitem__(self, rows: slice) -> Array:
        """A part, which has at most as many rows as the tile."""
        return self.tile[: rows.stop - rows.start]


def measure_speed() -> dict[str, float]:
    """Seconds, and MB taken beside the probabilities (numpy's allocations, by tracemalloc)."""
    rng, found = np.random.default_rng(0), {}
    small = rng.dirichlet(np.full(10, 0.1), 10_000).astype(np.float32)
    for name, probs in (("10000x10", small), ("1000000x1000", Endless())):
        label = rng.integers(0, probs.shape[1], probs.shape[0])
        tracemalloc.start()
        start = time.perf_counter()
        find_label_issues([probs], label)  # type: ignore[list-item]
        found[f"seconds {name}"] = round(time.perf_counter() - start, 2)
        found[f"peak MB {name}"] = round(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
    return found


def main() -> None:
    """Measure, print the rows and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    runs, label = load(asked.runs)
    probs = np.mean([run.probs for run in runs], axis=0)
    confusion = np.zeros((probs.shape[1],) * 2)
    np.add.at(confusion, (label, probs.argmax(axis=1)), 1)
    found = {
        f"{kind} {100 * rate:g} %": measure(probs, label, confusion, kind, rate, asked.repeats)
        for kind in ("uniform", "confusion")
        for rate in RATES
    }
    record = {
        **describe("cleanlab"),
        "data": json.loads((asked.runs[0] / "data.json").read_text())["name"],
        "nets": len(runs),
        "accuracy": float((probs.argmax(axis=1) == label).mean()),
        "n": len(label),
        "repeats": asked.repeats,
        "suspects_unplanted": {name: rank(probs, label)[1] for name, rank in RANKINGS.items()},
        "planted": found,
        "speed": measure_speed(),
    }
    print(*format_rows(record), sep="\n")
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(record, indent=2) + "\n")


def format_rows(record: dict[str, Any]) -> list[str]:
    """The rows of benchmarks/README.md."""
    rows = []
    for planted, rankings in record["planted"].items():
        for name, one in rankings.items():
            cells = []
            for row in one["inspected"].values():
                low, high = (100 * bound for bound in row["precision_interval"])
                cells.append(f"{100 * row['precision']:.0f} % ({low:.0f} to {high:.0f}), {100 * row['recall']:.0f} %")
            rows.append(f"| {planted} | {name} | {one['suspects']:.0f} | {' | '.join(cells)} |")
    return rows


if __name__ == "__main__":
    main()

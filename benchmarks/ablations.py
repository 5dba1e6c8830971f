#!/usr/bin/env python3
"""What each trick of experiment=cifar10_fast is worth: the recipe with one thing changed, on the same images.

    python benchmarks/ablations.py PLAN DIR     # PLAN: narrow_net or small_images; DIR holds CIFAR-10 as class folders
    python benchmarks/ablations.py              # the rows again

A plan makes the experiment small enough to be repeated: a narrower net, or the whole net on images of half the side.
What the record lacks is run. Accuracy is that of the final weights on the validation split (5,000 images of train), the
baseline's augmentation, one seed each: the row "another seed" shows how little smaller differences mean. The interval
is of the paired difference over these images, as for any two trained networks. Rows of the record stay where the whole
recipe gives the accuracy that they were compared with. Writes results/ablations.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from machine import describe
from speed_rows import ABLATIONS, ablation_rows

from stress_lab.files import load_json, save_json
from stress_lab.runs.find import load_runs
from stress_lab.runs.folder import RunDir
from stress_lab.stats.paired import tabulate, tango_interval

SHORT = [
    "experiment=cifar10_fast",
    "data.val_size=5000",
    "trainer.max_epochs=5",
    *[f"~callbacks.{name}" for name in ("failures", "gradcam", "board", "checkpoint_best")],
    "+comparison.report=false",
]
REDUCED = {
    "narrow_net": [
        *SHORT,
        "model.width=16",
        "model.whiten=false",  # 16 filters hold 8 of the 27 directions and their negatives
        "augment.crop_padding=4",  # as the rows were run
    ],
    "small_images": [
        *SHORT,
        "data=image_folder",
        "data.image_size=16",
        "augment.initial_scale=null",  # they do not begin smaller still
        "augment.crop_padding=1",  # as large a part of the side
    ],
}
TRICKS = {
    "narrow_net": {
        "the whole recipe": [],
        "another seed": ["seed=43"],
        "full images throughout": ["augment.initial_scale=null"],
        "batches of 256": ["optim.batch_size=256"],
        "a tenth of the weight decay": ["optim.args.weight_decay=0.01"],
        "SGD in place of Muon": ["optim=sgd_one_cycle"],
        "milestones in place of one cycle": ["optim.schedule=step", "optim.milestones=[0.5,0.8]", "optim.gamma=0.1"],
        "no label smoothing": ["optim.label_smoothing=0.0"],
        "random flips": ["augment.flip=true"],
        "decay on norms and biases": ["optim.decay_norms=true"],
        "weights averaged": ["optim.ema_decay=0.98"],
        "blocks begin as their shortcuts": ["model.zero_init_residual=true"],
        "a stem that whitens": ["model.whiten=true"],
        "crops of 2 pixels": ["augment.crop_padding=2"],
    },
    "small_images": {
        "the whole recipe": [],
        "a stem that is trained": ["model.whiten=false"],
        "crops twice as far": ["augment.crop_padding=2"],
        "another seed": ["seed=43"],
        "half the warm-up": ["optim.warm_up=0.1"],
    },
}


def run(plan: str, name: str, root: str) -> RunDir:
    """Train with one thing changed; a finished run is only found again."""
    short = f"ablation_{plan}_{name.replace(' ', '_')}"
    command = [sys.executable, "-m", "stress_lab", *REDUCED[plan], *TRICKS[plan][name], f"data.root={root}"]
    subprocess.run([*command, f"name={short}"], check=True)
    launch = max(Path("multirun").glob(f"{short}/*/launch.json"), key=lambda path: path.stat().st_mtime)
    (found,) = load_runs(launch.parent)
    return found


def list_recorded(plan: str, whole: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Rows of an earlier call by name: those of tricks unchanged, where its whole recipe had the same accuracy."""
    record = ABLATIONS / f"{plan}.json"
    rows = load_json(record)["rows"] if record.is_file() else [whole]
    if rows[0]["accuracy"] != whole["accuracy"]:
        return {}
    return {row["name"]: row for row in rows if row["overrides"] == TRICKS[plan].get(row["name"])}


def main(plan: str, root: str) -> None:
    """Run what the record lacks, compare it with the whole recipe on the same images, keep and print."""
    rows: dict[str, dict[str, Any]] = {}
    for name, overrides in TRICKS[plan].items():
        if name in rows:
            continue
        found = run(plan, name, root)
        correct = found.load_predictions("val").correct
        if not rows:
            reference = correct
        table = tabulate(reference, correct)
        row = {
            "on": describe("timm"),
            "name": name,
            "overrides": overrides,
            "accuracy": float(correct.mean()),
            "difference": table.difference,
            "interval": list(tango_interval(table)),
            "seconds": sum(epoch["seconds"] for epoch in load_json(found.history_file)),
        }
        rows = {name: row, **list_recorded(plan, row)} if not rows else {**rows, name: row}
        ABLATIONS.mkdir(parents=True, exist_ok=True)
        ordered = [rows[trick] for trick in TRICKS[plan] if trick in rows]
        save_json(ABLATIONS / f"{plan}.json", {"n": len(correct), "reduced": REDUCED[plan], "rows": ordered})
    print("\n".join(ablation_rows(plan)))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in TRICKS:
        main(sys.argv[1], sys.argv[2])
    elif len(sys.argv) == 1:
        for recorded in sorted(ABLATIONS.glob("*.json")):
            print("\n".join([recorded.stem, *ablation_rows(recorded.stem)]))
    else:
        sys.exit(__doc__)

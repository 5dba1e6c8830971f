#!/usr/bin/env python3
"""What each trick of experiment=cifar10_fast is worth: the recipe without it, on the same images, a narrower net.

    python benchmarks/ablations.py DIR          # DIR holds CIFAR-10; give the command again to go on where it stopped
    python benchmarks/ablations.py              # the rows again

Accuracy is that of the final weights on the validation split (5,000 images of train), the baseline's augmentation, one
seed each: runs of one recipe differ by some 0.3 points by their seed alone, so that smaller differences mean nothing.
The interval is of the paired difference over these images, as for any two trained networks. Writes results/ablations.
"""

import subprocess
import sys
from pathlib import Path

from machine import describe
from speed_rows import ABLATIONS, ablation_rows

from stress_lab.files import load_json, save_json
from stress_lab.runs import RunDir, load_runs
from stress_lab.stats.paired import tabulate, tango_interval

REDUCED = [
    "experiment=cifar10_fast",
    "model.width=16",
    "data.val_size=5000",
    "trainer.max_epochs=5",
    *[f"~callbacks.{name}" for name in ("failures", "gradcam", "board", "checkpoint_best")],
    "+comparison.report=false",
]
TRICKS = {
    "the whole recipe": [],
    "another seed": ["seed=43"],
    "full images throughout": ["augment.start_size=null"],
    "batches of 256": ["optim.batch_size=256"],
    "a tenth of the weight decay": ["optim.args.weight_decay=0.01"],
    "SGD in place of Muon": ["optim=sgd_one_cycle"],
    "milestones in place of one cycle": ["optim.schedule=step", "optim.milestones=[0.5,0.8]", "optim.gamma=0.1"],
    "no label smoothing": ["optim.label_smoothing=0.0"],
    "random flips": ["augment.flip=true"],
    "decay on norms and biases": ["optim.decay_norms=true"],
}


def run(name: str, root: str) -> RunDir:
    """Train without one trick; a finished run is only found again."""
    short = name.replace(" ", "_")
    command = [sys.executable, "-m", "stress_lab.train", *REDUCED, *TRICKS[name], f"data.root={root}"]
    subprocess.run([*command, f"name=ablation_{short}"], check=True)
    launch = max(Path("multirun").glob(f"ablation_{short}/*/launch.json"), key=lambda path: path.stat().st_mtime)
    (found,) = load_runs(launch.parent)
    return found


def main(root: str) -> None:
    """Run all, compare each with the whole recipe on the same images, keep and print."""
    rows, reference = [], None
    for name in TRICKS:
        found = run(name, root)
        predictions = found.load_predictions("val")
        correct = predictions.correct
        reference = correct if reference is None else reference
        table = tabulate(reference, correct)
        low, high = tango_interval(table)
        history = load_json(found.history_file)
        rows.append(
            {
                "name": name,
                "overrides": TRICKS[name],
                "accuracy": float(correct.mean()),
                "difference": table.difference,
                "interval": [low, high],
                "seconds": sum(row["seconds"] for row in history),
            }
        )
        ABLATIONS.parent.mkdir(parents=True, exist_ok=True)
        save_json(ABLATIONS, {"on": describe("timm"), "n": len(correct), "reduced": REDUCED, "rows": rows})
    print("\n".join(ablation_rows()))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(sys.argv[1])
    elif len(sys.argv) == 1:
        print("\n".join(ablation_rows()))
    else:
        sys.exit(__doc__)

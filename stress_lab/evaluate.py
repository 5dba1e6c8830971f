"""Write a run's records again from its checkpoint, for any split and any of its checkpoints.

stress-lab-evaluate run=multirun/demo/2026-11-21_10-00-00/0_baseline_seed42
stress-lab-evaluate run=… checkpoint=best split=val
"""

from __future__ import annotations

import logging
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from stress_lab.check import check_value
from stress_lab.door import leave_cleanly, open_door
from stress_lab.errors import ConfigError, RunError
from stress_lab.plain_text import as_override
from stress_lab.preflight.run import check_evaluation
from stress_lab.preflight.unused import check_typed_in_evaluation
from stress_lab.records import SPLITS
from stress_lab.runs import CHECKPOINTS, RunDir, explained_layer, is_run, setting
from stress_lab.terminal import open_terminal, say

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

DEFAULTS = {"split": "test", "checkpoint": "last"}
REPEATED = ("run", "split", "checkpoint", "out", "layer", "root")  # keys that lead to the same records
LIMIT = 50  # failures explained for a run that was trained without Grad-CAM


def main() -> None:
    """The command ``stress-lab-evaluate``."""
    with leave_cleanly("the same command writes the records from the start"):
        open_door("evaluate", _task)


def _task(cfg: DictConfig) -> None:
    """Check the config, then evaluate."""
    if not isinstance(cfg.run, str) or not cfg.run:
        raise ConfigError("say which run: run=FOLDER, the one that holds config.yaml and checkpoints")
    if not is_run(Path(cfg.run)):
        raise RunError(f"run={cfg.run} is not a run folder: it lacks status.json or config.yaml")
    check_value(cfg, "split", lambda v: v in SPLITS, "train, val or test")
    check_value(cfg, "limit", lambda v: v in (None, "all") or _is_count(v), "null, all or a whole number of images")
    check_value(cfg, "shown", lambda v: v is None or _is_count(v), "null or a whole number of images")
    check_value(cfg, "threads", lambda v: v is None or (isinstance(v, int) and v >= 1), "null or a whole number from 1")
    for key in ("checkpoint", "accelerator"):
        check_value(cfg, key, lambda v: isinstance(v, str) and v != "", "a name or a path")
    for key in ("out", "root", "layer"):
        check_value(cfg, key, lambda v: v is None or (isinstance(v, str) and v != ""), "null, a name or a path")
    out = Path(cfg.out or default_folder(Path(cfg.run), cfg.checkpoint, cfg.split))
    own = out.resolve() == default_folder(Path(cfg.run), cfg.checkpoint, cfg.split).resolve()
    if not own and is_run(out) and "checkpoint" not in RunDir(out).config:  # which those that this command made have
        raise ConfigError(f"out={out} is a run, whose records these would replace: choose another folder")
    held = RunDir(out).config.get("checkpoint") if is_run(out) else None
    if held not in (None, str(cfg.checkpoint)):
        raise ConfigError(f"out={out} holds records of checkpoint={held}: choose another folder")
    check_evaluation(cfg, out)
    check_typed_in_evaluation(cfg, _choose_limit(cfg, RunDir(cfg.run)))
    evaluate(cfg)


def _is_count(value: object) -> bool:
    """Whether a value is a whole number from 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def evaluate(cfg: DictConfig) -> RunDir:
    """Predict, evaluate, mine and explain; returns the folder of the records.

    The run's own folder is written only for its last checkpoint and the test split; everything else goes beside it.
    """
    run = RunDir(cfg.run)
    from stress_lab import build, hardware
    from stress_lab.recording import (
        describe_drawn,
        record_evaluation,
        record_failures,
        record_gradcam,
        record_predictions,
        record_properties,
    )
    from stress_lab.training import collect_metrics, quieten_lightning

    quieten_lightning()
    hardware.set_threads(cfg.threads)
    hardware.keep_freed_memory()
    source = build.load_datamodule(run, cfg.root)
    model = build.load_classifier(run, cfg.checkpoint, source.spec)
    model = model.to(hardware.choose_accelerator(cfg.accelerator, "accelerator"))
    limit = _choose_limit(cfg, run)
    layer = _choose_layer(run, cfg.layer, model.net)
    build.check_trained(model.net, source, cfg.split, None if limit == 0 else layer, "layer")
    out = RunDir(cfg.out or default_folder(run.path, cfg.checkpoint, cfg.split))
    if out.path.resolve() != run.path.resolve():
        out.save_config({**run.config, "checkpoint": str(cfg.checkpoint)})
        out.save_spec(source.spec)
    examples = setting(run, "predictions", "train_examples", None) or None if cfg.split == "train" else None
    predictions = record_predictions(out, model, source, cfg.split, examples)
    record_evaluation(out, cfg.split, source)
    if cfg.split == "test":
        record_properties(out, source, cfg.split)
    shown = cfg.shown if cfg.shown is not None else setting(run, "failures", "shown", 25)
    record_failures(out, source, cfg.split, shown)
    if layer is not None:
        record_gradcam(out, model, model.net, source, layer, cfg.split, limit)
    if out.path.resolve() != run.path.resolve():
        out.save_info(replace(run.load_info(), metrics=collect_metrics(out)))
    typed = [as_override(key, cfg[key]) for key in REPEATED if cfg[key] not in (None, DEFAULTS.get(key))]
    _print(out, cfg.split, len(predictions), describe_drawn(out, " ".join(["stress-lab-evaluate", *typed])))
    return out


def _choose_limit(cfg: DictConfig, run: RunDir) -> int | None:
    """Failures to explain: the run's own number, or that which was typed; None for all."""
    limit: int | None = setting(run, "gradcam", "limit", LIMIT) if cfg.limit is None else cfg.limit
    return None if cfg.limit == "all" else limit


def _choose_layer(run: RunDir, asked: str | None, net: nn.Module) -> str | None:
    """The layer that Grad-CAM explains; None where a net of the user's was trained without, and none is asked for."""
    layer = explained_layer(run, asked)
    named = asked is not None or setting(run, "gradcam", "layer", None) is not None
    return layer if named or layer in dict(net.named_modules()) else None


def default_folder(run: Path, checkpoint: str, split: str) -> Path:
    """The run itself for what training wrote there, a folder in it for anything else."""
    if checkpoint == "last" and split == "test":
        return run
    name = checkpoint if checkpoint in CHECKPOINTS else Path(checkpoint).stem
    return run / f"evaluate_{name}_{split}"


def _print(out: RunDir, split: str, n: int, drawn: str | None) -> None:
    """The figures and where they lie."""
    evaluation = out.load_evaluation()[split]
    low, high = evaluation["accuracy_interval"]
    failures = evaluation["confident_failures"]
    console = open_terminal()
    say(
        console,
        f"{split}: accuracy {100 * evaluation['accuracy']:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f}) "
        f"of {n:,} images, {evaluation['errors']} errors, {failures['count']} of them with more than "
        f"{100 * failures['threshold']:g} % confidence",
    )
    if drawn:
        say(console, drawn)
    for path in (out.failure_grid, out.gradcam / "contact_sheet.png"):
        if path.is_file():
            say(console, f"open {shlex.quote(str(path))}")


if __name__ == "__main__":
    main()

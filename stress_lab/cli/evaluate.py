"""Write a run's records again from its checkpoint, for any split and any of its checkpoints.

stress-lab evaluate run=multirun/demo/2026-11-21_10-00-00/0_baseline_seed42
stress-lab evaluate run=… checkpoint=best split=val
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from stress_lab.cli.app import leave_cleanly, open_door
from stress_lab.cli.resealing import adopt, list_starts, reseal
from stress_lab.errors import ConfigError, RunError
from stress_lab.files import save_json
from stress_lab.plain_text import as_override
from stress_lab.preflight.finished_run import check_evaluation
from stress_lab.preflight.places import check_writable
from stress_lab.preflight.unused import check_typed_in_evaluation
from stress_lab.preflight.values import check_value
from stress_lab.records import SPLITS
from stress_lab.runs.find import is_run, list_absent
from stress_lab.runs.folder import CHECKPOINTS, RunDir
from stress_lab.runs.settings import explained_layer, setting
from stress_lab.runtime.locks import LOCK, NoLockError, hold
from stress_lab.runtime.terminal import name_opener, open_terminal, print_line
from stress_lab.storage.filesets import FileSet, complete, recover, stage
from stress_lab.storage.seals import is_own

if TYPE_CHECKING:
    from torch import nn

    from stress_lab.data.datamodules import ImageDataModule
    from stress_lab.data.image_source import ImageSource
    from stress_lab.models.classifier import Classifier

log = logging.getLogger(__name__)

DEFAULTS = {"split": "test", "checkpoint": "last"}
REPEATED = ("run", "split", "checkpoint", "out", "layer", "root")  # keys that produce the same records
LIMIT = 50  # failures explained for a run that was trained without Grad-CAM
PATIENCE = 10.0  # seconds for another process that writes the run
WAIT = "wait until it has ended, then evaluate the run"


def main() -> None:
    """The command ``stress-lab evaluate``."""
    with leave_cleanly("run the same command to write the records from the start"):
        open_door("evaluate", _task)


def _task(cfg: DictConfig) -> None:
    """Check the config, then evaluate."""
    if not isinstance(cfg.run, str) or not cfg.run:
        raise ConfigError("say which run: run=FOLDER, the one that holds config.yaml and checkpoints")
    recover(Path(cfg.run))
    if not is_run(Path(cfg.run)):
        raise RunError(f"run={cfg.run} is not a run folder: it lacks {list_absent(Path(cfg.run))}")
    if RunDir(cfg.run).is_audit:
        raise ConfigError(f"run={cfg.run} is an audit: run its command again, which status.json holds under command")
    check_value(cfg, "split", lambda v: v in SPLITS, "train, val or test")
    check_value(cfg, "trust", lambda v: isinstance(v, bool), "true or false")
    check_value(cfg, "limit", lambda v: v in (None, "all") or _is_count(v), "null, all or a whole number of images")
    check_value(cfg, "shown", lambda v: v is None or _is_count(v), "null or a whole number of images")
    check_value(cfg, "threads", lambda v: v is None or (isinstance(v, int) and v >= 1), "null or a whole number from 1")
    for key in ("checkpoint", "accelerator"):
        check_value(cfg, key, lambda v: isinstance(v, str) and v != "", "a name or a path")
    for key in ("out", "root", "layer"):
        check_value(cfg, key, lambda v: v is None or (isinstance(v, str) and v != ""), "null, a name or a path")
    out = Path(cfg.out or default_folder(Path(cfg.run), cfg.checkpoint, cfg.split))
    own = out.resolve() == default_folder(Path(cfg.run), cfg.checkpoint, cfg.split).resolve()
    if not own and is_run(out) and "checkpoint" not in RunDir(out).config:  # folders this command made have it
        raise ConfigError(f"out={out} is a run, whose records these would replace: choose another folder")
    held = RunDir(out).config.get("checkpoint") if is_run(out) else None
    if held not in (None, str(cfg.checkpoint)):
        raise ConfigError(f"out={out} holds records of checkpoint={held}: choose another folder")
    evaluate(cfg)


def _is_count(value: object) -> bool:
    """Whether a value is a whole number from 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def evaluate(cfg: DictConfig) -> RunDir:
    """Predict, evaluate, mine and explain; returns the folder of the records, which appear all at once.

    The run's own folder is written only for its last checkpoint and the test split; everything else goes beside it.

    Raises:
        RunError: another process trains or evaluates the run.
    """
    run = RunDir(cfg.run)
    out = RunDir(cfg.out or default_folder(run.path, cfg.checkpoint, cfg.split))
    with _hold_run(run.path, out.path):
        check_evaluation(cfg, out.path)
        check_typed_in_evaluation(cfg, _choose_limit(cfg, run))
        _warn_unfinished(run)
        foreign = cfg.trust and not is_own(run.path)
        with _hold_out(run.path, out.path), stage(out.path) as files:
            _refuse_other(run, out)
            n = _record(cfg, run, out, files)
        if foreign:
            adopt(run, out.path.resolve() != run.path.resolve())
        typed = [as_override(key, cfg[key]) for key in REPEATED if cfg[key] not in (None, DEFAULTS.get(key))]
        from stress_lab.recording import describe_drawn

        _print(out, cfg.split, n, describe_drawn(out, " ".join(["stress-lab evaluate", *typed])))
    return out


@contextmanager
def _hold_run(run: Path, out: Path) -> Iterator[None]:
    """Keep other processes from training or evaluating the run.

    A run that this user cannot write can be evaluated into another folder.
    """
    with ExitStack() as held:
        try:
            held.enter_context(hold(run / LOCK, PATIENCE, WAIT, doing="evaluated"))
            complete(run)
        except NoLockError:
            if out.resolve() == run.resolve():
                check_writable(out, "out")  # its message is clearer
                raise
        yield


@contextmanager
def _hold_out(run: Path, out: Path) -> Iterator[None]:
    """Keep other processes from writing the folder of new records, where that is not the run's own."""
    if out.resolve() == run.resolve():
        yield
        return
    with hold(out / LOCK, PATIENCE, WAIT, doing="evaluated"):
        yield


def _refuse_other(run: RunDir, out: RunDir) -> None:
    """Raise ConfigError where a folder holds records of another run, which would be mixed with these."""
    if not is_run(out.path):
        return
    theirs, info = out.load_info(), run.load_info()
    if (theirs.id, theirs.variant, theirs.seed) != (info.id, info.variant, info.seed):
        raise ConfigError(f"out={out.path} holds records of another run: choose another folder")


def _warn_unfinished(run: RunDir) -> None:
    """Warn that the weights come from an unfinished training."""
    try:
        state = run.load_info().state
    except RunError:  # nothing in it is needed
        return
    if state != "finished":
        described = "was interrupted" if state == "started" else state
        log.warning("%s %s: its last weights are those of the last complete epoch", run.path, described)


def _load(cfg: DictConfig, run: RunDir) -> tuple[ImageDataModule, Classifier, str | None]:
    """The images and the net of a run, on the device, and the layer to explain; tried on a few images."""
    from stress_lab.runtime import hardware
    from stress_lab.training import build, rehearsal
    from stress_lab.training.fit import quieten_lightning

    quieten_lightning()
    hardware.set_threads(cfg.threads)
    hardware.keep_freed_memory()
    source = build.load_datamodule(run, cfg.root, cfg.trust)
    model = build.load_classifier(run, cfg.checkpoint, source.spec, cfg.trust)
    model = model.to(hardware.choose_accelerator(cfg.accelerator, "accelerator"))
    layer = _choose_layer(run, cfg.layer, model.net)
    rehearsal.check_trained(model.net, source, cfg.split, None if _choose_limit(cfg, run) == 0 else layer, "layer")
    return source, model, layer


def _predict(
    cfg: DictConfig, run: RunDir, staged: RunDir, source: ImageDataModule, model: Classifier, layer: str | None
) -> int:
    """Write predictions and what is made of them; returns the number of images."""
    from stress_lab import recording

    examples = setting(run, "predictions", "train_examples", None) or None if cfg.split == "train" else None
    predictions = recording.record_predictions(staged, model, source, cfg.split, examples)
    recording.record_evaluation(staged, cfg.split, source)
    if cfg.split == "test":
        recording.record_properties(staged, source, cfg.split)
    shown = cfg.shown if cfg.shown is not None else setting(run, "failures", "shown", 25)
    recording.record_failures(staged, source, cfg.split, shown)
    if layer is not None:
        method = setting(run, "gradcam", "method", "gradcam")
        limit = _choose_limit(cfg, run)
        recording.record_gradcam(staged, model, model.net, source, layer, cfg.split, limit, method)
        if setting(run, "gradcam", "road", False):
            recording.record_road(staged, model, source, cfg.split)
    return len(predictions)


def _record(cfg: DictConfig, run: RunDir, out: RunDir, files: FileSet) -> int:
    """Write the records of ``out`` into a file set; returns the number of images."""
    from stress_lab.recording import collect_metrics

    source, model, layer = _load(cfg, run)
    own, staged = out.path.resolve() == run.path.resolve(), RunDir(out.path, files.path)
    info = run.sealed().load_info()
    renewed = [cfg.split, *_renew_evaluation(staged, source, cfg.split)] if is_run(out.path) else [cfg.split]
    if not own:
        staged.save_config({**run.config, "checkpoint": str(cfg.checkpoint)})
        staged.save_spec(source.spec)
    n = _predict(cfg, run, staged, source, model, layer)
    written = ["config.", "data.", "status."] if not own else ["config."] if cfg.trust else []
    if not own or info.state == "finished":
        staged.save_info(replace(info, metrics=collect_metrics(staged)))
        written.append("status.")
    files.remove(staged.retired)
    reseal(staged, info.id, [*written, *list_starts(renewed)], layer is not None)
    return n


def _renew_evaluation(run: RunDir, source: ImageSource, split: str) -> list[str]:
    """Evaluate the other splits again from their predictions where ``evaluation.json`` is broken or was changed.

    Returns:
        Those splits.
    """
    from stress_lab.recording import record_evaluation

    try:
        sealed = run.sealed()
        if sealed.has(sealed.evaluation_file):
            sealed.load_evaluation()
        return []
    except RunError as error:
        log.warning("%s is rewritten: %s", run.evaluation_file, error)
    save_json(run.place("evaluation.json"), {})
    others = [one for one in SPLITS if one != split and run.predictions_file(one).is_file()]
    for other in others:
        try:
            record_evaluation(run, other, source)
        except RunError as error:
            log.warning("%s is not evaluated: %s", other, error)
    return others


def _choose_limit(cfg: DictConfig, run: RunDir) -> int | None:
    """Failures to explain: the number typed, or else the run's own; None for all."""
    limit: int | None = setting(run, "gradcam", "limit", LIMIT) if cfg.limit is None else cfg.limit
    return None if cfg.limit == "all" else limit


def _choose_layer(run: RunDir, asked: str | None, net: nn.Module) -> str | None:
    """The layer that Grad-CAM explains; None where the user's own net was trained without it and no layer is given."""
    layer = explained_layer(run, asked)
    named = asked is not None or setting(run, "gradcam", "layer", None) is not None
    return layer if named or layer in dict(net.named_modules()) else None


def default_folder(run: Path, checkpoint: str, split: str) -> Path:
    """The run itself for what training writes, a folder in it for anything else."""
    if checkpoint == "last" and split == "test":
        return run
    name = checkpoint if checkpoint in CHECKPOINTS else Path(checkpoint).stem
    return run / f"evaluate_{name}_{split}"


def _print(out: RunDir, split: str, n: int, drawn: str | None) -> None:
    """Print the results and where they are."""
    evaluation = out.load_evaluation()[split]
    low, high = evaluation["accuracy_interval"]
    failures = evaluation["confident_failures"]
    console = open_terminal()
    print_line(
        console,
        f"{split}: accuracy {100 * evaluation['accuracy']:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f}) "
        f"of {n:,} images, {evaluation['errors']} errors, {failures['count']} of them with more than "
        f"{100 * failures['threshold']:g} % confidence",
    )
    if drawn:
        print_line(console, drawn)
    for path in (out.failure_grid, out.gradcam / "contact_sheet.png"):
        if path.is_file():
            print_line(console, f"{name_opener()}{shlex.quote(str(path))}")


if __name__ == "__main__":
    main()

"""A finished run, before it is evaluated: its config, checkpoint, images and where to write, checked without torch."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from stress_lab.errors import ConfigError, RunError
from stress_lab.preflight.classes import check_arguments, check_device, check_layer
from stress_lab.preflight.images import LOADERS
from stress_lab.preflight.places import check_environment, check_writable
from stress_lab.records import DatasetSpec
from stress_lab.runs.checkpoints import check_own, describe_whole, is_foreign, load_info, name_epoch
from stress_lab.runs.folder import CHECKPOINTS, RunDir
from stress_lab.storage.checkpoint_files import Checkpoint, check_checkpoint
from stress_lab.storage.limits import refuse_too_large
from stress_lab.storage.seals import require_own

ANEW = "put them back, or train again with resume=false"  # what to type in training
GROUPS = ("data", "augment", "model", "optim")  # of a run's config, without which it cannot be built again


def check_evaluation(cfg: DictConfig, out: Path) -> None:
    """Check what ``stress-lab evaluate`` was given.

    Args:
        cfg: of ``conf/evaluate.yaml``.
        out: folder to write into.

    Raises:
        StressLabError: the first mistake found.
    """
    run = RunDir(cfg.run)
    if not cfg.trust:  # before anything looks for what the config names
        require_own(run.path, run.config_digest, "evaluating it")
    run = run.sealed()
    run.load_info(), run.load_spec()
    config = load_config(run, cfg.root)
    check_environment()
    check_writable(out, "out")
    check_device(str(cfg.accelerator), "accelerator")
    check_layer(name_net(run), cfg.layer, "layer")
    open_checkpoint(run, str(cfg.checkpoint))
    for group in ("data", "model"):
        check_arguments(group, config[group])
    if config.data._target_ in LOADERS:
        data = LOADERS[config.data._target_](config.data)
        found = {split: images.fingerprint for split, images in data.splits.items()}
        check_images_of(run, run.load_spec(), found, data.source)


def load_config(run: RunDir, root: str | None) -> DictConfig:
    """The config of a run, with the data where it is now; raises StressLabError where it cannot be built again."""
    config = OmegaConf.create(run.config)
    for group in GROUPS:
        if not OmegaConf.is_dict(config.get(group)):
            raise RunError(f"{run.config_file} has no group {group}: it was edited, .hydra/config.yaml holds a copy")
    if root is not None:
        if "root" not in config.data:
            raise ConfigError(
                f"root={root} does not apply: {config.data._target_} was given no data.root: leave it out"
            )
        config.data.root = root
    return config


def check_images_of(
    run: RunDir, recorded: DatasetSpec, found: dict[str, str], source: str, instead: str = "set root=FOLDER"
) -> None:
    """Raise RunError where images are not those that a run was trained and tested on.

    Args:
        run: for messages.
        recorded: what the run says of its data.
        found: fingerprint of each split found now, at ``source``.
        instead: what to type.
    """
    for split in sorted({*recorded.fingerprint, *found}):
        if found.get(split) != recorded.fingerprint.get(split):
            raise RunError(f"the {split} images in {source} are not those of {run.path}: {instead}")


def find_checkpoint(run: RunDir, checkpoint: str) -> Path:
    """Path of a run's ``last`` or ``best`` checkpoint, or of another file; raises RunError where there is none."""
    path = run.checkpoint(checkpoint) if checkpoint in CHECKPOINTS else Path(checkpoint)
    if not path.is_file():
        raise RunError(f"{path} is not a checkpoint: use last, best or the path of a file of weights")
    return path


def open_checkpoint(run: RunDir, checkpoint: str) -> Checkpoint:
    """What a checkpoint holds, once every byte of it is checked.

    Args:
        run: its folder.
        checkpoint: ``last``, ``best`` or a path, which may be of any run or program.

    Raises:
        RunError: it is missing, damaged, larger than the free memory, or another run's file is in place
            of this one's.
    """
    path = find_checkpoint(run, checkpoint)
    try:
        found = check_checkpoint(path)
    except RunError as error:
        raise RunError(f"{error}{describe_whole(run, checkpoint)}") from None
    refuse_too_large(path, found.room, "close other programs, or use another machine", RunError)
    if checkpoint in CHECKPOINTS:
        check_own(found, run, checkpoint)
    return found


def describe_owner(found: Checkpoint, run: RunDir, checkpoint: str) -> str | None:
    """A sentence about a file that another run wrote, where its path was given; None where there is nothing to say."""
    info = load_info(run)
    if checkpoint in CHECKPOINTS or info is None or not is_foreign(found, info):
        return None
    return f"{found.path} holds {name_epoch(found)} of another run ({found.run}): its weights are used as they are"


def name_net(run: RunDir) -> str:
    """The class of a run's net, or nothing where its config does not say."""
    model = run.config.get("model")
    return str(model.get("_target_", "")) if isinstance(model, dict) else ""

"""The rules that a config must keep, checked before anything is imported, downloaded or trained."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from stress_lab.comparison.option_rules import is_number, is_whole
from stress_lab.errors import ConfigError
from stress_lab.files import flatten
from stress_lab.models.limits import MILESTONES, are_milestones
from stress_lab.preflight.values import check_value
from stress_lab.saliency.maps import METHODS


def _is_devices(value: Any) -> bool:
    if isinstance(value, list):
        return value != [] and all(is_whole(one, 0) for one in value) and len(set(value)) == len(value)
    return value in (-1, "-1", "auto") or (is_whole(value, 1) or (isinstance(value, str) and value.isdigit()))


STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")  # the others do not keep a run to one set of records


def _is_name(value: Any) -> bool:
    """Whether a value can name a folder: no way up or down, nothing unprintable, not too long for a file system."""
    return (
        isinstance(value, str)
        and value.strip(" .") != ""
        and value.isprintable()
        and not set(value) & set("/\\\0")
        and len(value.encode()) <= LONGEST
    )


def _is_part(value: Any, low: int = 1) -> bool:
    """Whether a value is a share of an epoch or a number of batches, from ``low`` of them."""
    return is_whole(value, low) or (isinstance(value, float) and (value > 0 or low == 0) and 0 <= value <= 1)


LONGEST = 150  # bytes of a name; file systems allow 255, and a run's folder adds its number and seed
DEVICES = ("auto", "cpu", "gpu", "cuda", "mps")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")  # all keep float32 weights

# key, whether a value is right, what to use instead; a missing key is not checked
RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("seed", lambda v: is_whole(v, 0) and v < 2**32, "a whole number from 0 to 4294967295"),
    ("threshold", lambda v: is_number(v) and 0 <= v < 1, "a fraction from 0 to below 1, such as 0.7"),
    ("threads", lambda v: v is None or is_whole(v, 1), "null or a whole number from 1"),
    (
        "jobs",
        lambda v: v in (None, -1) or is_whole(v, 1),
        "a whole number of runs from 1, -1 for one per core, or null",
    ),
    ("resume", lambda v: isinstance(v, bool), "true or false"),
    ("compile", lambda v: isinstance(v, bool), "true or false"),
    ("channels_last", lambda v: isinstance(v, bool), "true or false"),
    ("name", _is_name, "a name for the folder below multirun/, without a slash"),
    ("variant", _is_name, "a name without a slash, of at most 150 characters"),
    ("data.root", lambda v: v is None or (isinstance(v, str) and v != ""), "the path of a folder, such as ./images"),
    ("data.val_size", lambda v: v is None or is_whole(v, 0), "a whole number of images, 0 for none, or null"),
    ("data.split_seed", lambda v: is_whole(v, 0), "a whole number from 0"),
    ("data.image_size", lambda v: v is None or is_whole(v, 1), "null or a number of pixels"),
    ("data.download", lambda v: isinstance(v, bool), "true or false"),
    ("augment.crop_padding", lambda v: is_whole(v, 0), "a number of pixels, 0 for no crop"),
    ("augment.flip", lambda v: isinstance(v, bool) or v == "alternate", "true, false or alternate"),
    ("augment.initial_scale", lambda v: v is None or (is_number(v) and 0 < v <= 1), "null or a fraction such as 0.5"),
    ("augment.finetune_fraction", lambda v: is_number(v) and 0 < v < 1, "a fraction of the run such as 0.5"),
    ("augment.extra", lambda v: isinstance(v, list), "a list of transforms such as [{_target_: package.Transform}]"),
    ("augment.cutout.length", lambda v: v is None or is_whole(v, 1), "null or a number of pixels"),
    ("augment.cutout.holes", lambda v: is_whole(v, 1), "a whole number from 1 (augment=baseline has no Cutout)"),
    ("model.width", lambda v: is_whole(v, 1), "a whole number of channels"),
    ("model.zero_init_residual", lambda v: isinstance(v, bool), "true or false"),
    ("model.whiten", lambda v: isinstance(v, bool), "true or false"),
    ("optim.batch_size", lambda v: is_whole(v, 1), "a whole number of images"),
    ("optim.optimizer", lambda v: isinstance(v, str), "the name of a class of torch.optim, such as SGD"),
    ("optim.schedule", lambda v: v in ("step", "one_cycle"), "step or one_cycle"),
    ("optim.warm_up", lambda v: is_number(v) and 0 < v < 1, "a fraction of the run between 0 and 1, such as 0.2"),
    ("optim.decay_norms", lambda v: isinstance(v, bool), "true or false"),
    ("optim.other", lambda v: v is None or isinstance(v, dict), "a group such as {use_fallback: true, lr: 0.01}"),
    ("optim.lr", lambda v: is_number(v) and v > 0, "a number above 0"),
    ("optim.args", lambda v: isinstance(v, dict), "a group such as {momentum: 0.9}"),
    ("optim.gamma", lambda v: is_number(v) and v > 0, "a number above 0"),
    ("optim.label_smoothing", lambda v: is_number(v) and 0 <= v < 1, "a fraction from 0 to below 1"),
    ("optim.ema_decay", lambda v: v is None or (is_number(v) and 0 < v < 1), "null or a fraction such as 0.99"),
    ("optim.milestones", lambda v: isinstance(v, list) and are_milestones(v), MILESTONES),
    ("trainer.max_epochs", lambda v: is_whole(v, 1), "a whole number of epochs"),
    ("trainer.max_steps", lambda v: v == -1, "trainer.max_epochs, which the schedules follow"),
    ("trainer.max_time", lambda v: v is None, "trainer.max_epochs, and the same command again to resume after a kill"),
    ("trainer.fast_dev_run", lambda v: v is False, "trainer=smoke trainer.max_epochs=1 for a short try"),
    ("trainer.overfit_batches", lambda v: v == 0, "trainer.limit_train_batches"),
    ("trainer.val_check_interval", lambda v: v is None or (isinstance(v, float) and v == 1), "1.0: once per epoch"),
    ("trainer.accelerator", lambda v: v in DEVICES, f"one of {', '.join(DEVICES)}"),
    ("trainer.deterministic", lambda v: v in (True, False, "warn"), "true, false or warn"),
    ("trainer.gradient_clip_val", lambda v: v is None or (is_number(v) and v > 0), "null or a number above 0"),
    ("trainer.accumulate_grad_batches", lambda v: is_whole(v, 1), "a whole number from 1"),
    ("trainer.limit_train_batches", _is_part, "a fraction such as 0.5, or a whole number of batches"),
    ("trainer.limit_val_batches", lambda v: _is_part(v, 0), "a fraction such as 0.5, or a whole number of batches"),
    ("trainer.num_sanity_val_steps", lambda v: is_whole(v, -1), "a whole number, 0 for none"),
    ("trainer.log_every_n_steps", lambda v: is_whole(v, 1), "a whole number from 1"),
    ("trainer.enable_model_summary", lambda v: isinstance(v, bool), "true or false"),
    ("trainer.precision", lambda v: str(v) in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
    ("trainer.devices", _is_devices, "a number of devices from 1, a list of their numbers, or auto"),
    ("trainer.num_nodes", lambda v: is_whole(v, 1), "a whole number of machines"),
    ("trainer.strategy", lambda v: v in STRATEGIES, f"one of {', '.join(STRATEGIES)}"),
    ("callbacks.predictions.train_examples", lambda v: is_whole(v, 0), "a whole number of images"),
    ("callbacks.failures.shown", lambda v: is_whole(v, 0), "a whole number of images"),
    ("callbacks.board.embedded", lambda v: is_whole(v, 0), "a whole number of images"),
    ("callbacks.gradcam.layer", lambda v: isinstance(v, str) and v != "", "the name of a part, such as layer3"),
    ("callbacks.terminal.every", lambda v: is_number(v) and v >= 0, "a number of seconds, 0 for every batch"),
    ("callbacks.gradcam.method", lambda v: v in tuple(METHODS), f"one of {', '.join(METHODS)}"),
    ("callbacks.gradcam.road", lambda v: isinstance(v, bool), "true or false"),
    ("callbacks.gradcam.limit", lambda v: v is None or is_whole(v, 0), "null for all, or a whole number of images"),
)

LIGHTNINGS = (".ModelCheckpoint", ".EarlyStopping")  # callbacks with a mode
LOGGED = ("val/acc", "val/loss", "train/acc", "train/loss")  # what the classifier logs
TOP = ("name", "variant", "seed", "threshold", "channels_last", "compile", "resume", "threads", "logger")
GROUPS = ("data", "augment", "model", "optim", "trainer", "callbacks", "comparison")
KEYS = {  # all keys of the groups that no class reads
    "augment": ("name", "crop_padding", "flip", "cutout", "initial_scale", "finetune_fraction", "extra"),
    "augment.cutout": ("holes", "length"),
    "optim": (
        "name",
        "batch_size",
        "optimizer",
        "lr",
        "args",
        "other",
        "decay_norms",
        "schedule",
        "milestones",
        "gamma",
        "warm_up",
        "label_smoothing",
        "ema_decay",
    ),
}
NEEDS = {
    "failures": "predictions",
    "gradcam": "failures",
    "board": "failures",
}  # a callback and the one whose record it reads


def check_config(cfg: DictConfig) -> None:
    """Check every rule that needs no data.

    Raises:
        ConfigError: with the key and what to type instead.
    """
    for key in (*TOP, *GROUPS):
        if key not in cfg and not OmegaConf.is_missing(cfg, key):
            raise ConfigError(f"the config lacks {key}: leave out ~{key}")
    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} has no value yet: write {error.full_key}=VALUE") from None
    except OmegaConfBaseException as error:
        raise ConfigError(
            f"the config cannot be resolved at {error.full_key}: {str(error).splitlines()[0]}; write a plain value"
        ) from None
    for path, value in flatten(plain).items():
        if isinstance(value, str) and (len(value) > 4096 or "\0" in value):
            raise ConfigError(f"{path} does not work: text of {len(value):,} characters, or with a NUL, is not a value")
    for group in GROUPS:
        if not OmegaConf.is_dict(cfg[group]):
            raise ConfigError(f"{group}={cfg[group]} does not work: it is a group of keys, see --cfg job")
    for key, is_right, wanted in RULES:
        if not _is_of_another_class(cfg, key):
            check_value(cfg, key, is_right, wanted)
    for group, known in KEYS.items():
        node = OmegaConf.select(cfg, group)
        for key in node if OmegaConf.is_dict(node) else ():
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1) or [known[0]]
                raise ConfigError(f"{group}.{key} means nothing: did you mean {group}.{near[0]}?")
    callbacks = {str(name): node for name, node in cfg.callbacks.items() if OmegaConf.is_dict(node)}
    for name, needed in NEEDS.items():
        if name in callbacks and _is_known(callbacks[name]) and needed not in callbacks:
            raise ConfigError(f"callbacks.{name} reads what callbacks.{needed} writes: drop both, or neither")
    from stress_lab.preflight.comparison_rules import make_options  # which reads conf/compare.yaml

    make_options(cfg.comparison)
    for name, node in callbacks.items():
        if _is_known(node):
            _check_monitor(cfg, name, node.get("monitor"), all(map(_is_known, callbacks.values())))


def _is_of_another_class(cfg: DictConfig, key: str) -> bool:
    """Whether a key is an argument of the user's own class, which checks its values itself."""
    group = key.split(".")[0]
    if group not in ("data", "model", "callbacks") or key in ("data.val_size", "data.split_seed"):  # of all data
        return False
    node = OmegaConf.select(cfg, key.rpartition(".")[0])
    return OmegaConf.is_dict(node) and not _is_known(node)


def _is_known(node: DictConfig) -> bool:
    """Whether a node is called by a class of ours or of Lightning's, or names none."""
    return str(node.get("_target_", "stress_lab.")).startswith(("stress_lab.", "lightning."))


def _check_monitor(cfg: DictConfig, name: str, monitor: Any, logs_ours: bool) -> None:
    """Selection never sees the test split, nor a validation split or a metric that is not there.

    Args:
        cfg: the config. ``name``: of the callback. ``monitor``: the metric that it selects on, if any.
        logs_ours: whether nobody but ours logs metrics.
    """
    check_value(cfg, f"callbacks.{name}.mode", lambda v: v in ("min", "max"), "min for a loss, max for an accuracy")
    if monitor is None:
        return
    if str(monitor).startswith("test"):
        raise ConfigError(f"callbacks.{name}.monitor={monitor} selects on the test split: use val/acc or val/loss")
    if logs_ours and str(monitor).partition("/")[0] in ("train", "val") and monitor not in LOGGED:
        raise ConfigError(f"callbacks.{name}.monitor={monitor} is never logged: use one of {', '.join(LOGGED)}")
    mode, wanted = OmegaConf.select(cfg, f"callbacks.{name}.mode"), "max" if str(monitor).endswith("acc") else "min"
    if mode is None and str(OmegaConf.select(cfg, f"callbacks.{name}._target_")).endswith(LIGHTNINGS):
        mode = "min"  # which is their default
    if monitor in LOGGED and mode not in (None, wanted):
        raise ConfigError(
            f"callbacks.{name} takes the worst {monitor} for the best: set callbacks.{name}.mode={wanted}"
        )
    if str(monitor).startswith("val") and OmegaConf.select(cfg, "data.val_size") == 0:
        raise ConfigError(
            f"data.val_size=0 leaves no validation images, but callbacks.{name} selects on {monitor}: "
            f"give data.val_size, or drop it with '~callbacks.{name}'"
        )

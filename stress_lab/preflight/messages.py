"""From an exception to the sentence that a user needs: what is wrong, where, and what to type instead."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stress_lab.errors import StressLabError
from stress_lab.files import flatten
from stress_lab.plain_text import printable
from stress_lab.preflight.comparison_rules import known_options
from stress_lab.preflight.configs import config_folder
from stress_lab.runtime.disks import explain_disk

RUN_LOST = 1  # exit status where a run failed, or its results are lost
USAGE_ERROR = 2  # exit status for a mistake in the input
GATE_FAILED = 3  # exit status

KnownKeys = Callable[[], Sequence[str]]  # dotted keys of the default config


def explain_chain(error: BaseException, known_keys: KnownKeys) -> str | None:
    """The sentence for an error that the user can fix, or None for a bug of ours."""
    cause: BaseException | None = error
    while cause is not None:  # Hydra wraps what a constructor raised
        sentence = _explain_one(cause)
        if sentence is not None:
            return re.sub(r"\s*\n\s*", " ", sentence).strip()
        cause = cause.__cause__
    message = " ".join(str(error).split())
    if isinstance(error, ValueError) and message.startswith("Config group override must be"):
        return _explain_group(sys.argv[1:])
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return _explain_hydra(message, str(getattr(error, "override", "") or ""), known_keys)
    return None


def _explain_one(error: BaseException) -> str | None:
    """The sentence for one error of a chain; torch's and Lightning's are recognised by name, to stay light."""
    if isinstance(error, StressLabError):
        return str(error)
    if isinstance(error, FileNotFoundError) and error.filename is None:
        return _explain_place(str(error))
    if isinstance(error, RuntimeError) and "determine home directory" in str(error):
        return "~ does not name a home folder here (HOME is not set, or there is no such user): write the path in full"
    if isinstance(error, OSError) and (sentence := explain_disk(error)) is not None:
        return sentence
    if type(error).__name__ == "OutOfMemoryError":
        return "the device ran out of memory: halve optim.batch_size"
    if type(error).__name__ == "MisconfigurationException":
        return f"Lightning refuses the trainer: {error}"
    return None


def _explain_place(message: str) -> str | None:
    """The current folder, or that of temporary files, is not there."""
    if "temporary directory" in message:
        return "no temporary folder is writable (TMPDIR, /tmp): set TMPDIR to one that is"
    try:
        os.getcwd()
    except OSError:
        return "the current folder was removed: change to another one and run the command there"
    return None


def _explain_group(typed: Sequence[str]) -> str:
    """A group got a number or null in place of a name."""
    pairs = (one.partition("=") for one in typed if re.fullmatch(r"\+*[a-z/]+=(null|true|false|[-0-9.]*)", one))
    named = [f"{key}={value}" for key, _, value in pairs]
    return f"{named[0] if named else 'a group'} does not work: a group takes the name of a choice, see --help"


def _explain_hydra(message: str, override: str, known_keys: KnownKeys) -> str:
    """Hydra's message in one sentence; the first rule that matches words it."""
    for pattern, write in SENTENCES:
        match = re.search(pattern, message)
        if match is not None:
            return write(match, known_keys)
    if override.startswith("predictions="):
        return _explain_predictions(override)
    if override:
        return f"{override} cannot be read: put a value with spaces, commas or brackets in quotes, as in {QUOTED}"
    message = re.sub(r" (Config search path:|full_key:|See https).*", "", message)
    return f"{message.rstrip('.')}: see --help, and the keys with --cfg job"


def _explain_predictions(override: str) -> str:
    """Hydra takes no quotes around the keys of a mapping, and without quotes no letters beyond a to z."""
    quoted = re.search(r"""[{,]\s*(["'])(.+?)\1\s*:""", override)
    name = quoted[2] if quoted else "any name"
    if quoted and re.fullmatch(r"[-\w./+ ]+", name, re.ASCII):
        return f"{override} cannot be read: leave out the quotes around {name}, as in 'predictions={{{name}: [a.csv]}}'"
    if "{" not in override:
        return f'{override} cannot be read: put each path in quotes, as in \'predictions=["a b.csv","c.csv"]\''
    return (
        f"{override} cannot be read: put paths in quotes, and names too by "
        f'\'predictions=[{{name: "{name}", files: ["a.csv"]}}]\''
    )


QUOTED = "'name=\"a b\"'"


def _nearest(key: str, known: Sequence[str]) -> str | None:
    """The known key that looks most like one that was typed."""
    candidates = [one for one in known if not key.startswith(f"{one}.")]
    near = difflib.get_close_matches(key, candidates, n=1, cutoff=0.6)
    return near[0] if near else None


USUAL = {  # what other programs call some keys
    "learning_rate": "optim.lr",
    "lr": "optim.lr",
    "epochs": "trainer.max_epochs",
    "num_epochs": "trainer.max_epochs",
    "max_epochs": "trainer.max_epochs",
    "batch_size": "optim.batch_size",
    "bs": "optim.batch_size",
    "weight_decay": "optim.args.weight_decay",
    "wd": "optim.args.weight_decay",
    "momentum": "optim.args.momentum",
    "gpus": "trainer.devices",
    "devices": "trainer.devices",
    "num_devices": "trainer.devices",
    "data_dir": "data.root",
    "dataset": "data",
    "seeds": "seed",
}


def _unknown_key(match: re.Match[str], known_keys: KnownKeys) -> str:
    """A key that does not exist was given a value."""
    key, near = match[1], _nearest(match[1], known_keys())
    if near is not None and near.startswith("comparison."):
        return f"there is no config key {key} yet: add one of the keys of stress-lab compare with +{near}=…"
    group, _, name = key.rpartition(".")
    usual = USUAL.get(name)
    if group and usual and usual.endswith(f".{name}"):  # the group is mistyped
        usual = None
    hint = (
        f"it is {usual} here"
        if usual != key and usual in known_keys()
        else f"did you mean {near}?"
        if near
        else "see the keys with --cfg job"
    )
    return f"there is no config key {key}: {hint} (to add a key of your own, write +{key}=…)"


def _no_such_delete(match: re.Match[str], known_keys: KnownKeys) -> str:
    """A key that does not exist was to be dropped."""
    near = _nearest(match[1], known_keys())
    if match[1] in known_keys():
        return f"~{match[1]} drops nothing, since it is already null: leave it out"
    return f"~{match[1]} drops nothing, since there is no such key or it is null: " + (
        f"did you mean ~{near}?" if near else "see the keys with --cfg job"
    )


def _no_such_choice(match: re.Match[str], known_keys: KnownKeys) -> str:
    """A group has no file of that name."""
    group, _, name = match[1].rpartition("/")
    there = (match[2] or "").split()
    near = difflib.get_close_matches(name, there, n=1, cutoff=0.5)
    hint = f"did you mean {group}={near[0]}? (there are " if near else "use one of ("
    return f"there is no {group}={name}: " + (f"{hint}{', '.join(there)})" if there else "see --help")


SENTENCES: tuple[tuple[str, Callable[[re.Match[str], KnownKeys], str]], ...] = (
    (r"Could not override '([^']+)'", _unknown_key),
    (r"Could not find '([^']+)'(?: Available options in '[^']*': (.*?))?(?: Config search path.*)?$", _no_such_choice),
    (r"Could not delete from config. '([^']+)' does not exist", _no_such_delete),
    (
        r"Ambiguous value for argument '([^=]+)=(.*?)' 1\.",
        lambda m, _: (
            f"{m[1]}={m[2]} names several values: add -m to run each of them, or write '{m[1]}=[{m[2]}]' for a list"
        ),
    ),
    (
        r"parsing override '(.*?)' missing EQUAL",
        lambda m, _: f"{m[1]} has no value: write KEY=VALUE, such as seed=3, and -m for a sweep",
    ),
    (
        r"Multiple values for (\S+?)\. ",
        lambda m, _: f"{m[1]} is chosen twice: write {m[1]}=NAME once, and without +",
    ),
    (
        r"An item is already at '([^']+)'",
        lambda m, _: f"+{m[1]} adds nothing, since the key already exists: write {m[1]}=VALUE, without +",
    ),
    (r"[Mm]issing mandatory value: (\S+)", lambda m, _: f"{m[1]} has no value yet: write {m[1]}=VALUE"),
    (
        r"(?:Missing key|Interpolation key|Key) '?([\w.]+)'?(?: not found| is not in struct| full_key|$)",
        lambda m, _: f"the config lacks {m[1]}: leave out ~{m[1].partition('.')[0]}, or fix what refers to it",
    ),
)


_full_errors = False  # the user's HYDRA_FULL_ERROR, which is set for Hydra while a command runs


@contextmanager
def passing_on_errors() -> Iterator[None]:
    """Let Hydra pass errors on instead of printing them, and remember whether the user wants tracebacks."""
    global _full_errors
    _full_errors = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        os.environ["HYDRA_FULL_ERROR"] = "1" if _full_errors else "0"


def wants_traceback() -> bool:
    """Whether the user asked for tracebacks with ``HYDRA_FULL_ERROR=1``."""
    return _full_errors


def stop_with_sentence(error: Exception, config_name: str = "train") -> NoReturn:
    """Print the sentence for an error and exit with status 2; raise it again where the user did not cause it."""
    sentence = explain(error, config_name)
    if sentence is None or _full_errors:
        raise error
    print(f"error: {printable(sentence)}", file=sys.stderr)
    sys.exit(USAGE_ERROR)


def explain(error: BaseException, config_name: str = "train") -> str | None:
    """The sentence for an error that the user can fix, or None for a bug of ours."""
    sentence = explain_chain(error, lambda: _known_keys(config_name))
    if sentence is None or config_name == "train":
        return sentence
    return re.sub(r" \(to add a key of your own, write .*\)$", "", sentence)  # which other commands do not read


def _known_keys(config_name: str) -> list[str]:
    """Dotted keys of the default config, inner nodes too."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        config = OmegaConf.to_container(hydra.compose(config_name))
    options = known_options() if config_name == "train" else {}
    leaves = {**flatten(config), **flatten(options, "comparison")}
    inner = {".".join(key.split(".")[:depth]) for key in leaves for depth in range(1, key.count(".") + 1)}
    return sorted({*leaves, *inner})

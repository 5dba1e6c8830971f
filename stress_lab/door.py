"""What the three commands share: where the config lives, and how an error reaches the user.

Kept free of torch and Lightning, so that ``--help`` answers at once.
"""

from __future__ import annotations

import difflib
import errno
import functools
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stress_lab.errors import StressLabError
from stress_lab.launching import share_cores
from stress_lab.resume import register_resolver
from stress_lab.runs import flatten

# when imported, because a launcher's processes import this module and never open the door
register_resolver()
OmegaConf.register_new_resolver("share", share_cores, replace=True, use_cache=True)
OmegaConf.register_new_resolver("times", lambda left, right: int(left) * int(right), replace=True)

USAGE_ERROR = 2  # exit status for a mistake in the input
INTERRUPTED = 130  # exit status after Ctrl-C or SIGTERM, as shells have it


def config_folder() -> Path:
    """``conf/`` inside an installed package, or at the top of a checkout."""
    packaged = Path(__file__).parent / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "conf"


def resolve_config(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain values, with the data folder absolute, so that it means the same from anywhere."""
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    if config["data"].get("root"):
        config["data"]["root"] = str(Path(config["data"]["root"]).expanduser().absolute())
    return config


_full_errors = False  # what the user said by HYDRA_FULL_ERROR, which the door sets for Hydra


def wants_traceback() -> bool:
    """Whether the user asked for tracebacks with ``HYDRA_FULL_ERROR=1``."""
    return _full_errors


def open_door(config_name: str, task: Callable[[DictConfig], Any]) -> None:
    """Run ``task`` under Hydra; a mistake in the input ends in one sentence and status 2, without a traceback.

    ``HYDRA_FULL_ERROR=1`` shows the traceback.
    """
    global _full_errors
    _full_errors = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra passes errors on instead of printing them

    @functools.wraps(task)
    def guarded(cfg: DictConfig) -> Any:
        """Stop here where the task failed: Hydra would print lines of its own."""
        try:
            return task(cfg)
        except Exception as error:
            stop_with_sentence(error, config_name)

    try:
        hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=config_name)(guarded)()
    except Exception as error:
        stop_with_sentence(error, config_name)
    finally:
        os.environ["HYDRA_FULL_ERROR"] = "1" if _full_errors else "0"


def stop_with_sentence(error: Exception, config_name: str = "train") -> NoReturn:
    """Print the sentence for an error and exit with status 2; raise it again where it is no mistake of the user's."""
    sentence = explain(error, config_name)
    if sentence is None or _full_errors:
        raise error
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(USAGE_ERROR)


def explain(error: BaseException, config_name: str = "train") -> str | None:
    """The sentence for an error that the user can mend, or None for one that is ours."""
    cause: BaseException | None = error
    while cause is not None:  # Hydra wraps what a constructor raised
        sentence = _explain_one(cause)
        if sentence is not None:
            return sentence
        cause = cause.__cause__
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return _explain_hydra(error, config_name)
    return None


def _explain_one(error: BaseException) -> str | None:
    """The sentence for one error of a chain; torch's and Lightning's are told by name, to keep this module light."""
    if isinstance(error, StressLabError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        where = f" at {error.filename}" if error.filename else ""
        return f"the disk is full{where}: free some space and give the same command again"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}; choose another folder, or make this one usable"
    if type(error).__name__ == "OutOfMemoryError":
        return "the device ran out of memory: halve optim.batch_size"
    if type(error).__name__ == "MisconfigurationException":
        return f"Lightning refuses the trainer: {' '.join(str(error).split())}"
    return None


def _explain_hydra(error: BaseException, config_name: str) -> str:
    """Hydra's message in one line, with the nearest key where one was misspelt."""
    message = " ".join(str(error).split())
    unknown = re.match(r"Could not override '([^']+)'", message)
    if unknown is None:
        message = re.sub(r" Config search path:.*", "", message)
        return message.replace("Available options in", "; available options in").replace(" ; ", "; ")
    key = unknown.group(1)
    candidates = [known for known in _known_keys(config_name) if not key.startswith(f"{known}.")]
    near = difflib.get_close_matches(key, candidates, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else "see the keys with --cfg job"
    return f"there is no config key {key}: {hint} (to add a key of your own, write +{key}=…)"


def _known_keys(config_name: str) -> list[str]:
    """Dotted keys of the default config, inner nodes too."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        config = OmegaConf.to_container(hydra.compose(config_name))
    leaves = flatten(config)
    inner = {".".join(key.split(".")[:depth]) for key in leaves for depth in range(1, key.count(".") + 1)}
    return sorted({*leaves, *inner})

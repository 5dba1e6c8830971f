"""What the three commands share: where the config lives, and how an error reaches the user.

Kept free of torch and Lightning, so that ``--help`` answers at once.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from stress_lab.cores import share_cores
from stress_lab.data.sources.snapshot import one_snapshot
from stress_lab.errors import ConfigError
from stress_lab.files import flatten
from stress_lab.plain_text import printable
from stress_lab.preflight.places import name_home
from stress_lab.resume import register_resolver
from stress_lab.sentences import explain_chain
from stress_lab.signals import INTERRUPTED, end_at_next_signal, stop_on_signals
from stress_lab.streams import take_over_streams, whole_output

# when imported, because a launcher's processes import this module and never open the door
register_resolver()
OmegaConf.register_new_resolver("share", share_cores, replace=True, use_cache=True)
OmegaConf.register_new_resolver("times", lambda left, right: int(left) * int(right), replace=True)

USAGE_ERROR = 2  # exit status for a mistake in the input


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


@contextmanager
def leave_cleanly(hint: str) -> Iterator[None]:
    """What every command runs in: its output loses no work, and Ctrl-C, SIGTERM or SIGHUP end it in one sentence.

    Args:
        hint: what to do after that.
    """
    is_console = sys.stdout is sys.__stdout__
    take_over_streams()
    name_home()
    with whole_output():
        try:
            with stop_on_signals():
                yield
        except KeyboardInterrupt:
            if is_console:
                end_at_next_signal()
            print(f"interrupted: {hint}", file=sys.stderr)
            sys.exit(INTERRUPTED)


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
        check_options(sys.argv[1:])
        see_current_folder()
        with one_snapshot():
            hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=config_name)(guarded)()
    except Exception as error:
        stop_with_sentence(error, config_name)
    finally:
        os.environ["HYDRA_FULL_ERROR"] = "1" if _full_errors else "0"


def see_current_folder() -> None:
    """Let classes of the user's be found in the current folder, last: ``python -m`` has it, a console script not."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def check_options(typed: list[str]) -> None:
    """Raise ConfigError where an option is not Hydra's, which would answer with a page of its usage."""

    def refuse(message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: -+(\S+)", message)
        hint = f"write {unknown[1]} without dashes" if unknown and "=" in unknown[1] else "see --help"
        raise ConfigError(f"{message}: {hint}")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    parser.parse_args(typed)


def stop_with_sentence(error: Exception, config_name: str = "train") -> NoReturn:
    """Print the sentence for an error and exit with status 2; raise it again where it is no mistake of the user's."""
    sentence = explain(error, config_name)
    if sentence is None or _full_errors:
        raise error
    print(f"error: {printable(sentence)}", file=sys.stderr)
    sys.exit(USAGE_ERROR)


def explain(error: BaseException, config_name: str = "train") -> str | None:
    """The sentence for an error that the user can mend, or None for one that is ours."""
    return explain_chain(error, lambda: _known_keys(config_name))


def _known_keys(config_name: str) -> list[str]:
    """Dotted keys of the default config, inner nodes too."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        config = OmegaConf.to_container(hydra.compose(config_name))
        options = OmegaConf.to_container(hydra.compose("compare")) if config_name == "train" else {}
    leaves = {**flatten(config), **flatten(options, "comparison")}
    inner = {".".join(key.split(".")[:depth]) for key in leaves for depth in range(1, key.count(".") + 1)}
    return sorted({*leaves, *inner})

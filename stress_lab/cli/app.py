"""What the commands share: how Hydra is called, and how an interruption or an error reaches the user.

Kept free of torch and Lightning, so that ``--help`` answers at once.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

from stress_lab.data.sources.snapshot import one_snapshot
from stress_lab.errors import ConfigError
from stress_lab.preflight.configs import config_folder
from stress_lab.preflight.messages import passing_on_errors, stop_with_sentence
from stress_lab.preflight.places import name_home
from stress_lab.runtime.signals import INTERRUPTED, end_at_next_signal, stop_on_signals
from stress_lab.runtime.streams import take_over_streams, whole_output
from stress_lab.sweeps import resolvers  # noqa: F401  (a launcher's processes import this module and call no command)


@contextmanager
def leave_cleanly(hint: str) -> Iterator[None]:
    """What every command runs in: a closed pipe loses no work; Ctrl-C, SIGTERM or SIGHUP end it with one sentence.

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
    """Run ``task`` under Hydra; a mistake in the input ends it with one sentence and status 2, without a traceback.

    ``HYDRA_FULL_ERROR=1`` shows the traceback.
    """

    @functools.wraps(task)
    def guarded(cfg: DictConfig) -> Any:
        """Stop here where the task failed: Hydra would print lines of its own."""
        try:
            return task(cfg)
        except Exception as error:
            stop_with_sentence(error, config_name)

    with passing_on_errors():
        try:
            check_options(sys.argv[1:])
            see_current_folder()
            with one_snapshot():
                hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=config_name)(guarded)()
        except Exception as error:
            stop_with_sentence(error, config_name)


def see_current_folder() -> None:
    """Put the current folder last on the import path, for the user's own classes: a console script lacks it."""
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

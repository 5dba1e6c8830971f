"""What a class or function of a config takes: read from its source, or asked of the class itself.

Importing torch and Lightning takes ten seconds, which a mistyped key need not wait for. Reading is certain for packages
whose source the tests hold against their classes. Anybody else's module may do what no reading sees (constructors that
are generated, wrapped or bound anew): its source raises the question only, and the imported class answers it.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from contextlib import suppress
from inspect import Parameter, Signature
from types import FunctionType
from typing import Any

from stress_lab.errors import ConfigError
from stress_lab.preflight.sources import MissingNameError, is_there, read_signature

READ = ("stress_lab", "lightning", "torch")  # packages whose source is taken at its word


def examine(key: str, target: str, check: Callable[[Signature], None]) -> None:
    """Let ``check`` look at the arguments of a class or function, where that is possible without calling it.

    Args:
        key: of the config, for messages.
        target: dotted name.
        check: raises ConfigError where what the config gives does not suit.

    Raises:
        ConfigError: of ``check``; or there is no such module, or the module has no such name.
    """
    package, *rest = target.split(".")
    if not (package and rest and all(rest)):
        raise ConfigError(f"{key}={target} is not a dotted name: write one such as package.module.Class")
    if not is_there(package):
        raise ConfigError(
            f"{key}={target} cannot be imported: there is no module {package}: check the spelling, or install it"
        )
    try:
        _check_by(read_signature, key, target, check)
    except ConfigError:
        if package in READ:
            raise
        _check_by(ask_signature, key, target, check)


def _check_by(
    find: Callable[[str], Signature | None], key: str, target: str, check: Callable[[Signature], None]
) -> None:
    """Check the arguments that ``find`` finds, if it does."""
    try:
        signature = find(target)
    except MissingNameError as error:
        raise ConfigError(f"{key}={target} cannot be imported: {error}") from None
    if signature is not None:
        check(signature)


def explain_call(target: str, signature: Signature | None, check: Callable[[Signature], None]) -> None:
    """Let ``check`` say why a call failed, by what the class says of its arguments, or its source.

    The source tells what a constructor passes on to a base class, of which ``inspect`` knows nothing.
    """
    if signature is not None:
        check(signature)
    with suppress(MissingNameError):
        read = read_signature(target)
        if read is not None:
            check(read)


def ask_signature(target: str) -> Signature | None:
    """The arguments that Python binds when it calls the imported class or function.

    None where its module cannot be imported, and where anything stands between the call and one plain function: a
    metaclass, ``__new__``, a descriptor, a decorator that takes whatever it is given.

    Raises:
        MissingNameError: the module has no such name.
    """
    try:
        called = _import(target)
    except MissingNameError:
        raise
    except Exception:  # a module of the user's may raise anything
        return None
    is_plain = isinstance(called, type) and type(called).__call__ is type.__call__
    is_plain = is_plain and inspect.getattr_static(called, "__new__") is object.__new__
    function = inspect.getattr_static(called, "__init__") if is_plain else called
    if not isinstance(function, FunctionType) or hasattr(function, "__signature__"):
        return None
    signature = inspect.signature(function, follow_wrapped=False)
    if not is_plain:
        return signature
    parameters = list(signature.parameters.values())
    has_self = parameters[:1] and parameters[0].kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return signature.replace(parameters=parameters[1:] if has_self else parameters)


def _import(target: str) -> Any:
    """What Hydra will call; raises MissingNameError where a module has no such name."""
    path, *rest = target.split(".")
    found: Any = importlib.import_module(path)
    for name in rest:
        deeper = f"{path}.{name}"
        if not hasattr(found, name) and hasattr(found, "__path__") and importlib.util.find_spec(deeper) is not None:
            importlib.import_module(deeper)
        if not hasattr(found, name):
            raise MissingNameError(path, name, dir(found), getattr(found, "__file__", "its source"))
        found, path = getattr(found, name), deeper
    return found

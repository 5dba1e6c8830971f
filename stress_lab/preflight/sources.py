"""The arguments of a class or function, read from the source of its module without importing it.

What a source does not show (a name made at run time, a class with decorators) is not reported here.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspect import _ParameterKind

DEEP = 12  # re-exports and base classes followed
STAR = "*"  # stands for names that the source does not show
NAMEABLE = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)  # arguments that can be given by name
DEFAULT = object()  # stands for any default


class MissingNameError(Exception):
    """A module has no such name; the message says what was meant, of the names ``known`` or ``where`` to look."""

    def __init__(self, module: str, name: str, known: Iterable[str], where: Path | str) -> None:
        near = difflib.get_close_matches(name, list(known), n=1)
        hint = f"did you mean {module}.{near[0]}?" if near else f"see {where}"
        super().__init__(f"{module} has no {name}: {hint}")


@dataclass(frozen=True)
class _Found:
    """A definition and the module that holds it."""

    module: str
    node: ast.AST


_Bindings = dict[str, "ast.AST | str | None"]  # a definition, the dotted name it is imported from, or neither


def read_signature(target: str) -> Signature | None:
    """The arguments as the source has them, any default being ``DEFAULT``; None where it does not show them.

    Raises:
        MissingNameError: there is no such module, or its source has no such name.
    """
    found = _find(target, 0)
    if found is None or (isinstance(found.node, (ast.ClassDef, ast.FunctionDef)) and found.node.decorator_list):
        return None
    if isinstance(found.node, ast.ClassDef):
        return _of_class(found, 0)
    return _of_function(found.node, 0) if isinstance(found.node, ast.FunctionDef) else None


def list_classes(module: str) -> list[str]:
    """The classes that a package's ``__init__`` imports, such as those of ``torch.optim``; empty where unknown."""
    path = _locate(module)
    bound = {STAR: None} if path is None else _bindings(module, path)
    found = {} if {STAR, "__getattr__"} & bound.keys() else {name: _find(f"{module}.{name}", 0) for name in bound}
    return sorted(name for name, one in found.items() if one is not None and isinstance(one.node, ast.ClassDef))


def _find(dotted: str, depth: int) -> _Found | None:
    """The definition that a dotted name leads to; raises MissingNameError with the reason where there is none."""
    parts = dotted.split(".")
    path = _locate(parts[0])
    for length in range(1, len(parts)):
        if path is None:
            return None
        deeper = _locate(".".join(parts[: length + 1]))
        if deeper is None:
            return _within(path, ".".join(parts[:length]), parts[length:], depth)
        path = deeper
    return None  # a module


def _within(path: Path, module: str, rest: list[str], depth: int) -> _Found | None:
    """The definition of a name in a module, or wherever that imports it from."""
    bound = _bindings(module, path)
    if rest[0] not in bound:
        if STAR in bound or "__getattr__" in bound or hasattr(sys.modules.get(module), rest[0]):
            return None  # made at run time
        raise MissingNameError(module, rest[0], [*bound, *_submodules(path)], path)
    node = bound[rest[0]]
    if isinstance(node, str):
        return _find(".".join([node, *rest[1:]]), depth + 1) if depth < DEEP else None
    return None if node is None or len(rest) > 1 else _Found(module, node)


def _submodules(path: Path) -> list[str]:
    """The modules of a package, for a suggestion."""
    return [one.stem for one in path.parent.glob("*.py")] if path.name == "__init__.py" else []


def is_there(package: str) -> bool:
    """Whether a package or module can be imported."""
    return package in sys.modules or importlib.util.find_spec(package) is not None


@cache
def _locate(module: str) -> Path | None:
    """The source of a module, found beside its package, which is not imported."""
    first, *rest = module.split(".")
    if first in sys.modules and sys.modules[first].__spec__ is None:  # __main__
        return None
    spec = importlib.util.find_spec(first)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    path: Path | None = Path(spec.origin)
    for part in rest:
        if path is None or path.name != "__init__.py":
            return None
        candidates = (path.parent / part / "__init__.py", path.parent / f"{part}.py")
        path = next((one for one in candidates if one.is_file()), None)
    return path


@cache
def _bindings(module: str, path: Path) -> _Bindings:
    """Each name that a module binds, those in branches too, without those inside functions and classes."""
    try:
        todo: list[ast.AST] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    except (OSError, ValueError, SyntaxError):
        return {STAR: None}
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    bound: _Bindings = {}
    while todo:
        node = todo.pop(0)
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            bound[node.name] = node
        elif isinstance(node, ast.Import):
            bound |= {one.asname or one.name.partition(".")[0]: one.name if one.asname else None for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            bound.update(_imported(node, package, path))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound[node.id] = None
        else:
            todo += ast.iter_child_nodes(node)
    return bound


def _imported(node: ast.ImportFrom, package: str, path: Path) -> Iterator[tuple[str, str | None]]:
    """What ``from module import names`` binds; a star binds what the other module does."""
    above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
    origin = ".".join([*above, *([node.module] if node.module else [])])
    for alias in node.names:
        if alias.name != STAR:
            yield alias.asname or alias.name, f"{origin}.{alias.name}"
            continue
        source = _locate(origin)
        names = [STAR] if source is None or source == path else list(_bindings(origin, source))
        yield from ((name, None if name == STAR else f"{origin}.{name}") for name in names)


def _of_class(found: _Found, depth: int) -> Signature | None:
    """The arguments of a class: its constructor's, and its base's where it has none or passes the rest on."""
    assert isinstance(found.node, ast.ClassDef)
    own = [one for one in found.node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
    if len(own) > 1:
        return None
    signature = _of_function(own[0], 1) if own else None
    if signature is not None and not _passes_on(own[0]):
        return signature
    base = _find_base(found, depth)
    return (signature or base) if signature is None or base is None else _join(signature, base)


def _join(own: Signature, base: Signature) -> Signature:
    """The arguments of a constructor that passes all it does not name to its base's."""
    named = [one for one in own.parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
    passed = [one for one in base.parameters.values() if one.kind in NAMEABLE and one.name not in own.parameters]
    rest = [one.replace(kind=Parameter.KEYWORD_ONLY, default=DEFAULT) for one in passed]
    return Signature([*named, *rest, *(one for one in base.parameters.values() if one.kind is Parameter.VAR_KEYWORD)])


def _find_base(found: _Found, depth: int) -> Signature | None:
    """The arguments of the only base class of a class."""
    bases = found.node.bases if isinstance(found.node, ast.ClassDef) else []
    path = _locate(found.module)
    if len(bases) != 1 or not isinstance(bases[0], ast.Name) or path is None or depth >= DEEP:
        return None
    try:
        base = _within(path, found.module, [bases[0].id], 0)
    except MissingNameError:
        return None  # a builtin
    return _of_class(base, depth + 1) if base is not None and isinstance(base.node, ast.ClassDef) else None


def _passes_on(constructor: ast.FunctionDef) -> bool:
    """Whether a constructor gives all its other arguments to ``super().__init__``."""
    rest = constructor.args.kwarg
    calls = [node for node in ast.walk(constructor) if isinstance(node, ast.Call)]
    return rest is not None and any(
        ast.unparse(call.func) == "super().__init__"
        and any(one.arg is None and ast.unparse(one.value) == rest.arg for one in call.keywords)
        for call in calls
    )


def _of_function(node: ast.FunctionDef, skipped: int) -> Signature:
    """The arguments of a function, without the first ``skipped``."""
    given = node.args
    plain = [*given.posonlyargs, *given.args]
    demanded, by_place = len(plain) - len(given.defaults), len(given.posonlyargs)
    kinds = [Parameter.POSITIONAL_ONLY if place < by_place else NAMEABLE[0] for place in range(len(plain))]
    found = [_parameter(one, kinds[place], place >= demanded) for place, one in enumerate(plain)][skipped:]
    if given.vararg is not None:
        found.append(_parameter(given.vararg, Parameter.VAR_POSITIONAL))
    for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        found.append(_parameter(one, Parameter.KEYWORD_ONLY, default is not None))
    if given.kwarg is not None:
        found.append(_parameter(given.kwarg, Parameter.VAR_KEYWORD))
    return Signature(found)


def _parameter(argument: ast.arg, kind: _ParameterKind, has_default: bool = False) -> Parameter:
    """One argument, as inspect has it."""
    return Parameter(argument.arg, kind, default=DEFAULT if has_default else Parameter.empty)

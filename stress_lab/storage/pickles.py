"""What a pickle would build and call, read without building or calling anything.

:func:`read_pickle` executes the instructions of a pickle on inert values: containers become Python's own, names of
classes and functions stay names, and the result of a call is the call itself. Nothing is imported. What costs no more
than the pickle's own bytes to read can still cost much more to build, so the size is known before anything is built.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

MOST = 10**8  # values in a pickle, references followed
DEEPEST = 200  # nested containers
LONGEST = 2 * 10**7  # instructions
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_SET": list, "EMPTY_DICT": lambda: Table([])}
IGNORED = ("PROTO", "FRAME")
PUT = ("PUT", "BINPUT", "LONG_BINPUT")
GET = ("GET", "BINGET", "LONG_BINGET")
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
MARK = object()


class UnusualError(ValueError):
    """A pickle is intact as far as it was read, but larger, deeper or more entangled than weights are."""


@dataclass(frozen=True)
class Named:
    """A class or function, which a pickle names by its ``module`` and its ``name`` in it."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Call:
    """What a call would return: ``function`` with ``parts``, its arguments and what is added to its result."""

    function: Any
    parts: list[Any]


@dataclass(eq=False)
class Stored:
    """A value outside the pickle, which only gives its ``key``, such as the numbers of a tensor."""

    key: Any


@dataclass(eq=False)
class Table:
    """A dict, whose keys need not have a hash: ``items`` are key, value, key, value."""

    items: list[Any]

    def get(self, key: str) -> Any:
        """The last value under a key that is text, or None."""
        pairs = zip(self.items[::2], self.items[1::2], strict=False)
        return next((value for known, value in reversed(list(pairs)) if isinstance(known, str) and known == key), None)


@dataclass
class Content:
    """What is in a pickle.

    Attributes:
        value: what it represents.
        named: all classes and functions in it, in order.
        calls: every call. ``stored`` all values outside the pickle.
        others: instructions whose call target cannot be read here.
    """

    value: Any = None
    named: list[Named] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def read_pickle(file: IO[bytes]) -> Content:
    """Read one pickle, up to its end.

    Raises:
        ValueError: it is broken, or holds more values than fit into any memory.
    """
    reader = _Reader()
    try:
        for number, (code, argument, _) in enumerate(pickletools.genops(file)):
            if number > LONGEST:
                raise UnusualError("it has more instructions than any weights need")
            reader.follow(code.name, argument)
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"its instructions contradict each other ({error!r})") from None
    check_extent(reader.content.value)
    return reader.content


class _Reader:
    """The machine that runs a pickle: a stack, and a memo for repeated references."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.content = Content()

    def follow(self, name: str, argument: Any) -> None:
        """Execute one instruction."""
        if name in IGNORED:
            return
        if name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in EMPTY:
            self.stack.append(EMPTY[name]())
        elif name in TUPLES:
            self.stack.append(tuple(self._pop(TUPLES[name])))
        elif name in PUT:
            self.memo[argument] = self.stack[-1]
        elif name in GET:
            self.stack.append(self.memo[argument])
        elif name in INSTRUCTIONS:
            INSTRUCTIONS[name](self, argument)
        elif argument is not None:  # a number, text or bytes
            self.stack.append(argument)
        else:
            raise ValueError(f"it has the instruction {name}")

    def _pop(self, count: int) -> list[Any]:
        """Take ``count`` values from the stack."""
        if len(self.stack) < count:
            raise ValueError("its instructions need more values than there are")
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def _pop_mark(self) -> list[Any]:
        """Take all values down to the last mark."""
        place = next((place for place in range(len(self.stack), 0, -1) if self.stack[place - 1] is MARK), 0)
        if not place:
            raise ValueError("it goes back to a missing mark")
        taken = self.stack[place:]
        del self.stack[place - 1 :]
        return taken

    def _name(self, module: Any, name: Any) -> Named:
        """Note a class or function."""
        if not isinstance(module, str) or not isinstance(name, str):
            self.content.others.append("a name that is not text")
        self.content.named.append(Named(str(module), str(name)))
        return self.content.named[-1]

    def _call(self, function: Any, parts: list[Any]) -> None:
        """Note a call, and push a placeholder for its result."""
        if not isinstance(function, Named):
            self.content.others.append("the result of another call" if isinstance(function, Call) else "a value")
        call = Call(function, parts)
        self.content.calls.append(call)
        self.stack.append(call)

    def _store(self, key: Any) -> None:
        """Note a value outside the pickle."""
        self.content.stored.append(Stored(key))
        self.stack.append(self.content.stored[-1])

    def _add(self, values: list[Any]) -> None:
        """Put values into the list, set, dict or object on top of the stack."""
        top = self.stack[-1]
        target = top if isinstance(top, list) else top.items if isinstance(top, Table) else None
        if target is None and isinstance(top, Call):
            target = top.parts
        if target is None:
            raise ValueError("it fills what cannot be filled")
        target.extend(values)


def _stop(reader: _Reader, _: Any) -> None:
    (reader.content.value,) = reader._pop(1)
    if reader.stack:
        raise ValueError("it leaves values over")


def _memoize(reader: _Reader, _: Any) -> None:
    reader.memo[len(reader.memo)] = reader.stack[-1]


def _global(reader: _Reader, argument: str) -> None:
    reader.stack.append(reader._name(*argument.split(" ", 1)))


def _stack_global(reader: _Reader, _: Any) -> None:
    reader.stack.append(reader._name(*reader._pop(2)))


def _inst(reader: _Reader, argument: str) -> None:
    parts = reader._pop_mark()
    reader._call(reader._name(*argument.split(" ", 1)), parts)


def _obj(reader: _Reader, _: Any) -> None:
    function, *parts = reader._pop_mark()
    reader._call(function, parts)


def _reduce(reader: _Reader, _: Any) -> None:
    function, arguments = reader._pop(2)
    reader._call(function, list(arguments) if isinstance(arguments, tuple) else [arguments])


def _new_object_ex(reader: _Reader, _: Any) -> None:
    function, arguments, keywords = reader._pop(3)
    reader._call(function, [arguments, keywords])


def _build(reader: _Reader, _: Any) -> None:
    (state,) = reader._pop(1)
    reader._add([state])


def _extension(reader: _Reader, argument: int) -> None:
    reader.content.others.append(f"the extension {argument}")
    reader.stack.append(Named("extension", str(argument)))


INSTRUCTIONS: dict[str, Callable[[_Reader, Any], Any]] = {
    "STOP": _stop,
    "MARK": lambda reader, _: reader.stack.append(MARK),
    "POP": lambda reader, _: reader._pop(1),
    "POP_MARK": lambda reader, _: reader._pop_mark(),
    "DUP": lambda reader, _: reader.stack.append(reader.stack[-1]),
    "MEMOIZE": _memoize,
    "TUPLE": lambda reader, _: reader.stack.append(tuple(reader._pop_mark())),
    "LIST": lambda reader, _: reader.stack.append(reader._pop_mark()),
    "FROZENSET": lambda reader, _: reader.stack.append(reader._pop_mark()),
    "DICT": lambda reader, _: reader.stack.append(Table(reader._pop_mark())),
    "APPEND": lambda reader, _: reader._add(reader._pop(1)),
    "SETITEM": lambda reader, _: reader._add(reader._pop(2)),
    "APPENDS": lambda reader, _: reader._add(reader._pop_mark()),
    "ADDITEMS": lambda reader, _: reader._add(reader._pop_mark()),
    "SETITEMS": lambda reader, _: reader._add(reader._pop_mark()),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "INST": _inst,
    "OBJ": _obj,
    "REDUCE": _reduce,
    "NEWOBJ": _reduce,
    "NEWOBJ_EX": _new_object_ex,
    "BUILD": _build,
    "EXT1": _extension,
    "EXT2": _extension,
    "EXT4": _extension,
    "PERSID": lambda reader, argument: reader._store(argument),
    "BINPERSID": lambda reader, _: reader._store(reader._pop(1)[0]),
}


def check_extent(value: Any) -> None:
    """Raise ValueError where a value is larger than it seems: it contains itself, or the same parts over and over.

    Walking through such a value, or hashing a tuple in it, never ends.
    """
    extent: dict[int, tuple[int, int]] = {}  # per container: values in it, and their depth
    open_: set[int] = set()
    todo: list[tuple[Any, bool]] = [(value, False)]
    while todo:
        one, done = todo.pop()
        if done:
            open_.discard(id(one))
            within = [extent.get(id(part), (1, 0)) for part in _list_parts(one)]
            extent[id(one)] = 1 + sum(count for count, _ in within), 1 + max((deep for _, deep in within), default=0)
            if extent[id(one)][1] > DEEPEST:
                raise UnusualError(f"it nests containers more than {DEEPEST} deep, which weights never do")
            if extent[id(one)][0] > MOST:
                raise UnusualError("it holds the same values over and over, which weights never do")
        elif id(one) in open_:
            raise UnusualError("it holds a value that contains itself, which weights never do")
        elif id(one) not in extent and _list_parts(one):
            open_.add(id(one))
            todo.append((one, True))
            todo.extend(
                (part, False) for part in _list_parts(one) if isinstance(part, (list, tuple, Table, Call, Stored))
            )


def _list_parts(value: Any) -> list[Any] | tuple[Any, ...]:
    """What a container holds; nothing for anything else."""
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, Table):
        return value.items
    if isinstance(value, Call):
        return [value.function, *value.parts]
    return [value.key] if isinstance(value, Stored) else []

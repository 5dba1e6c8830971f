"""What a file of weights holds, read without torch: whether it is intact, whose it is, and what it would run.

Everything that writes, resumes or loads a checkpoint asks here first. Nothing is unpickled: the weights themselves are
read by ``torch.load(weights_only=True)`` afterwards, which neither verifies the checksums of the zip file that a
checkpoint is, nor knows which run it belongs to, and allocates whatever memory a file asks for.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stress_lab.errors import RunError
from stress_lab.storage.archives import list_records, read_parts
from stress_lab.storage.pickles import Call, Content, Named, Stored, Table, UnusualError, read_pickle

MARK = "stress_lab"  # key under which our checkpoints record their run
PLAIN = {"torch", "collections", "_codecs", "numpy", "lightning", "pytorch_lightning", "stress_lab"}  # named by weights
BUILTINS = {"set", "frozenset", "complex", "bytearray", "slice", "int", "float", "bool", "str", "list", "dict", "tuple"}
OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # first bytes of files from torch before version 1.6
OLD_PARTS = 5  # pickles at their start: this one, a version, the machine, the content, the names of its arrays
LARGEST = 1 << 28  # bytes of the pickle that describes the weights, which are in separate files
BYTES = {  # per number, by the name of its storage; 1 for any other
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    **dict.fromkeys(("FloatStorage", "IntStorage", "QInt32Storage"), 4),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    "ComplexDoubleStorage": 16,
}
REBUILT = {f"torch._utils._rebuild_{kind}" for kind in ("tensor", "tensor_v2", "tensor_v3", "qtensor")}
MAKERS = ("Tensor", "bytearray")  # constructors that allocate memory from a number alone
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError, RuntimeError),
    *(OverflowError, LookupError),
)


@dataclass(frozen=True)
class Checkpoint:
    """What a file of weights reports about itself.

    Attributes:
        path: of the file.
        run: id of the run that wrote it; empty where not recorded, as in files of other programs and older versions.
        epoch: the one it holds, counted from 1; None where that is not recorded.
        ended: whether training ended with that epoch.
        resumable: whether it holds what training needs to resume.
        room: bytes of memory that its weights take.
        called: what it would call that weights never need.
        odd: why its pickle was not read to the end, though it may be intact; then nothing else is known.
    """

    path: Path
    run: str = ""
    epoch: int | None = None
    ended: bool = False
    resumable: bool = False
    room: int = 0
    called: tuple[str, ...] = ()
    odd: str = ""


def check_checkpoint(path: Path) -> Checkpoint:
    """What a file of weights reports about itself; every byte is verified by its checksum where it has one.

    Raises:
        RunError: it is truncated, damaged, not a torch checkpoint, would call what weights never need, or would take
            more memory than its numbers fill.
    """
    found = inspect_checkpoint(path)
    if found.odd:
        raise DamagedError(path, ValueError(found.odd))
    if found.called:
        raise RunError(
            f"{path} cannot be read as a checkpoint: it would call {found.called[0]}, which is never done; save the "
            "weights alone, with torch.save(net.state_dict(), FILE)"
        )
    return found


def inspect_checkpoint(path: Path) -> Checkpoint:
    """Like :func:`check_checkpoint`, for a file of the user's own run: what it would call is only listed."""
    if path.suffix == ".safetensors":
        raise RunError(f"{path} is not a torch file: torch.save(safetensors.torch.load_file(FILE), OTHER) makes one")
    try:
        with path.open("rb") as file:
            old = file.read(len(OLD)) == OLD
        return _inspect_old(path) if old else _inspect_zip(path)
    except UnusualError as error:
        return Checkpoint(path, odd=str(error))
    except BROKEN as error:
        raise DamagedError(path, error) from None
    except OSError as error:
        if error.filename is not None:  # it cannot be opened, whatever is in it
            raise
        raise DamagedError(path, error) from None


class DamagedError(RunError):
    """A file of weights is damaged; ``reason`` says how."""

    def __init__(self, path: Path, error: Exception) -> None:
        self.reason = " ".join(str(error).split())[:160]
        super().__init__(
            f"{path} cannot be read as a checkpoint: truncated, or something else ({self.reason}); use another one"
        )


def _inspect_old(path: Path) -> Checkpoint:
    """A file in torch's format before its version 1.6, which has no checksums."""
    size = path.stat().st_size
    with path.open("rb") as file:
        for _ in range(OLD_PARTS):
            for _ in pickletools.genops(file):
                pass
        end = file.tell()
        file.seek(0)
        content = file.read(end)
    parts, stream = [], io.BytesIO(content)
    while stream.tell() < len(content):
        parts.append(read_pickle(stream))
    main, called = parts[OLD_PARTS - 2], _list_strange(*parts)
    if not called:
        held = {key: number * width for key, number, width in map(_read_key, main.stored)}
        if sum(held.values()) > size:
            raise ValueError(f"its weights would take {sum(held.values()):,} bytes, but it has {size:,}")
        _check_room(main, size)
    return _describe(path, main, size, called)


def _inspect_zip(path: Path) -> Checkpoint:
    """A file in torch's current format."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        records = list_records(archive, size)
        first = next(iter(records), "").partition("/")[0]  # as torch finds them
        name = f"{first}/data.pkl"
        if name not in records:
            raise ValueError("it has no data.pkl")
        if records[name] > LARGEST:
            raise UnusualError(f"its data.pkl has {records[name]:,} bytes")
        content = _read_all(read_parts(archive, name))
    called = _list_strange(content)
    if not called:
        for key, number, width in map(_read_key, content.stored):
            held = records.get(f"{first}/data/{key}", 0)
            if number * width > held:
                raise ValueError(f"it declares {number * width:,} bytes in data/{key}, which has {held:,}")
        _check_room(content, size)
    return _describe(path, content, sum(records.values()), called)


def _read_all(pickled: bytes) -> Content:
    """The only pickle in some bytes."""
    stream = io.BytesIO(pickled)
    content = read_pickle(stream)
    if stream.tell() != len(pickled):
        raise ValueError("something follows its data.pkl")
    return content


def _read_key(stored: Stored) -> tuple[str, int, int]:
    """Key of an array outside of the pickle, the numbers in it, and the bytes of each."""
    key = stored.key
    if not isinstance(key, tuple) or len(key) < 5 or key[0] not in ("storage", b"storage"):
        raise ValueError("it refers to something that is not an array")
    kind, name, _, number = key[1:5]
    if not isinstance(kind, Named) or not isinstance(number, int) or number < 0:
        raise ValueError("it refers to an array without a size")
    return str(name), number, BYTES.get(kind.name, 1)


def _check_room(content: Content, size: int) -> None:
    """Raise ValueError where a call would take more memory than the file has bytes, or reach beyond an array."""
    for call in content.calls:
        for function, parts in _unfold(call.function, call.parts):
            if str(function) in REBUILT:
                _check_reach(parts)
            for state in parts:  # tensors in files of the oldest versions
                if isinstance(state, tuple) and len(state) > 3 and isinstance(state[0], Stored):
                    _check_reach(list(state))
            asked = math.prod(one for one in parts if isinstance(one, int) and one > 0)
            if function.name.endswith("Storage") or (function.name.endswith(MAKERS) and asked > size):
                raise ValueError(f"it would make {function} of {asked:,} numbers, but has {size:,} bytes")


def _unfold(function: Any, parts: list[Any]) -> Iterator[tuple[Named, list[Any]]]:
    """A call of a named function, and what it calls in turn."""
    if not isinstance(function, Named):
        return
    yield function, parts
    if function.name == "_rebuild_from_type_v2" and len(parts) > 2 and isinstance(parts[2], tuple):
        yield from _unfold(parts[0], list(parts[2]))


def _check_reach(parts: list[Any]) -> None:
    """Raise ValueError where a tensor needs more numbers than its array has: torch would make the array larger."""
    if not parts or not isinstance(parts[0], Stored):
        raise ValueError("it holds a tensor without an array")
    _, number, _ = _read_key(parts[0])
    offset, shape, strides = (_unwrap(part) for part in (*parts[1:4], None, None, None)[:3])
    whole = isinstance(offset, int) and isinstance(shape, tuple) and isinstance(strides, tuple)
    if not whole or not all(isinstance(one, int) and one >= 0 for one in (offset, *shape, *strides)):
        raise ValueError("it holds a tensor without a shape")
    reached = 0 if 0 in shape else offset + 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=False))
    if reached > number:
        raise ValueError(f"it holds a tensor of {reached:,} numbers in an array of {number:,}")


def _unwrap(value: Any) -> Any:
    """The tuple in ``torch.Size(tuple)``, or the value as it is."""
    sized = isinstance(value, Call) and str(value.function) == "torch.Size" and len(value.parts) == 1
    return value.parts[0] if sized else value


def _list_strange(*contents: Content) -> tuple[str, ...]:
    """What pickles would import beyond the parts of weights."""
    return tuple(
        strange
        for content in contents
        for strange in [*(str(one) for one in content.named if not _is_plain(one)), *content.others]
    )


def _is_plain(named: Named) -> bool:
    """Whether weights may legitimately name this."""
    if named.module in ("builtins", "__builtin__"):
        return named.name in BUILTINS
    return named.module.split(".")[0] in PLAIN


def _describe(path: Path, content: Content, room: int, called: tuple[str, ...]) -> Checkpoint:
    """What the dict in a checkpoint records; weights alone record nothing."""
    top = content.value if isinstance(content.value, Table) else Table([])
    mark, epoch = top.get(MARK), top.get("epoch")
    run = str(mark.get("run") or "") if isinstance(mark, Table) else ""
    if isinstance(mark, Table) and isinstance(mark.get("epoch"), int):
        epoch = mark.get("epoch")
    elif _is_number(epoch):
        epoch += 1  # Lightning counts from 0
    resumable = top.get("optimizer_states") is not None
    return Checkpoint(
        path, run, epoch if _is_number(epoch) else None, top.get("ended") is True, resumable, room, called
    )


def _is_number(value: Any) -> bool:
    """Whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)

"""Whether a file can be a checkpoint, seen in its list of contents: nothing in it is unpickled here.

The weights themselves are read by ``torch.load(weights_only=True)``, which is the guard. This look is quicker, since
torch takes seconds to import, and names what an untrusted file wanted to call.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
import zlib
from pathlib import Path
from typing import IO

from stress_lab.errors import RunError

PLAIN = {"torch", "collections", "_codecs", "numpy", "lightning", "pytorch_lightning", "stress_lab"}  # named by weights
BUILTINS = {"set", "frozenset", "complex", "bytearray", "slice", "int", "float", "bool", "str", "list", "dict", "tuple"}
OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how files begin that torch wrote before its version 1.6
OLD_PARTS = 5  # pickles at their beginning: this one, a version, the machine, the content, the names of its arrays
LARGEST = 1 << 28  # bytes of the pickle that describes the weights, which lie in files of their own


def check_checkpoint(path: Path) -> None:
    """Raise RunError where a file is truncated, no checkpoint of torch's, or wants to call what no weights need."""
    try:
        called = list_called(_read_pickles(path))
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise _unreadable(path, " ".join(str(error).split())[:160]) from None
    if called:
        raise RunError(
            f"{path} cannot be read as a checkpoint, it would call {called[0]}, which is never done: save the weights "
            "alone, by torch.save(net.state_dict(), FILE)"
        )


def _read_pickles(path: Path) -> bytes:
    """The pickles that describe the weights in a file, in torch's format of today or in that before it."""
    if path.suffix == ".safetensors":
        raise RunError(f"{path} is not a torch file: torch.save(safetensors.torch.load_file(FILE), OTHER) makes one")
    with path.open("rb") as file:
        if file.read(len(OLD)) == OLD:
            file.seek(0)
            for _ in range(OLD_PARTS):
                for _ in pickletools.genops(file):
                    pass
            end = file.tell()
            file.seek(0)
            return file.read(end)
    with zipfile.ZipFile(path) as archive:
        name = next((one for one in archive.namelist() if one.endswith("data.pkl")), None)
        if name is None:
            raise ValueError("it holds no data.pkl")
        with archive.open(name) as part:
            return part.read(LARGEST)


def _unreadable(path: Path, reason: str) -> RunError:
    """What is wrong with a checkpoint."""
    return RunError(
        f"{path} cannot be read as a checkpoint, it is truncated or something else ({reason}): use another one"
    )


def list_called(content: bytes) -> list[str]:
    """What pickles would import beyond the parts of weights, read without running it; raises ValueError if broken."""
    found: list[str] = []
    file: IO[bytes] = io.BytesIO(content)
    while file.tell() < len(content):
        texts: list[str] = []
        for code, argument, _ in pickletools.genops(file):
            if isinstance(argument, str) and "UNICODE" in code.name:
                texts.append(argument)
            named = argument if code.name in ("GLOBAL", "INST") else None
            if code.name == "STACK_GLOBAL":
                named = " ".join(texts[-2:])  # near enough: protocol 2, which torch writes, has none
            if named is not None and not _is_plain(str(named)):
                found.append(str(named).replace(" ", "."))
    return found


def _is_plain(named: str) -> bool:
    """Whether weights may name this."""
    module, _, name = named.partition(" ")
    return name in BUILTINS if module in ("builtins", "__builtin__") else module.split(".")[0] in PLAIN

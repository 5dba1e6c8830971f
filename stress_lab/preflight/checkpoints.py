"""Whether a file can be a checkpoint, told from its list of contents: nothing in it is unpickled here.

The weights themselves are read by ``torch.load(weights_only=True)``, which is the guard. This look is quicker, since
torch takes seconds to import, and names what a stranger's file wanted to call.
"""

from __future__ import annotations

import pickletools
import zipfile
import zlib
from pathlib import Path

from stress_lab.errors import RunError

PLAIN = {"torch", "collections", "_codecs", "numpy", "lightning", "pytorch_lightning", "stress_lab"}  # named by weights
BUILTINS = {"set", "frozenset", "complex", "bytearray", "slice", "int", "float", "bool", "str", "list", "dict", "tuple"}
LARGEST = 1 << 28  # bytes of the pickle that describes the weights, which lie in files of their own


def check_checkpoint(path: Path) -> None:
    """Raise RunError where a file is cut, no checkpoint of torch's, or wants to call what no weights need."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next((one for one in archive.namelist() if one.endswith("data.pkl")), None)
            if name is None:
                raise _unreadable(path, "it holds no data.pkl")
            with archive.open(name) as file:
                content = file.read(LARGEST)
        called = list_called(content)
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise _unreadable(path, " ".join(str(error).split())[:160]) from None
    if called:
        raise _unreadable(path, f"it would call {called[0]}, which is never done")


def _unreadable(path: Path, reason: str) -> RunError:
    """What is wrong with a checkpoint."""
    return RunError(f"{path} cannot be read as a checkpoint, it is cut or something else ({reason}): use another one")


def list_called(content: bytes) -> list[str]:
    """What a pickle would import beyond the parts of weights, read without running it; raises ValueError if broken."""
    found: list[str] = []
    texts: list[str] = []
    for code, argument, _ in pickletools.genops(content):
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

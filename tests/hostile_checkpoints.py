"""Files that claim to be checkpoints: each would call something, hang, or take more memory than any machine has.

A row is a name, a function that writes the file, and what the sentence says. Rows of ``TORCH`` name what weights may
name and are refused by torch alone; all others are refused before torch is asked. Where a row would call something, it
makes the folder ``executed``.
"""

import copyreg
import io
import pickle
import struct
import zipfile
from dataclasses import dataclass

import torch

CALL = b"cposix\nmkdir\n"
NAME = b"X\x08\x00\x00\x00executed"  # the text "executed"
FLOATS = b"ctorch\nFloatStorage\n"


@dataclass(frozen=True)
class Row:
    """One file: its name, what writes it, and a pattern of the sentence."""

    name: str
    write: object
    says: str


def text(value, memoize=False):
    """SHORT_BINUNICODE, which protocol 4 has."""
    return b"\x8c" + bytes([len(value)]) + value.encode() + (b"\x94" if memoize else b"")


def old_text(value):
    """BINUNICODE, which protocol 1 has."""
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    """LONG1."""
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def archive(path, pickled, compression=zipfile.ZIP_STORED, **parts):
    """A zip file as torch writes it, with any pickle."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/version", b"3\n")
        for name, content in parts.items():
            file.writestr(f"archive/data/{name.removeprefix('_')}", content)


def P(name, pickled, says, **parts):
    """A row with a pickle written by hand."""
    return Row(name, lambda path: archive(path, pickled, **parts), says)


def storage(count, key=b"0"):
    """The reference to an array of so many float32."""
    return (
        b"(X\x07\x00\x00\x00storage"
        + FLOATS
        + b"X\x01\x00\x00\x00"
        + key
        + b"X\x03\x00\x00\x00cpu"
        + number(count)
        + b"tQ"
    )


def tensor(count, shape, step=1):
    """A tensor of one dimension."""
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(count) + b"K\x00" + number(shape) + b"\x85" + number(step)
        + b"\x85\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def doubled(times, pair, empty):
    """A value that holds the one before it twice, so many times over."""
    return empty + b"q\x00" + pair * times


def write_extension(path, size):
    """A number that stands for a function since somebody registered it."""
    code = {1: 200, 2: 2000, 4: 70_000}[size]
    with_code = b"\x80\x02" + {1: b"\x82", 2: b"\x83", 4: b"\x84"}[size] + code.to_bytes(size, "little")
    if (("posix", "mkdir")) in copyreg._extension_registry:
        copyreg.remove_extension("posix", "mkdir", copyreg._extension_registry["posix", "mkdir"])
    copyreg.add_extension("posix", "mkdir", code)
    archive(path, with_code + NAME + b"\x85R.")


def forget_extensions():
    """Undo what :func:`write_extension` registered."""
    for name, code in list(copyreg._extension_registry.items()):
        if name == ("posix", "mkdir"):
            copyreg.remove_extension(*name, code)


def write_old(path, count):
    """torch's old format, whose arrays claim any size."""
    torch.save({"a": torch.ones(7)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    claim = b"K\x07N"  # the number of elements, and no view
    assert content.count(claim) == 1
    path.write_bytes(content.replace(claim, number(count) + b"N"))


def write_twice(path):
    """Two parts of one name, of which zip programs read different ones."""
    import warnings

    with zipfile.ZipFile(path, "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
        file.writestr("archive/data.pkl", b"\x80\x02" + CALL + NAME + b"\x85R.")


def write_decoy(path):
    """A harmless pickle beside the one that torch reads."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/version", b"3\n")
        file.writestr("decoy/data.pkl", b"\x80\x02}q\x00.")
        file.writestr("archive/data.pkl", b"\x80\x02" + CALL + NAME + b"\x85R.")


def write_packed(path):
    """A few kB that unpack to a gigabyte."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"\x80\x02" + tensor(1 << 24, 1 << 24) + b".")
        with file.open("archive/data/0", "w") as part:
            for _ in range(64):
                part.write(bytes(1 << 20))


def write_packed_pickle(path):
    """A pickle of nothing but Nones."""
    archive(path, b"\x80\x02(" + b"N" * (1 << 24) + b"l.", zipfile.ZIP_DEFLATED)


def write_script(path):
    """A compiled program in place of weights."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/constants.pkl", b"\x80\x02)." + b"")
        file.writestr("archive/data.pkl", b"\x80\x02c__torch__\nNet\n)\x81}b.")
        file.writestr("archive/version", b"3\n")


def write_encrypted(path):
    """Parts that say they are encrypted."""
    archive(path, b"\x80\x02}q\x00.")
    content = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + place] |= 1
    path.write_bytes(content)


def write_tar(path):
    """The format before the old one."""
    import tarfile

    with tarfile.open(path, "w") as file:
        member = tarfile.TarInfo("pickle")
        member.size = 1
        file.addfile(member, io.BytesIO(b"."))


BY_MEMO = text("posix", True) + b"0" + text("mkdir", True) + b"0" + text("collections", True) + b"0" + b"h\x00h\x01\x93"
ATTRIBUTE = b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(X\x05\x00\x00\x00posixtRX\x05\x00\x00\x00mkdirtR"
WIDE = "would make .* numbers"

ROWS = [
    P("a function by its name", b"\x80\x02" + CALL + NAME + b"\x85R.", "would call posix.mkdir"),
    P("protocol 0", b"cposix\nmkdir\n(S'executed'\ntR.", "would call posix.mkdir"),
    P("names from the memo", b"\x80\x04" + BY_MEMO + text("executed") + b"\x85R.", "would call posix.mkdir"),
    P(
        "frames of protocol 5",
        b"\x80\x05\x95" + struct.pack("<Q", 40) + BY_MEMO + text("executed") + b"\x85R.",
        "posix",
    ),
    P("INST", b"(S'executed'\niposix\nmkdir\n.", "would call posix.mkdir"),
    P("OBJ", b"(" + CALL + b"S'executed'\no.", "would call posix.mkdir"),
    P("NEWOBJ", b"\x80\x02" + CALL + NAME + b"\x85\x81.", "would call posix.mkdir"),
    P("getattr", b"\x80\x02" + ATTRIBUTE + NAME + b"\x85R.", "would call builtins.getattr"),
    P(
        "eval",
        b"\x80\x02c__builtin__\neval\n" + old_text("__import__('posix').mkdir('executed')") + b"\x85R.",
        "__builtin__.eval",
    ),
    P(
        "a result that is called",
        b"\x80\x02ccollections\nOrderedDict\n)R" + NAME + b"\x85R.",
        "the result of another call",
    ),
    P(
        "deep in a harmless state",
        b"\x80\x02}X\x01\x00\x00\x00a}X\x01\x00\x00\x00b" + CALL + NAME + b"\x85Rss.",
        "posix",
    ),
    P("a key of a dict", b"\x80\x02}" + CALL + NAME + b"\x85RK\x01s.", "would call posix.mkdir"),
    P("what is put into an object", b"\x80\x02ccollections\nOrderedDict\n)R" + CALL + NAME + b"\x85Rb.", "posix.mkdir"),
    P("a name in other letters", b"\x80\x02c" + "built\u0456ns".encode() + b"\neval\n.", "cannot be read"),
    *(Row(f"extension of {n}", lambda path, n=n: write_extension(path, n), "the extension") for n in (1, 2, 4)),
    P("a reference in text", b"Pposix.mkdir\n.", "refers to something that is not an array"),
    P("a reference to a class", b"\x80\x02(X\x06\x00\x00\x00module" + CALL + b"NNtQ.", "would call posix.mkdir"),
    P("a reference to a number", b"\x80\x02K\x01Q.", "refers to something that is not an array"),
    P("a buffer from elsewhere", b"\x80\x05\x97.", "instruction NEXT_BUFFER"),
    P("bytes larger than any file", b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"x.", "cannot be read"),
    P("a memo of billions", b"\x80\x02Nr\xff\xff\xff\x7f0h\x05.", "cannot be read"),
    P("tuples in tuples as a key", b"\x80\x02}" + doubled(60, b"h\x00\x86q\x00", b")") + b"Ns.", "over and over"),
    P("dicts in dicts", b"\x80\x02" + doubled(60, b"}K\x00h\x00sK\x01h\x00sq\x00\x86", b"}") + b".", "over and over"),
    P("a dict in itself", b"\x80\x02}q\x00K\x00h\x00s.", "contains itself"),
    P("a list in itself", b"\x80\x02]q\x00h\x00a.", "contains itself"),
    P("a deep tower", b"\x80\x02)" + b"\x85" * 100_000 + b".", "nests containers more than"),
    P("what is left over", b"\x80\x02NN.", "leaves values over"),
    P("too little", b"\x80\x02R.", "cannot be read"),
    P("no end", b"\x80\x02N", "cannot be read"),
    P("something behind the end", b"\x80\x02N." + CALL, "follows its data.pkl"),
    P("an array that is not there", b"\x80\x02" + tensor(4, 4) + b".", "declares 16 bytes in data/0"),
    P(
        "an array larger than its file",
        b"\x80\x02" + tensor(10**12, 4) + b".",
        "declares 4,000,000,000,000",
        _0=bytes(16),
    ),
    P(
        "a tensor larger than its array",
        b"\x80\x02" + tensor(4, 10**12) + b".",
        "numbers in an array of 4",
        _0=bytes(16),
    ),
    P(
        "a tensor with long strides",
        b"\x80\x02" + tensor(4, 2, 10**12) + b".",
        "numbers in an array of 4",
        _0=bytes(16),
    ),
    P("a bytearray of zeros", b"\x80\x02cbuiltins\nbytearray\n" + number(10**12) + b"\x85R.", WIDE),
    P("a new tensor", b"\x80\x02ctorch\nFloatTensor\n" + number(10**6) + number(10**6) + b"\x86R.", WIDE),
    P("a new array", b"\x80\x02ctorch.storage\nUntypedStorage\n" + number(10**12) + b"\x85R.", WIDE),
    P(
        "a new array by way of another call",
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ctorch.storage\nUntypedStorage\nctorch\nTensor\n"
        + number(10**12)
        + b"\x85}tR.",
        WIDE,
    ),
    P(
        "a call within a call within a call",
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._tensor\n_rebuild_from_type_v2\nctorch\nTensor\n"
        b"(ctorch\nFloatTensor\nctorch\nTensor\n" + number(10**12) + b"\x85}t}tR.",
        WIDE,
    ),
    P(
        "a tensor that is given a larger array",
        b"\x80\x02ctorch\nTensor\n)R(" + storage(4) + b"K\x00" + number(10**12) + b"\x85K\x01\x85tb.",
        "numbers in an array of 4",
        _0=bytes(16),
    ),
    P(
        "a tensor of an array that is made for it",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(ctorch.storage\nTypedStorage\nK\x04\x85RK\x00"
        + number(10**12)
        + b"\x85K\x01\x85\x89NtR.",
        "TypedStorage|without an array",
    ),
    Row(
        "the old format with a large claim", lambda path: write_old(path, 10**12), "would take 4,000,000,000,000 bytes"
    ),
    Row("two parts of one name", write_twice, "two parts with the same name"),
    Row("a decoy", write_decoy, "would call posix.mkdir"),
    Row("compressed zeros", write_packed, "would unpack to"),
    Row("a compressed pickle", write_packed_pickle, "would unpack to"),
    Row("a compiled program", write_script, "would call __torch__.Net"),
    Row("encryption", write_encrypted, "cannot be read"),
    Row("a tar", write_tar, "cannot be read"),
]
LOADS = b"ctorch.storage\n_load_from_bytes\n"
INNER = pickle.dumps(b"", 2)
TORCH = [
    P("a frame larger than any file", b"\x80\x05\x95" + struct.pack("<Q", 1 << 62) + b"N.", "cannot be read"),
    P("a pickle in a pickle", b"\x80\x02" + LOADS + b"C\x01x\x85R.", "cannot be read as a checkpoint"),
    P("torch.hub", b"\x80\x02ctorch.hub\nload\n" + NAME + b"\x85R.", "cannot be read as a checkpoint"),
    P("torch.load", b"\x80\x02ctorch.serialization\nload\n" + NAME + b"\x85R.", "cannot be read as a checkpoint"),
    P("numpy's loader", b"\x80\x02cnumpy\nload\n" + NAME + b"\x85R.", "cannot be read as a checkpoint"),
    P("a decoder", b"\x80\x02c_codecs\ndecode\n" + NAME + b"\x85R.", "cannot be read as a checkpoint"),
]

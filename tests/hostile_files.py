"""Hostile files: tiny, but claiming much, contradicting themselves, or trying to be executed.

A row: what makes the file in an empty folder and returns its path, what reads it as a command would, and words of the
one sentence that must come of it (none: it is read, at no cost). ``tests/test_hostile_files.py`` runs them.
"""

import gzip
import io
import os
import pickle
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from stress_lab.data.images import ImageData, ImageSplit
from stress_lab.data.sources import cifar10, fashion_mnist
from stress_lab.data.sources.cache import cached
from stress_lab.data.sources.decoding import read_image
from stress_lab.data.sources.folder import read_tree
from stress_lab.files import load_json
from stress_lab.prediction_files import read_prediction_files
from stress_lab.records import Predictions
from stress_lab.runs.folder import RunDir
from stress_lab.storage.checkpoint_files import check_checkpoint
from tests.bad_inputs import Evil, a_png_that_claims, make_tree, write_checkpoint

MEGABYTE = 1 << 20
GIGABYTE = 10**9


@dataclass(frozen=True)
class Row:
    """A hostile file.

    Attributes:
        name: for a person.
        make: writes it into a folder and returns its path.
        read: reads it.
        words: of the answer; empty where it is read.
        available: bytes of memory that the machine is taken to have.
    """

    name: str
    make: Any
    read: Any
    words: str
    available: int | None = None


# how they are read


def predictions(path):
    labels = path.with_name("labels.csv")
    return read_prediction_files([path], labels if labels.is_file() else None)


def tree(path):
    return read_tree(next(parent for parent in path.parents if parent.name == "tree"))


def batch(path):
    return cifar10._decode_batch(path, "0" * 32)


def idx(path):
    return fashion_mnist.read_idx(path, "0" * 32)


def record(path):
    return RunDir(path.parents[1]).load_predictions("test")


def cache(path):
    """Returns only where the images are those that were put in."""
    images = np.arange(32, dtype=np.uint8).reshape(2, 1, 4, 4)
    made = ImageData({"train": ImageSplit(images, np.arange(2))}, ("a", "b"), "here", "order")
    data = cached("thing", [path.parents[2] / "source"], "", lambda _: made)
    np.testing.assert_array_equal(data.splits["train"].images, images)
    assert data.classes == ("a", "b")
    return data


# NPZ


def head(shape, kind="<i8", fortran=False):
    """The head of an array in NumPy's format."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": kind, "fortran_order": fortran, "shape": shape})
    return buffer.getvalue()


def deflate(start, zeros):
    """A raw deflate stream of some bytes and then zeros, made without compressing all of them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(MEGABYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    rest = packer.compress(bytes(zeros % MEGABYTE)) + packer.flush()
    return first + block * (zeros // MEGABYTE) + rest


def write_zip(path, members, flags=0):
    """A zip archive of ``(name, raw content, method, size that it claims)``."""
    body, directory = b"", b""
    for name, raw, method, size in members:
        claimed = struct.pack("<III", zlib.crc32(raw) if method == 0 else 0, len(raw), min(size, 0xFFFFFFFF))
        start = struct.pack("<HHHHH", 20, flags, method, 0, 0x21) + claimed
        extra = struct.pack("<HHQ", 1, 8, size) if size >= 0xFFFFFFFF else b""
        encoded = name.encode()
        directory += (
            b"PK\x01\x02"
            + struct.pack("<H", 20)
            + start
            + struct.pack("<HHHHHII", len(encoded), len(extra), 0, 0, 0, 0, len(body))
            + encoded
            + extra
        )
        body += b"PK\x03\x04" + start + struct.pack("<HH", len(encoded), 0) + encoded + raw
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(directory), len(body), 0)
    path.write_bytes(body + directory + end)
    return path


def zeros(name, shape, kind="<i8", fortran=False):
    """A compressed array of zeros."""
    start, size = head(shape, kind, fortran), int(np.prod(shape, dtype=object)) * np.dtype(kind).itemsize
    return f"{name}.npy", deflate(start, size), 8, len(start) + size


def plain(name, array):
    """An uncompressed array."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return f"{name}.npy", buffer.getvalue(), 0, len(buffer.getvalue())


def npz(*members, flags=0, labels=None):
    """A file of predictions of some members, perhaps beside labels of so many images."""

    def make(place):
        if labels:
            lines = "".join(f"{number},{number % 2}\n" for number in range(labels))
            (place / "labels.csv").write_text(f"id,label\n{lines}")
        return write_zip(place / "a.npz", [member() if callable(member) else member for member in members], flags)

    return make


SMALL = [plain("id", np.arange(3)), plain("label", np.array([0, 1, 0]))]
PROBS = np.array([[0.5, 0.5], [0.2, 0.8], [1, 0]])


def saved(**arrays):
    def make(place):
        np.savez(place / "a.npz", **arrays)
        return place / "a.npz"

    return make


def long_head():
    """Four billion bytes of a head, of which the file has four thousand."""
    raw = b"\x93NUMPY\x02\x00" + struct.pack("<I", 4 * GIGABYTE) + b" " * 4000
    return "id.npy", raw, 0, len(raw)


def compressed_head():
    """A head of 600 MB of zeros, compressed."""
    size = 600 * MEGABYTE
    start = b"\x93NUMPY\x02\x00" + struct.pack("<I", size)
    return "id.npy", deflate(start, size), 8, len(start) + size


def nested_zip():
    buffer = io.BytesIO()
    np.savez(buffer, id=np.arange(3))
    return "id.npy", buffer.getvalue(), 0, len(buffer.getvalue())


def half_lzma(place):
    with zipfile.ZipFile(place / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        for name, raw, _, _ in SMALL:
            archive.writestr(name, raw)
    content = bytearray((place / "a.npz").read_bytes())
    content[60:80] = bytes(20)
    (place / "a.npz").write_bytes(content)
    return place / "a.npz"


def big_zip64(place):
    with zipfile.ZipFile(place / "a.npz", "w") as archive:
        for name, raw, _, _ in [*SMALL, plain("probs", PROBS)]:
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(raw)
    return place / "a.npz"


MANY = 50_000_000
NPZ = [
    Row(
        "ids that repeat",
        npz(lambda: zeros("id", (MANY,)), lambda: zeros("label", (MANY,)), lambda: zeros("pred", (MANY,))),
        predictions,
        "rows repeat the id of another, first 0: keep one row per image",
    ),
    Row(
        "more rows than labels",
        npz(lambda: zeros("id", (MANY,)), lambda: zeros("pred", (MANY,)), labels=3),
        predictions,
        "has 50,000,000 rows, but",
    ),
    Row(
        "scores of more rows than ids",
        npz(*SMALL, lambda: zeros("probs", (MANY, 2), "<f4")),
        predictions,
        "probs does not have 3 rows like id: write it again",
    ),
    Row(
        "columns of more rows than ids",
        npz(*SMALL, lambda: zeros("prob_0", (MANY,), "<f4"), lambda: zeros("prob_1", (MANY,), "<f4")),
        predictions,
        "prob_0 does not have 3 rows like id: write it again",
    ),
    Row(
        "labels of more rows than ids",
        npz(plain("id", np.arange(3)), plain("pred", np.arange(3)), lambda: zeros("label", (MANY,))),
        predictions,
        "label has 50000000 rows, id has 3: write one per image",
    ),
    Row(
        "a matrix held whole",
        npz(
            plain("id", np.arange(9999)),
            plain("label", np.arange(9999) % 2),
            lambda: zeros("probs", (9999, 90000), "<f8", True),
        ),
        predictions,
        "in Fortran order, would take 7.2 GB of memory or more, but only 1.0 GB is available",
        GIGABYTE,
    ),
    Row(
        "ids of 100 kB",
        npz(
            lambda: zeros("id", (20_000,), "<U25000"),
            plain("label", np.arange(20_000) % 2),
            plain("pred", np.arange(20_000) % 2),
        ),
        predictions,
        "would take 2.0 GB of memory or more, but only 1.0 GB is available: read it where",
        GIGABYTE,
    ),
    Row(
        "200 million rows",
        npz(lambda: ("id.npy", head((200_000_000,)), 0, 128), *SMALL[1:], plain("pred", np.arange(3))),
        predictions,
        "declares 200,000,000 rows",
    ),
    Row(
        "a class name of a megabyte",
        npz(SMALL[0], lambda: zeros("label", (3,), "<U300000"), plain("pred", np.arange(3))),
        predictions,
        "write short ids and real classes",
    ),
    Row(
        "a directory that promises what cannot be",
        npz(*SMALL, ("probs.npy", deflate(head((3, 90_000), "<f8"), 0), 8, 128 + 3 * 90_000 * 8)),
        predictions,
        "the file is truncated",
    ),
    Row(
        "eight gigabytes in a hundred bytes",
        npz(("id.npy", deflate(head((MANY * 2,)), 0), 8, 128 + MANY * 16), SMALL[1], plain("pred", np.arange(3))),
        predictions,
        "the file is truncated",
    ),
    Row(
        "stored bytes that are not there",
        npz(("id.npy", head((MANY,)), 0, 128 + MANY * 8), SMALL[1], plain("pred", np.arange(3))),
        predictions,
        "holds less than its header declares",
    ),
    Row(
        "bytes after an array",
        npz(SMALL[0], SMALL[1], ("pred.npy", plain("pred", np.arange(3))[1] + bytes(9), 0, 161)),
        predictions,
        "holds more than its header declares: write the file again",
    ),
    Row(
        "a head of four gigabytes",
        npz(long_head, SMALL[1], plain("pred", np.arange(3))),
        predictions,
        "has a header of 4,000,000,000 bytes: the file is damaged",
    ),
    Row(
        "a compressed head of 600 MB",
        npz(compressed_head, SMALL[1], plain("pred", np.arange(3))),
        predictions,
        "has a header of 629,145,600 bytes",
    ),
    Row(
        "pickled ids",
        saved(id=np.array([Evil()] * 3), label=np.arange(3), pred=np.arange(3)),
        predictions,
        "never loaded",
    ),
    Row(
        "pickled scores",
        saved(id=np.arange(3), label=np.array([0, 1, 0]), probs=np.array([[Evil()] * 2] * 3)),
        predictions,
        "never loaded",
    ),
    Row(
        "a member twice",
        npz(SMALL[0], SMALL[0], SMALL[1], plain("pred", np.arange(3))),
        predictions,
        "has the column 'id' 2 times: keep one",
    ),
    Row(
        "names that climb",
        npz(("../../id.npy", *SMALL[0][1:]), ("/pred.npy", *SMALL[0][1:])),
        predictions,
        "has no column id (it has ../../id, /pred): call",
    ),
    Row("an encrypted member", npz(*SMALL, plain("probs", PROBS), flags=1), predictions, "is encrypted"),
    Row(
        "a zip in a zip",
        npz(nested_zip, SMALL[1], plain("pred", np.arange(3))),
        predictions,
        "cannot be read (the magic string is not correct",
    ),
    Row("a damaged LZMA member", half_lzma, predictions, "a.npz"),
    Row(
        "a structured type",
        saved(id=np.zeros(3, [("a", "i8"), ("b", "f4")]), label=np.arange(3), pred=np.arange(3)),
        predictions,
        "Unsupported numpy type",
    ),
    Row(
        "a negative length",
        npz(("id.npy", head((-3,)), 0, 128), SMALL[1], plain("pred", np.arange(3))),
        predictions,
        "has shape (-3,)",
    ),
    Row(
        "not a number",
        saved(id=np.arange(3), label=np.array([0, 1, 0]), probs=PROBS * [[np.nan, 1]]),
        predictions,
        "probs[0] is missing, NaN or infinite for id 0",
    ),
    Row(
        "infinite logits",
        saved(id=np.arange(3), label=np.array([0, 1, 0]), logits=PROBS + np.array([1, np.inf])),
        predictions,
        "is missing, NaN or infinite",
    ),
    Row("zip64 where none is needed", big_zip64, predictions, ""),
]


# Parquet


def parquet(**options):
    columns = options.pop("columns")

    def make(place):
        pq.write_table(pa.table(columns()), place / "a.parquet", **options)
        return place / "a.parquet"

    return make


def constant(rows, value=0):
    """A column of one value, which takes a byte a row before it is written, and nothing then."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), pa.array([value]))


def counted(rows):
    return {
        "columns": lambda: {"id": np.arange(rows), "label": constant(rows, "x" * 200_000), "pred": constant(rows, "y")}
    }


def long_list():
    lists = pa.ListArray.from_arrays(
        pa.array([0, 2, 4, 1_000_000], pa.int32()), pa.array(np.zeros(1_000_000, np.float32))
    )
    return {"id": np.arange(3), "label": [0, 1, 0], "probs": lists}


def longer_list():
    lists = pa.ListArray.from_arrays(pa.array([0, 2, 4, 90_000], pa.int32()), pa.array(np.zeros(90_000, np.float32)))
    return {"id": np.arange(3), "label": [0, 1, 0], "probs": lists}


def footer(length):
    def make(place):
        (place / "a.parquet").write_bytes(b"PAR1" + bytes(100) + struct.pack("<I", length) + b"PAR1")
        return place / "a.parquet"

    return make


def corrupt_footer(place):
    path = parquet(columns=lambda: {"id": [1, 2], "label": [0, 1], "pred": [0, 1]})(place)
    content = bytearray(path.read_bytes())
    content[-200:-100] = b"\xff" * 100
    path.write_bytes(content)
    return path


def run_record(damage=None, table=None):
    """The predictions of a run."""

    def make(place):
        run = RunDir(place / "run")
        run.save_config({"variant": "a", "seed": 1})
        logits = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
        run.save_predictions("test", Predictions(np.arange(50), np.arange(50) % 4, logits))
        path = run.predictions_file("test")
        if table:
            pq.write_table(pa.table(table()), path)
        if damage:
            path.write_bytes(damage(path.read_bytes(), logits))
        return path

    return make


def flip(content, logits):
    """One bit of one logit."""
    place = content.index(logits[20:22].tobytes())
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def bomb_of_a_run():
    lists = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(5_000_000, np.float32)), 1)
    return {"index": constant(5_000_000).cast(pa.int64()), "label": constant(5_000_000), "logits": lists}


PARQUET = [
    Row(
        "ids that repeat",
        parquet(columns=lambda: {"id": constant(5_000_000), "label": constant(5_000_000), "pred": constant(5_000_000)}),
        predictions,
        "rows repeat the id of another, first 0",
    ),
    Row(
        "text ids that repeat",
        parquet(
            columns=lambda: {
                "id": constant(1_000_000, "x" * 90_000),
                "label": constant(1_000_000),
                "pred": constant(1_000_000),
            }
        ),
        predictions,
        "rows repeat the id of another",
    ),
    Row(
        "a dictionary of one long name",
        parquet(**counted(2_000_000)),
        predictions,
        "label holds a value of 200,000 bytes: write short ids and classes",
    ),
    Row(
        "more memory than there is",
        parquet(
            columns=lambda: {"id": np.arange(1_000_000), "label": constant(1_000_000), "pred": constant(1_000_000)}
        ),
        predictions,
        "GB of memory or more, but only 0.01 GB is available",
        10**7,
    ),
    Row(
        "prefixes that are shared",
        parquet(
            columns=lambda: {"id": [f"{'x' * 150_000}{k}" for k in range(100)], "label": [0] * 100, "pred": [0] * 100},
            use_dictionary=False,
            column_encoding={"id": "DELTA_BYTE_ARRAY"},
        ),
        predictions,
        "id holds a value of 150,00",
    ),
    Row(
        "a list of a million",
        parquet(columns=long_list),
        predictions,
        "probs has 1,000,000 numbers in 3 rows: write one per class",
    ),
    Row(
        "lists of unequal length",
        parquet(columns=longer_list),
        predictions,
        "probs has lists of 2 and of more numbers: write one per class",
    ),
    Row(
        "labels that are lists",
        parquet(columns=lambda: {"id": np.arange(3), "label": [[0], [1], list(range(90_000))], "pred": [0, 1, 0]}),
        predictions,
        "label holds list<",
    ),
    Row(
        "labels that are lists of lists",
        parquet(columns=lambda: {"id": np.arange(3), "label": [[[0]], [[1]], [[2]]], "pred": [0, 1, 0]}),
        predictions,
        "not one value per image",
    ),
    Row("a footer of two gigabytes", footer(0x7FFFFFFF), predictions, "cannot be read"),
    Row("a footer of zeros", footer(100), predictions, "cannot be read"),
    Row("a footer that is damaged", corrupt_footer, predictions, "a.parquet"),
    Row("one bit of a run's logits", run_record(flip), record, "cannot be read"),
    Row("one bit of a run's logits, compared as a file", run_record(flip), predictions, "cannot be read"),
    Row(
        "a run's predictions of one image",
        run_record(table=bomb_of_a_run),
        record,
        "images occur twice): stress-lab evaluate run=",
    ),
]


# CSV


def text(content, name="a.csv"):
    def make(place):
        (place / name).write_bytes(content() if callable(content) else content)
        return place / name

    return make


def zipped(start, block, times):
    """A gzip file of some bytes and a block many times, made without compressing all of them."""
    return lambda: gzip.compress(start) + gzip.compress(block) * times


CSV = [
    Row(
        "a million columns",
        text(b"id,label," + b",".join(b"prob_%d" % k for k in range(1_000_000)) + b"\n1,0\n"),
        predictions,
        "has 1,000,002 columns: write one per class",
    ),
    Row(
        "fifteen million columns, zipped",
        text(zipped(b"id,label", b",a" * MEGABYTE, 14)),
        predictions,
        "columns: write one per class",
    ),
    Row(
        "a line of a gigabyte",
        text(zipped(b"id,pred\n1,", b"a" * MEGABYTE, 1000)),
        predictions,
        "a row is longer than 16 MB",
    ),
    Row("a header of a gigabyte", text(zipped(b"id", b"a" * MEGABYTE, 1000)), predictions, "a.csv"),
    Row("a gigabyte of nothing", text(zipped(b"", bytes(MEGABYTE), 1000)), predictions, "or not text at all"),
    Row(
        "a gigabyte of one row",
        text(zipped(b"id,pred,label\n", b"1,0,0\n" * 170_000, 1000)),
        predictions,
        "rows repeat the id of another, first 1",
    ),
    Row("an unclosed quote", text(zipped(b'id,pred,label\n1,"', b"a\n" * (MEGABYTE // 2), 40)), predictions, "a.csv"),
    Row("a newline in a quoted id", text(b'id,pred,label\n"1\n2",0,0\n3,1,0\n'), predictions, ""),
    Row(
        "an id of a million digits",
        text(b"id,pred,label\n" + b"1" * MEGABYTE + b",0,0\n2,1,1\n"),
        predictions,
        "id holds a value of 1,048,576 bytes",
    ),
    Row(
        "a probability of a million digits",
        text(b"id,label,prob_0,prob_1\n1,0,0.5,0.5\n2,0," + b"9" * MEGABYTE + b",0\n"),
        predictions,
        "prob_0",
    ),
    Row(
        "infinite probabilities",
        text(b"id,label,prob_0,prob_1\n1,0,inf,-inf\n2,1,nan,1\n"),
        predictions,
        "is missing, NaN or infinite",
    ),
    Row("zeros in the middle", text(b"id,pred,label\n" + b"1,0,0\n" * 20 + bytes(5000)), predictions, "a.csv"),
    Row(
        "JSON by another name",
        text(b'{"id": ' + b"1" * MEGABYTE + b"}"),
        predictions,
        "is JSON: write it as CSV, Parquet or NPZ",
    ),
    Row("a pickle by another name", text(pickle.dumps(Evil())), predictions, "is a pickle, which is never loaded"),
]


# images


def picture(content, name="a.png"):
    return text(content, name)


def in_tree(content, name="0.png"):
    """A file among twelve images of 12×12 pixels."""

    def make(place):
        make_tree(place)
        path = place / "tree" / "train" / "dog" / name
        path.write_bytes(content)
        return path

    return make


def a_tiff_that_claims(width, height):
    """Baseline tags only, and no pixels."""
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, 9),
    ]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4)


def a_webp_that_claims(width, height):
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + sizes
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def a_bmp_that_claims(width, height):
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info


def a_jpeg_that_claims(width, height):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, format="JPEG")
    content = bytearray(buffer.getvalue())
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def a_jp2_whose_stream_claims(width, height):
    """The box around it tells 8×8 pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, format="JPEG2000")
    content = bytearray(buffer.getvalue())
    place = content.index(b"\xff\x51") + 6
    content[place : place + 8] = struct.pack(">II", width, height)
    return bytes(content)


def a_text_chunk(kind, size):
    """A PNG of one pixel with compressed text of so many bytes."""
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, format="PNG")
    content, packed = buffer.getvalue(), zlib.compress(b"a" * size)
    data = b"a\0\0" + packed
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content[:33] + chunk + content[33:]


def many_frames(kind):
    def make(place):
        frames = [Image.new("L", (8, 8), k) for k in range(200)]
        frames[0].save(place / "a.png", format=kind, save_all=True, append_images=frames[1:])
        return place / "a.png"

    return make


def looped_tiff():
    """A TIFF whose second directory is its first."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, format="TIFF")
    content = bytearray(buffer.getvalue())
    (start,) = struct.unpack("<I", content[4:8])
    (count,) = struct.unpack("<H", content[start : start + 2])
    content[start + 2 + 12 * count : start + 6 + 12 * count] = struct.pack("<I", start)
    return bytes(content)


def sparse(content, size, name="a.png"):
    """A file that takes no place on the disk but claims much."""

    def make(place):
        (place / name).write_bytes(content)
        os.truncate(place / name, size)
        return place / name

    return make


TOO_MANY = "pixels, more than 50,000,000: remove it"
UNREADABLE = "cannot be read as an image"
IMAGES = [
    Row("PNG of ten gigapixels", picture(a_png_that_claims(100_000, 100_000)), read_image, "a.png"),
    Row("PNG of a hundred megapixels", picture(a_png_that_claims(10_000, 10_000)), read_image, TOO_MANY),
    Row("TIFF of a hundred megapixels", picture(a_tiff_that_claims(10_000, 10_000)), read_image, TOO_MANY),
    Row("TIFF of four gigapixels", picture(a_tiff_that_claims(65_535, 65_535)), read_image, UNREADABLE),
    Row(
        "GIF of four gigapixels",
        picture(
            b"GIF89a"
            + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0)
            + b","
            + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0)
            + b"\x08\x01\x01\0;"
        ),
        read_image,
        "a.png",
    ),
    Row("WebP of 268 megapixels", picture(a_webp_that_claims(16_383, 16_383)), read_image, UNREADABLE),
    Row("BMP of four exapixels", picture(a_bmp_that_claims(2**31 - 1, 2**31 - 1)), read_image, "a.png"),
    Row("BMP of ten megapixels without pixels", picture(a_bmp_that_claims(4000, 2500)), read_image, UNREADABLE),
    Row("PPM of ten gigapixels", picture(b"P6 99999 99999 255\n"), read_image, "a.png"),
    Row("JPEG of four gigapixels", picture(a_jpeg_that_claims(65_500, 65_500)), read_image, "a.png"),
    Row("JPEG 2000 whose stream is larger", picture(a_jp2_whose_stream_claims(60_000, 60_000)), read_image, UNREADABLE),
    Row(
        "PNG of another size than the others",
        in_tree(a_png_that_claims(7_000, 7_000)),
        tree,
        "0.png has 7000×7000 pixels, but",
    ),
    Row("compressed text in a PNG", picture(lambda: a_text_chunk(b"zTXt", 80 * MEGABYTE)), read_image, "a.png"),
    Row(
        "WebP of two gigabytes",
        sparse(a_webp_that_claims(8, 8), 2 * GIGABYTE),
        read_image,
        "has more than 1,073,741,824 bytes: save it as one image",
    ),
    Row(
        "PNG with a chunk of two gigabytes",
        sparse(a_png_that_claims(8, 8)[:33] + struct.pack(">I", 2**31 - 1) + b"tEXt", 2 * GIGABYTE),
        read_image,
        "bytes: save it as one image",
    ),
    Row(
        "PostScript",
        picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(executed) (w) file closefile\n"),
        read_image,
        UNREADABLE,
    ),
    Row("GIF of 200 frames", many_frames("GIF"), read_image, ""),
    Row("TIFF of 200 pages", many_frames("TIFF"), read_image, ""),
    Row("WebP of 200 frames", many_frames("WEBP"), read_image, ""),
    Row("TIFF whose pages go in circles", picture(looped_tiff), read_image, ""),
]


# data sets, checkpoints, records, caches


def deflated_checkpoint(place):
    raw = deflate(b"\x80\x02", 100 * MEGABYTE)
    return write_zip(place / "a.ckpt", [("archive/data.pkl", raw, 8, 2 + 100 * MEGABYTE)])


def checkpoint(content, member="archive/data.pkl"):
    def make(place):
        write_checkpoint(place / "a.ckpt", content, member)
        return place / "a.ckpt"

    return make


def entry(name, content):
    """The cache's entry of two images, one of whose files is something else."""

    def make(place):
        (place / "source").write_text("x")
        os.environ["STRESS_LAB_CACHE"] = str(place / "cache")
        cache(place / "cache" / "entry" / name)
        (found,) = (place / "cache").iterdir()
        (found / name).write_bytes(content)
        return found / name

    return make


FILES = [
    Row(
        "Fashion-MNIST of a gigabyte",
        text(zipped(b"", bytes(MEGABYTE), 1000), "x-ubyte.gz"),
        idx,
        "is truncated or altered",
    ),
    Row(
        "a batch of three gigabytes",
        sparse(b"\x80\x02", 3 * GIGABYTE, "data_batch_1"),
        batch,
        "does not have its published checksum",
    ),
    Row(
        "a batch that calls",
        text(pickle.dumps({"data": Evil()}), "data_batch_1"),
        batch,
        "does not have its published checksum",
    ),
    Row(
        "a checkpoint that calls",
        checkpoint(pickle.dumps({"state_dict": Evil()}, 2)),
        check_checkpoint,
        "which is never done",
    ),
    Row("a checkpoint of zeros", deflated_checkpoint, check_checkpoint, "cannot be read as a checkpoint"),
    Row("a checkpoint without weights", checkpoint(b"", "../../x"), check_checkpoint, "has no data.pkl"),
    Row(
        "a checkpoint with a number of a million digits",
        checkpoint(b"\x80\x02L" + b"1" * MEGABYTE + b"\n."),
        check_checkpoint,
        "cannot be read as a checkpoint",
    ),
    Row("nested JSON", text(b"[" * 500_000, "status.json"), load_json, "is not valid JSON"),
    Row("JSON with a number of a million digits", text(b"1" * MEGABYTE, "status.json"), load_json, "is not valid JSON"),
    Row("a cache's names as null", entry("meta.json", b"null"), cache, ""),
    Row("a cache's names, nested", entry("meta.json", b"[" * 500_000), cache, ""),
    Row("a cache's digests, nested", entry("digests.json", b"[" * 500_000), cache, ""),
    Row(
        "a cache's images with an endless head",
        entry("train_images.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff"),
        cache,
        "",
    ),
    Row("a cache's images of petabytes", entry("train_images.npy", head((10**6, 3, 10**5, 10**5), "|u1")), cache, ""),
    Row("a cache's labels of terabytes", entry("train_labels.npy", head((10**12,))), cache, ""),
    Row(
        "a cache's labels, pickled", entry("train_labels.npy", head((2,), "|O") + pickle.dumps([Evil()] * 2)), cache, ""
    ),
]

ROWS = {
    f"{kind}: {row.name}": row
    for kind, rows in {"npz": NPZ, "parquet": PARQUET, "csv": CSV, "image": IMAGES, "file": FILES}.items()
    for row in rows
}

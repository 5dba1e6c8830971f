"""CSV files as spreadsheets and other programs write them: their delimiter, encoding, compression and decimal sign."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from stress_lab.errors import RunError
from stress_lab.prediction_files.names import tidy_headers
from stress_lab.prediction_files.tables import (
    MAX_WIDTH,
    Declared,
    Ration,
    readable,
    refuse_bombs,
    refuse_columns,
    side_by_side,
)
from stress_lab.records import FloatArray

NUMBERS = re.compile(r"confidence|probs|logits|(prob|logit)_.*")  # columns of numbers; all others are text
BLOCK = 1 << 24  # bytes per part; a row must fit
HEAD = 1 << 16  # bytes that show the dialect of a file
COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2", b"\x04\x22\x4d\x18": "lz4"}
SUFFIXES = (".gz", ".zst", ".bz2", ".lz4")  # of compressed files
MARKS = {  # byte order marks, longer ones first
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
FOREIGN = {
    b"PAR1": "is a Parquet file: rename it to end in .parquet",
    b"PK\3\4": "is a zip archive or an Excel sheet: rename an .npz to end in .npz, and save a sheet as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "is an old Excel sheet: save it as CSV (UTF-8)",
    b"\x93NUMPY": "is a .npy file: write it with numpy.savez('a.npz', id=…, probs=…)",
    b"\x89HDF": "is an HDF5 file: write its columns as CSV, Parquet or NPZ",
    b"ARROW1": "is an Arrow (Feather) file: write it as Parquet",
    b"{": "is JSON: write it as CSV, Parquet or NPZ",
    b"\x80": "is a pickle, which is never loaded: write it as CSV, Parquet or NPZ",
}
A_NUMBER = r"^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|(?i:nan|inf|infinity))$"
WITH_COMMA = r"^\s*[+-]?[0-9]+(,[0-9]+)?\s*$"
DELIMITERS = (",", "\t", ";", "|")
TOO_LONG = "a row is longer than 16 MB: write one row per image, and close every quote"


@dataclass(frozen=True)
class Dialect:
    """The dialect of a file."""

    compression: str | None
    encoding: str
    delimiter: str
    skipped: int  # lines before the header
    commas: bool  # whether numbers may have decimal commas


def read_suffix(path: Path) -> tuple[str, bool]:
    """The suffix of the format, in lower case, and whether a compression suffix follows."""
    compressed = path.suffix.lower() in SUFFIXES
    return Path(path.stem if compressed else path.name).suffix.lower(), compressed


def find_dialect(path: Path) -> Dialect:
    """Detect the dialect of a file from its first bytes.

    Raises:
        RunError: it is empty, or not text.
    """
    with readable(path):
        with open(path, "rb") as file:
            start = file.read(8)
        compression = next((kind for magic, kind in COMPRESSED.items() if start.startswith(magic)), None)
        with pa.input_stream(str(path), compression=compression) as stream:
            head = stream.read(HEAD)
            while b"\n" not in head and b"\r" not in head and len(head) < BLOCK and (more := stream.read(HEAD)):
                head += more
    encoding = next((name for mark, name in MARKS.items() if head.startswith(mark)), "utf8")
    _refuse_foreign(path, head, encoding)
    lines = head.decode(encoding, errors="replace").lstrip("\ufeff").splitlines()
    lines = [line for line in lines if line.strip()] or [""]
    _refuse_wide(path, lines[:2])
    separator = re.fullmatch(r"sep=(.)", lines[0])  # a first line that only Excel reads
    skipped = 1 if separator and len(lines) > 1 else 0
    delimiter = separator[1] if separator and skipped else _find_delimiter(lines[0])
    commas = delimiter != "," or bool(re.search(r'"[+-]?\d*,\d+"', "\n".join(lines[1:])))
    return Dialect(compression, encoding, delimiter, skipped, commas)


def _refuse_wide(path: Path, lines: Sequence[str]) -> None:
    """Raise RunError for a header with more columns than there can be classes, before splitting it."""
    for line in lines:
        refuse_columns(path, 1 + max(map(line.count, DELIMITERS)) if len(line) > MAX_WIDTH else 1)


def _refuse_foreign(path: Path, head: bytes, encoding: str) -> None:
    """Raise RunError for a file that is not text."""
    if not head.removeprefix(b"\xef\xbb\xbf").strip():
        raise RunError(f"{path} is empty: write a header, such as id,pred, and one row per image")
    what = next((what for magic, what in FOREIGN.items() if head.startswith(magic)), None)
    if what:
        raise RunError(f"{path} {what}")
    if encoding == "utf8" and b"\0" in head[:64]:
        raise RunError(f"{path} is UTF-16 without a byte order mark, or not text at all: save it as UTF-8")


def _find_delimiter(header: str) -> str:
    """The delimiter after the id column, else the one that separates most columns."""
    split = {delimiter: _split(header, delimiter) for delimiter in DELIMITERS}
    named = [delimiter for delimiter, names in split.items() if {"id", "index"} & set(names)]
    return named[0] if named else max(split, key=lambda delimiter: len(split[delimiter]))


def _split(header: str, delimiter: str) -> tuple[str, ...]:
    """Column names with this delimiter."""
    try:
        return _name_columns(next(csv.reader([header], delimiter=delimiter), []))
    except csv.Error:
        return ()


def _name_columns(header: Sequence[str]) -> tuple[str, ...]:
    """Tidied column names; NumPy starts a header with a hash sign."""
    return tidy_headers([name.removeprefix("# ") if k == 0 else name for k, name in enumerate(header)])


class CsvTable:
    """A delimited text file with a header."""

    def __init__(self, path: Path) -> None:
        self.path, self._dialect = path, find_dialect(path)
        with self._explained(), self._reader(None, ahead=False) as reader:
            self._header = tuple(reader.schema.names)
        self.columns = _name_columns(self._header)
        if len(self.columns) == 1 and {"id", "index"} & set(self.columns[0].split()[:-1]):
            raise RunError(f"{path} separates its columns by spaces: separate them by commas")

    def declare(self, names: Sequence[str]) -> list[Declared]:
        """Only the size of the file, a lower bound for text; not even that if it is compressed."""
        size = None if self._dialect.compression else self.path.stat().st_size
        return [Declared(size=size)] * len(names)

    def peek(self, name: str) -> pa.Array:
        """The first rows of a column, possibly none."""
        with self._explained():
            return next((part.column(0) for part in self._stream([name], ahead=False) if len(part)), pa.array([]))

    def read(self, names: Sequence[str]) -> dict[str, pa.Array]:
        """Whole columns: text unchanged, numbers as float32."""
        ration, parts = Ration(self.path), []
        with self._explained():
            for part in self._stream(names):
                ration.add(names, part.columns)
                parts.append(part)
            columns = {name: pa.concat_arrays([part.column(k) for part in parts]) for k, name in enumerate(names)}
        if self._dialect.commas:
            return {
                name: _without_commas(column) if not NUMBERS.fullmatch(name) else column
                for name, column in columns.items()
            }
        return columns

    def matrices(self, names: Sequence[str], rows: int) -> Generator[FloatArray, None, None]:
        """(B, K) float32, with as many rows as a part of the file holds."""
        with self._explained():
            for part in self._stream(names):
                yield side_by_side(self.path, names, part.columns)

    def _stream(self, names: Sequence[str], ahead: bool = True) -> Iterator[pa.RecordBatch]:
        """Parts with the columns in the order of ``names``; one empty part for a file without rows."""
        written = dict(zip(self.columns, self._header, strict=True))
        raw = [written[name] for name in names]
        types = [pa.float32() if NUMBERS.fullmatch(name) else pa.large_string() for name in names]
        yield pa.record_batch([pa.array([], kind) for kind in types], names=raw)
        as_written = [pa.large_string()] * len(raw) if self._dialect.commas else types
        options = pacsv.ConvertOptions(include_columns=raw, column_types=dict(zip(raw, as_written, strict=True)))
        n = 0
        with self._reader(options, ahead) as reader:
            for part in reader:
                n += len(part)
                refuse_bombs(self.path, n)
                yield self._convert(part, names) if self._dialect.commas else part

    @contextmanager
    def _reader(self, options: pacsv.ConvertOptions | None, ahead: bool) -> Iterator[pacsv.CSVStreamingReader]:
        """The parts of the file; ``ahead`` reads as many in parallel as there are cores."""
        dialect = self._dialect
        read = pacsv.ReadOptions(
            use_threads=ahead, block_size=BLOCK, encoding=dialect.encoding, skip_rows=dialect.skipped
        )
        parse = pacsv.ParseOptions(delimiter=dialect.delimiter)
        with (
            pa.input_stream(str(self.path), compression=dialect.compression) as stream,
            pacsv.open_csv(stream, read, parse, options) as reader,
        ):
            yield reader

    def _convert(self, part: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
        """Columns of numbers, read as text, as float32; raises RunError where they have decimal commas and points."""
        numbers = {name: column for name, column in zip(names, part.columns, strict=True) if NUMBERS.fullmatch(name)}
        signs = {sign for sign in ",." if any(pc.any(pc.match_substring(c, sign)).as_py() for c in numbers.values())}
        if len(signs) == 2:
            raise RunError(f"{self.path} has decimal commas and decimal points: write points throughout")
        read = {name: self._read_numbers(column, name) for name, column in numbers.items()}
        columns = [read.get(name, column) for name, column in zip(names, part.columns, strict=True)]
        return pa.record_batch(columns, names=part.schema.names)

    def _read_numbers(self, column: pa.Array, name: str) -> pa.Array:
        """Text as float32, with decimal points or commas; raises RunError for what is not a number."""
        text = pc.utf8_trim_whitespace(pc.replace_substring(column, ",", "."))
        text = pc.if_else(pc.is_in(text, value_set=pa.array(["", "NA", "N/A", "null"], text.type)), None, text)
        others = column.filter(pc.invert(pc.match_substring_regex(text, A_NUMBER)))
        if len(others):
            raise RunError(self._describe_text(name, others[0].as_py()))
        return pc.replace_substring_regex(text, r"^\+", "").cast(pa.float32())

    def _describe_text(self, name: str, value: str) -> str:
        """The message for a numeric column that holds something else."""
        hint = ", with decimal points" if re.fullmatch(r"[+-]?\d*,\d+", value) else ""
        return f"{self.path}: column {name} holds {value[:40]!r}, which is not a number: write numbers{hint}"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the reader's errors into a RunError that says what is wrong and where."""
        with readable(self.path):
            try:
                yield
            except (pa.ArrowInvalid, UnicodeDecodeError) as error:
                sentence = self._explain(" ".join(str(error).split()))
                if sentence is None:
                    raise
                raise RunError(sentence) from None

    def _explain(self, message: str) -> str | None:
        """The sentence for a reader error."""
        if "invalid UTF8" in message or "utf-8" in message:
            return f"{self.path} {_describe_encoding(self.path, self._dialect.compression)}"
        if "straddl" in message or "Row longer" in message:
            return f"{self.path}: {TOO_LONG}"
        wrong = re.search(r"CSV column #(\d+): .*invalid value '(.*)'", message)
        if wrong:
            return self._describe_text(self.columns[int(wrong[1])], wrong[2])
        row = re.search(r"Expected (\d+) columns, got (\d+): ?(.*)", message)
        if row:
            return f"{self.path}: {_describe_row(int(row[1]), int(row[2]), row[3][:60], self._dialect.delimiter)}"
        return None


def _describe_row(expected: int, got: int, row: str, delimiter: str) -> str:
    """The message for a row whose number of values differs from the header's."""
    sign = {"\t": "tab", " ": "space"}.get(delimiter, delimiter)
    hint = (
        f"put values that contain a {sign!r} in quotes, and write numbers with decimal points"
        if got > expected
        else "write every value; perhaps the file is truncated"
    )
    return f"the header names {expected} columns, but a row has {got} ({row}): {hint}"


def _describe_encoding(path: Path, compression: str | None) -> str:
    """Where a file stops being UTF-8."""
    where = ""
    with pa.input_stream(str(path), compression=compression) as stream:
        line, decoder = 1, codecs.getincrementaldecoder("utf-8")()
        while part := stream.read(HEAD):
            try:
                line += decoder.decode(part).count("\n")
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                where = f"byte 0x{error.object[error.start]:02x} in line {line}; "
                break
    return (
        f"is not UTF-8 ({where}perhaps Latin-1 or Windows-1252): save it as UTF-8, for instance with "
        f"iconv -f WINDOWS-1252 -t UTF-8 {path.name} > new.csv"
    )


def _without_commas(column: pa.Array) -> pa.Array:
    """A column of numbers with decimal commas, with points instead; other text unchanged."""
    if not pc.all(pc.match_substring_regex(column, WITH_COMMA)).as_py():
        return column
    return pc.replace_substring(column, ",", ".")

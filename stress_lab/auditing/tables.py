"""A table of files and labels: CSV or TSV, every value as text."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from stress_lab.errors import DataError


def read_table(path: Path, key: str) -> dict[str, list[str]]:
    """The columns of a table, by name; separated by what the first line has most of: comma, semicolon or tab.

    Raises:
        DataError: it cannot be opened or read, or has no rows.
    """
    try:
        with path.open("rb") as stream:
            head = stream.readline(1 << 16).decode("utf-8-sig", "replace")
    except OSError as error:
        raise DataError(f"{key}={path} cannot be opened ({error.strerror or error}): give a CSV file") from None
    separator = max(",;\t", key=head.count)
    names = [name.strip().strip('"') for name in head.rstrip("\r\n").split(separator)]
    types = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    try:
        table = csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=separator), convert_options=types)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read as a table ({' '.join(str(error).split())[:200]}): save it as CSV"
        ) from None
    if not table.num_rows:
        raise DataError(f"{path} has no rows below its header: write file,label and one line for each image")
    return {name.strip(): [str(one) for one in table[name].to_pylist()] for name in table.column_names}

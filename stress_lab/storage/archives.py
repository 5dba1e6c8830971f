"""Zip files read with doubt: every part by its checksum, and none that would unpack to far more than the file has."""

from __future__ import annotations

import zipfile

SHRUNK = 4  # how many times smaller weights may be in a file; torch itself does not compress


FOLDER, ENCRYPTED = 0x10, 0x2061  # flag bits of a part in a zip file; the second also marks patches


PIECE = 1 << 20  # bytes that are read at a time


def list_records(archive: zipfile.ZipFile, size: int) -> dict[str, int]:
    """Bytes that each part of a zip file unpacks to, by its name."""
    records = {one.filename: one.file_size for one in archive.infolist()}
    if len(records) != len(archive.infolist()):
        raise ValueError("it holds two parts with the same name")
    if sum(records.values()) > SHRUNK * size:
        raise ValueError(f"it would unpack to {sum(records.values()):,} bytes, but it has {size:,}")
    return records


def read_parts(archive: zipfile.ZipFile, name: str) -> bytes:
    """One part of a zip file, after reading all of them, which raises where a checksum is wrong.

    A file without checksums, from ``torch.serialization.set_crc32_options(False)``, is accepted as it is.
    """
    parts = archive.infolist()
    for one in parts:
        _check_entry(one)
    unchecked = not any(one.CRC for one in parts)
    wanted = b""
    for one in parts:
        if unchecked:
            del one.CRC
        if one.filename == name:
            wanted = archive.read(one)
        elif not unchecked:
            with archive.open(one) as part:
                while part.read(PIECE):
                    pass
    return wanted


def _check_entry(one: zipfile.ZipInfo) -> None:
    """Raise ValueError where torch would read a part differently than Python does.

    Torch treats a part marked as a folder as empty, and its numbers are whatever was in memory.
    """
    folder = bool(one.external_attr & FOLDER) and not one.filename.endswith("/")
    sizes = one.compress_type == zipfile.ZIP_STORED and one.compress_size != one.file_size
    if folder or sizes or one.flag_bits & ENCRYPTED or one.volume:
        raise ValueError(f"its headers for the part {one.filename} contradict each other")

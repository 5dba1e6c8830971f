"""Normalised spelling of ids, headers, labels and class names: both sides of every match use these functions."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")  # a whole number as ``by_value`` spells it
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")
BOOLEANS = ("false", "true")

_INTEGER = r"^([+-]?)0*([0-9]+?)(\.0*)?$"
_DECIMAL = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def tidy(text: pa.Array) -> pa.Array:
    """Text in Unicode's composed form (NFC), without the spaces around it."""
    text = pc.utf8_trim_whitespace(text)
    if pc.all(pc.string_is_ascii(text)).as_py() is not False:
        return text
    return pc.utf8_normalize(text, form="NFC")


def by_value(text: pa.Array) -> pa.Array:
    """Tidied text with one spelling per value: 1.0, 01, +1 and 1e0 are 1, 0.50 is 0.5, True and TRUE are true."""
    text = pc.replace_substring_regex(text, "^(True|TRUE)$", BOOLEANS[1])
    text = pc.replace_substring_regex(text, "^(False|FALSE)$", BOOLEANS[0])
    others = pc.and_(pc.match_substring_regex(text, _DECIMAL), pc.invert(pc.match_substring_regex(text, _INTEGER)))
    if pc.any(others).as_py():
        numbers = pc.replace_substring_regex(text.filter(others), r"^\+", "").cast(pa.float64())
        text = pc.replace_with_mask(text, others, _spell(numbers, text.filter(others)))
    text = pc.replace_substring_regex(text, _INTEGER, r"\1\2")
    return pc.replace_substring_regex(pc.replace_substring_regex(text, r"^\+([0-9]+)$", r"\1"), "^-0$", "0")


def _spell(numbers: pa.Array, otherwise: pa.Array) -> pa.Array:
    """Whole float64 as whole numbers, others with the fewest digits; infinite ones as written."""
    whole = pc.and_(pc.equal(numbers, pc.floor(numbers)), pc.less(pc.abs(numbers), 2.0**63))
    integers = pc.if_else(whole, numbers, 0.0).cast(pa.int64()).cast(otherwise.type)
    return pc.if_else(whole, integers, pc.if_else(pc.is_finite(numbers), numbers.cast(otherwise.type), otherwise))


def are_numbers(text: pa.Array) -> bool:
    """Whether every value is a number, in any notation."""
    return bool(pc.all(pc.match_substring_regex(text, _DECIMAL)).as_py())


def tidy_headers(headers: Sequence[str]) -> tuple[str, ...]:
    """Tidied column names."""
    return tuple(tidy(pa.array(headers, pa.large_string())).to_pylist())


def name_classes(names: Sequence[str]) -> tuple[str, ...]:
    """Class names in their normalised spelling."""
    return tuple(by_value(tidy(pa.array(names, pa.large_string()))).to_pylist())


def find_lookalikes(names: Iterable[str]) -> tuple[str, str] | None:
    """Two names that differ only in case, Unicode form, spaces or invisible characters."""
    folded = sorted((_fold(name), name) for name in set(names))
    return next(((first[1], second[1]) for first, second in pairwise(folded) if first[0] == second[0]), None)


def find_nearest(name: str, names: Sequence[str]) -> str | None:
    """The name that looks most like one that was not found."""
    folded = {_fold(one): one for one in reversed(names)}
    near = difflib.get_close_matches(_fold(name), list(folded)[:10_000], n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def _fold(name: str) -> str:
    """A name as a reader sees it; single letters keep their case, since letters can be separate classes."""
    visible = "".join(one for one in unicodedata.normalize("NFKC", name) if unicodedata.category(one) != "Cf")
    words = " ".join(visible.split())
    return words if len(words) == 1 else unicodedata.normalize("NFKC", words.casefold())

"""A comparison to JSON and back; it also reads older records, which lack some numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from cattrs import Converter, transform_error
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from stress_lab.comparison.evidence import Evidence, ModelsEvidence, RecipesEvidence
from stress_lab.comparison.result import Comparison, Data
from stress_lab.errors import RunError

EVIDENCE = {"models": ModelsEvidence, "recipes": RecipesEvidence}


def to_record(found: Any) -> Any:
    """A comparison, or a part of one, as plain values by field name, as in ``comparison.json``."""
    return _converter().unstructure(found)


def from_record(record: Mapping[str, Any], where: str = "comparison.json") -> Comparison:
    """The comparison of a record.

    Args:
        record: what ``comparison.json`` holds.
        where: the place it was read from, for the message.

    Raises:
        RunError: it is not the record of a comparison.
    """
    known = {"alarms": [one for one in record.get("guard", ()) if one.get("alarm")], **record}  # older ones lack it
    try:
        return _converter().structure(known, Comparison)
    except Exception as error:  # a record may hold anything
        raise RunError(f"{where} does not hold a comparison ({transform_error(error)[0]}): compare again") from None


@cache
def _converter() -> Converter:
    """Fields named in a class's ``FLAT`` are stored beside its other keys, not below them."""
    converter = Converter(unstruct_collection_overrides={tuple: list})
    converter.register_unstructure_hook_factory(_is_flat, lambda cls: _flattening(converter, cls))
    converter.register_structure_hook_factory(_is_flat, lambda cls: _gathering(converter, cls))
    converter.register_structure_hook(Evidence, lambda value, _: converter.structure(value, EVIDENCE[value["unit"]]))
    absent = override(omit_if_default=True)  # prediction files do not have these
    converter.register_unstructure_hook(
        Data, make_dict_unstructure_fn(Data, converter, test_fingerprint=absent, sizes=absent)
    )
    converter.register_unstructure_hook(
        Comparison, make_dict_unstructure_fn(Comparison, converter, lost=override(omit=True))
    )
    return converter


def _is_flat(cls: Any) -> bool:
    return dataclasses.is_dataclass(cls) and hasattr(cls, "FLAT")


def _flattening(converter: Converter, cls: type) -> Callable[[Any], dict[str, Any]]:
    """How a dataclass with flat fields becomes a dictionary."""
    plain: Callable[[Any], dict[str, Any]] = make_dict_unstructure_fn(cls, converter)

    def flatten(value: Any) -> dict[str, Any]:
        record = plain(value)
        for name in cls.FLAT:  # type: ignore[attr-defined]
            record |= record.pop(name)
        return record

    return flatten


def _gathering(converter: Converter, cls: type) -> Callable[[Mapping[str, Any], Any], Any]:
    """How a dictionary becomes a dataclass with flat fields: each is built from the keys that are not its own."""
    plain: Callable[[Mapping[str, Any], Any], Any] = make_dict_structure_fn(cls, converter)
    own = {field.name for field in dataclasses.fields(cls)} - set(cls.FLAT)  # type: ignore[attr-defined]

    def gather(record: Mapping[str, Any], _: Any) -> Any:
        rest = {key: value for key, value in record.items() if key not in own}
        return plain({**record, **dict.fromkeys(cls.FLAT, rest)}, cls)  # type: ignore[attr-defined]

    return gather

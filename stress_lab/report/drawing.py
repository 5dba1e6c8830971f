"""Vega-Lite drawn as SVG when the page is made, so that charts show without scripts and print."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as Xml

import vl_convert
from markupsafe import Markup

SVG = "http://www.w3.org/2000/svg"
WIDTH = 460  # pixels that a chart is drawn for; narrower and wider columns scale it
KEPT = {"viewBox", "d", "x", "y", "x1", "y1", "x2", "y2", "width", "height", "r", "cx", "cy", "dx", "dy", "transform"}
KEPT |= {"fill", "stroke", "opacity", "font-family", "font-size", "font-weight", "text-anchor", "clip-path", "id"}
KEPT |= {"stroke-width", "stroke-dasharray", "fill-opacity", "stroke-opacity", "stroke-miterlimit", "offset"}
DEFAULTS = {("opacity", "1"), ("x2", "0"), ("y2", "0"), ("stroke-width", "1"), ("font-weight", "normal")}


def draw_svg(spec: Mapping[str, Any], place: str) -> Markup:
    """A chart as an ``svg`` element whose marks say their values when pointed at.

    Args:
        spec: Vega-Lite whose ``description`` becomes the accessible name, and the ``description`` of a mark its words.
        place: on the page, unique; ids begin with it.
    """
    sized = {**spec, "width": WIDTH, "autosize": {"type": "fit-x", "contains": "padding"}}
    root = Xml.fromstring(vl_convert.vegalite_to_svg(sized))
    for element in list(root.iter()):
        _tidy(element, place)
    _drop_empty(root)
    root.attrib |= {"role": "img", "aria-label": str(spec["description"]), "class": "drawn"}
    Xml.register_namespace("", SVG)
    return Markup(Xml.tostring(root, encoding="unicode"))


def _tidy(element: Xml.Element, place: str) -> None:
    """Keep what draws, with words for the pointer; a chart has one name, not one for every mark."""
    words = element.get("aria-label") if element.get("role") == "graphics-symbol" else None
    is_axis = "axis" in element.get("aria-roledescription", "") or "legend" in element.get("aria-roledescription", "")
    for name, value in list(element.attrib.items()):
        if name not in KEPT or (name, value) in DEFAULTS:
            del element.attrib[name]
        elif name == "id":
            element.set(name, f"{place}-{value}")
        elif value.startswith("url(#"):
            element.set(name, value.replace("url(#", f"url(#{place}-"))
        elif name in ("d", "transform"):
            element.set(name, re.sub(r"(\.\d\d)\d+", r"\1", value))  # hundredths of a pixel
    if words and not is_axis:
        title = Xml.Element(f"{{{SVG}}}title")
        title.text = words
        element.insert(0, title)


def _drop_empty(element: Xml.Element) -> None:
    """Remove paths without length and groups without content, of which Vega leaves many."""
    for child in list(element):
        _drop_empty(child)
        tag = child.tag.rpartition("}")[2]
        if (tag == "path" and child.get("d", "") in ("", "M0,0h0v0h0Z")) or (tag == "g" and not len(child)):
            element.remove(child)

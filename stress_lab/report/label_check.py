"""A page to check labels by eye: one image at a time, yes and no keys, and a file of corrections at the end."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from stress_lab.figures.tiles import as_rgb, fit
from stress_lab.plain_text import printable

TEMPLATES = Path(__file__).parent / "templates"
CRISP = 64  # images up to this side keep every pixel
SIDE = 320  # pixels of larger ones


def digest_checks(items: Sequence[Mapping[str, Any]], pictures: bool) -> str:
    """What names a page: the images that it asks about, and whether it shows them."""
    text = json.dumps([list(items), pictures], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def render_label_check(
    items: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    title: str,
    images: NDArray[np.uint8] | None = None,
) -> str:
    """The page as text; it fetches nothing and sends nothing.

    Args:
        items: for each image ``id``, ``given`` (its label) and ``may_be`` (another class, or None), in their order.
        classes: K names to choose from.
        title: of the page.
        images: (n, C, H, W) in the order of the items; None shows only the names.
    """
    shown = [{**one, "said": printable(str(one["id"]))} for one in items]
    if images is not None:
        shown = [{**one, "picture": encode_picture(image)} for one, image in zip(shown, images, strict=True)]
    data = {"items": shown, "classes": list(classes), "key": digest_checks(items, images is not None)}
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
    text = json.dumps(data).replace("<", "\\u003c")
    page = environment.get_template("label_check.html")
    return page.render(title=printable(title), data=Markup(text), key=data["key"])


def encode_picture(image: NDArray[np.uint8]) -> str:
    """A ``data:`` address of an image (C, H, W): PNG where it is small, else a reduced JPEG."""
    picture, buffer = as_rgb(image), io.BytesIO()
    if max(picture.size) <= CRISP:
        kind = "png"
        picture.save(buffer, format=kind, optimize=True)
    else:
        kind = "jpeg"
        fit(picture, SIDE).save(buffer, format=kind, quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"

"""Pictures of one pixel, for tests that look at other files of a comparison."""

from PIL import Image

from stress_lab.publishing import exports


def save_blank(figure, stem, formats):
    """What ``exports.save_print`` writes, with nothing in it."""
    saved = [stem.with_name(f"{stem.name}.{kind}") for kind in formats]
    for path in saved:
        Image.new("RGB", (1, 1)).save(path, format="PNG")
    return saved


def blank_exports(monkeypatch):
    """Draw no figure of a comparison; a real one takes a second."""
    monkeypatch.setattr(exports, "draw_summary", lambda *_: None)
    monkeypatch.setattr(exports, "DRAWN", dict.fromkeys(exports.DRAWN, lambda *_: True))
    monkeypatch.setattr(exports, "save_print", save_blank)

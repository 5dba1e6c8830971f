"""How Sphinx builds these pages (``make docs``): without a network, and a warning is an error."""

import importlib.metadata
import re
from typing import Any

from sphinx.application import Sphinx

project = "stress_lab"
release = importlib.metadata.version("stress_lab")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "stress_lab"
html_show_copyright = False
html_show_sourcelink = False

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_use_legacy_class_based = True  # the other way stumbles over functions of scipy that a module imports
napoleon_numpy_docstring = False


def escape_bars(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep ``|difference|`` in a docstring as it is written: reStructuredText would look for a substitution."""
    lines[:] = [
        "".join(part if part.startswith("``") else part.replace("|", r"\|") for part in re.split("(``.*?``)", line))
        for line in lines
    ]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", escape_bars)

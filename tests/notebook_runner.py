"""Run a notebook in a folder."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def execute(name, folder, monkeypatch, **replace):
    """Run a notebook with the values of some assignments replaced; returns the outputs of its code cells."""
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    book = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    for cell in book.cells:
        for variable, value in replace.items():
            lines = cell.source.split("\n")
            cell.source = "\n".join(
                f"{variable} = {value}" if line.startswith(f"{variable} = ") else line for line in lines
            )
    client = NotebookClient(
        book, timeout=600, startup_timeout=180, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return [cell.outputs for cell in book.cells if cell.cell_type == "code"]


def pictures(outputs):
    """How many pictures the cells show."""
    return sum("image/png" in output.get("data", {}) for cell in outputs for output in cell)

"""Both notebooks run from top to bottom on the bundled sample."""

import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from stress_lab import train
from tests.test_sweep_end_to_end import run_command

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def execute(name, folder, monkeypatch, **replace):
    """Run a notebook in a folder, with the values of some assignments replaced; returns its outputs by cell."""
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    book = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    for cell in book.cells:
        for variable, value in replace.items():
            lines = [
                f"{variable} = {value}" if line.startswith(f"{variable} = ") else line
                for line in cell.source.split("\n")
            ]
            cell.source = "\n".join(lines)
    client = NotebookClient(book, timeout=170, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute()
    return [cell.outputs for cell in book.cells if cell.cell_type == "code"]


def pictures(outputs):
    return sum("image/png" in output.get("data", {}) for cell in outputs for output in cell)


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_the_walkthrough_teaches_with_real_results(tmp_path, monkeypatch):
    outputs = execute(
        "fashion_mnist_walkthrough",
        tmp_path,
        monkeypatch,
        EPOCHS=repr("1 trainer.limit_train_batches=20 threads=1 model.width=8"),
    )
    text = str(outputs)
    assert "11,172,810 parameters" in text
    assert "layer3 (256, 7, 7)" in text
    assert "adam_step against sgd_constant, seed 42" in text
    assert pictures(outputs) >= 6
    table = next(
        o["data"]["text/plain"] for cell in outputs for o in cell if "first / last block" in str(o.get("data"))
    )
    (ratio_with, loss_with), (ratio_without, loss_without) = (
        map(float, line.split()[-2:]) for line in table.split("\n") if line.startswith("with")
    )
    assert ratio_without > 20 * ratio_with
    assert loss_with < loss_without - 0.3


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_a_sweep_opens(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick = ["trainer=smoke", "model.width=4", "callbacks.gradcam.limit=2", "threshold=0.05", "threads=1"]
    assert run_command(monkeypatch, train.main, "-m", "experiment=demo", *quick) == 0
    outputs = execute("open_a_sweep", tmp_path, monkeypatch)
    assert pictures(outputs) >= 4
    assert "0_baseline_seed42" in str(outputs[0])


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs_or_paths(path):
    book = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in book.cells)
    assert "/home/" not in path.read_text()
    assert sys.prefix not in path.read_text()

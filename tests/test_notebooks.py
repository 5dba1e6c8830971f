"""The walk-through runs from top to bottom on the bundled sample; the other one runs in test_sweep_end_to_end."""

import sys

import nbformat
import pytest

from tests.notebook_runner import NOTEBOOKS, execute, pictures

QUICK = (
    "1 trainer.limit_train_batches=12 threads=1 model.width=8 "
    "callbacks.gradcam.limit=1 callbacks.predictions.train_examples=200 +comparison.report=false"
)


@pytest.mark.processes
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_the_walkthrough_teaches_with_real_results(tmp_path, monkeypatch):
    outputs = execute(
        "fashion_mnist_walkthrough",
        tmp_path,
        monkeypatch,
        EPOCHS=repr(QUICK),
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


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs_or_paths(path):
    book = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in book.cells)
    assert "/home/" not in path.read_text()
    assert sys.prefix not in path.read_text()

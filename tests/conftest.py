"""Synthetic data with known truth; nothing here needs a network.

Heavy packages are imported within fixtures: the process that hands out the tests reads this file too, and runs none.
"""

import copy
import gc
import logging
from functools import cache

import numpy as np
import pytest

gc.disable()  # until all is imported, of which nothing is garbage

SLOW_FIRST = (
    "test_sweep_end_to_end",
    "test_notebooks",
    "test_ranks",
    "test_bad_input",
    "test_early_stopping",
    "test_launch",
    "test_resume",
    "test_page",
    "test_board",
    "test_wholeness",
    "test_trust",
    "test_documented_commands",
)


def pytest_collection_modifyitems(items):
    """Start the long files first, so that two workers end together."""
    rank = {f"{name}.py": place for place, name in enumerate(SLOW_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


def pytest_collection_finish():
    """Spare the imported modules each later look of the garbage collector."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure():
    """Let Python look at all of them once more when it ends; libraries complain of what is left."""
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="module")
def _own_garbage():
    """Let a file that tests leave open in a cycle of references fail in their module, and in no later one."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _heard_loggers():
    """Enable all our loggers: a command that configured logging in an earlier test disabled those it found."""
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith(("stress_lab", "hydra_plugins")) and isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture(autouse=True, scope="session")
def _own_key(tmp_path_factory):
    """Never sign with the user's key, nor in what several tests share."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("STRESS_LAB_KEY", str(tmp_path_factory.getbasetemp() / "key"))
        yield


@pytest.fixture(autouse=True, scope="session")
def _small_matrices():
    """Every run measures what the processor can do, for a second or more; here by a smaller product."""
    from stress_lab.callbacks import throughput

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setitem(throughput.SIDE, "cpu", 256)
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Workers side by side would wait for each other's threads."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _composing_once():
    """Hydra takes a third of a second for each config, most of it for files that are the same for all."""
    from tests.composing import composing_once

    with composing_once():
        yield


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """Never read or write the user's cache or data."""
    monkeypatch.setenv("STRESS_LAB_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("STRESS_LAB_DATA", raising=False)


@cache
def _compose_once(folder, name, overrides):
    """Hydra takes a third of a second, and many tests ask for the same config."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(version_base="1.3", config_dir=str(folder)):
        return compose(name, list(overrides))


@pytest.fixture
def compose_config():
    """Compose ``conf/train.yaml`` with overrides."""
    from hydra.core.global_hydra import GlobalHydra

    from stress_lab.preflight.configs import config_folder
    from stress_lab.sweeps import resolvers  # noqa: F401  (which the configs use)

    def make(*overrides, name="train"):
        GlobalHydra.instance().clear()
        return copy.deepcopy(_compose_once(config_folder(), name, overrides))

    return make


@pytest.fixture(scope="module")
def blank_figures():
    """Figures of one pixel: drawing takes half the time of a short training, and most tests look at other records."""
    from PIL import Image

    from stress_lab import recording
    from stress_lab.publishing import side_by_side, write
    from tests.blank import blank_exports

    with pytest.MonkeyPatch.context() as monkeypatch:
        for module in (recording, side_by_side, write):
            for name, value in list(vars(module).items()):
                if name.startswith("draw_") and value.__module__.startswith("stress_lab.figures"):
                    monkeypatch.setattr(module, name, lambda *arguments, **options: Image.new("RGB", (1, 1)))
        blank_exports(monkeypatch)
        yield


@pytest.fixture
def make_predictions():
    """Predictions with a given accuracy, so that the truth is known."""
    from stress_lab.records import Predictions

    def make(right, n_classes=10, seed=0, sharpness=3.0):
        right = np.asarray(right, dtype=bool)
        rng = np.random.default_rng(seed)
        label = rng.integers(0, n_classes, len(right))
        pred = np.where(right, label, (label + 1) % n_classes)
        logits = rng.normal(size=(len(right), n_classes)).astype(np.float32) * 0.1
        logits[np.arange(len(right)), pred] += sharpness + rng.random(len(right)).astype(np.float32)
        return Predictions(np.arange(len(right)), label, logits)

    return make


@pytest.fixture
def make_tree(tmp_path):
    """A class-folder tree of random images: ``{split: {class: count}}``."""
    from PIL import Image

    def make(counts, size=(12, 12), mode="RGB", root=tmp_path / "tree"):
        rng = np.random.default_rng(0)
        for split, classes in counts.items():
            for label, count in classes.items():
                folder = root / split / label
                folder.mkdir(parents=True, exist_ok=True)
                for number in range(count):
                    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
                    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
                    Image.fromarray(pixels, mode=None).save(folder / f"{number:03d}.png")
        return root

    return make


@pytest.fixture
def write_run(tmp_path, make_predictions):
    """A finished run with planted right and wrong answers."""
    from stress_lab.evaluation import evaluate_predictions
    from stress_lab.records import DatasetSpec, RunInfo
    from stress_lab.runs.folder import RunDir

    def write(
        name,
        variant,
        right,
        seed=1,
        train=None,
        val=None,
        classes=tuple("abcdefghij"),
        fingerprint="same",
        threshold=0.7,
        state="finished",
        duplicates=None,
        predictions=None,
        others=(),
    ):
        run = RunDir(tmp_path / name)
        run.save_config({"name": "planted", "variant": variant, "seed": seed, "threshold": threshold})
        run.save_info(RunInfo(variant, seed, state, "now", seconds=1.5))
        spec = DatasetSpec(
            "x",
            classes,
            1,
            2,
            2,
            (0.5,),
            (0.2,),
            {},
            "here",
            "order",
            {"test": fingerprint, **dict(others)},
            duplicates,
        )
        run.save_spec(spec)
        run.save_history([{"epoch": e + 1, "val/acc": v, "lr": 0.1} for e, v in enumerate([0.5, 0.85, 0.9])])
        for split, answers in (("test", right), ("val", val), ("train", train)):
            if answers is not None:
                made = predictions if split == "test" and predictions is not None else make_predictions(answers)
                run.save_predictions(split, made)
                run.save_evaluation(split, evaluate_predictions(run.load_predictions(split), classes, threshold))
        return run

    return write

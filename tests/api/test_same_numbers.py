"""Arrays give, to the last bit, what the same arrays give as files of ``stress-lab compare``."""

import numpy as np
import pytest

import stress_lab as sl
from stress_lab.cli.compare import compare_files
from stress_lab.files import load_json
from stress_lab.prediction_files.scoring import softmax
from stress_lab.preflight.comparison_rules import make_options
from tests.api.conftest import answer

pytestmark = pytest.mark.usefixtures("blank_figures")
NAMES = ("cat", "dog", "emu", "fox")


def run_command(folder, files, labels=None, **chosen):
    """What the command leaves of files, given by variant."""
    from omegaconf import OmegaConf

    cfg = make_options()
    OmegaConf.set_struct(cfg, False)
    cfg.predictions = {name: [str(path) for path in paths] for name, paths in files.items()}
    cfg.labels = None if labels is None else str(labels)
    cfg.out, cfg.report, cfg.resamples = str(folder / "command"), False, 300
    for key, value in chosen.items():
        cfg[key] = value
    compare_files(cfg)
    return load_json(folder / "command" / "comparison.json")


def without_names(record):
    """A record without what says whether its runs are files or arrays."""
    if isinstance(record, dict):
        left_out = {"folder", "source", "name", "id", "notes", "first_pair", "title", "runs"}
        kept = {key: value for key, value in record.items() if key not in left_out or (key == "runs" and value)}
        return {key: without_names(value) for key, value in kept.items() if not _is_name(key, value)}
    return [without_names(one) for one in record] if isinstance(record, list) else record


def _is_name(key, value):
    names = key == "runs" and isinstance(value, list) and isinstance(value[0], str)
    return names or (key in ("a", "b") and isinstance(value, str) and ", " in value)


def write(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("kind", ["logits", "probs", "labels", "named"])
def test_arrays_and_files_give_the_same_record(tmp_path, old, new, labels, kind):
    models, columns = {"old": old, "new": new}, {}
    for name, logits in models.items():
        probs = softmax(logits)
        models[name] = {"logits": logits, "probs": probs, "named": logits, "labels": probs.argmax(1)}[kind]
        held = {"pred": models[name]} if kind == "labels" else {kind: models[name]}
        if kind == "named":
            held = {f"logit_{one}": logits[:, k] for k, one in enumerate(NAMES)}
        columns[name] = write(tmp_path / f"{name}.npz", id=np.arange(len(labels)), label=labels, **held)
    command = run_command(tmp_path, {name: [path] for name, path in columns.items()}, threshold=0.6)
    settings = {"resamples": 300, "threshold": 0.6, "classes": NAMES if kind == "named" else None}
    found = sl.compare(models, labels, kind="logits" if kind == "named" else kind, **settings)
    saved = load_json(found.save(tmp_path / "saved", report=False) / "comparison.json")
    assert without_names(saved) == without_names(command)
    assert len(saved["questions"]) == (1 if kind == "labels" else 2)
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {
        path.name for path in (tmp_path / "command").iterdir()
    }


def test_several_seeds_give_the_same_record(tmp_path, labels):
    seeds = {
        "old": [answer(labels, 1.0, seed) for seed in (1, 2)],
        "new": [answer(labels, 1.2, seed) for seed in (3, 4, 5)],
    }
    files = {
        name: [write(tmp_path / f"{name}{k}.npz", id=np.arange(len(labels)), logits=one) for k, one in enumerate(runs)]
        for name, runs in seeds.items()
    }
    truth = write(tmp_path / "labels.npz", id=np.arange(len(labels)), label=labels)
    command = run_command(tmp_path, files, truth, primary=["accuracy"], level=0.9)
    found = sl.compare(seeds, labels, resamples=300, primary=["accuracy"], level=0.9)
    saved = load_json(found.save(tmp_path / "s", report=False) / "comparison.json")
    assert without_names(saved) == without_names(command)
    assert [one["unit"] for one in found.to_dict()["questions"]] == ["recipes"]


def test_the_order_of_rows_does_not_count_where_images_have_names(old, new, labels):
    order = np.random.default_rng(3).permutation(len(labels))
    names = np.array([f"{number}.png" for number in range(len(labels))])
    first = sl.Predictions.from_logits(old, labels, index=names)
    second = sl.Predictions.from_logits(new[order], labels[order], index=names[order])
    mixed, plain = (
        sl.compare({"old": first, "new": second}, resamples=100),
        sl.compare({"old": old, "new": new}, labels, resamples=100),
    )
    assert mixed.questions == plain.questions


def test_a_file_gives_what_its_arrays_give(tmp_path, old, labels):
    order = np.random.default_rng(3).permutation(len(labels))
    path = write(tmp_path / "a.npz", id=order, logits=old[order])
    truth = write(tmp_path / "labels.npz", id=np.arange(len(labels)), label=labels)
    read, made = sl.read_predictions(path, truth), sl.Predictions.from_logits(old, labels)
    for name in ("label", "pred", "confidence", "correct", "index", "logits", "probs"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name), err_msg=name)
    assert sl.compare({"read": read, "made": made}, resamples=100).verdicts["accuracy"].difference == 0


@pytest.mark.parametrize("confidence", [True, False])
def test_hard_labels_by_name_survive_reading(tmp_path, labels, confidence):
    words = np.array(NAMES)
    more = {"confidence": np.linspace(0.3, 1, len(labels))} if confidence else {}
    path = write(
        tmp_path / "a.npz",
        id=np.arange(len(labels)),
        label=words[labels],
        pred=words[(labels + labels % 2) % 4],
        **more,
    )
    read = sl.read_predictions(path)
    assert read.classes == NAMES
    assert read.correct.sum() == (labels % 2 == 0).sum()
    again = sl.compare({"a": read, "b": read}, primary=["accuracy"], resamples=100)
    assert again.verdicts["accuracy"].rate_a == (labels % 2 == 0).mean()


def test_temperature_scaling_uses_the_validation_split(old, new, labels):
    from scipy.special import softmax as plain_softmax

    val = {"old": (2 * old, labels), "new": (2 * new, labels)}
    found = sl.compare({"old": old, "new": new}, labels, val=val, resamples=100).table().set_index(["measure", "model"])
    temperature = sl.fit_temperature(2 * new, labels)
    probs = plain_softmax(new.astype(float) / temperature, axis=1)
    wrong = probs.argmax(1) != labels
    assert found.loc[("confident_failures_calibrated", "new"), "value"] == (wrong & (probs.max(1) > 0.7)).mean()


def test_classes_in_another_order_are_matched_by_name(old, new, labels):
    import pandas as pd

    turned = [2, 0, 3, 1]
    frames = {
        "old": pd.DataFrame(old, columns=list(NAMES)),
        "new": pd.DataFrame(new[:, turned], columns=[NAMES[k] for k in turned]),
    }
    words = np.array(NAMES)[labels]
    val = {"old": (old, labels), "new": (new[:, turned], np.argsort(turned)[labels])}
    found = sl.compare(frames, words, val=val, resamples=100)
    plain_val = {"old": (old, labels), "new": (new, labels)}
    plain = sl.compare({"old": old, "new": new}, labels, val=plain_val, resamples=100)
    assert found.questions == plain.questions
    pd.testing.assert_frame_equal(found.table(), plain.table(), rtol=1e-6)

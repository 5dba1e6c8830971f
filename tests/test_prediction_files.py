import bz2
import gzip
import os
import re
import unicodedata
import zipfile
from pathlib import Path

import hydra
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

from stress_lab.calibration.scores import score_predictions
from stress_lab.cli import compare
from stress_lab.errors import ConfigError, PairingError, RunError, StressLabError
from stress_lab.prediction_files import read_prediction_files, scoring
from stress_lab.preflight.configs import config_folder
from stress_lab.records import Predictions, Scores
from stress_lab.runs.folder import RunDir

FIELDS = ("index", "label", "pred", "confidence", "nll", "brier", "classwise")
NAMES = ("cat", "dog", "emu")
FORMATS = ("csv", "parquet", "npz")


def write(path, columns):
    """A file of the columns in the format of its suffix; an array (N, K) becomes a list column."""
    if path.suffix == ".npz":
        np.savez(path, **columns)
        return path
    arrays = {
        name: pa.array(list(value)) if isinstance(value, np.ndarray) and value.ndim == 2 else pa.array(value)
        for name, value in columns.items()
    }
    {".csv": pacsv.write_csv, ".parquet": pq.write_table}[path.suffix](pa.table(arrays), path)
    return path


def per_class(prefix, values, names=None):
    return {f"{prefix}_{name}": values[:, k] for k, name in enumerate(names or range(values.shape[1]))}


def assert_same(scores, expected, approximately=()):
    for name in FIELDS:
        compare = np.testing.assert_allclose if name in approximately else np.testing.assert_array_equal
        compare(getattr(scores, name), getattr(expected, name), err_msg=name)


@pytest.fixture
def predictions(make_predictions):
    return make_predictions(np.random.default_rng(0).random(200) < 0.7, n_classes=3, sharpness=1.0)


@pytest.fixture
def labels(tmp_path, predictions):
    return write(tmp_path / "labels.csv", {"id": predictions.index, "label": predictions.label})


def soft_columns(predictions, kind, rows, suffix):
    """The columns of a file with probabilities or logits, its rows in the given order."""
    values = (predictions.probs if kind == "probs" else predictions.logits)[rows]
    wide = {"id": predictions.index[rows], **per_class(kind.removesuffix("s"), values)}
    return wide if suffix == "csv" else {"id": predictions.index[rows], kind: values}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kind", ["probs", "logits"])
def test_each_format_gives_the_scores_of_the_predictions(tmp_path, predictions, labels, monkeypatch, suffix, kind):
    monkeypatch.setattr(scoring, "VALUES", 100)  # several parts
    rows = np.random.default_rng(1).permutation(200)
    path = write(tmp_path / f"a.{suffix}", soft_columns(predictions, kind, rows, suffix))
    [file] = read_prediction_files([path], labels)
    assert (file.path, file.kind, file.classes, file.notes) == (path, kind, ("0", "1", "2"), [])
    assert_same(file.scores, score_predictions(predictions), ["classwise"])
    np.testing.assert_array_equal(file.ids, predictions.index)


@pytest.mark.parametrize("suffix", ["parquet", "npz"])
def test_columns_of_single_classes_in_any_order(tmp_path, predictions, labels, suffix):
    columns = per_class("logit", predictions.logits)
    path = write(tmp_path / f"a.{suffix}", {"id": predictions.index, **dict(reversed(columns.items()))})
    [file] = read_prediction_files([path], labels)
    assert_same(file.scores, score_predictions(predictions))


def test_eleven_classes_are_ordered_as_numbers(tmp_path, make_predictions):
    predictions = make_predictions(np.ones(30), n_classes=11)
    columns = dict(sorted(per_class("prob", predictions.probs).items()))  # prob_10 before prob_2
    path = write(tmp_path / "a.csv", {"id": predictions.index, "label": predictions.label, **columns})
    [file] = read_prediction_files([path], None)
    assert_same(file.scores, score_predictions(predictions))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", [">f4", "<f8", "<f2"])
def test_npz_in_other_layouts(tmp_path, predictions, labels, monkeypatch, compressed, order, kind):
    monkeypatch.setattr(scoring, "VALUES", 100)
    values = np.asarray(predictions.logits.astype("<f2"), dtype=kind, order=order)
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", id=predictions.index, logits=values)
    [file] = read_prediction_files([tmp_path / "a.npz"], labels)
    rounded = Predictions(predictions.index, predictions.label, values.astype(np.float32))
    assert_same(file.scores, score_predictions(rounded), ["classwise"])


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float32(), 3)])
def test_parquet_lists(tmp_path, predictions, labels, kind):
    lists = pa.array(predictions.logits.tolist(), kind)
    pq.write_table(pa.table({"id": predictions.index, "logits": lists}), tmp_path / "a.parquet", row_group_size=70)
    [file] = read_prediction_files([tmp_path / "a.parquet"], labels)
    assert_same(file.scores, score_predictions(predictions))


def test_predictions_of_a_run(tmp_path, predictions):
    run = RunDir(tmp_path)
    run.save_predictions("test", predictions)
    [file] = read_prediction_files([run.predictions_file("test")], None)
    assert (file.kind, file.notes) == ("logits", [])
    assert_same(file.scores, score_predictions(predictions))


@pytest.mark.parametrize("suffix", FORMATS)
def test_hard_labels(tmp_path, predictions, labels, suffix):
    rows = np.random.default_rng(1).permutation(200)
    path = write(tmp_path / f"a.{suffix}", {"id": predictions.index[rows], "pred": predictions.pred[rows]})
    [file] = read_prediction_files([path], labels)
    assert file.kind == "hard"
    assert_same(file.scores, Scores(np.arange(200), predictions.label, predictions.pred))
    left_out = "no confidence, so no confident failures, calibration or selective prediction"
    assert file.notes == [f"{path} holds only hard labels: {left_out}"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_hard_labels_with_confidence(tmp_path, predictions, labels, suffix):
    columns = {"id": predictions.index, "pred": predictions.pred, "confidence": predictions.confidence}
    path = write(tmp_path / f"a.{suffix}", {name: value[::-1] for name, value in columns.items()})
    [file] = read_prediction_files([path], labels)
    assert file.kind == "confidence"
    expected = Scores(np.arange(200), predictions.label, predictions.pred, predictions.confidence)
    assert_same(file.scores, expected)
    assert "no NLL, Brier score or classwise calibration" in file.notes[0]


def test_two_files_share_labels_and_ids(tmp_path, predictions, labels):
    a = write(tmp_path / "a.npz", {"id": predictions.index[::-1], "logits": predictions.logits[::-1]})
    b = write(tmp_path / "b.csv", {"id": predictions.index, "pred": predictions.pred})
    soft, hard = read_prediction_files([a, b], labels)
    assert soft.ids is hard.ids
    assert soft.scores.label is hard.scores.label
    np.testing.assert_array_equal(soft.scores.pred, hard.scores.pred)
    assert soft.classes == hard.classes


def test_the_order_is_that_of_the_labels(tmp_path):
    labels = write(tmp_path / "labels.csv", {"id": ["z", "a", "m"], "label": ["dog", "cat", "dog"]})
    path = write(tmp_path / "a.npz", {"id": np.array(["a", "m", "z"]), "pred": np.array(["cat", "cat", "dog"])})
    [file] = read_prediction_files([path], labels)
    assert file.ids.tolist() == ["z", "a", "m"]
    assert file.scores.label.tolist() == [1, 0, 1]
    assert file.scores.pred.tolist() == [1, 0, 0]


def test_classes_by_name_in_files_that_order_them_differently(tmp_path, predictions):
    """The second file has its columns in another order, the third numbers none of them."""
    names = np.array(NAMES)
    labels = write(tmp_path / "labels.csv", {"id": predictions.index, "label": names[predictions.label]})
    a = write(tmp_path / "a.csv", {"id": predictions.index, **per_class("prob", predictions.probs, NAMES)})
    turned = per_class("prob", predictions.probs[:, ::-1], NAMES[::-1])
    b = write(tmp_path / "b.parquet", {"id": predictions.index, **turned})
    c = write(tmp_path / "c.csv", {"id": predictions.index, "pred": names[predictions.pred]})
    first, second, third = read_prediction_files([a, b, c], labels)
    assert first.classes == second.classes == third.classes == NAMES
    assert_same(first.scores, score_predictions(predictions))
    assert_same(second.scores, first.scores)
    np.testing.assert_array_equal(third.scores.pred, predictions.pred)
    numbered = write(tmp_path / "numbered.csv", {"id": predictions.index, "label": predictions.label})
    with pytest.raises(
        RunError, match=r"which is not a class.*write them by name in label, since numbers have no fixed order here"
    ):
        read_prediction_files([a, b], numbered)
    array = write(tmp_path / "d.npz", {"id": predictions.index, "probs": predictions.probs})
    with pytest.raises(
        PairingError, match=r"numbers its classes from 0, but .* names them cat, dog, emu and no file says which"
    ):
        read_prediction_files([a, b, array], labels)


def test_numbers_are_positions_among_named_columns(tmp_path, predictions, labels):
    a = write(tmp_path / "a.csv", {"id": predictions.index, **per_class("logit", predictions.logits, NAMES)})
    b = write(tmp_path / "b.npz", {"id": predictions.index, "logits": predictions.logits})
    for file in read_prediction_files([b, a], labels):
        assert file.classes == NAMES
        assert_same(file.scores, score_predictions(predictions))


def test_names_that_are_numbers_are_never_positions(tmp_path, predictions):
    a = write(tmp_path / "a.csv", {"id": predictions.index, **per_class("prob", predictions.probs, ["1", "2", "3"])})
    one_based = write(tmp_path / "one.csv", {"id": predictions.index, "label": predictions.label + 1})
    [file] = read_prediction_files([a], one_based)
    assert_same(file.scores, score_predictions(predictions))
    zero_based = write(tmp_path / "zero.csv", {"id": predictions.index, "label": predictions.label})
    with pytest.raises(RunError, match=r"label of .*zero.csv holds '0', which is not a class.*add 1 to each label"):
        read_prediction_files([a], zero_based)


def test_whole_floats_and_spaces_are_no_other_classes(tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("id, label\n1, 0\n2, 1.0\n3, 2\n")
    path = write(tmp_path / "a.parquet", {"id": np.array([3.0, 2.0, 1.0]), "pred": np.array([2.0, 1.0, 1.0])})
    [file] = read_prediction_files([path], labels)
    assert file.classes == ("0", "1", "2")
    assert file.scores.correct.tolist() == [False, True, True]


@pytest.mark.parametrize("ids", [[10, 2, 33], ["10", "2", "33"]])
@pytest.mark.parametrize("suffix", FORMATS)
def test_numbers_and_the_same_as_text_are_one_id(tmp_path, ids, suffix):
    labels = write(tmp_path / "labels.parquet", {"id": ["33", "10", "2"], "label": [0, 1, 0]})
    path = write(tmp_path / f"a.{suffix}", {"id": np.array(ids), "pred": np.array([1, 0, 1])})
    [file] = read_prediction_files([path], labels)
    assert file.scores.pred.tolist() == [1, 1, 0]


def test_leading_zeros_are_text(tmp_path):
    labels = write(tmp_path / "labels.csv", {"id": ["007", "7"], "label": [0, 1]})
    path = write(tmp_path / "a.csv", {"id": ["7", "007"], "pred": [1, 0]})
    [file] = read_prediction_files([path], labels)
    assert file.scores.correct.all()
    assert file.ids.tolist() == ["007", "7"]


def test_dictionary_columns_and_huge_ids(tmp_path):
    ids = np.array([2**64 - 1, 5], dtype=np.uint64)
    table = pa.table({"id": ids, "label": pa.array(["cat", "dog"]).dictionary_encode(), "pred": ["dog", "dog"]})
    pq.write_table(table, tmp_path / "a.parquet")
    [file] = read_prediction_files([tmp_path / "a.parquet"], None)
    assert file.ids.tolist() == ["18446744073709551615", "5"]
    assert file.scores.correct.tolist() == [False, True]


def test_notes_where_a_file_contradicts_itself(tmp_path, predictions, labels):
    columns = {"id": predictions.index, **per_class("prob", predictions.probs)}
    extra = {"pred": (predictions.pred + (predictions.index < 4)) % 3, "confidence": predictions.confidence - 0.01}
    [file] = read_prediction_files([write(tmp_path / "a.csv", {**columns, **extra})], labels)
    assert_same(file.scores, score_predictions(predictions))
    assert "pred is not the most probable class in 4 of 200 rows" in file.notes[0]
    assert "confidence is not the highest probability in 200 of 200 rows" in file.notes[1]


def test_a_note_on_predicted_names_that_no_label_has(tmp_path):
    labels = write(tmp_path / "labels.csv", {"id": [1, 2], "label": ["cat", "dog"]})
    [file] = read_prediction_files([write(tmp_path / "a.csv", {"id": [1, 2], "pred": ["cat", "dgo"]})], labels)
    assert file.classes == ("cat", "dgo", "dog")
    assert "holds dgo, which no image has as its label, and never dog: check the spelling" in file.notes[1]


def test_probabilities_rounded_within_the_tolerance(tmp_path):
    values = np.array([[0.333, 0.333, 0.333], [1.0004, 0.0, 0.0]], dtype=np.float32)
    path = write(tmp_path / "a.csv", {"id": [1, 2], "label": [0, 1], **per_class("prob", values)})
    [file] = read_prediction_files([path], None)
    assert file.scores.confidence.tolist() == [np.float32(0.333), 1]
    assert file.scores.nll[1] == -np.log(1e-12)


def test_labels_in_the_files_must_agree(tmp_path, predictions, labels):
    columns = {"id": predictions.index[::-1], "logits": predictions.logits[::-1]}
    a = write(tmp_path / "a.npz", {**columns, "label": predictions.label[::-1]})
    b = write(tmp_path / "b.npz", {**columns, "label": (predictions.label + (predictions.index >= 197))[::-1] % 3})
    read_prediction_files([a], labels)
    for files, where in (([b], labels), ([a, b], None)):
        with pytest.raises(PairingError, match=r"other labels than .* for 3 of 200 ids, first 199, 198, 197"):
            read_prediction_files(files, where)


GOOD = {"id": [1, 2, 3], "label": [0, 1, 0]}
TRUTH = {"id": [1, 2, 3], "label": [0, 1, 0]}
PROBS = {"prob_0": [0.5, 0.2, 0.1], "prob_1": [0.5, 0.8, 0.9]}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"pred": [0, 1, 0]},
            "has no column id (it has pred): call the column that holds the images' names or numbers id",
        ),
        ({"id": [1, 2, 3]}, "has no predictions (its columns are id): name them pred, prob_CLASS or logit_CLASS"),
        ({"id": [1, 2, 2], "pred": [0, 1, 0]}, "1 of 3 rows repeat the id of another, first 2: keep one"),
        ({"id": [1, 2], "pred": [0, 1]}, "lacks 1 of the 3 ids of {labels} (first 3)"),
        ({"id": [1, 2, 3, 9, 8], "pred": [0, 1, 0, 0, 0]}, "has 2 ids that {labels} lacks (first 9, 8)"),
        ({"id": [4, 5, 6], "pred": [0, 1, 0]}, "lacks 3 of the 3 ids of {labels} (first 1, 2, 3) and has 3 ids"),
        ({"id": np.zeros(0, int), "pred": np.zeros(0, int)}, "has no rows"),
        ({"id": [1, 2, 3], "pred": [0, -1, 0]}, "pred of {file} holds -1: class numbers start at 0"),
        ({"id": [1, 2, 3], "pred": [0, 10**9, 0]}, "holds 1000000000: class numbers start at 0 and stay below"),
        ({"id": [1, 2, 3], "pred": ["cat", "dog", "cat"]}, "shares no class with label of {labels} (cat, dog; 0, 1)"),
        (
            {"id": [1, 2, 3], "pred": [0, 1, 0], "confidence": [0.5, 1.2, 9.0]},
            "confidence is 1.2 for id 2, and similarly",
        ),
        ({"id": [1, 2, 3], "pred": [0, 1, 0], "confidence": [0.5, 0.5, np.nan]}, "confidence is nan for id 3"),
        ({**GOOD, **PROBS, "logits": [0, 0, 0]}, "has both probabilities (prob_0 …) and logits (logits …): keep one"),
        ({**GOOD, **PROBS, "probs": [0, 0, 0]}, "has probs as well as prob_0: keep one"),
        ({**GOOD, "prob_1": [0.5, 0.5, 0.5]}, "has only prob_1: write a column for each class"),
        ({**GOOD, **PROBS, "prob_1": [0.5, np.nan, 0.9]}, "prob_1 is missing, NaN or infinite for id 2"),
        ({**GOOD, "logit_0": [0, 1, -np.inf], "logit_1": [1, 1, 1]}, "logit_0 is missing, NaN or infinite for id 3"),
        ({**GOOD, "logit_0": [0, 1e300, 0], "logit_1": [1, 1, 1]}, "logit_0 is missing, NaN or infinite for id 2"),
        (
            {**GOOD, **PROBS, "prob_1": [0.5, 1.8, 0.8]},
            "the probabilities sum to 2 for id 2, and similarly in 2 of 3 rows",
        ),
        ({**GOOD, "prob_0": [0.5, 0.2, 1.5], "prob_1": [0.5, 0.8, -0.5]}, "a probability is -0.5 for id 3"),
        (
            {**GOOD, "prob_0": [3.0, 4.0, 1.0], "prob_1": [3.0, 4.0, 0]},
            "if these are logits, rename the columns to logit_",
        ),
        ({**GOOD, **PROBS, "prob_0": ["a", "b", "c"]}, "prob_0"),
        (
            {**GOOD, **PROBS, "pred": [0, 2, 1]},
            "pred of {file} holds '2', which is not a class (1 of 3 rows have none, first for id 2): the classes",
        ),
        ({**PROBS, "id": [1, 2, 3], "label": [0, 1, 1]}, "has other labels than {labels} for 1 of 3 ids, first 3"),
        ({**PROBS, "id": [1, 2, 3], "label": [0, 1, 2]}, "label of {file} holds '2', which is not a class"),
    ],
)
def test_refused(tmp_path, suffix, columns, message):
    labels = write(tmp_path / "labels.csv", TRUTH)
    path = write(tmp_path / f"a.{suffix}", {name: np.asarray(value) for name, value in columns.items()})
    with pytest.raises((RunError, PairingError)) as caught:
        read_prediction_files([path], labels)
    assert message.format(file=path, labels=labels) in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "none.csv is missing: give the path"),
        ("a.xlsx", b"x", "a.xlsx ends in .xlsx: only .csv (or .tsv, or compressed as .csv.gz), .parquet"),
        ("a", b"x", "a ends in nothing"),
        ("a.csv", b"", "a.csv is empty: write a header, such as id,pred"),
        ("a.csv", b"id,pred\n1,0\n2\n", "a.csv: the header names 2 columns, but a row has 1 (2): write every value"),
        ("a.csv", b"image;pred\n1;0\n", "has no column id (it has image, pred): rename image to id"),
        ("a.csv", b"id,pred\n1,0\n\xff\xfe,1\n", "a.csv is not UTF-8 (byte 0xff in line 3; perhaps"),
        ("a.csv", b"id,pred,pred\n1,0,1\n", "has the column 'pred' 2 times"),
        ("a.csv", b"id,pred\n1,0\n,1\n", "id is missing in 1 of 2 rows, first in row 2"),
        ("a.csv", b"id,pred\n1,0\n2,\n3,0\n", "pred is missing in 1 of 3 rows, first in row 2"),
        (
            "a.csv",
            b"id,prob_0,prob_1\n1,.5,.5\n2,x,1\n3,1,0\n",
            "column prob_0 holds 'x', which is not a number: write numbers",
        ),
        ("a.csv", b"id,prob_0,prob_1\n1,.5,.5\n2,,1\n3,1,0\n", "prob_0 is missing, NaN or infinite for id 2"),
        ("a.csv", b"id,probs\n1,.5\n2,1\n3,1\n", "probs has 1 numbers per image"),
        ("a.parquet", b"PAR1 nothing PAR1", "a.parquet cannot be read"),
        ("a.npz", b"PK nothing", "a.npz cannot be read (File is not a zip file)"),
    ],
)
def test_broken_files(tmp_path, name, content, message):
    labels = write(tmp_path / "labels.csv", TRUTH)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RunError, match=re.escape(message)):
        read_prediction_files([tmp_path / name], labels)


def test_a_labels_file_without_labels(tmp_path):
    path = write(tmp_path / "a.csv", {"id": [1, 2], "pred": [0, 1]})
    labels = write(tmp_path / "labels.csv", {"id": [1, 2], "target": [0, 1]})
    with pytest.raises(RunError, match=re.escape(f"{labels} has no column label (it has id, target)")):
        read_prediction_files([path], labels)
    with pytest.raises(RunError, match="has no column label: add one, or give a label file"):
        read_prediction_files([path], None)
    with pytest.raises(RunError, match="no prediction files"):
        read_prediction_files([], labels)


def test_unknown_names_of_classes(tmp_path):
    path = write(tmp_path / "a.csv", {"id": [1, 2, 3], "prob_cat": [0.5, 1, 0], "prob_dog": [0.5, 0, 1]})
    labels = write(tmp_path / "labels.csv", {"id": [1, 2, 3], "label": ["cat", "emu", "emu"]})
    message = (
        r"holds 'emu', which is not a class \(2 of 3 rows have none, first for id 2, 3\): the classes of .*a.csv are"
    )
    with pytest.raises(RunError, match=message):
        read_prediction_files([path], labels)


def test_files_of_other_classes(tmp_path, predictions, labels):
    a = write(tmp_path / "a.csv", {"id": predictions.index, **per_class("prob", predictions.probs, NAMES)})
    two = write(tmp_path / "two.npz", {"id": predictions.index, "probs": np.full((200, 2), 0.5)})
    with pytest.raises(PairingError, match=r"a.csv has 3 classes, .*two.npz has 2"):
        read_prediction_files([a, two], labels)
    fox = per_class("prob", predictions.probs, ["cat", "dog", "fox"])
    b = write(tmp_path / "b.csv", {"id": predictions.index, **fox})
    with pytest.raises(PairingError, match=r"b.csv has the class 'fox', which .*a.csv lacks"):
        read_prediction_files([a, b], labels)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"id": np.array([1, 2, 3], object), "pred": np.arange(3)}, "id holds pickled Python objects"),
        ({"id": np.arange(3), "probs": np.array([[0.5, 0.5]] * 3, object)}, "probs holds pickled Python objects"),
        ({"id": np.arange(3), "probs": np.full((4, 2), 0.5)}, "probs does not have 3 rows like id"),
        ({"id": np.arange(3), "probs": np.full((2, 2), 0.5)}, "probs does not have 3 rows like id"),
        ({"id": np.arange(3), "pred": np.arange(4)}, "pred has 4 rows, id has 3"),
        ({"id": np.arange(3), "probs": np.full((3, 2, 1), 0.5)}, "probs has shape (3, 2, 1)"),
        ({"id": np.zeros((3, 2)), "pred": np.arange(3)}, "id has 2 dimensions"),
        ({"id": np.arange(3), "probs": np.full((3, 2), "x")}, "probs holds <U1, not numbers"),
        ({"id": np.arange(3) + 0.5, "pred": np.arange(3)}, "id holds 0.5 in row 1: write whole numbers or text"),
        ({"id": np.arange(3), "probs": np.ones((3, 1))}, "probs has 1 numbers per image: write one per class"),
    ],
)
def test_npz_refused(tmp_path, arrays, message):
    labels = write(tmp_path / "labels.csv", {"id": [0, 1, 2], "label": [0, 1, 0]})
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(RunError, match=re.escape(message)):
        read_prediction_files([tmp_path / "a.npz"], labels)


def test_pickled_objects_are_never_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    np.savez(tmp_path / "a.npz", id=np.array([Evil()], object), pred=np.arange(1))
    with pytest.raises(RunError, match="pickled"):
        read_prediction_files([tmp_path / "a.npz"], None)
    assert not (tmp_path / "executed").exists()


def test_lists_of_different_lengths_and_missing_lists(tmp_path):
    labels = write(tmp_path / "labels.csv", TRUTH)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": [1, 2, 3], "probs": [[0.5, 0.5], [1.0], [0.5, 0.5]]}), path)
    with pytest.raises(RunError, match="probs has lists of 1 and of 2 numbers"):
        read_prediction_files([path], labels)
    for kind in (pa.list_(pa.float32()), pa.list_(pa.float32(), 2)):
        lists = pa.array([[0.5, 0.5], None, [0.5, 0.5]], kind)
        try:
            pq.write_table(pa.table({"id": [1, 2, 3], "probs": lists}), path)
        except pa.ArrowNotImplementedError:  # pyarrow 18 writes no missing list of fixed length
            continue
        with pytest.raises(RunError, match=re.escape("probs[0] is missing, NaN or infinite for id 2")):
            read_prediction_files([path], labels)


def test_a_header_that_promises_too_much(tmp_path):
    """Nothing of the promised size is ever allocated."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**8, 10**5)}
    np.savez(tmp_path / "a.npz", id=np.arange(3), label=np.arange(3))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive, archive.open("probs.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(RunError, match="probs holds less than its header declares: it is truncated"):
        read_prediction_files([tmp_path / "a.npz"], None)


def test_extreme_logits(tmp_path):
    values = np.array([[3e38, -3e38], [-3e38, 3e38]], dtype=np.float32)
    np.savez(tmp_path / "a.npz", id=np.arange(2), label=np.array([0, 0]), logits=values)
    [file] = read_prediction_files([tmp_path / "a.npz"], None)
    assert file.scores.confidence.tolist() == [1, 1]
    assert file.scores.brier.tolist() == [0, 2]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kind", ["hard", "probs"])
def test_any_damage_is_read_or_refused(tmp_path, predictions, suffix, kind):
    """Cut files and flipped bytes: a result or one of our own errors, nothing else."""
    columns = soft_columns(predictions, "probs", np.arange(12), suffix)
    if kind == "hard":
        columns = {"id": columns["id"], "pred": predictions.pred[:12], "confidence": predictions.confidence[:12]}
    path = write(tmp_path / f"a.{suffix}", {**columns, "label": predictions.label[:12]})
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = []
    for case in range(80):
        damaged = bytearray(whole)
        if case % 2:
            del damaged[rng.integers(len(whole)) :]
        else:
            for place in rng.integers(len(whole), size=rng.integers(1, 4)):
                damaged[place] ^= rng.integers(1, 256)
        path.write_bytes(damaged)
        try:
            [file] = read_prediction_files([path], None)
            assert len(file.scores) == len(file.ids)
        except StressLabError as error:
            refused.append(str(error))
    assert len(refused) >= 30
    assert not [message for message in refused if "\n" in message]


def accuracy(probs, label):
    """The slow plain way."""
    return sum(int(np.argmax(row)) == true for row, true in zip(probs.tolist(), label.tolist(), strict=True)) / len(
        label
    )


def shuffled(predictions, spell, prefix="prob"):
    """Columns in another order than the classes, named by ``spell``."""
    columns = per_class(prefix, predictions.probs, [spell(k) for k in range(3)])
    names = list(columns)
    return {"id": predictions.index, **{name: columns[name] for name in (names[2], names[0], names[1])}}


NUMBERS = {
    "0": str,
    "0.0": "{}.0".format,
    "00": "{:02d}".format,
    "0e0": "{}e0".format,
    " 0": " {} ".format,
    "+0": "+{}".format,
    "0.": "{}.".format,
    "1.000000e+00": "{:.6e}".format,
}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    ("header", "spelt"),
    [
        *zip(NUMBERS, [*list(NUMBERS)[3:], *list(NUMBERS)[:3]], strict=True),
        *(("0.0", kind) for kind in ("int8", "float32", "float64", "uint64")),
    ],
)
def test_numbers_match_by_value(tmp_path, predictions, suffix, header, spelt):
    path = write(tmp_path / f"a.{suffix}", shuffled(predictions, NUMBERS[header]))
    numbers = predictions.label
    label = numbers.astype(spelt) if spelt not in NUMBERS else np.array([NUMBERS[spelt](k) for k in numbers])
    labels = write(tmp_path / f"labels.{suffix}", {"id": predictions.index, "label": label})
    [file] = read_prediction_files([path], labels)
    assert file.classes == ("0", "1", "2")
    assert file.scores.correct.mean() == accuracy(predictions.probs, predictions.label)
    assert_same(file.scores, score_predictions(predictions), ["classwise"])


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kind", ["hard", "probs", "array"])
@pytest.mark.parametrize("true", ["True", "true", "TRUE", "1.0"])
def test_booleans_in_any_form(tmp_path, make_predictions, suffix, kind, true):
    predictions = make_predictions(np.random.default_rng(0).random(50) < 0.7, n_classes=2)
    false = {"T": "FALSE" if true == "TRUE" else "False", "t": "false"}.get(true[0], true.replace("1", "0"))
    labels = pa.table({"id": predictions.index, "label": predictions.label.astype(bool)})
    pq.write_table(labels, tmp_path / "labels.parquet")
    columns = {"id": predictions.index}
    if kind == "hard":
        columns["pred"] = np.where(predictions.pred == 1, true, false)
    elif kind == "probs" or suffix == "csv":
        columns |= {f"prob_{true}": predictions.probs[:, 1], f"prob_{false}": predictions.probs[:, 0]}
    else:
        columns["probs"] = predictions.probs
    [file] = read_prediction_files([write(tmp_path / f"a.{suffix}", columns)], tmp_path / "labels.parquet")
    assert file.scores.correct.mean() == accuracy(predictions.probs, predictions.label)
    np.testing.assert_array_equal(file.scores.label, predictions.label)


COMPOSED = ("café", "Å", "한국")
FORMS = {"NFC": "{}", "NFD": "{}", "spaces": "\u00a0{} "}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("form", FORMS)
def test_names_match_in_any_form_of_unicode(tmp_path, predictions, suffix, form):
    def spell(text):
        return FORMS[form].format(unicodedata.normalize("NFD" if form == "NFD" else "NFC", text))

    names = np.array(COMPOSED)
    ids = np.array([f"é{index}" for index in predictions.index])
    truth = write(tmp_path / "labels.csv", {"id": ids, "label": names[predictions.label]})
    soft = shuffled(predictions, lambda k: spell(COMPOSED[k])) | {"id": np.array([spell(one) for one in ids])}
    hard = {spell("id"): ids, "pred": np.array([spell(names[k]) for k in predictions.pred])}
    a = write(tmp_path / f"a.{suffix}", soft)
    b = write(tmp_path / f"b.{suffix}", shuffled(predictions, lambda k: COMPOSED[k]) | {"id": ids})
    for files in ([a, b], [write(tmp_path / f"hard.{suffix}", hard)]):
        for file in read_prediction_files(files, truth):
            assert set(file.classes) == set(COMPOSED)
            assert file.scores.correct.mean() == accuracy(predictions.probs, predictions.label)
            np.testing.assert_array_equal(np.array(file.classes)[file.scores.label], names[predictions.label])


def test_single_letters_are_classes_of_their_own(tmp_path):
    path = write(tmp_path / "a.csv", {"id": [1, 2], "prob_A": [0.9, 0.2], "prob_a": [0.1, 0.8], "label": ["A", "a"]})
    [file] = read_prediction_files([path], None)
    assert (file.classes, file.scores.correct.tolist()) == (("A", "a"), [True, True])


def test_classes_that_no_image_has_are_fine(tmp_path, predictions):
    names = np.array(NAMES)
    rows = predictions.label < 2
    labels = write(tmp_path / "labels.csv", {"id": predictions.index[rows], "label": names[predictions.label[rows]]})
    few = {name: column[rows] for name, column in shuffled(predictions, NAMES.__getitem__).items()}
    [file] = read_prediction_files([write(tmp_path / "a.csv", few)], labels)
    assert file.scores.correct.mean() == accuracy(predictions.probs[rows], predictions.label[rows])


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    ("columns", "labels", "words"),
    [
        (
            {"pred": ["Cat", "dog"]},
            ["cat", "dog"],
            "'Cat' in pred of {a} and 'cat' in label of {l} differ only in case",
        ),
        ({"pred": ["hot  dog", "x"]}, ["hot dog", "x"], "differ only in case, spaces or how they are encoded"),
        ({"pred": ["ﬁsh", "x"]}, ["fish", "x"], "differ only in case, spaces"),
        ({"pred": ["x\u200by", "x"]}, ["xy", "x"], "differ only in case, spaces"),
        (
            {"prob_Cat": [1, 0], "prob_cat": [0, 1]},
            ["cat", "cat"],
            "has the classes 'Cat' and 'cat', which differ only",
        ),
        (
            {"prob_1": [1, 0], "prob_1.0": [0, 1]},
            [1, 1],
            "has 'prob_1' and 'prob_1.0', which are the same class: keep one",
        ),
        (
            {"prob_cat": [1, 0], "prob_dog": [0, 1]},
            ["Cat", "dog"],
            "the classes of {a} are cat, dog; did you mean 'cat'?",
        ),
        ({"prob_cat": [1, 0], "prob_dog": [0, 1]}, ["cats", "dog"], "did you mean 'cat'?"),
        ({"prob_0": [1, 0], "prob_1": [0, 1]}, ["cat", "dog"], "name the columns by class, such as prob_cat"),
        ({"prob_0": [1, 0], "prob_1": [0, 1]}, [1, 2], "label counts from 1 and the classes from 0, so subtract 1"),
        ({"prob_1": [1, 0], "prob_2": [0, 1]}, [0, 1], "label counts from 0 and the classes from 1, so add 1 to each"),
        (
            {"pred": [0, 1]},
            [1, 2],
            "label of {l} counts classes from 1 and pred of {a} from 0 (then 2 of 2 images agree",
        ),
        ({"pred": [1, 2]}, [0, 1], "pred of {a} counts classes from 1 and label of {l} from 0"),
        (
            {"prob_0": [1, 0], "prob_1": [0, 1], "prob_2": [0, 0]},
            [1, 2],
            "counts classes from 1 and probs of {a} from 0",
        ),
        ({"prob_cat": [1, 0], "prob_dog": [0, 1]}, ["cat|dog", "dog"], "several labels per image are not supported"),
        ({"prob_cat": [1, 0], "prob_dog": [0, 1]}, ["[0, 1]", "[1]"], "label holds [0, 1], not one class per image"),
        ({"prob_0": [1, 0], "prob_1": [0, 1]}, [0.25, 1], "holds '0.25', which is not a class"),
        ({"pred": [0.5, 3.25]}, [0.5, 3.5], "not the numbers of a regression, so write whole numbers or names"),
        ({"pred": [0, 1]}, [0, np.nan], "label is missing in 1 of 2 rows, first in row 2: fill it in"),
        ({"pred": ["a", "b"]}, ["a", "  "], "label is missing in 1 of 2 rows, first in row 2: fill it in"),
        (
            {"logit_0": [0.1, 0.2], "logit_1": [0.9, 0.8]},
            [0, 1],
            "logit_0 … hold probabilities, since no value is negative",
        ),
        (
            {"prob_0": [0, -9.2], "prob_1": [-9.2, 0]},
            [0, 1],
            "these are logarithms of probabilities, so rename the columns",
        ),
        ({"prob_0": [99, 1], "prob_1": [1, 99]}, [0, 1], "these are percentages, so divide them by 100"),
        ({"prob_0": [1.0001, 0], "prob_1": [-1e-4, 1]}, [0, 1], "a probability is -0.0001 for id 1"),
        (
            {"prob_1": [1, 0]},
            [0, 1],
            "has only prob_1: write a column for each class, two or more (prob_0 is 1 - prob_1)",
        ),
    ],
)
def test_what_does_not_match_is_refused(tmp_path, suffix, columns, labels, words):
    columns = {name: np.array(values) for name, values in {"id": [1, 2], **columns}.items()}
    a = write(tmp_path / f"a.{suffix}", columns)
    truth = write(tmp_path / f"labels.{suffix}", {"id": np.array([1, 2]), "label": np.array(labels)})
    with pytest.raises(RunError) as caught:
        read_prediction_files([a], truth)
    assert words.format(a=a, l=truth) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_several_labels_an_image(tmp_path):
    path = write(tmp_path / "a.csv", {"id": [1, 2], "pred": [0, 1]})
    pq.write_table(pa.table({"id": [1, 2], "label": [[0], [0, 1]]}), tmp_path / "l.parquet")
    np.savez(tmp_path / "l.npz", id=np.arange(1, 3), label=np.eye(2))
    for name in ("l.parquet", "l.npz"):
        with pytest.raises(RunError, match="write one class per image; several labels per image are not supported"):
            read_prediction_files([path], tmp_path / name)
    np.savez(tmp_path / "l.npz", id=np.array([[1], [2]]), label=np.array([[0], [1]]))  # as Keras has them
    assert read_prediction_files([path], tmp_path / "l.npz")[0].scores.correct.all()


@pytest.mark.parametrize("suffix", FORMATS)
def test_rounded_zeros_are_probabilities(tmp_path, suffix):
    values = np.array([[1 + 2e-7, -2e-7], [0.25, 0.75]])
    path = write(
        tmp_path / f"a.{suffix}", {"id": np.array([1, 2]), "label": np.array([0, 1]), **per_class("prob", values)}
    )
    [file] = read_prediction_files([path], None)
    assert file.scores.confidence.tolist() == [1, 0.75]
    np.testing.assert_allclose(file.scores.brier, [0, 0.125], atol=1e-7)


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_advice_on_disguised_values_works(tmp_path, predictions, labels, suffix):
    """Logarithms of probabilities are logits; adding 1 to all logits of a row changes nothing."""
    for kind, values in (
        ("prob", predictions.probs),
        ("logit", np.log(predictions.probs)),
        ("logit", predictions.probs + 1),
    ):
        path = write(tmp_path / f"a.{suffix}", {"id": predictions.index, **per_class(kind, values)})
        [file] = read_prediction_files([path], labels)
        np.testing.assert_array_equal(file.scores.pred, predictions.pred)
        if (values <= 1).all():
            np.testing.assert_allclose(file.scores.confidence, predictions.confidence, rtol=1e-5)


@pytest.mark.parametrize(
    ("truth", "ids"),
    [
        (["0012", "0007", "0100"], np.array([12, 7, 100])),
        (["0012", "0007", "0100"], np.array([12.0, 7.0, 100.0])),
        (["12.0", "7.0", "100.0"], np.array([12, 7, 100])),
        (np.array([12, 7, 100]), ["0012", "7", "1e2"]),
        ([" a ", "b", "c"], ["a", "b ", "c"]),
        (["12", "0012", "7"], ["12", "0012", "7"]),
    ],
)
@pytest.mark.parametrize("suffix", FORMATS)
def test_ids_match_by_text_else_by_value(tmp_path, suffix, truth, ids):
    labels = write(tmp_path / f"labels.{suffix}", {"id": np.array(truth), "label": np.array([0, 1, 2])})
    path = write(tmp_path / f"a.{suffix}", {"id": np.array(ids)[::-1], "pred": np.array([2, 1, 1])})
    [file] = read_prediction_files([path], labels)
    assert file.scores.pred.tolist() == [1, 1, 2]


def test_two_ids_of_one_value_are_never_merged(tmp_path):
    labels = write(tmp_path / "labels.csv", {"id": ["12", "0012"], "label": [0, 1]})
    path = write(tmp_path / "a.csv", {"id": ["12", "13"], "pred": [0, 1]})
    with pytest.raises(PairingError, match=re.escape("(first 0012) and has 1 ids that")):
        read_prediction_files([path], labels)


def as_text(predictions, delimiter=",", point=".", newline="\n"):
    """A file of probabilities as another program writes it."""
    rows = zip(predictions.index.tolist(), predictions.probs.tolist(), strict=True)
    header = delimiter.join(["id", *(f"prob_{name}" for name in COMPOSED)])
    lines = [
        delimiter.join([str(index), *(f"{value:.9g}".replace(".", point) for value in row)]) for index, row in rows
    ]
    return newline.join([header, *lines]) + newline


WRITTEN = {
    "tab": lambda p: as_text(p, "\t").encode(),
    "bar": lambda p: as_text(p, "|").encode(),
    "semicolon": lambda p: as_text(p, ";").encode(),
    "decimal commas": lambda p: as_text(p, ";", ",").encode(),
    "tab and decimal commas": lambda p: as_text(p, "\t", ",").encode("utf-16"),
    "UTF-8 with a mark": lambda p: as_text(p).encode("utf-8-sig"),
    "UTF-16": lambda p: as_text(p, "\t").encode("utf-16"),
    "UTF-16 big-endian": lambda p: b"\xfe\xff" + as_text(p).encode("utf-16-be"),
    "UTF-32": lambda p: as_text(p).encode("utf-32"),
    "Windows": lambda p: as_text(p, ";", ",", "\r\n").encode("utf-8-sig"),
    "old Mac": lambda p: as_text(p, newline="\r").encode(),
    "Excel": lambda p: ("sep=;\r\n" + as_text(p, ";", ",", "\r\n")).encode(),
    "NumPy": lambda p: ("# " + as_text(p)).encode(),
    "quoted commas": lambda p: re.sub(r"(\d+,\d+)", r'"\1"', as_text(p, "\t", ",")).replace("\t", ",").encode(),
    "gzip": lambda p: gzip.compress(as_text(p).encode()),
    "gzip of UTF-16": lambda p: gzip.compress(as_text(p, ";", ",").encode("utf-16")),
    "bzip2": lambda p: bz2.compress(as_text(p).encode()),
    "zstd": lambda p: pa.compress(as_text(p).encode(), "zstd", asbytes=True),
}


@pytest.mark.parametrize(
    ("how", "name"),
    [*((how, "a.csv") for how in WRITTEN), ("tab", "a.tsv"), ("gzip", "A.CSV.GZ"), ("zstd", "a.csv.zst")],
)
def test_delimited_text_however_it_is_written(tmp_path, predictions, how, name):
    (tmp_path / name).write_bytes(WRITTEN[how](predictions))
    names = np.array(COMPOSED)
    labels = write(tmp_path / "labels.csv", {"id": predictions.index, "label": names[predictions.label]})
    [file] = read_prediction_files([tmp_path / name], labels)
    assert_same(file.scores, score_predictions(predictions), ["confidence", "nll", "brier", "classwise"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (as_text, "is UTF-16 without a byte order mark, or not text at all: save it as UTF-8"),
        (
            b"id,pred\n1,caf\xe9\n",
            "is not UTF-8 (byte 0xe9 in line 2; perhaps Latin-1 or Windows-1252): save it as UTF-8",
        ),
        (b"id,pred,caf\xe9\n1,x,0\n", "is not UTF-8 (byte 0xe9 in line 1;"),
        (b"PAR1 and more", "is a Parquet file: rename it to end in .parquet"),
        (b"PK\x03\x04 and more", "is a zip archive or an Excel sheet"),
        (b"\x93NUMPY", "is a .npy file: write it with numpy.savez"),
        (b"\x80\x04\x95", "is a pickle, which is never loaded"),
        (b'{"id": 1}', "is JSON: write it as CSV, Parquet or NPZ"),
        (b"\xef\xbb\xbf \n", "is empty: write a header, such as id,pred, and one row per image"),
        (b"id,pred\n", "has no rows: write one per image"),
        (b"id prob_0 prob_1\n1 0 1\n", "separates its columns by spaces: separate them by commas"),
        (
            b"0,cat\n1,dog\n",
            "has no column id (it has 0, cat): call the column that holds the images' names or numbers id",
        ),
        (b"image,label\n1,0\n", "has no column id (it has image, label): rename image to id"),
        (
            b"id,target,class\n1,0,0\n",
            "has no column label (it has id, target, class): rename one of target, class to label",
        ),
        (
            b"id,prob_0,prob_1,label\n1,0,5,0,5,0\n",
            "but a row has 6 (1,0,5,0,5,0): put values that contain a ',' in quotes",
        ),
        (b"id;prob_0;prob_1;label\n1;0,5;0.5;0\n", "has decimal commas and decimal points: write points throughout"),
        (b"id;prob_0;prob_1;label\n1;0,5;half;0\n", "column prob_1 holds 'half', which is not a number: write numbers"),
        (b"id;prob_0;prob_1;label\n1;0,5;;0\n", "prob_1 is missing, NaN or infinite for id 1"),
    ],
)
def test_text_that_cannot_be_read(tmp_path, predictions, content, words):
    content = as_text(predictions).encode("utf-16-le") if content is as_text else content
    (tmp_path / "a.csv").write_bytes(content)
    reads_labels = b"target" in content
    good = write(tmp_path / "good.csv", {"id": [1], "pred": [0]})
    files = (good, tmp_path / "a.csv") if reads_labels else (tmp_path / "a.csv", None)
    with pytest.raises(RunError, match=re.escape(words)):
        read_prediction_files([files[0]], files[1])


def test_a_folder_in_place_of_a_file(tmp_path):
    (tmp_path / "a.parquet").mkdir()
    part = write(tmp_path / "a.parquet" / "part-0.parquet", {"id": [1], "pred": [0]})
    with pytest.raises(
        RunError,
        match=re.escape(f"a.parquet is a folder: give the path of a .csv, .parquet or .npz file, such as {part}"),
    ):
        read_prediction_files([tmp_path / "a.parquet"], None)


def test_thousands_of_columns(tmp_path):
    n_classes = 5_000
    header = ",".join(["id", "label", *(f"prob_a_rather_long_name_of_a_class_{k}" for k in reversed(range(n_classes)))])
    row = ["0"] * n_classes
    row[3] = "1"
    (tmp_path / "a.csv").write_text(f"{header}\n1,a_rather_long_name_of_a_class_{n_classes - 4},{','.join(row)}\n")
    [file] = read_prediction_files([tmp_path / "a.csv"], None)
    assert (len(file.classes), file.scores.pred.tolist(), file.scores.correct.tolist()) == (n_classes, [3], [True])


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("[x/a.csv,b.csv.gz]", {"a": ["x/a.csv"], "b": ["b.csv.gz"]}),
        ("[x/a.csv,y/a.csv]", {"x/a.csv": ["x/a.csv"], "y/a.csv": ["y/a.csv"]}),
        ("{my model: [a.csv], v2.0-b: c.csv}", {"my model": ["a.csv"], "v2.0-b": ["c.csv"]}),
        (
            '[{name: "mein modèle (α)", files: ["é 1.csv",b.csv]},c.csv]',
            {"mein modèle (α)": ["é 1.csv", "b.csv"], "c": ["c.csv"]},
        ),
    ],
)
def test_names_of_variants_as_they_are_typed(typed, expected):
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        cfg = hydra.compose("compare", [f"predictions={typed}"])
    named = compare.name_files(OmegaConf.to_container(cfg.predictions))
    assert named == {name: list(map(Path, files)) for name, files in expected.items()}


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (["a.csv", "./a.csv"], "names a.csv twice"),
        ({"a": [1]}, "does not work: write 'predictions=[a.csv,b.csv]'"),
        ([{"a": "b.csv"}], "does not work"),
        ({"a": []}, "a names no files"),
        ([{"name": "b", "files": ["a.csv"]}, "b.csv"], "calls two variants b: give each a name of its own"),
    ],
)
def test_names_of_variants_that_do_not_work(named, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        compare.name_files(named)

import numpy as np
import pytest

from stress_lab.errors import RunError
from stress_lab.records import DatasetSpec, Predictions, RunInfo
from tests.references import softmax

RNG = np.random.default_rng(3)


def predictions(**changes):
    values = {"index": np.arange(4), "label": np.array([0, 1, 2, 0]), "logits": RNG.normal(size=(4, 3)).astype("f4")}
    return Predictions(**{**values, **changes})


def test_probabilities_are_the_softmax():
    logits = (RNG.normal(size=(500, 7)) * 20).astype(np.float32)
    record = predictions(index=np.arange(500), label=np.zeros(500, int), logits=logits)
    assert record.probs.dtype == np.float32
    np.testing.assert_allclose(record.probs, softmax(logits), atol=1e-6)
    np.testing.assert_array_equal(record.pred, logits.argmax(axis=1))
    np.testing.assert_allclose(record.confidence, softmax(logits).max(axis=1), atol=1e-6)


def test_ties_go_to_the_first_class():
    record = predictions(index=np.arange(1), label=np.array([1]), logits=np.array([[2.0, 2.0, 1.0]], dtype="f4"))
    assert record.pred.tolist() == [0]
    assert not record.correct[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"index": np.array([0, 1, 1, 2])}, "1 images are predicted more than once"),
        ({"label": np.array([0, 1, 2, 3])}, "labels run to 3"),
        ({"label": np.array([0, 1])}, "do not match"),
        ({"logits": np.full((4, 3), np.nan, dtype="f4")}, "not finite"),
    ],
)
def test_broken_predictions_are_refused(changes, message):
    with pytest.raises(RunError, match=message):
        predictions(**changes)


def test_info_survives_unknown_fields_but_not_missing_ones():
    known = {"variant": "baseline", "seed": 0, "state": "finished", "started": "now"}
    assert RunInfo.from_dict({**known, "from_the_future": 1}).seed == 0
    with pytest.raises(RunError, match=r"lacks seed, started"):
        RunInfo.from_dict({"variant": "baseline", "state": "finished"})


def test_spec_reads_back_what_it_wrote():
    import dataclasses
    import json

    spec = DatasetSpec("x", ("a", "b"), 1, 4, 5, (0.1,), (0.2,), {"train": 3}, "here", "official", {"test": "ab"})
    assert DatasetSpec.from_dict(json.loads(json.dumps(dataclasses.asdict(spec)))) == spec

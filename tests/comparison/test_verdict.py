"""Every verdict on answers whose truth was planted."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel

from stress_lab.calibration.scores import score_predictions
from stress_lab.comparison.codec import to_record
from stress_lab.comparison.loading import LoadedRun, load_finished
from stress_lab.comparison.measured import measure_runs
from stress_lab.comparison.options import Options
from stress_lab.comparison.patterns import describe_patterns
from stress_lab.comparison.variants import ask_questions, compare_measures, control, run_metrics
from stress_lab.comparison.verdict import paired_t
from stress_lab.evaluation import evaluate_predictions
from stress_lab.records import Predictions, Scores
from tests.comparison.planted import CLASSES, compare_runs

QUICK = Options(resamples=1000)
N = 2000


def make_run(variant, seed, error, image_seed=0, confident=0.5, n=N, effect=0.0):
    """A run that is wrong where a uniform number of its own is below the image's own error rate."""
    rng = np.random.default_rng([seed, ord(variant[0]), image_seed])
    rate = np.random.default_rng(image_seed).beta(0.3, 0.3 * (1 - error) / error, n) + effect
    label = np.arange(n) % 10
    wrong = rng.random(n) < rate
    pred = np.where(wrong, (label + 1) % 10, label)
    confidence = np.where(rng.random(n) < confident, 0.9, 0.6) + 0.05 * rng.random(n)
    scores = Scores(np.arange(n), label, pred, confidence.astype(np.float32))
    return LoadedRun(f"{variant}, seed {seed}", variant, seed, 0.7, CLASSES, scores, f"{variant}{seed}")


def verdicts(runs, options=QUICK):
    questions, _ = ask_questions(measure_runs(runs, options), options)
    return {question["question"]: question for question in to_record(questions)}


def test_a_large_difference_between_two_networks_is_told():
    found = verdicts([make_run("a", 1, 0.2), make_run("b", 1, 0.1)])
    assert found["accuracy"]["unit"] == "models"
    assert found["accuracy"]["verdict"] == "helped"
    assert found["confident_failures"]["verdict"] == "helped"
    swapped = verdicts([make_run("b", 1, 0.1), make_run("a", 1, 0.2)])
    assert swapped["accuracy"]["verdict"] == swapped["confident_failures"]["verdict"] == "hurt"
    assert swapped["accuracy"]["difference"] == -found["accuracy"]["difference"]


def test_a_large_difference_over_five_seeds_is_told_and_three_seeds_cannot():
    five = [make_run(v, s, e) for v, e in (("a", 0.2), ("b", 0.1)) for s in range(5)]
    found = verdicts(five)["accuracy"]
    assert (found["unit"], found["verdict"]) == ("recipes", "helped")
    assert found["p"] == pytest.approx(2 / 252)
    assert found["p_adjusted"] == pytest.approx(2 * 2 / 252)
    assert found["outperformance"] == 1
    three = verdicts([run for run in five if run.seed < 3])["accuracy"]
    assert three["verdict"] == "cannot tell"
    assert three["p"] == three["smallest_p"] == pytest.approx(0.1)
    assert three["more"]["out_of_reach"]
    assert three["more"]["seeds_to_reach"] == 5


def test_the_same_networks_are_equivalent_and_few_images_cannot_tell():
    a, b = make_run("a", 1, 0.1), make_run("b", 1, 0.1)
    same = LoadedRun("b, seed 1", "b", 1, 0.7, CLASSES, a.scores, "b1")
    found = verdicts([a, same])
    assert {question["verdict"] for question in found.values()} == {"equivalent"}
    question = verdicts([a, b])["accuracy"]
    assert question["verdict"] == "cannot tell"
    assert question["more"]["target"] == max(0.005, abs(question["difference"]))
    assert question["more"]["images"] > N


def answers(variant, seed, wrong, n, confidence=0.9):
    """A run that is wrong on the images named."""
    label = np.arange(n) % 10
    pred = label.copy()
    pred[list(wrong)] = (label[list(wrong)] + 1) % 10
    scores = Scores(np.arange(n), label, pred, np.full(n, confidence, np.float32))
    return LoadedRun(f"{variant}, seed {seed}", variant, seed, 0.7, CLASSES, scores, f"{variant}{seed}")


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("wrong", [(), range(30)])
def test_a_few_images_without_any_difference_prove_no_equivalence(seeds, wrong):
    runs = [answers(v, s, wrong, 30) for v in "ab" for s in range(seeds)]
    for question in verdicts(runs).values():
        assert question["verdict"] == "cannot tell"
        low, high = question["interval"]
        assert low < -0.02
        assert high > 0.02


def test_equal_counts_of_different_images_leave_the_spread_of_the_runs():
    """Every run errs on 20 images of its own: by flips alone two runs differ by three points, though all have 90 %."""
    every = [(variant, seed) for variant in "ab" for seed in range(2)]
    runs = [answers(*one, range(20 * place, 20 * place + 20), 200) for place, one in enumerate(every)]
    question = verdicts(runs)["accuracy"]
    assert question["verdict"] == "cannot tell"
    assert question["interval"][0] < -0.03
    assert question["interval"][1] > 0.03


def test_the_estimate_lies_in_the_middle_of_what_resampling_gives():
    runs = [answers(v, s, range(94), 200, confidence=0.9) for v in "ab" for s in range(2)]
    low, high = verdicts(runs, Options(resamples=100))["accuracy"]["interval"]
    assert low < 0 < high
    assert low == pytest.approx(-high)


def test_without_any_prediction_above_the_threshold_nothing_is_said_of_failures():
    shy, bold = answers("a", 1, (), 500, confidence=0.65), answers("b", 1, range(60), 500, confidence=0.99)
    questions, notes = ask_questions(measure_runs([shy, bold], QUICK), QUICK)
    assert [question.question for question in questions] == ["accuracy"]
    assert any("above the threshold" in note for note in notes)


def test_where_images_decide_no_seeds_are_promised():
    """B fixes 30 images and breaks 18 in every run alike: other seeds would show the same, other images might not."""
    runs = [answers("a", s, range(30), 1000) for s in range(5)] + [
        answers("b", s, range(30, 48), 1000) for s in range(5)
    ]
    question = verdicts(runs)["accuracy"]
    assert question["verdict"] == "cannot tell"
    assert question["more"]["seeds"] is None
    assert question["more"]["images"] > 1000


def test_four_seeds_cannot_reach_two_questions():
    runs = [make_run(v, s, e) for v, e in (("a", 0.2), ("b", 0.1)) for s in range(4)]
    question = verdicts(runs)["accuracy"]
    assert question["p"] == pytest.approx(2 / 70)
    assert question["more"]["smallest_adjusted_p"] == pytest.approx(4 / 70)
    assert question["more"]["out_of_reach"]
    alone = verdicts(runs, Options(resamples=500, primary=("accuracy",)))["accuracy"]
    assert alone["verdict"] == "helped"
    assert not alone["more"]["out_of_reach"]


def test_holm_spans_all_primary_questions():
    runs = [make_run(v, 1, e) for v, e in (("a", 0.2), ("b", 0.18), ("c", 0.19))]
    questions, _ = ask_questions(measure_runs(runs, QUICK), QUICK)
    assert len(questions) == 4
    p = np.array([question.evidence.p for question in questions])
    smallest = int(p.argmin())
    assert questions[smallest].p_adjusted == pytest.approx(min(1, 4 * p[smallest]))
    alone, _ = ask_questions(measure_runs(runs[:2], QUICK), Options(resamples=1000, primary=("accuracy",)))
    assert alone[0].p_adjusted == alone[0].evidence.p


def test_the_control_sets_every_two_runs_of_a_variant_beside_the_result():
    runs = [make_run(v, s, 0.1) for v in "ab" for s in range(3)]
    measured = measure_runs(runs, QUICK)
    found = to_record(control(measured, ["a", "b"], "accuracy", 0.05))
    accuracy = {v: [run.scores.correct.mean() for run in runs if run.variant == v] for v in "ab"}
    sizes = [abs(x[i] - x[j]) for x in accuracy.values() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert found["pairs"] == 6
    assert found["mean"] == pytest.approx(np.mean(sizes))
    assert found["largest"] == pytest.approx(max(sizes))
    assert control(measure_runs([runs[0], runs[3]], QUICK), ["a", "b"], "accuracy", 0.05) is None


@pytest.mark.slow
def test_equal_recipes_are_rarely_told_apart():
    """A/A: under no difference at most 5 % of the sweeps may say helped or hurt in any question."""
    from scipy.stats import binom

    repeats = 60
    false = 0
    for repeat in range(repeats):
        runs = [make_run(v, 2 * s + (v == "b"), 0.15, image_seed=repeat, n=400) for v in "ab" for s in range(5)]
        found = verdicts(runs, Options(resamples=200))
        false += any(question["verdict"] in ("helped", "hurt") for question in found.values())
    assert false <= binom.ppf(0.999, repeats, 0.05)


def test_softer_confidence_does_not_look_like_a_fix(write_run):
    """The same net with its logits multiplied by 0.8."""
    rng = np.random.default_rng(3)
    n, label = 3000, np.arange(3000) % 10
    splits = {}
    for split in ("test", "val"):
        logits = rng.normal(size=(n, 10)).astype(np.float32)
        logits[np.arange(n), label] += 2.2
        splits[split] = Predictions(np.arange(n), label, 1.6 * logits)
    runs = []
    for number, (variant, factor) in enumerate((("plain", 1.0), ("softer", 0.8))):
        run = write_run(f"{number}", variant, np.ones(n, bool), val=np.ones(n, bool), predictions=splits["test"])
        for split, made in splits.items():
            run.save_predictions(split, Predictions(made.index, made.label, np.float32(factor) * made.logits))
            run.save_evaluation(split, evaluate_predictions(run.load_predictions(split), tuple("abcdefghij"), 0.7))
        runs.append(run)
    loaded = load_finished(runs)
    found = verdicts(loaded)
    fair = found["confident_failures"]["fair"]
    assert fair["raw_b"] < 0.85 * fair["raw_a"]  # a third of the failures seems gone
    assert fair["calibrated_a"] == fair["calibrated_b"]
    assert abs(fair["by_ranking"]) < 0.1 * abs(fair["change"])
    assert fair["by_ranking"] + fair["by_confidence"] == pytest.approx(fair["change"])
    assert {question["verdict"] for question in found.values()} <= {"equivalent", "cannot tell"}
    assert found["accuracy"]["difference"] == 0
    assert loaded[1].temperature == pytest.approx(0.8 * loaded[0].temperature, rel=1e-3)


def test_every_measure_has_its_difference_interval_and_control():
    runs = [make_run(v, s, 0.1 + 0.05 * (v == "a")) for v in "ab" for s in range(3)]
    compared = to_record(compare_measures(measure_runs(runs, QUICK), QUICK))["b"]
    by_name = {metric["metric"]: metric for metric in compared}
    assert {"accuracy", "confident_failures", "confident_failures_matched", "ece", "aurc"} <= by_name.keys()
    for metric in compared:
        low, high = metric["interval"]
        assert low <= metric["difference"] <= high
        assert metric["difference"] == pytest.approx(metric["mean_b"] - metric["mean_a"])
        assert abs(metric["improvement"]) == abs(metric["difference"])
        assert metric["control"]["pairs"] == 6
    assert by_name["accuracy"]["improvement"] > 0
    assert by_name["confident_failures"]["improvement"] > 0 > by_name["confident_failures"]["difference"]


def test_hard_labels_leave_out_what_needs_confidence_and_say_so():
    a, b = make_run("a", 1, 0.2), make_run("b", 1, 0.1)
    hard = [
        LoadedRun(r.name, r.variant, 1, 0.7, CLASSES, Scores(r.scores.index, r.scores.label, r.scores.pred), r.folder)
        for r in (a, b)
    ]
    comparison = to_record(compare_runs(hard, "t", QUICK, strict=True))
    assert [question["question"] for question in comparison["questions"]] == ["accuracy"]
    assert any("there is no verdict on confident failures" in note for note in comparison["notes"])
    assert [metric["metric"] for metric in comparison["comparisons"][0]["metrics"]] == ["accuracy"]
    assert comparison["runs"][0]["failures"] is None
    assert comparison["pairs"][0]["confident_failures"] is None


def test_no_failure_at_all_leaves_an_interval_that_is_not_empty():
    runs = [make_run(v, s, 0.1, confident=0.0, n=500) for v in "ab" for s in range(3)]  # 0.65 is the highest
    runs = [replace(run, threshold=0.66) for run in runs]
    measured = measure_runs(runs, QUICK)
    for metrics in to_record(run_metrics(measured, 0.95)):
        found = metrics["confident_failures"]
        assert (found["value"], found["low"]) == (0, 0)
        assert found["high"] == pytest.approx(1.96**2 / (500 + 1.96**2), rel=1e-3)  # Wilson
    compared = to_record(compare_measures(measured, QUICK))["b"]
    (failures,) = (one for one in compared if one["metric"] == "confident_failures")
    assert failures["interval"] == pytest.approx((-found["high"], found["high"]))


def test_p_values_of_few_images_are_students():
    a, b = np.array([0.1, 0.2, 0.3]), np.array([0.2, 0.32, 0.41])
    assert paired_t(a[:1], b[:1]) == 1
    assert paired_t(a, b) == pytest.approx(ttest_rel(a, b).pvalue)
    assert paired_t(a, a) == 1
    assert paired_t(np.zeros(4), np.ones(4)) == 0


def test_the_level_loses_nothing_to_rounding():
    assert Options(level=0.9).alpha == 0.1
    assert Options(level=0.8).alpha == 0.2


def hard_class(variant, seed, sure=True):
    """A run that fails class 0 half of the time; without confidences unless ``sure``."""
    rng = np.random.default_rng([seed, ord(variant)])
    label = np.arange(4000) % 10
    wrong = rng.random(4000) < np.where(label == 0, 0.5, 0.02)
    confidence = (0.8 + 0.1 * rng.random(4000)).astype(np.float32) if sure else None
    scores = Scores(np.arange(4000), label, np.where(wrong, (label + 1) % 10, label), confidence)
    return LoadedRun(f"{variant}{seed}", variant, seed, 0.7, CLASSES, scores, f"{variant}{seed}")


def test_a_pattern_under_fewer_runs_of_the_same_recipe_is_no_worse():
    runs = [*(hard_class("a", seed) for seed in range(3)), *(hard_class("b", seed) for seed in range(2))]
    found = to_record(describe_patterns(runs, None, QUICK))["found"][0]["fix"]["b"]
    assert found["low"] < 0 < found["high"]  # at least one of two runs fails more often than two of three


def less_sure(run):
    """The same answers in the same order of confidence, none of them above the threshold."""
    return replace(run, variant="b", name="b", scores=replace(run.scores, confidence=run.scores.confidence - 0.2))


def test_where_one_model_tells_no_confidence_patterns_are_of_all_errors():
    described = to_record(
        describe_patterns([hard_class("a", 1, sure=False), less_sure(hard_class("b", 1))], None, QUICK)
    )
    assert described["event"] == "wrong"
    found = described["found"][0]["fix"]["b"]
    assert found["low"] < 0 < found["high"]  # of b no error is a confident one


def test_a_net_that_is_only_less_sure_mends_no_pattern():
    a = hard_class("a", 1)
    softer = less_sure(a)
    assert not softer.failed.any()
    (found, *_) = to_record(describe_patterns([a, softer], None, QUICK))["found"]
    assert found["fix"]["b"]["only_a"] == found["fix"]["b"]["only_b"] == 0


def test_scores_of_a_run_are_those_of_its_predictions(make_predictions):
    record = make_predictions(np.arange(50) % 5 > 0)
    scores = score_predictions(record)
    np.testing.assert_array_equal(scores.correct, record.correct)
    np.testing.assert_array_equal(scores.confidence, record.confidence)

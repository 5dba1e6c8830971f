"""More than four variants: sorted, every pair tested, ties, and what is shown of them."""

import itertools

import numpy as np
import pytest
from scipy.stats import permutation_test
from statsmodels.stats.multitest import multipletests

import stress_lab as sl
from stress_lab.comparison.codec import from_record, to_record
from stress_lab.comparison.leaderboard import letter, rank_variants
from stress_lab.comparison.measured import measure_runs
from stress_lab.comparison.options import Options
from stress_lab.comparison.reference import note_absence, put_first
from stress_lab.comparison.shown import choose_shown, pick_pairs
from stress_lab.errors import InputError
from stress_lab.stats.paired import mcnemar_mid_p, tabulate, tango_interval
from tests.comparison.test_verdict import make_run

QUICK = Options(resamples=200)
N = 800
RATES = {"a": 0.70, "b": 0.93, "c": 0.92, "d": 0.85, "e": 0.925, "f": 0.84}


def draw_answers(n=N, rates=RATES):
    """Predicted classes of models of different accuracy that find the same images hard."""
    rng = np.random.default_rng(0)
    label, hard = rng.integers(0, 5, n), rng.normal(size=n)
    models = {}
    for name, rate in rates.items():
        score = hard + 0.7 * rng.normal(size=n)
        models[name] = np.where(score < np.quantile(score, rate), label, (label + 1) % 5)
    return models, label


@pytest.fixture(scope="module")
def compared():
    models, label = draw_answers()
    return sl.compare(models, label, kind="labels", primary=["accuracy"], resamples=200), models, label


def test_the_order_and_every_pair_are_those_of_plain_code(compared):
    found, models, label = compared
    right = {name: answers == label for name, answers in models.items()}
    names = sorted(right, key=lambda name: -right[name].mean())
    assert found.leaderboard()["variant"].tolist() == names
    pairs = found.pairs()
    assert list(zip(pairs["a"], pairs["b"], strict=True)) == list(itertools.combinations(names, 2))
    plain = [mcnemar_mid_p(tabulate(right[a], right[b])) for a, b in itertools.combinations(names, 2)]
    np.testing.assert_allclose(pairs["p"], plain, atol=1e-14)
    reject, adjusted, *_ = multipletests(plain, 0.05, "holm")
    np.testing.assert_allclose(pairs["p_adjusted"], adjusted, atol=1e-12)
    assert pairs["apart"].tolist() == reject.tolist()
    for row in pairs.itertuples():
        table = tabulate(right[row.b], right[row.a])
        assert row.lead == pytest.approx(table.difference)
        assert (row.low, row.high) == pytest.approx(tango_interval(table))
        assert (row.only_a, row.only_b) == (table.only_b, table.only_a)


def test_the_finding_comes_first(compared):
    found, *_ = compared
    assert str(found).splitlines()[0] == "The first three of six can't be told apart"
    assert found.leaderboard()["ties"].tolist() == ["a", "a", "a", "b", "b", "c"]
    assert found.leaderboard()["rank_high"].tolist() == [3, 3, 3, 5, 5, 6]


def test_the_record_keeps_the_leaderboard_and_older_ones_load(compared):
    found, *_ = compared
    record = found.to_dict()
    assert to_record(from_record(record)) == record
    for name in ("leaderboard", "shown", "factors", "reference"):
        del record[name]
    older = from_record(record)
    assert (older.leaderboard, older.shown, older.factors, older.reference) == (None, (), None, None)


def test_four_variants_have_no_leaderboard():
    models, label = draw_answers(rates={name: RATES[name] for name in "abcd"})
    found = sl.compare(models, label, kind="labels", resamples=200)
    assert found.to_dict()["leaderboard"] is None
    assert len(found.leaderboard()) == len(found.pairs()) == 0


def test_over_seeds_pairs_are_permuted_and_few_runs_are_said_to_be_too_few():
    errors = {"a": 0.30, "b": 0.20, "c": 0.10, "d": 0.05, "e": 0.15}
    runs = [make_run(name, seed, error, n=400) for name, error in errors.items() for seed in range(4)]
    board = rank_variants(measure_runs(runs, QUICK), QUICK)
    assert [one.variant for one in board.standings] == ["d", "c", "e", "b", "a"]
    assert (board.unit, board.apart, board.ties) == ("recipes", 0, ((0, 4),))
    assert board.smallest_p == pytest.approx(2 / 70)
    assert board.smallest_adjusted_p == pytest.approx(10 * 2 / 70)
    assert board.seeds_to_reach == 6  # 2 / 924 is below .05 / 10, 2 / 252 is not
    accuracy = {name: [run.scores.correct.mean() for run in runs if run.variant == name] for name in errors}
    first = board.pairs[0]
    plain = permutation_test(
        (accuracy["d"], accuracy["c"]), lambda x, y: np.mean(x) - np.mean(y), n_resamples=np.inf, vectorized=False
    )
    assert first.p == pytest.approx(plain.pvalue)
    assert first.interval[0] < first.lead < first.interval[1]
    assert all(one.interval[0] < one.value < one.interval[1] for one in board.standings)


def test_enough_seeds_tell_recipes_apart():
    errors = {"a": 0.30, "b": 0.20, "c": 0.10, "d": 0.05, "e": 0.15}
    runs = [make_run(name, seed, error, n=400) for name, error in errors.items() for seed in range(6)]
    board = rank_variants(measure_runs(runs, QUICK), QUICK)
    assert board.pairs[3].apart  # the best and the worst
    assert board.pairs[3].p_adjusted == pytest.approx(10 * 2 / 924)


def test_shown_are_the_reference_and_the_best():
    models, label = draw_answers()
    runs = sl.compare(models, label, kind="labels", resamples=200, reference="a")
    record = runs.to_dict()
    assert record["shown"] == ["a", "b", "e", "c"]
    assert {(one["a"], one["b"]) for one in record["pairs"]} == set(itertools.combinations(record["shown"], 2))
    assert {one["a"] for one in record["questions"]} == {"a"}
    assert choose_shown(None, "a") == ()
    assert pick_pairs([("x", "y")], ()) == [("x", "y")]


def test_an_unknown_reference_is_answered_by_the_variants():
    models, label = draw_answers(n=50)
    with pytest.raises(InputError, match=r"reference=z does not name a variant: write one of a, b, c, d, e, f"):
        sl.compare(models, label, kind="labels", reference="z")


def test_the_reference_is_what_the_others_are_compared_against():
    models, label = draw_answers(rates={name: RATES[name] for name in "ab"})
    turned = sl.compare(models, label, kind="labels", resamples=200, reference="b").verdicts["accuracy"]
    plain = sl.compare(models, label, kind="labels", resamples=200).verdicts["accuracy"]
    assert (turned.a, turned.b, turned.verdict) == ("b", "a", "hurt")
    assert (plain.a, plain.b, plain.verdict) == ("a", "b", "helped")
    assert turned.difference == -plain.difference


def test_letters_go_on_after_z():
    assert [letter(number) for number in (0, 25, 26, 27, 701, 702)] == ["a", "z", "aa", "ab", "zz", "aaa"]


def test_runs_of_the_reference_come_first_and_lost_ones_are_reported():
    runs = [make_run(name, seed, 0.1, n=20) for seed in (1, 2) for name in "abc"]
    turned = put_first(runs, "b")
    assert [(run.variant, run.seed) for run in turned[:3]] == [("b", 1), ("b", 2), ("a", 1)]
    assert put_first(runs, None) == runs
    assert note_absence(runs, "b") == note_absence(runs, None) == []
    assert note_absence(runs, "lost one") == ["'reference=\"lost one\"' has no results here, so a is the reference"]

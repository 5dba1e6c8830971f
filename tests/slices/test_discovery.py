import json

import numpy as np
import pytest
from scipy.stats import binom, binomtest, fisher_exact
from statsmodels.stats.contingency_tables import Table2x2
from statsmodels.stats.proportion import proportion_confint

from stress_lab.errors import DataError
from stress_lab.slices.discovery import PatternSearch, find_patterns, split_halves
from stress_lab.slices.effect import compare_inside, example_rows
from stress_lab.slices.rules import event_inside, is_member
from stress_lab.stats.multiplicity import holm

CLASSES = ["Bag", "Boot", "Coat", "Shirt", "Shoe"]
SHIRT, COAT, BASE = 3, 2, 0.05


def images(n=4000, seed=0):
    """Labels and three properties without any relation to them; one property is mostly zero."""
    rng = np.random.default_rng(seed)
    sparse = np.maximum(0, rng.normal(-0.5, 1, n))
    properties = {"brightness": rng.random(n), "contrast": rng.random(n), "border_contact": sparse}
    return rng.integers(0, len(CLASSES), n), properties


def draw(label, rate, seed):
    """Failures at the given rate of each image, mistaken for any wrong class alike."""
    rng = np.random.default_rng(seed)
    event = rng.random(len(label)) < rate
    wrong = (label + rng.integers(1, len(CLASSES), len(label))) % len(CLASSES)
    return event, np.where(event, wrong, label)


def confirmed(found):
    return {pattern.key for pattern in found.found if pattern.confirmed}


LABEL, VALUES = images()
SEARCH = PatternSearch(LABEL, CLASSES, VALUES)
LOW = np.argsort(np.argsort(VALUES["contrast"])) < 800


@pytest.mark.parametrize(
    ("key", "inside", "ratio"),
    [
        ("contrast:low", LOW, 3),
        ("true:Shirt", LABEL == SHIRT, 3),
        ("contrast:low & true:Shirt", LOW & (LABEL == SHIRT), 6),  # some 80 images in each half
    ],
)
def test_planted_patterns_are_confirmed_and_nothing_unrelated(key, inside, ratio):
    names, repeats = set(key.split(" & ")), 20
    hits, unrelated, ratios = 0, 0, []
    for seed in range(repeats):
        found = SEARCH.run(*draw(LABEL, np.where(inside, ratio * BASE, BASE), seed))
        hits += key in confirmed(found)
        unrelated += any(not names & set(other.split(" & ")) for other in confirmed(found))
        ratios += [pattern.ratio for pattern in found.found if pattern.key == key]
    assert hits >= 18
    assert unrelated <= binom.ppf(0.999, repeats, 0.05)
    assert abs(np.mean(ratios) / ratio - 1) < 0.15  # counted on images that did not choose it


def test_a_failing_class_confirms_no_conjunction_and_no_pair():
    """Shirts fail five times as often whatever their contrast and whatever they are mistaken for."""
    hits, wrongly, repeats = 0, 0, 40
    for seed in range(repeats):
        keys = confirmed(SEARCH.run(*draw(LABEL, np.where(LABEL == SHIRT, 0.25, 0.05), seed)))
        hits += "true:Shirt" in keys
        wrongly += any("&" in key or "pair" in key for key in keys)
    assert hits == repeats
    assert wrongly <= binom.ppf(0.999, repeats, 0.05)


def test_a_planted_pair_is_confirmed():
    rng, pair = np.random.default_rng(1), np.isin(LABEL, [COAT, SHIRT])
    for seed in range(5):
        event, pred = draw(LABEL, np.full(len(LABEL), BASE), seed)
        swapped = pair & (rng.random(len(LABEL)) < 0.06)  # beside 1.25 % by chance
        pred = np.where(swapped, COAT + SHIRT - LABEL, pred)
        found = SEARCH.run(event | swapped, pred)
        assert {key for key in confirmed(found) if "pair" in key} == {"pair:Coat<>Shirt"}


@pytest.mark.slow
def test_random_failures_confirm_a_pattern_in_at_most_five_percent_of_the_runs():
    rng, repeats, wrongly, tested = np.random.default_rng(2), 200, 0, 0
    event = rng.random(len(LABEL)) < 0.08
    for _ in range(repeats):
        shuffled = rng.permutation(event)
        pred = np.where(shuffled, (LABEL + rng.integers(1, 5, len(LABEL))) % 5, LABEL)
        found = SEARCH.run(shuffled, pred)
        wrongly += bool(confirmed(found))
        tested += len(found.found)
    assert tested > repeats  # there was something to be wrong about
    assert wrongly <= binom.ppf(0.999, repeats, 0.05)


def patterns_of_all_kinds():
    """Low contrast fails more, low-contrast Shirts still more, Coats and Shirts are swapped."""
    rate = np.where(LOW, 0.12, 0.04) + np.where(LOW & (LABEL == SHIRT), 0.25, 0)
    event, pred = draw(LABEL, rate, 3)
    swapped = np.isin(LABEL, [COAT, SHIRT]) & (np.random.default_rng(4).random(len(LABEL)) < 0.08)
    pred = np.where(swapped, COAT + SHIRT - LABEL, pred)
    return event | swapped, pred, SEARCH.run(event | swapped, pred)


def outsides(pattern, event, pred, half):
    """2 × 2 tables of a pattern, counted image by image: against all others, and against the rest of each part."""
    rules = [{"classes": None, "bounds": {}, "pair": False}]
    if pattern.rule["classes"] and pattern.rule["bounds"]:
        rules += [pattern.rule | {"classes": None}, pattern.rule | {"bounds": {}}]
    member = is_member(pattern.rule, LABEL, VALUES, CLASSES) & half
    tables = []
    for rule in rules:
        rest = is_member(rule, LABEL, VALUES, CLASSES) & half & ~member
        tables.append(
            [
                [sum(event[m] == outcome for m in np.flatnonzero(who)) for outcome in (True, False)]
                for who in (member, rest)
            ]
        )
    return tables


def test_numbers_of_sets_equal_fisher_and_statsmodels_on_plain_counts():
    event, pred, found = patterns_of_all_kinds()
    kinds = set()
    for pattern in (one for one in found.found if not one.rule["pair"]):
        tables = outsides(pattern, event, pred, ~found.discovery)
        kinds.add(len(tables))
        (a, b), (c, d) = tables[0]
        assert (pattern.n, pattern.events, pattern.n_outside, pattern.events_outside) == (a + b, a, c + d, c)
        assert abs(pattern.p - max(fisher_exact(t, alternative="greater").pvalue for t in tables)) < 1e-12
        assert abs(pattern.ratio - Table2x2(tables[0]).riskratio) < 1e-12
        np.testing.assert_allclose(pattern.ratio_interval, Table2x2(tables[0]).riskratio_confint())
        (a, b), (c, d) = outsides(pattern, event, pred, found.discovery)[0]
        assert abs(pattern.found_rate_ratio - a / (a + b) / (c / (c + d))) < 1e-12
        assert a + b >= 30
        assert a >= 5
    assert kinds == {1, 3}


def test_numbers_of_a_pair_equal_plain_counts():
    event, pred, found = patterns_of_all_kinds()
    (pattern,) = (one for one in found.found if one.rule["pair"] and one.confirmed)
    half = ~found.discovery
    failures = [(t, p) for t, p in zip(LABEL[half & event], pred[half & event], strict=True)]
    swapped = sum({t, p} == {COAT, SHIRT} for t, p in failures)
    here = sum(t in (COAT, SHIRT) for t, _ in failures)
    n = sum(t in (COAT, SHIRT) for t in LABEL[half])
    assert (pattern.n, pattern.events) == (n, swapped)
    assert (pattern.n_outside, pattern.events_outside) == (4 * half.sum() - n, len(failures) - swapped)
    table = [[swapped, n - swapped], [pattern.events_outside, pattern.n_outside - pattern.events_outside]]
    spread = binomtest(swapped, here, 1 / 4, alternative="greater").pvalue
    assert abs(pattern.p - max(spread, fisher_exact(table, alternative="greater").pvalue)) < 1e-12
    assert event_inside(pattern.rule, event, LABEL, pred, CLASSES)[half].sum() == swapped


def test_rules_survive_json_and_holm_is_over_all_that_were_tested():
    _, _, found = patterns_of_all_kinds()
    assert [p.p_adjusted for p in found.found] == holm([p.p for p in found.found])
    for pattern in found.found:
        member = is_member(json.loads(json.dumps(pattern.rule)), LABEL, VALUES, CLASSES)
        assert (member & ~found.discovery).sum() == pattern.n
        assert pattern.confirmed == (pattern.p_adjusted < 0.05 and pattern.ratio >= 1.2)
    words = {pattern.key: pattern.words for pattern in found.found}
    bound = np.sort(VALUES["contrast"])[799]
    assert words["contrast:low & true:Shirt"] == f"true class Shirt, low contrast (RMS contrast at most {bound:.3g})"
    assert words["pair:Coat<>Shirt"] == "Coat and Shirt look-alikes (mistaken for each other)"


def confuse(there, back, n=300):
    """Three classes; of each half ``there`` images of class 0 are mistaken for 1, and ``back`` of 1 for 0."""
    label = np.repeat([0, 1, 2], n)
    pred = label.copy()
    half = split_halves(label, 0)
    for who in (half, ~half):
        pred[np.flatnonzero(who & (label == 0))[:there]] = 1
        pred[np.flatnonzero(who & (label == 1))[:back]] = 0
    return find_patterns(pred != label, label, pred, ["cat", "dog", "bird"], {}), label, pred, half


@pytest.mark.parametrize(
    ("there", "back", "words"),
    [
        (40, 0, "cat mistaken for dog"),
        (0, 40, "dog mistaken for cat"),
        (40, 9, "cat mistaken for dog"),  # less than a quarter
        (9, 40, "dog mistaken for cat"),
        (40, 10, "cat and dog look-alikes (mistaken for each other)"),
        (10, 40, "cat and dog look-alikes (mistaken for each other)"),
        (40, 40, "cat and dog look-alikes (mistaken for each other)"),
        (4, 1, "cat and dog look-alikes (mistaken for each other)"),
        (5, 0, "cat mistaken for dog"),
    ],
)
def test_a_confusion_of_one_way_is_called_so(there, back, words):
    found, label, pred, half = confuse(there, back)
    (pattern,) = (one for one in found.found if one.rule["pair"])
    assert pattern.words == words
    one_way = "mistaken for each other" not in words
    first = int(words.startswith("dog"))
    member = (label == first) if one_way else (label < 2)
    assert pattern.rule["one_way"] == one_way
    assert pattern.n == (member & ~half).sum() == (150 if one_way else 300)
    assert pattern.events == (max(there, back) if one_way else there + back)
    event = event_inside(json.loads(json.dumps(pattern.rule)), pred != label, label, pred, ["cat", "dog", "bird"])
    assert event[~half].sum() == pattern.events
    assert is_member(pattern.rule, label, {}, ["cat", "dog", "bird"])[~half].sum() == pattern.n
    if pattern.events >= 40 and one_way:
        this, other = max(there, back), min(there, back)
        spread = binomtest(this, this, 1 / 2, alternative="greater").pvalue  # all its failures go there
        table = [[this, 150 - this], [other, 900 - 150 - other]]
        assert pattern.p == pytest.approx(max(spread, fisher_exact(table, alternative="greater").pvalue))


def test_both_ways_must_hold_on_the_other_half():
    label = np.repeat([0, 1, 2], 300)
    half, pred = split_halves(label, 0), label.copy()
    pred[np.flatnonzero(label == 0)[:80]] = 1
    pred[np.flatnonzero(half & (label == 1))[:40]] = 0  # on the half searched only
    found = find_patterns(pred != label, label, pred, ["cat", "dog", "bird"], {})
    (words,) = (one.words for one in found.found if one.rule["pair"])
    assert words == "cat and dog confused (mostly one way)"


def test_what_is_asked_and_not_found_leaves_its_rate():
    event, pred = draw(LABEL, np.where(LABEL == SHIRT, 0.3, 0.05), 0)
    found = SEARCH.run(event, pred)
    asked = {one.key: one for one in found.asked}
    assert asked["true:Shirt"].outcome == "confirmed"
    ends = {f"{name}:{end}" for name in VALUES for end in ("low", "high")}
    assert set(asked) == ends | {f"true:{name}" for name in CLASSES}
    low = asked["contrast:low"]
    inside = LOW & ~found.discovery
    assert low.outcome != "confirmed"
    assert (low.n, low.events) == (inside.sum(), event[inside].sum())
    assert low.interval == pytest.approx(proportion_confint(low.events, low.n, method="wilson"))
    rest = ~LOW & ~found.discovery
    assert low.rate_outside == event[rest].mean()
    assert low.interval_outside == pytest.approx(proportion_confint(event[rest].sum(), rest.sum(), method="wilson"))
    lost = asked["border_contact:low"]  # two thirds are exactly zero
    assert (lost.words, lost.n, lost.rate) == ("item clear of the border", None, None)
    assert "share one value" in lost.outcome


def test_members_equal_the_rules_at_discovery():
    for one, row in zip(SEARCH.slices, SEARCH.members.toarray(), strict=True):
        member = np.ones(len(LABEL), bool)
        for part in one.key.split(" & "):
            kind, _, which = part.partition(":")
            if kind == "true":
                member &= np.isin(LABEL, CLASSES.index(which))
            elif kind != "all":
                value = VALUES[kind] if which == "low" else -VALUES[kind]
                fifth = np.argsort(np.argsort(value)) < 800
                member &= fifth
        np.testing.assert_array_equal(row.astype(bool), member)


def test_a_fifth_that_ties_blow_up_is_left_out():
    keys = {one.key for one in SEARCH.slices}
    assert "border_contact:high" in keys
    assert "border_contact:low" not in keys  # two thirds are exactly zero
    rare = np.where(np.arange(len(LABEL)) < 300, 1.0, 0.0)
    search = PatternSearch(LABEL, CLASSES, {"flat": np.zeros(len(LABEL)), "rare": rare})
    (only,) = (one for one in search.slices if one.rule["bounds"] and one.rule["classes"] is None)
    assert only.rule["bounds"] == {"rare": [1.0, None]}  # smaller than a fifth, but one can name it
    assert only.words == "rare"  # a group by itself


def test_two_names_for_the_same_images_are_tested_once():
    event, pred = draw(LABEL, np.where(LOW, 0.2, 0.05), 5)
    twice = {"contrast": VALUES["contrast"], "double": 2 * VALUES["contrast"]}
    found = find_patterns(event, LABEL, pred, CLASSES, twice)
    assert sum(pattern.key in ("contrast:low", "double:low") for pattern in found.found) == 1


def test_halves_are_disjoint_stratified_and_repeatable():
    label = np.repeat([0, 1, 2, 3], [101, 50, 1, 7])
    half = split_halves(label, seed=3)
    for number in range(4):
        assert abs(half[label == number].sum() - (~half)[label == number].sum()) <= 1
    assert abs(half.sum() - (~half).sum()) <= 1
    np.testing.assert_array_equal(half, split_halves(label, seed=3))
    assert (half != split_halves(label, seed=4)).any()


def test_the_other_half_does_not_take_part_in_the_choice():
    event, pred, found = patterns_of_all_kinds()
    pred = np.where(found.discovery, pred, LABEL)  # the other half is all right now
    again = SEARCH.run(event & found.discovery, pred)
    assert [p.key for p in again.found] == [p.key for p in found.found]
    assert not confirmed(again)
    assert all(p.events == 0 and p.ratio is None and p.ratio_interval is None and p.p == 1 for p in again.found)


def test_limit_counts_and_pairs_take_a_third_of_it():
    event, pred, _ = patterns_of_all_kinds()
    assert len(SEARCH.run(event, pred, limit=3).found) == 3
    event, pred = draw(LABEL, np.full(len(LABEL), BASE), 7)
    swapped = np.random.default_rng(8).random(len(LABEL)) < 0.1  # Bag and Boot, Coat and Shirt: two pairs
    pred = np.where(swapped & (LABEL < 4), LABEL ^ 1, pred)
    for limit, pairs in ((12, 2), (3, 1), (2, 0)):
        found = SEARCH.run(pred != LABEL, pred, limit=limit).found
        assert sum(pattern.rule["pair"] for pattern in found) == pairs


def test_small_sets_and_rare_events_are_not_tested():
    label = np.repeat([0, 1, 2], [1000, 58, 62])  # 29 and 31 images of the small classes are searched
    event = label > 0
    found = find_patterns(event, label, (label + 1) % 3 * event, ["a", "b", "c"], {})
    assert [one.key for one in found.found] == ["pair:c>a", "true:c"]
    assert {one.key: one.outcome for one in found.asked} == {
        "true:a": "fewer than 5 failures among the images searched",
        "true:b": "fewer than 30 images to search",
        "true:c": "confirmed",
    }
    four = split_halves(label, 0) & (np.cumsum(split_halves(label, 0) & (label == 2)) <= 4) & (label == 2)
    assert find_patterns(four, label, np.where(four, 0, label), ["a", "b", "c"], {}).found == []


def test_without_properties_and_with_too_few_events():
    event, pred = draw(LABEL, np.where(LABEL == SHIRT, 0.3, 0.05), 0)
    found = find_patterns(event, LABEL, pred, CLASSES, {})
    assert "true:Shirt" in confirmed(found)
    assert f"of {len(found.found)} patterns hold" in found.note
    none = find_patterns(np.zeros_like(event), LABEL, LABEL, CLASSES, VALUES)
    assert none.found == []
    assert none.note == "Only 0 of the 2,000 images searched have the event, 5 are needed"
    assert (none.n_discovery, none.n_confirmation) == (2000, 2000)
    assert "no set of 30 images" in find_patterns(event[:200], LABEL[:200], pred[:200], CLASSES, {}).note


def test_two_classes_have_no_pair():
    rng = np.random.default_rng(6)
    label = rng.integers(0, 2, 2000)
    event = rng.random(2000) < np.where(label == 1, 0.3, 0.05)
    found = find_patterns(event, label, np.where(event, 1 - label, label), ["no", "yes"], {})
    assert [pattern.key for pattern in found.found] == ["true:yes"]


def test_fix_inside_a_pattern_by_hand():
    member = np.array([1, 1, 1, 1, 1, 1, 0, 0], bool)
    half = np.array([1, 1, 1, 1, 1, 0, 1, 1], bool)
    a = np.array([1, 1, 1, 0, 0, 1, 1, 1], bool)
    b = np.array([0, 0, 1, 1, 0, 0, 0, 0], bool)
    found = compare_inside(member, a, b, half)
    assert (found["n"], found["events_a"], found["events_b"], found["only_a"], found["only_b"]) == (5, 3, 2, 2, 1)
    assert abs(found["difference"] - (found["rate_b"] - found["rate_a"])) < 1e-12
    assert found["low"] < found["difference"] < found["high"]
    assert abs(found["p"] - (1 - 3 / 8)) < 1e-12  # twice P(Bin(3, ½) ≤ 1) = 1, less the point 3/8
    with pytest.raises(DataError, match="no image of this pattern"):
        compare_inside(~half, a, b, half)


def test_examples_are_the_most_confident_events_inside():
    member = np.array([1, 1, 1, 1, 1, 0], bool)
    event = np.array([1, 0, 1, 1, 1, 1], bool)
    confidence = np.array([0.7, 0.99, 0.9, 0.8, 0.8, 0.95])
    assert example_rows(member, event, confidence, count=3) == [2, 3, 4]
    assert example_rows(~member, ~event, confidence) == []


def test_input_that_does_not_fit_is_refused():
    event, pred = draw(LABEL, np.full(len(LABEL), 0.1), 0)
    with pytest.raises(DataError, match="prediction is right"):
        SEARCH.run(event, LABEL)
    with pytest.raises(DataError, match="one entry for each"):
        SEARCH.run(event[:5], pred)
    with pytest.raises(DataError, match="numbers below 3"):
        PatternSearch(LABEL, CLASSES[:3], {})
    with pytest.raises(DataError, match="contrast needs one finite number"):
        PatternSearch(LABEL, CLASSES, {"contrast": np.full(len(LABEL), np.nan)})
    with pytest.raises(DataError, match="property 'size', but there are only brightness"):
        is_member({"classes": None, "bounds": {"size": [None, 1]}, "pair": False}, LABEL, VALUES, CLASSES)
    with pytest.raises(DataError, match="class 'Hat', but there are only Bag"):
        is_member({"classes": ["Hat"], "bounds": {}, "pair": False}, LABEL, VALUES, CLASSES)

import itertools

import numpy as np
import pytest

from stress_lab.errors import PairingError
from stress_lab.stats.stability import TAGS, chance_counts, one_variant_tags, split_by_answer, tag_images

RNG = np.random.default_rng(0)


def test_tags_by_hand():
    failed_a = np.array([[1, 1, 0, 1, 0, 0, 1], [1, 1, 0, 0, 0, 0, 1]], bool)
    failed_b = np.array([[1, 0, 1, 0, 0, 1, 1], [1, 0, 1, 0, 0, 0, 1], [1, 0, 1, 0, 0, 0, 0]], bool)
    names = [TAGS[number] for number in tag_images(failed_a, failed_b)]
    assert names == ["hard core", "fixed", "broken", "flicker", "never", "flicker", "flicker"]


def test_fixed_and_broken_are_only_for_answers_that_changed():
    """The columns: right in all of B, wrong in one of B; right in all of A, wrong in one of A; hard core."""
    failed_a = np.array([[1, 1, 0, 0, 1], [1, 1, 0, 0, 1]], bool)
    failed_b = np.array([[0, 0, 1, 1, 1]], bool)
    wrong_a = failed_a | np.array([[0, 0, 0, 1, 0], [0, 0, 0, 0, 0]], bool)
    wrong_b = failed_b | np.array([[0, 1, 0, 0, 0]], bool)
    tags = split_by_answer(tag_images(failed_a, failed_b), wrong_a, wrong_b)
    names = ["fixed", "no longer confident", "broken", "newly confident", "hard core"]
    assert [TAGS[number] for number in tags] == names


def slow_tag(in_a, in_b):
    """The tag of one image, from its lists of failures."""
    if all(in_a + in_b):
        return "hard core"
    if not any(in_a + in_b):
        return "never"
    if all(in_a) and not any(in_b):
        return "fixed"
    return "broken" if all(in_b) and not any(in_a) else "flicker"


@pytest.mark.parametrize(("k_a", "k_b"), [(1, 1), (2, 2), (3, 1), (2, 3)])
def test_every_pattern_equals_a_plain_loop(k_a, k_b):
    patterns = np.array(list(itertools.product([False, True], repeat=k_a + k_b))).T
    tags = tag_images(patterns[:k_a], patterns[k_a:])
    assert [TAGS[tag] for tag in tags] == [slow_tag(list(p[:k_a]), list(p[k_a:])) for p in patterns.T]


def test_one_variant():
    failed = np.array([[1, 1, 0], [1, 0, 0]], bool)
    assert [TAGS[tag] for tag in one_variant_tags(failed)] == ["hard core", "flicker", "never"]
    assert [TAGS[tag] for tag in one_variant_tags(failed[:1])] == ["hard core", "hard core", "never"]


@pytest.mark.parametrize(("k_a", "k_b"), [(1, 1), (2, 2), (3, 3), (2, 4), (1, 3)])
def test_chance_equals_the_mean_over_all_relabelings(k_a, k_b):
    runs = RNG.random((k_a + k_b, 300)) < RNG.random(300)
    counts = {"fixed": [], "broken": []}
    for chosen in itertools.combinations(range(k_a + k_b), k_a):
        others = [run for run in range(k_a + k_b) if run not in chosen]
        tags = tag_images(runs[list(chosen)], runs[others])
        for name, found in counts.items():
            found.append(int((tags == TAGS.index(name)).sum()))
    expected = {name: float(np.mean(found)) for name, found in counts.items()}
    assert chance_counts(runs[:k_a], runs[k_a:]) == pytest.approx(expected)


def test_chance_of_single_runs_is_the_mean_of_fixed_and_broken():
    a, b = RNG.random((2, 1, 500)) < 0.2
    fixed, broken = int((a & ~b).sum()), int((~a & b).sum())
    assert chance_counts(a, b) == {"fixed": (fixed + broken) / 2, "broken": (fixed + broken) / 2}


def test_a_planted_fix_stands_out_from_chance():
    difficulty = RNG.beta(0.06, 0.9, size=3000)
    a, b = RNG.random((2, 4, 3000)) < difficulty
    a[:, :100], b[:, :100] = True, False
    fixed = int((tag_images(a, b) == TAGS.index("fixed")).sum())
    assert fixed >= 100 > 5 * chance_counts(a, b)["fixed"]


def test_other_images_are_refused():
    with pytest.raises(PairingError, match="same images"):
        tag_images(np.ones((2, 3), bool), np.ones((2, 4), bool))
    with pytest.raises(PairingError, match="at least one run"):
        chance_counts(np.ones((0, 3), bool), np.ones((2, 3), bool))

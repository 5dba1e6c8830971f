"""What the first screen says and draws, from records made by hand."""

import re
from pathlib import Path

import pytest

from stress_lab.files import load_json
from stress_lab.report.advice import advise, sweep_command
from stress_lab.report.first_screen import name_tag
from stress_lab.report.flow_picture import draw_flow
from stress_lab.report.page import render
from stress_lab.report.verdict_picture import WIDTH, draw_axis, draw_row, find_reach, list_differences


def question(**changes):
    return {
        **{"question": "accuracy", "better": "higher", "a": "old", "b": "new", "unit": "models"},
        **{"difference": 0.02, "interval": [0.01, 0.03], "margin": 0.005, "verdict": "helped"},
        **{"more": {"seeds": None}, **changes},
    }


ONE = ([0.9], [0.92])


@pytest.mark.parametrize(("better", "side"), [("higher", 1), ("lower", -1)])
def test_better_is_right_whatever_the_measure(better, side):
    """The dot of a rise lies right of the middle where higher is better, else left, as far as its share of the axis."""
    svg = str(draw_row(question(better=better), ONE, reach=0.04))
    (x,) = [float(found) for found in re.findall(r'circle class="good" cx="([^"]+)"', svg)]
    assert x == pytest.approx(WIDTH / 2 + side * 0.5 * (WIDTH / 2 - 10))


def test_several_runs_show_every_pair():
    values = ([0.90, 0.91, 0.93], [0.92, 0.95])
    within, between = list_differences(question(better="lower"), values)
    assert within == pytest.approx([-0.01, -0.03, -0.02, -0.03])
    assert sorted(between) == pytest.approx([-0.05, -0.04, -0.02, -0.02, -0.01, 0.01])
    svg = str(draw_row(question(), values, 0.1))
    assert (svg.count('class="same"'), svg.count('class="other"')) == (4, 6)
    assert list_differences(question(), ONE) == ([], [])
    assert find_reach([(question(), values)]) == pytest.approx(1.06 * 0.05)


@pytest.mark.parametrize("reach", [0.0001, 0.0053, 0.031, 0.4, 1.06])
def test_the_axis_names_both_ends_and_a_few_round_ticks(reach):
    text = re.findall(r">([^<]+)</text>", str(draw_axis(reach)))
    assert text[-3:] == ["← worse", "better →", "points of all test images"]
    ticks = [float(tick.replace("−", "-")) for tick in text[:-3]]
    assert 3 <= len(ticks) <= 9
    assert ticks == [-tick for tick in reversed(ticks)]


def test_the_flow_states_both_totals_and_is_to_scale():
    counts = [[900.0, 30.0, 10.0], [20.0, 15.0, 5.0], [4.0, 6.0, 10.0]]
    flow = {"states": ["right", "wrong, unsure", "wrong, sure"], "counts": counts}
    svg = str(draw_flow(flow, "<old>", "new"))
    assert re.findall(r'class="total">([^<]+)<', svg) == ["940", "924", "40", "51", "20", "25"]
    assert "<old>" not in svg
    assert [svg.count(f'class="{tone}"') for tone in ("stay", "worse", "improved")] == [3, 3, 3]
    heights = [float(found) for found in re.findall(r'<path class="worse"[^v]+v([0-9.]+)C', svg)]
    assert heights == pytest.approx([heights[0], heights[0] / 3, heights[0] / 6], abs=0.06)


def test_older_records_call_an_image_fixed_that_is_still_wrong():
    models = {"old": {"any_wrong": True}, "new": {"any_wrong": True}}
    card = {"models": models, "tags": {"new": "fixed"}}
    assert name_tag(card, "new") == "no longer confident"
    assert name_tag({**card, "tags": {"new": "broken"}}, "new") == "newly confident"
    assert name_tag({**card, "tags": {"new": "flicker"}}, "new") == "flicker"
    models["new"]["any_wrong"] = False
    assert name_tag(card, "new") == "fixed"


def run(variant, seed, *overrides):
    return {"variant": variant, "seed": seed, "epochs": 3, "overrides": [*overrides, f"seed={seed}"]}


def test_the_command_repeats_the_sweep_with_more_seeds():
    runs = [run(v, 42, f"augment={v}", "experiment=demo", "launcher=basic") for v in ("baseline", "cutout")]
    assert sweep_command(runs, 5) == "stress-lab -m augment=baseline,cutout experiment=demo seed=1,2,3,4,42"
    mixed = [run("a", 1, "optim=sgd", "augment=x"), run("b", 1, "optim=adam", "augment=y")]
    assert sweep_command(mixed, 5) is None  # one line would train four variants


def advice(runs, *asked):
    return advise({"runs": runs, "data": {"source": "models['old']"}}, asked)


def test_the_next_step_follows_from_the_verdicts():
    trained = [run(v, 1, f"augment={v}") for v in ("old", "new")]
    assert advice(trained, question()).command == "stress-lab -m augment=old,new seed=1,2,3,4,5"
    files = [{"variant": v, "seed": 1, "epochs": None, "overrides": []} for v in ("old", "new")]
    assert advice(files, question()).command.startswith("sl.compare({'old': [run1")
    seeds = {"unit": "recipes", "verdict": "cannot tell"}
    short = question(**seeds, more={"seeds": 9, "out_of_reach": True, "seeds_to_reach": 4})
    assert advice(trained, short).command.endswith("seed=1,2,3,4")
    near = question(**seeds, more={"seeds": 7})
    assert advice(trained, near).command.endswith("seed=1,2,3,4,5,6,7")
    assert advice(trained, question(**seeds, more={"seeds": 400})).command is None
    assert advice(trained, question(more={"moot": True})).command is None
    decided = [question(unit="recipes", verdict=verdict) for verdict in ("helped", "hurt")]
    assert "which of the two matters more" in advice(trained, *decided).sentence
    assert "take new" in advice(trained, decided[0]).sentence
    assert "stay with old" in advice(trained, decided[1]).sentence


KEPT = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*/comparison.json"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.parent.name)
def test_records_of_earlier_versions_still_make_a_page(path):
    """They lack the flow, and the split of fixed and broken."""
    record = load_json(path)
    page = render(record, None, None, {})
    assert page.count('<article class="finding') == len(record["comparisons"]) > 0
    assert page.count('class="plotted"') >= len(record["questions"])
    if "flow" not in record["comparisons"][0]:
        assert "Where the images went" not in page

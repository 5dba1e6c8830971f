"""Numbers as text."""

import pytest

from stress_lab.report.label_words import summarize_labels
from stress_lab.report.numbers import KINDS, HtmlSpeaker, Speaker
from stress_lab.report.words import describe_question, headline, summarize


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("percent", 0.9432, "94.32 %"),
        ("points", -0.00344, "−0.34"),
        ("points", 0.00344, "+0.34"),
        ("points", -0.00001, "0.00"),
        ("count", 12345, "12,345"),
        ("count", 19.4, "19.4"),
        ("count", 463.99999999, "464"),
        ("change", -78.0, "−78"),
        ("about", 23456, "23,000"),
        ("p", 0.0391, "0.039"),
        ("p", 0.0002, "< 0.001"),
        ("p", 1.0, "1"),
        ("ratio", 3.04, "3.0×"),
    ],
)
def test_kinds(kind, value, text):
    assert KINDS[kind](value) == text


def question(**changes):
    return {
        "question": "accuracy",
        "measure": "accuracy",
        "better": "higher",
        "a": "baseline",
        "b": "<b>fix</b>",
        "k_a": 1,
        "k_b": 1,
        "n": 10_000,
        "unit": "models",
        "mean_a": 0.9398,
        "mean_b": 0.9432,
        "difference": 0.0034,
        "interval": [-0.001, 0.0078],
        "interval_method": "Tango score",
        "test": "McNemar mid-p",
        "p": 0.14,
        "p_adjusted": 0.28,
        "alpha": 0.05,
        "margin": 0.005,
        "verdict": "cannot tell",
        "equivalent": False,
        "more": {"target": 0.005, "images": 23_456, "images_more": 13_456, "power": 0.8},
        "control": None,
        "fair": None,
        **changes,
    }


def speak(kind, **changes):
    return kind({"comparison": {"questions": [question(**changes)]}}, ("comparison", "questions", 0))


def test_a_verdict_in_words():
    one = speak(Speaker)
    assert headline(one) == "Cannot tell whether <b>fix</b> is more or less accurate than baseline"
    lines = describe_question(one)
    assert lines[0] == "94.32 % against 93.98 %, +0.34 points (95 % interval −0.10 to +0.78)."
    assert lines[-1] == (
        "McNemar mid-p 0.140, 0.280 after Holm's correction; interval: Tango score; two trained networks, the same "
        "10,000 test images."
    )
    assert lines[1] == (
        "About 13,000 more test images would detect a difference of 0.50 points, which is the margin, "
        "between two networks."
    )
    assert (
        headline(speak(Speaker, verdict="equivalent")) == "<b>fix</b> is as accurate as baseline, within ±0.50 points"
    )
    assert headline(speak(Speaker, verdict="hurt")) == "<b>fix</b> is less accurate than baseline"
    small = headline(speak(Speaker, verdict="helped", equivalent=True))
    assert small == "<b>fix</b> is more accurate than baseline, but by less than 0.50 points"
    html = headline(speak(HtmlSpeaker, verdict="equivalent"))
    assert html.startswith("&lt;b&gt;fix&lt;/b&gt; is as accurate as baseline")
    assert ">0.50</data> points" in html
    assert describe_question(speak(Speaker, interval=[0.001, 0.008]))[2].startswith("The interval leaves zero out, but")


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (("hurt", "hurt"), "new is less accurate than old and has more confident failures"),
        (("helped", "hurt"), "new is more accurate than old, but has more confident failures"),
        (("equivalent", "helped"), "new is as accurate as old, within ±0.50 points and has fewer confident failures"),
        (
            ("hurt", "cannot tell"),
            "new is less accurate than old; cannot tell whether it has more or fewer confident failures",
        ),
        (
            ("cannot tell", "helped"),
            "new has fewer confident failures than old; cannot tell whether it is more or less accurate",
        ),
        (("cannot tell", "cannot tell"), "Cannot tell whether new differs from old"),
    ],
)
def test_two_answers_make_one_headline(verdicts, said):
    asked = [
        question(a="old", b="new", question=name, verdict=verdict)
        for name, verdict in zip(("accuracy", "confident_failures"), verdicts, strict=True)
    ]
    record = {"comparison": {"questions": asked}}
    assert summarize([Speaker(record, ("comparison", "questions", n)) for n in range(2)]) == said


def test_too_few_seeds_are_said():
    more = {
        "target": 0.005,
        "seeds": 8,
        "seeds_more": 5,
        "images": None,
        "spread": True,
        "out_of_reach": True,
        "seeds_to_reach": 5,
        "smallest_adjusted_p": 0.2,
    }

    def said():
        return " ".join(describe_question(speak(Speaker, unit="recipes", k_a=3, k_b=3, more=more)))

    assert "3 and 3 runs cannot reach p < 0.05 here: the smallest possible p is 0.200 after Holm; 5 seeds" in said()
    more["out_of_reach"] = False
    assert "About 8 seeds per variant (5 more) would detect a difference of 0.50 points." in said()
    more["seeds_more"] = 0
    assert "the true one may be smaller" in said()
    more["seeds"] = None
    assert "Even 1,000 seeds" in said()
    more["spread"] = False
    assert "cannot be estimated" in said()
    more["images"] = 40_000
    assert "More seeds would not detect a difference of 0.50 points: that takes about 40,000 test images." in said()


def test_the_page_says_the_same_and_escapes_names():
    from html.parser import HTMLParser

    class Text(HTMLParser):
        def __init__(self):
            super().__init__()
            self.parts = []

        def handle_data(self, data):
            self.parts.append(data)

    for plain, html in zip(describe_question(speak(Speaker)), describe_question(speak(HtmlSpeaker)), strict=True):
        parser = Text()
        parser.feed(str(html))
        assert "".join(parser.parts) == plain
    assert "<b>" not in str(headline(speak(HtmlSpeaker)))


@pytest.mark.parametrize(("suspects", "doubted"), [(20, False), (220, True)])
def test_many_suspects_speak_against_the_models(suspects, doubted):
    """Half of all labels are not wrong because a net that learnt nothing contradicts them."""
    labels = {"failures": 300, "suspect_failures": 10, "suspects": suspects, "n": 1000, "verdicts": []}
    labels |= dict.fromkeys(("disagreed_failures", "twin_failures", "checked", "corrected", "error_rate"))
    said = summarize_labels(Speaker({"labels": labels}, ("labels",)))
    assert said[0] == "10 of the 300 images that a run gets wrong with confidence may have the wrong label."
    assert any("models are more likely wrong" in line for line in said) == doubted

"""The page's charts as Vega-Lite, which Altair checks; each mark that means a value says it in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from stress_lab.report.chart_style import (
    INK,
    QUIET,
    SAYS,
    Rows,
    colour_variants,
    finish_chart,
    label_lines,
    make_chart,
    shorten_names,
)

READABLE = 12  # runs up to which the agreement matrix shows numbers
LINES = 230  # pixels of height
LABELS = alt.Axis(labelLimit=190, ticks=False, domain=False)


def chart_failure_curve(runs: Sequence[Mapping[str, Any]], variants: Sequence[str]) -> dict[str, Any]:
    """Confident failures over the threshold: a thin line with its band per run."""
    rows: Rows = [
        {
            "variant": run["variant"],
            "run": run["name"],
            "threshold": point["threshold"],
            "count": point["count"],
            "low": run["n"] * point["interval"][0],
            "high": run["n"] * point["interval"][1],
            "words": f"{run['name']}: {run['failures']} above {run['threshold']:g}",
        }
        for run in runs
        if run["curves"]
        for point in run["curves"]["failure_curve"]
    ]
    base = make_chart(rows).encode(x=alt.X("threshold:Q", title="confidence threshold", scale=alt.Scale(zero=False)))
    band = base.mark_area(opacity=0.13 if len(runs) < 4 else 0.06, aria=False).encode(
        y=alt.Y("low:Q", title="wrong above the threshold, images"),
        y2="high:Q",
        color=colour_variants(variants),
        detail="run:N",
    )
    line = base.mark_line(strokeWidth=2 if len(runs) < 4 else 1.2).encode(
        y="count:Q",
        color=colour_variants(variants),
        detail="run:N",
        description=SAYS,
    )
    marks = [
        make_chart([{"x": t}]).mark_rule(color=INK, strokeDash=[4, 4], opacity=0.6, aria=False).encode(x="x:Q")
        for t in sorted({run["threshold"] for run in runs})
    ]
    labels = label_lines(rows, "threshold", "count", LINES)
    return finish_chart(
        alt.layer(band, line, *marks, *labels), LINES, "Confident failures of each run over the threshold"
    )


def chart_reliability(run: Mapping[str, Any], variants: Sequence[str]) -> dict[str, Any]:
    """Accuracy over confidence of one run, its intervals, and the band of perfect calibration."""
    rows: Rows = [
        {
            "variant": run["variant"],
            "confidence": point["confidence"],
            "accuracy": point["accuracy"],
            "low": point["interval"][0],
            "high": point["interval"][1],
            "band_low": point["band"][0],
            "band_high": point["band"][1],
            "words": "{count:,} images: confidence {confidence:.3f}, accuracy {accuracy:.3f}".format(**point),
        }
        for point in run["curves"]["reliability"]
    ]
    unit = alt.Scale(domain=[0, 1])
    base = make_chart(rows).encode(x=alt.X("confidence:Q", title="mean confidence in bin", scale=unit))
    band = base.mark_area(color=QUIET, opacity=0.3, aria=False).encode(
        y=alt.Y("band_low:Q", title="accuracy in bin", scale=unit), y2="band_high:Q"
    )
    diagonal = make_chart([{"x": 0, "y": 0}, {"x": 1, "y": 1}]).mark_line(
        color=INK, strokeDash=[2, 3], opacity=0.6, strokeWidth=1, aria=False
    )
    hue = colour_variants(variants, legend=False)
    bars = base.mark_rule(size=1.5, aria=False).encode(y="low:Q", y2="high:Q", color=hue)
    dots = base.mark_point(filled=True, size=45, opacity=1).encode(
        y="accuracy:Q",
        color=hue,
        description=SAYS,
    )
    words = f"Reliability of {run['name']}: accuracy over confidence, with the band of perfect calibration"
    return finish_chart(alt.layer(band, diagonal.encode(x="x:Q", y="y:Q"), bars, dots), LINES, words)


def chart_risk_coverage(runs: Sequence[Mapping[str, Any]], variants: Sequence[str]) -> dict[str, Any]:
    """Error among the predictions kept, over the share kept."""
    rows: Rows = [
        {
            "variant": run["variant"],
            "run": run["name"],
            "coverage": point["coverage"],
            "risk": 100 * point["risk"],
            "words": f"{run['name']}: {run['errors'] / run['n']:.1%} error if every prediction is kept",
        }
        for run in runs
        if run["curves"]
        for point in run["curves"]["risk_coverage"]
    ]
    line = (
        make_chart(rows)
        .mark_line(strokeWidth=2 if len(runs) < 4 else 1.2)
        .encode(
            x=alt.X("coverage:Q", title="share of predictions kept, the most confident first"),
            y=alt.Y("risk:Q", title="error among them [%]"),
            color=colour_variants(variants),
            detail="run:N",
            description=SAYS,
        )
    )
    return finish_chart(
        alt.layer(line, *label_lines(rows, "coverage", "risk", LINES)), LINES, "Risk over coverage of each run"
    )


def chart_training(
    histories: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]],
    variants: Sequence[str],
    key: str,
    title: str,
) -> dict[str, Any] | None:
    """A quantity over the epochs: every run thin, the mean of a variant thick; None where no run has it.

    Args:
        histories: (run, rows of its history). ``variants`` gives the hues.
        key: of the history, such as ``val/acc``.
        title: of the axis.
    """
    scale = 100 if key.endswith("/acc") else 1
    rows: Rows = [
        {
            "variant": run["variant"],
            "run": run["name"],
            "epoch": row["epoch"],
            "value": scale * row[key],
            "words": run["name"],
        }
        for run, history in histories
        for row in history
        if key in row
    ]
    if len({row["epoch"] for row in rows}) < 2:
        return None  # one epoch is not a curve
    base = make_chart(rows).encode(
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d")),
        color=colour_variants(variants),
    )
    value = alt.Y("value:Q", title=title, scale=alt.Scale(zero=False))
    thin = base.mark_line(strokeWidth=1, opacity=0.45, point=len({row["epoch"] for row in rows}) == 1).encode(
        y=value, detail="run:N", description=SAYS
    )
    thick = base.mark_line(strokeWidth=2.5, aria=False).encode(
        y=alt.Y("mean(value):Q", title=title, scale=alt.Scale(zero=False))
    )
    return finish_chart(
        alt.layer(thin, thick, *label_lines(rows, "epoch", "value", LINES)), LINES, f"{title} over the epochs"
    )


def chart_seeds(
    runs: Sequence[Mapping[str, Any]], variants: Sequence[str], key: str, title: str
) -> dict[str, Any] | None:
    """One dot per run with its interval over images; None where a run lacks the measure."""
    if any(key not in run["metrics"] for run in runs):
        return None
    names = shorten_names([run["name"] for run in runs])
    rows: Rows = [
        {
            "variant": run["variant"],
            "run": names[run["name"]],
            **{name: 100 * run["metrics"][key][name] for name in ("value", "low", "high")},
            "words": "{}: {:.2%}, interval {:.2%} to {:.2%}".format(
                run["name"], *(run["metrics"][key][name] for name in ("value", "low", "high"))
            ),
        }
        for run in runs
    ]
    base = make_chart(rows).encode(
        y=alt.Y(
            "run:N",
            sort=[row["run"] for row in rows],
            title=None,
            axis=LABELS,
        ),
        color=colour_variants(variants, legend=False),
        description=SAYS,
    )
    bars = base.mark_rule(size=2).encode(x=alt.X("low:Q", title=title, scale=alt.Scale(zero=False)), x2="high:Q")
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(x="value:Q")
    return finish_chart(alt.layer(bars, dots), 22 * len(rows) + 20, f"{title} of each run")


def chart_agreement(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Error consistency κ between every two runs, as a small matrix."""
    brief = shorten_names(names)
    order, cells = [brief[name] for name in names], []
    for row in rows:
        for a, b in ((row["a"], row["b"]), (row["b"], row["a"])):
            cells.append({"a": brief[a], "b": brief[b], "kappa": row["error_consistency"], "words": ""})
            if row["error_consistency"] is not None:
                cells[-1]["words"] = f"{a} and {b}: κ {row['error_consistency']:.3f}, churn {row['churn']:.1%}"
    base = make_chart([cell for cell in cells if cell["kappa"] is not None]).encode(
        x=alt.X(
            "a:N",
            sort=order,
            title=None,
            axis=alt.Axis(labelAngle=-40, labelLimit=190, ticks=False, domain=False),
        ),
        y=alt.Y("b:N", sort=order, title=None, axis=LABELS),
    )
    heat = base.mark_rect().encode(
        color=alt.Color("kappa:Q", scale=alt.Scale(scheme="viridis", domain=[0, 1]), legend=None),
        description=SAYS,
    )
    text = base.mark_text(fontSize=11, aria=False).encode(
        text=alt.Text("kappa:Q", format=".2f"),
        color=alt.condition("datum.kappa > 0.6", alt.value("#111"), alt.value("#fff")),
    )
    layers = alt.layer(heat, text) if len(names) <= READABLE else heat  # numbers would overlap
    return finish_chart(
        layers, max(120, min(30, 600 // len(names) + 8) * len(names)), "Error consistency between every two runs"
    )

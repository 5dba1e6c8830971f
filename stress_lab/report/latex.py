r"""A comparison as tables for a paper: LaTeX with booktabs, every value with its interval.

``\input{comparison}`` needs ``\usepackage{booktabs}`` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from stress_lab.comparison.measures import MEASURES
from stress_lab.comparison.one_model import OneModel
from stress_lab.comparison.result import Comparison, VariantComparison
from stress_lab.plain_text import printable
from stress_lab.report.numbers import KINDS

SPECIAL = {
    **{one: f"\\{one}" for one in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\n": " ", "\t": " "},
    **{"−": "$-$", "×": r"$\times$", "κ": r"$\kappa$", "<": r"\textless{}", ">": r"\textgreater{}", '"': "''"},
    **{"[": "{[}", "]": "{]}"},  # after \\ a bracket would be read as a length
}


def escape(text: object) -> str:
    r"""Text as LaTeX shows it.

    >>> print(escape("50 % of $x_1$ & more"), escape("a\\b [c]"))
    50 \% of \$x\_1\$ \& more a\textbackslash{}b {[}c{]}
    """
    return "".join(SPECIAL.get(one, one) for one in printable(text))


def make_latex(comparison: Comparison) -> str:
    """Tables of the verdicts and of every measure; for one model of its measures and its classes."""
    level = f"{100 * comparison.level:g}"
    parts = [f"% {printable(comparison.title)}, made by stress_lab; needs \\usepackage{{booktabs}}"]
    if comparison.questions:
        parts.append(_write_verdicts(comparison, level))
    parts += [_write_measures(comparison, one, level) for one in comparison.comparisons]
    if comparison.one_model is not None:
        parts += [_write_model(comparison, comparison.one_model, level), _write_classes(comparison.one_model, level)]
    return "\n\n".join(parts) + "\n"


def _write_verdicts(comparison: Comparison, level: str) -> str:
    """A row for each question."""
    rows = [
        (
            escape(f"{one.b} against {one.a}"),
            escape(MEASURES[one.measure].title),
            _rate(one.mean_a),
            _rate(one.mean_b),
            f"{_points(one.evidence.difference)} {_interval(one.evidence.interval, _points)}",
            _p(one.p_adjusted),
            escape(one.verdict),
        )
        for one in comparison.questions
    ]
    heads = ("", "Question", "Before", "After", "Difference", "$p$ (Holm)", "Verdict")
    n = comparison.runs[0].n
    note = f"Verdicts on {n:,} test images: rates in percent, differences in points with {level}\\,\\% intervals."
    return _table(f"{escape(comparison.title)}. {note}", heads, "llrrrrl", rows)


def _write_measures(comparison: Comparison, compared: VariantComparison, level: str) -> str:
    """Every measure of a variant against the reference."""
    rows = [
        (
            escape(one.title),
            _rate(one.mean_a),
            _rate(one.mean_b),
            f"{_points(one.difference)} {_interval(one.interval, _points)}",
            _p(one.p),
        )
        for one in compared.metrics
    ]
    note = f"All values times 100; {level}\\,\\% intervals, $p$ without correction."
    caption = f"{escape(comparison.title)}: {escape(compared.b)} against {escape(compared.a)}. {note}"
    return _table(caption, ("Measure", escape(compared.a), escape(compared.b), "Difference", "$p$"), "lrrrr", rows)


def _write_model(comparison: Comparison, model: OneModel, level: str) -> str:
    """The measures of one model; without intervals where they are means over runs."""
    rows = [
        ("Accuracy", _rate(model.accuracy.value), _interval((model.accuracy.low, model.accuracy.high), _rate)),
        *(
            (escape(name), _rate(one.value), _interval((one.low, one.high), _rate))
            for name, one in (
                ("Balanced accuracy", model.balanced_accuracy),
                (f"Worst recall ({model.worst_class})", model.worst_recall),
            )
        ),
    ]
    single = comparison.runs[0].metrics if model.runs == 1 else {}
    for name, spread in comparison.variants[0].metrics.items():
        if name not in ("accuracy", "confident_failures_matched"):  # the same as the raw count for one model
            known = single.get(name)
            title = MEASURES[name].title.removesuffix(", raw")
            bounds = _interval((known.low, known.high), _rate) if known else "--"
            rows.append((escape(title), _rate(spread.mean), bounds))
    note = f"{model.n:,} test images; all values times 100, {level}\\,\\% intervals."
    caption = f"{escape(comparison.title)}: {escape(model.name)}, {note}"
    return _table(caption, ("Measure", "Value", "Interval"), "lrr", rows)


def _write_classes(model: OneModel, level: str) -> str:
    """Recall and precision of each class."""
    rows = [
        (
            escape(one.name),
            f"{one.n:,}",
            *(
                "--" if value is None or bounds is None else f"{_rate(value)} {_interval(bounds, _rate)}"
                for value, bounds in ((one.recall, one.recall_interval), (one.precision, one.precision_interval))
            ),
        )
        for one in model.classes
    ]
    caption = f"{escape(model.name)} by class, in percent with Wilson {level}\\,\\% intervals."
    return _table(caption, ("Class", "Images", "Recall", "Precision"), "lrrr", rows)


def _table(caption: str, heads: Sequence[str], columns: str, rows: Iterable[Sequence[str]]) -> str:
    """A floating table."""
    body = "\n".join(" & ".join(row) + r" \\" for row in rows)
    return (
        f"\\begin{{table}}\n\\centering\n\\caption{{{caption}}}\n\\begin{{tabular}}{{{columns}}}\n\\toprule\n"
        f"{' & '.join(heads)} \\\\\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}"
    )


def _rate(value: float) -> str:
    """A value times 100."""
    return escape(KINDS["bare"](value).replace("-", "−"))


def _points(value: float) -> str:
    """A difference times 100, with its sign."""
    return escape(KINDS["points"](value))


def _p(value: float) -> str:
    """A p-value."""
    return escape(KINDS["p"](value)).replace(r"\textless{}", "$<$")


def _interval(bounds: tuple[float, float], show: Callable[[float], str]) -> str:
    """``{[}low, high{]}``."""
    return f"{{[}}{show(bounds[0])}, {show(bounds[1])}{{]}}"

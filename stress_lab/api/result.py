"""What a comparison found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stress_lab.api import record as records_of
from stress_lab.api.card import render_card
from stress_lab.api.inputs import checked
from stress_lab.api.verdict import Verdict
from stress_lab.comparison.codec import from_record, to_record
from stress_lab.comparison.comparable import MatchedRuns
from stress_lab.comparison.options import Options
from stress_lab.comparison.result import Comparison as Found
from stress_lab.errors import InputError
from stress_lab.plain_text import printable
from stress_lab.records import FloatArray
from stress_lab.report.one_model import describe_alone

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Comparison", "Verdict", "load_comparison"]


class Comparison:
    """Verdicts, measures and notes about two models or more; ``compare`` and ``load_comparison`` return one.

    ``print`` shows it as text, a notebook as a card.
    """

    def __init__(
        self,
        found: Found,
        matched: MatchedRuns | None = None,
        options: Options | None = None,
        properties: Mapping[str, FloatArray] | None = None,
    ) -> None:
        self._found, self._matched = found, matched
        self._options, self._properties = options or Options(), properties

    @property
    def title(self) -> str:
        """The title of the page and the figures."""
        return self._found.title

    @property
    def questions(self) -> list[Verdict]:
        """Every primary question of every model against the reference, with its verdict."""
        return records_of.read_questions(self._found)

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The second model against the first, by question; ``questions`` has all."""
        found = self.questions
        return {one.question: one for one in found if one.b == found[0].b}

    @property
    def alarms(self) -> list[str]:
        """Sentences shown before any verdict, such as that a model always predicts one class."""
        return [one.sentence for one in self._found.alarms]

    @property
    def notes(self) -> list[str]:
        """Sentences about what was left out, and why."""
        return list(self._found.notes)

    @property
    def patterns(self) -> list[dict[str, Any]]:
        """Groups of images on which the reference fails more often, confirmed on images the search did not see."""
        return records_of.read_patterns(self._found)

    def leaderboard(self) -> pd.DataFrame:
        """A row for each of more than four models, the best first; empty for fewer.

        Columns: ``place``, ``variant``, ``runs``, ``measure``, ``value`` with ``low`` and ``high``, ``level``,
        ``method``, ``rank_low`` and ``rank_high`` (which the pairs told apart leave open), ``ties`` (a letter for each
        group of neighbours that cannot be told apart), ``confident_failures``.
        """
        import pandas as pd

        from stress_lab.publishing.many_tables import STANDING_COLUMNS, list_standings

        return pd.DataFrame(list_standings(self._found), columns=list(STANDING_COLUMNS))

    def pairs(self) -> pd.DataFrame:
        """A row for every two of more than four models, the better placed one first; empty for fewer.

        Columns: ``a``, ``b``, ``measure``, ``n``, ``lead`` (how much better ``a`` is) with ``low`` and ``high``,
        ``level``, ``method``, ``only_a`` and ``only_b`` (images), ``test``, ``p``, ``p_adjusted``, ``apart``,
        ``error_consistency``.
        """
        import pandas as pd

        from stress_lab.publishing.many_tables import PAIR_COLUMNS, list_pairs

        return pd.DataFrame(list_pairs(self._found), columns=list(PAIR_COLUMNS))

    @property
    def label_issues(self) -> list[dict[str, Any]]:
        """Images whose labels the models contradict, those that fail first; empty without probabilities."""
        labels = self._found.labels
        return [] if labels is None else list(to_record(labels.issues))

    def table(self) -> pd.DataFrame:
        """A row for each measure and model: value, interval over images, difference from the first model.

        Columns: ``measure``, ``model``, ``runs``, ``value`` (mean over the runs), ``low`` and ``high`` (of one run),
        ``sd_over_runs``, ``difference`` with ``difference_low`` and ``difference_high``, ``p`` (without correction).
        Rates are fractions.
        """
        import pandas as pd

        return pd.DataFrame(records_of.list_measures(self._found))

    def classes(self) -> pd.DataFrame:
        """A row for each class of the only model, worst recall first, with Wilson's intervals.

        Columns: ``name``, ``n`` images, ``predicted``, ``recall`` and ``precision`` each with ``_low`` and ``_high``,
        ``confident_failures``, ``taken_for`` and ``taken``. Counts are means over the runs, rates are fractions.

        Raises:
            InputError: several models were compared.
        """
        import pandas as pd

        if self._found.one_model is None:
            raise InputError("classes() describes one model, and several were compared: pass compare() a single one")
        return pd.DataFrame(records_of.list_classes(self._found.one_model))

    def to_latex(self) -> str:
        r"""The measures and verdicts as LaTeX tables with intervals, as in ``comparison.tex``; they need booktabs."""
        from stress_lab.report.latex import make_latex

        return make_latex(self._found)

    @checked
    def save(self, folder: str | os.PathLike[str], *, report: bool = True) -> Path:
        """Write what ``stress-lab compare`` writes: comparison.json, runs.csv, comparison.csv, report.html and others.

        Args:
            folder: created if missing; files of an earlier comparison in it are replaced.
            report: whether to write the page too, which takes most of the time.

        Raises:
            InputError: the comparison was loaded, or the folder cannot be written.
        """
        if self._matched is None:
            raise InputError("a loaded comparison has no predictions to write: copy its folder instead")
        from stress_lab.publishing.settings import Settings
        from stress_lab.publishing.write import save_comparison

        out = Path(folder)
        if out.exists() and not out.is_dir():
            raise InputError(f"{out} is a file: pass a folder")
        settings = Settings(options=self._options, report=report)
        save_comparison(self._found, self._matched, out, settings, self._properties)
        return out

    def to_dict(self) -> dict[str, Any]:
        """Everything that ``comparison.json`` holds, as plain values."""
        record: dict[str, Any] = to_record(self._found)
        return record

    def __str__(self) -> str:
        lines = [f"! {one}" for one in self.alarms] + self._findings() + self._caveats()
        return printable("\n".join(lines + [f"note: {one}" for one in self.notes]), keep="\n")

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        """The card that a notebook shows."""
        many = self._found.leaderboard is not None
        said = self._findings() if many or not self.questions else records_of.describe_crossing(self._found)
        questions, alone = [] if many else self.questions, self._found.one_model is not None
        lines = [*said[alone:], *self._caveats(), *self.notes]
        return render_card(self.title, questions, self.alarms, lines, said[:1] if alone else [])

    def _findings(self) -> list[str]:
        """The leaderboard of many models; else each verdict, or what is found of one model or of each run."""
        if self._found.leaderboard is not None:
            said = records_of.describe_leaderboard(self._found)
        else:
            said = [one.sentence for one in self.questions] or self._describe_alone()
        return said + records_of.describe_crossing(self._found)

    def _caveats(self) -> list[str]:
        """What holds for all verdicts, once."""
        asked = self.questions if self._found.leaderboard is None else ()
        return list(dict.fromkeys(one.caveat for one in asked if one.caveat))

    def _describe_alone(self) -> list[str]:
        """The finding about one model and its evidence; a line for each run where several could not be compared."""
        if self._found.one_model is None:
            return records_of.describe_runs(self._found)
        return describe_alone(self._found)


@checked
def load_comparison(folder: str | os.PathLike[str]) -> Comparison:
    """The comparison saved in a folder, such as that of a sweep.

    Raises:
        InputError: there is none, it cannot be read, or the files belong to several.
    """
    from stress_lab.comparison.identity import load_set

    return Comparison(from_record(load_set(Path(folder))[0], str(Path(folder) / "comparison.json")))

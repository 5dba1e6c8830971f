"""Find where an image classifier fails with confidence, see why, and measure whether the fix really helped.

>>> import stress_lab as sl
>>> old = sl.Predictions.from_labels([0, 1, 1, 0], labels=[0, 1, 0, 1])
>>> sl.evaluate(old)["accuracy"]
0.5

``compare`` compares two models or more, ``Predictions`` holds what one of them predicted. Every name is loaded
on first use, so that the import itself takes milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stress_lab.api.auditing import audit as audit
    from stress_lab.api.comparing import compare as compare
    from stress_lab.api.explaining import explain as explain
    from stress_lab.api.labels import find_label_issues as find_label_issues
    from stress_lab.api.labels import find_near_duplicates as find_near_duplicates
    from stress_lab.api.labels import write_label_check as write_label_check
    from stress_lab.api.predictions import Predictions as Predictions
    from stress_lab.api.predictions import read_predictions as read_predictions
    from stress_lab.api.result import Comparison as Comparison
    from stress_lab.api.result import Verdict as Verdict
    from stress_lab.api.result import load_comparison as load_comparison
    from stress_lab.api.single import evaluate as evaluate
    from stress_lab.api.single import find_patterns as find_patterns
    from stress_lab.api.single import fit_temperature as fit_temperature
    from stress_lab.api.single import mcnemar_test as mcnemar_test
    from stress_lab.api.single import mine_failures as mine_failures
    from stress_lab.api.single import write_report as write_report
    from stress_lab.errors import InputError as InputError
    from stress_lab.errors import StressLabError as StressLabError
    from stress_lab.labels.confident_learning import LabelIssues as LabelIssues
    from stress_lab.labels.error_rate import ErrorRate as ErrorRate
    from stress_lab.labels.error_rate import Stratum as Stratum
    from stress_lab.labels.error_rate import estimate_error_rate as estimate_error_rate
    from stress_lab.labels.near_duplicates import NearDuplicates as NearDuplicates
    from stress_lab.records import Failure as Failure
    from stress_lab.runs.find import load_runs as load_runs
    from stress_lab.runs.find import newest_sweep as newest_sweep
    from stress_lab.runs.folder import RunDir as RunDir
    from stress_lab.slices.patterns import Pattern as Pattern
    from stress_lab.slices.patterns import Patterns as Patterns
    from stress_lab.stats.agreement import churn as churn
    from stress_lab.stats.agreement import cohen_kappa as cohen_kappa
    from stress_lab.stats.agreement import error_consistency as error_consistency
    from stress_lab.stats.clusters import ClusterSize as ClusterSize
    from stress_lab.stats.clusters import clustered_mcnemar as clustered_mcnemar
    from stress_lab.stats.clusters import clustered_wilson_interval as clustered_wilson_interval
    from stress_lab.stats.clusters import describe_clusters as describe_clusters
    from stress_lab.stats.clusters import paired_permutation_p as paired_permutation_p
    from stress_lab.stats.multiplicity import benjamini_hochberg as benjamini_hochberg
    from stress_lab.stats.multiplicity import holm as holm
    from stress_lab.stats.paired import PairedTable as PairedTable
    from stress_lab.stats.paired import equivalence_p as equivalence_p
    from stress_lab.stats.paired import images_needed as images_needed
    from stress_lab.stats.paired import mcnemar_exact as mcnemar_exact
    from stress_lab.stats.paired import mcnemar_mid_p as mcnemar_mid_p
    from stress_lab.stats.paired import mcnemar_power as mcnemar_power
    from stress_lab.stats.paired import tabulate as tabulate
    from stress_lab.stats.paired import tango_interval as tango_interval
    from stress_lab.stats.rates import wilson_interval as wilson_interval
    from stress_lab.stats.seeds import permutation_p as permutation_p
    from stress_lab.stats.seeds import seeds_needed as seeds_needed
    from stress_lab.stats.seeds import welch_interval as welch_interval
    from stress_lab.stress.corruptions import corrupt as corrupt

_PLACES = {
    "api.auditing": ("audit",),
    "api.comparing": ("compare",),
    "api.explaining": ("explain",),
    "api.labels": ("find_label_issues", "find_near_duplicates", "write_label_check"),
    "api.predictions": ("Predictions", "read_predictions"),
    "api.result": ("Comparison", "Verdict", "load_comparison"),
    "api.single": ("evaluate", "find_patterns", "fit_temperature", "mcnemar_test", "mine_failures", "write_report"),
    "errors": ("InputError", "StressLabError"),
    "labels.confident_learning": ("LabelIssues",),
    "labels.error_rate": ("ErrorRate", "Stratum", "estimate_error_rate"),
    "labels.near_duplicates": ("NearDuplicates",),
    "records": ("Failure",),
    "runs.find": ("load_runs", "newest_sweep"),
    "runs.folder": ("RunDir",),
    "slices.patterns": ("Pattern", "Patterns"),
    "stats.agreement": ("churn", "cohen_kappa", "error_consistency"),
    "stats.clusters": (
        *("ClusterSize", "clustered_mcnemar", "clustered_wilson_interval", "describe_clusters"),
        "paired_permutation_p",
    ),
    "stats.multiplicity": ("benjamini_hochberg", "holm"),
    "stats.paired": (
        *("PairedTable", "equivalence_p", "images_needed", "mcnemar_exact", "mcnemar_mid_p", "mcnemar_power"),
        *("tabulate", "tango_interval"),
    ),
    "stats.rates": ("wilson_interval",),
    "stats.seeds": ("permutation_p", "seeds_needed", "welch_interval"),
    "stress.corruptions": ("corrupt",),
}
_FOUND_IN = {name: f"stress_lab.{module}" for module, names in _PLACES.items() for name in names}

__all__ = sorted(_FOUND_IN)


def __dir__() -> list[str]:
    """The public names, and what every module has."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


if not TYPE_CHECKING:  # type checkers read the imports above, and report names missing there

    def __getattr__(name: str) -> Any:
        """Load a public name (PEP 562)."""
        if name not in _FOUND_IN:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_FOUND_IN[name]), name)
        return found

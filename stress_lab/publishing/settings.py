"""What a comparison writes, as plain values; commands build them from ``conf/compare.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stress_lab.comparison.options import Options

NO_GATES: Mapping[str, Any] = {
    **dict.fromkeys(("min_accuracy", "max_confident_failures", "max_ece", "max_nll")),
    **dict.fromkeys(("no_hurt", "need_help"), False),
}


@dataclass(frozen=True)
class Settings:
    """Statistical options, and what to write.

    Attributes:
        options: of the comparison.
        gates: limits by name, None where not set.
        report: whether to write ``report.html``.
        gallery: how many failures the page shows at most.
        cases_per_outcome: images drawn under both models for each of fixed, broken, both wrong.
        layer: the one Grad-CAM explains; None takes the runs' own.
        root: folder of the data, where it has moved.
        label_check: images that the page for checking labels asks about at most.
        near_duplicates: whether to look for test images that are training images but for small changes.
        soft_labels: file with what several people said about each test image.
        figures: formats of the pictures.
    """

    options: Options = field(default_factory=Options)
    gates: Mapping[str, Any] = field(default_factory=lambda: NO_GATES)
    report: bool = True
    gallery: int = 400
    cases_per_outcome: int = 2
    layer: str | None = None
    root: str | None = None
    soft_labels: Path | None = None
    label_check: int = 300
    near_duplicates: bool = False
    figures: tuple[str, ...] = ("png", "svg")

    @classmethod
    def from_config(cls, cfg: Any) -> Settings:
        """The settings from a node like ``conf/compare.yaml``."""
        options = Options(
            cfg.level, cfg.resamples, dict(cfg.margins), tuple(cfg.primary), cfg.power, cfg.reference, cfg.max_risk
        )
        shown = (cfg.report, cfg.gallery, cfg.cases_per_outcome, cfg.layer, cfg.root)
        soft = Path(cfg.soft_labels) if cfg.soft_labels else None
        return cls(options, dict(cfg.gates), *shown, soft, cfg.label_check, cfg.near_duplicates, tuple(cfg.figures))

"""The sweep in TensorBoard: one curve per variant, the mean over its seeds, beside the curves of the runs.

Written by TensorBoard's own writer, so that a sweep can be compared without torch.
"""

# mypy: disable-error-code="import-untyped"
from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar.metadata import CONFIG_SUMMARY_TAG, create_summary_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from stress_lab.runtime.disks import naming, quiet_writers

METRICS = ("val/acc", "val/loss", "train/acc", "train/loss")
SUFFIX = ".variant"  # of event files written here, so that no others are removed
SAFE = " ()+,-.=_"  # in the name of a folder, beside ASCII letters and digits

Row = Mapping[str, Any]
Curve = list[tuple[int, float, float, float]]  # epoch, mean, lowest, highest


def write_sweep_board(runs: Sequence[tuple[str, Sequence[Row]]], folder: Path) -> None:
    """Write ``folder/tensorboard/<variant>/``, replacing what an earlier call wrote there.

    Each of ``val/acc``, ``val/loss``, ``train/acc`` and ``train/loss`` becomes ``variants/<metric>``, the mean over the
    seeds; with two seeds or more also ``variants/<metric>/low`` and ``/high``, the lowest and the highest seed. The tab
    CUSTOM SCALARS draws them as lines with bands. Metrics that no run has are left out.

    Args:
        runs: variant, and history with one row per epoch, of each run.
        folder: of the sweep; the argument for ``tensorboard --logdir``.
    """
    clear_board(folder)
    histories: dict[str, list[Sequence[Row]]] = {}
    for variant, history in runs:
        histories.setdefault(variant, []).append(history)
    metrics = [metric for metric in METRICS if any(metric in row for _, history in runs for row in history)]
    layout = make_layout(metrics, [len(seeds) for seeds in histories.values()])
    for number, (variant, seeds) in enumerate(histories.items()):
        place = folder / "tensorboard" / folder_name(variant)
        with quiet_writers(), naming(place), closing(EventFileWriter(str(place), filename_suffix=SUFFIX)) as writer:
            if number == 0:  # the others would repeat it
                writer.add_event(Event(wall_time=time.time(), summary=layout))
            for metric in metrics:
                _add_curve(writer, metric, average(seeds, metric), len(seeds) > 1)


def list_board(folder: Path) -> list[Path]:
    """The event files written by this module."""
    return list((folder / "tensorboard").glob(f"*/events.out.tfevents.*{SUFFIX}"))


def clear_board(folder: Path) -> None:
    """Remove the event files written by this module, and folders left empty."""
    for stale in list_board(folder):
        stale.unlink()
        if not any(stale.parent.iterdir()):
            stale.parent.rmdir()


def average(seeds: Sequence[Sequence[Row]], metric: str) -> Curve:
    """Mean, lowest and highest value over the seeds, at the epochs that every seed has.

    >>> average([[{"epoch": 1, "lr": 0.5}], [{"epoch": 1, "lr": 0.75}, {"epoch": 2, "lr": 0.25}]], "lr")
    [(1, 0.625, 0.5, 0.75)]
    """
    found: dict[int, list[float]] = {}
    for history in seeds:
        for row in history:
            if metric in row:
                found.setdefault(row["epoch"], []).append(row[metric])
    complete = sorted((epoch, values) for epoch, values in found.items() if len(values) == len(seeds))
    return [(epoch, sum(values) / len(values), min(values), max(values)) for epoch, values in complete]


def folder_name(variant: str) -> str:
    """A variant's name as a folder name; a changed one ends in a checksum, which keeps names distinct.

    >>> folder_name("baseline (optim.lr=0.1)"), folder_name("a/b")
    ('baseline (optim.lr=0.1)', 'a_b_07f4401c')
    """
    plain = "".join(c if c.isascii() and (c.isalnum() or c in SAFE) else "_" for c in variant)[:100].strip(" .")
    checksum = zlib.crc32(variant.encode(errors="backslashreplace"))
    return plain if plain == variant else f"{plain}_{checksum:08x}"


def make_layout(metrics: Sequence[str], seeds: Sequence[int]) -> Summary:
    """Charts of the tab CUSTOM SCALARS, which shows the last one first.

    Args:
        metrics: one chart each.
        seeds: of each variant, their number. If one has several there are charts with bands; if one has a single
            seed there are charts of the means only, since TensorBoard leaves it out of the former.
    """
    tags = [(metric, f"variants/{metric}") for metric in reversed(metrics)]
    layout = layout_pb2.Layout()
    if any(count > 1 for count in seeds):
        bands = [layout_pb2.Chart(title=metric, margin=_make_band(tag)) for metric, tag in tags]
        layout.category.add(title="variants: mean and range over seeds", chart=bands)
    if any(count == 1 for count in seeds):
        lines = [(metric, layout_pb2.MultilineChartContent(tag=[f"{tag}$"])) for metric, tag in tags]
        means = [layout_pb2.Chart(title=metric, multiline=line) for metric, line in lines]
        layout.category.add(title="variants: mean over seeds", chart=means)
    text = TensorProto(dtype="DT_STRING", string_val=[layout.SerializeToString()], tensor_shape=TensorShapeProto())
    return Summary(value=[Summary.Value(tag=CONFIG_SUMMARY_TAG, tensor=text, metadata=create_summary_metadata())])


def _make_band(tag: str) -> layout_pb2.MarginChartContent:
    """A line with the area between two others."""
    series = layout_pb2.MarginChartContent.Series(value=tag, lower=f"{tag}/low", upper=f"{tag}/high")
    return layout_pb2.MarginChartContent(series=[series])


def _add_curve(writer: EventFileWriter, metric: str, curve: Curve, several: bool) -> None:
    """The mean, and with several seeds the range."""
    for epoch, *values in curve:
        for tag, value in zip(("", "/low", "/high") if several else ("",), values, strict=False):
            point = Summary.Value(tag=f"variants/{metric}{tag}", simple_value=value)
            writer.add_event(Event(wall_time=time.time(), step=epoch, summary=Summary(value=[point])))

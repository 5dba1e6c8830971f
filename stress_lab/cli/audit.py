"""Record what a net that is trained already answers, and where it fails; nothing is trained.

stress-lab audit net=resnet18 weights=net.pth data.root=PHOTOS transform=imagenet
stress-lab audit 'nets={old: {net: mine.make_net, weights: old.pth}, new: {net: mine.make_net, weights: new.pth}}' \
    data.root=PHOTOS transform=mine.eval_transform
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from stress_lab.auditing.classes import read_classes
from stress_lab.cli.app import leave_cleanly, open_door
from stress_lab.errors import DataError
from stress_lab.plain_text import printable
from stress_lab.preflight.audit_rules import NET_KEYS, check_audit, name_folder
from stress_lab.preflight.comparison_rules import make_options
from stress_lab.preflight.messages import GATE_FAILED
from stress_lab.preflight.places import check_environment, check_writable
from stress_lab.preflight.unused import check_typed_in_audit
from stress_lab.runtime.cores import count_cores
from stress_lab.runtime.terminal import open_terminal, print_line

if TYPE_CHECKING:
    from stress_lab.auditing.images import Photographs
    from stress_lab.auditing.record import Audit, Settings
    from stress_lab.runs.folder import RunDir


def main() -> None:
    """The command ``stress-lab audit``."""
    with leave_cleanly("run the same command to continue"):
        open_door("audit", _task)


def _task(cfg: DictConfig) -> None:
    """Check what can be checked without torch, try each net on a few images, then record."""
    check_audit(cfg)
    check_typed_in_audit()
    check_environment()
    if cfg.folder is not None:
        check_writable(Path(cfg.folder), "folder")
    photographs = find_splits(cfg)
    from stress_lab.auditing.record import prepare_audit, record_audit
    from stress_lab.runtime.hardware import keep_freed_memory, set_threads

    set_threads(cfg.threads)
    keep_freed_memory()
    settings = _make_settings(cfg, photographs["test"])
    audits = [
        prepare_audit(name, _make_spec(keys), photographs, settings, {**keys, **_describe_data(cfg)})
        for name, keys in list_nets(cfg).items()
    ]
    folder = Path(cfg.folder) if cfg.folder is not None else _choose_folder(audits)
    check_writable(folder, "folder")
    _print_start(audits, photographs)
    runs = [record_audit(audit, folder / f"{number}_{name_folder(audit.name)}") for number, audit in enumerate(audits)]
    for audit, run in zip(audits, runs, strict=True):
        _print_result(audit, run)
    if cfg.report:
        _compare(runs, audits, folder)
    if cfg.expect_accuracy is not None:
        _check_expected(cfg, audits[0], runs[0])


def find_splits(cfg: DictConfig) -> dict[str, Photographs]:
    """The images of test, and of val where they are given."""
    from stress_lab.auditing.images import SOURCES, find_photographs

    classes = read_classes(_plain(cfg.classes))
    found = {"test": find_photographs(_plain(cfg.data), classes)}
    if any(cfg.val.get(name) is not None for name in SOURCES):
        found["val"] = find_photographs(_plain(cfg.val), found["test"].classes, "val")
        if found["val"].source == found["test"].source:
            raise DataError(f"val and data are the same images, {found['val'].source}: a temperature needs others")
    return found


def list_nets(cfg: DictConfig) -> dict[str, dict[str, Any]]:
    """The keys of each net, by the name of its variant; what one of several leaves out is the command's own."""
    common = {key: _plain(cfg[key]) for key in NET_KEYS}
    several: Any = _plain(cfg.nets)
    if several is None:
        name = cfg.name or str(cfg.net).rpartition("/")[2]
        return {name: _absolute(common)}
    named = several.items() if isinstance(several, Mapping) else ((Path(str(one)).stem, one) for one in several)
    return {str(name): _absolute({**common, **keys}) for name, keys in named}


def _absolute(keys: dict[str, Any]) -> dict[str, Any]:
    """The same keys, with a file of weights that is found from any folder."""
    weights = keys["weights"]
    if isinstance(weights, str) and Path(weights).expanduser().is_file():
        keys["weights"] = str(Path(weights).expanduser().absolute())
    return keys


def _plain(node: Any) -> Any:
    """A node of a config as plain values."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _make_spec(keys: Mapping[str, Any]) -> Any:
    """The net that keys describe."""
    from stress_lab.auditing.nets import NetSpec

    return NetSpec(**keys)


def _describe_data(cfg: DictConfig) -> dict[str, Any]:
    """Where the images are, in a run's config, as paths that are found from any folder."""
    node: dict[str, Any] = _plain(cfg.data)
    for name in ("root", "csv", "npz", "hf"):
        if node[name] is not None:
            node[name] = str(Path(node[name]).expanduser().absolute())
    return {"data": node}


def _make_settings(cfg: DictConfig, test: Photographs) -> Settings:
    """What does not depend on the net."""
    from stress_lab.auditing.record import Settings

    return Settings(
        threshold=cfg.threshold,
        batch_size=cfg.batch_size,
        workers=count_cores() if cfg.workers is None else cfg.workers,
        threads=cfg.threads,
        accelerator=cfg.accelerator,
        shown=cfg.shown,
        limit=None if cfg.limit == "all" else cfg.limit,
        title=_title(cfg, test),
    )


def _title(cfg: DictConfig, test: Photographs) -> str:
    """The data's name in titles: that of its folder or file."""
    named = next(str(cfg.data[key]) for key in ("csv", "npz", "hf", "dataset", "root") if cfg.data[key] is not None)
    return Path(named).expanduser().absolute().stem or test.source


def _choose_folder(audits: list[Audit]) -> Path:
    """The folder of these nets on these images: the same command finds it again."""
    from stress_lab.auditing.record import identify

    name = "-".join([*(audit.name for audit in audits[:2]), audits[0].settings.title])
    return Path("multirun", "audit", f"{name_folder(name)}-{identify(audits)}")


def _print_start(audits: list[Audit], photographs: Mapping[str, Photographs]) -> None:
    """Print what is about to be done with which net, so that a wrong class order or transform is seen at once."""
    from stress_lab.auditing.weights import name_some

    console, test = open_terminal(), photographs["test"]
    for split, found in photographs.items():
        print_line(console, f"{split}: {len(found):,} images from {found.source}")
        for note in found.notes:
            print_line(console, f"  {note}")
    print_line(console, f"classes in the order of the outputs: {name_some(test.classes)}")
    for audit in audits:
        if audit.loaded is not None:
            print_line(console, f"{audit.name}: weights {audit.loaded.describe()}")
            if not audit.loaded.fits:
                print_line(console, f"! {audit.name} is loaded only partly: {audit.loaded.describe_misfit()}")
        print_line(console, f"{audit.name}: maps of {audit.layer}" if audit.layer else f"{audit.name}: no maps")


def _print_result(audit: Audit, run: RunDir) -> None:
    """Print the accuracy and, beside it, the preprocessing it depends on."""
    from stress_lab.recording import describe_drawn

    found = run.load_evaluation()["test"]
    (low, high), failures, console = found["accuracy_interval"], found["confident_failures"], open_terminal()
    print_line(
        console,
        f"{audit.name}: accuracy {100 * found['accuracy']:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f}) "
        f"of {found['n']:,} images, {found['errors']:,} errors, {failures['count']:,} of them with more than "
        f"{100 * failures['threshold']:g} % confidence",
    )
    print_line(console, f"  preprocessing: {found['preprocessing']}")
    drawn = describe_drawn(run, "the same command with") if audit.layer else None
    if drawn:
        print_line(console, f"  {drawn}")


def _compare(runs: list[RunDir], audits: list[Audit], folder: Path) -> None:
    """Write the page: of one net, or of several with the verdict."""
    from stress_lab.publishing.compare import compare

    notes = [f"{audit.name}: preprocessing {audit.source.preprocessing.line}" for audit in audits]
    notes += [f"{audit.name}: weights {audit.loaded.describe()}" for audit in audits if audit.loaded]
    compare(runs, folder, audits[0].settings.title, make_options(), strict=True, notes=notes)


def _check_expected(cfg: DictConfig, audit: Audit, run: RunDir) -> None:
    """End with what may differ where the accuracy is not the one measured elsewhere."""
    from stress_lab.auditing.expectation import explain_difference

    lines = explain_difference(audit, run, cfg.expect_accuracy)
    for line in lines:
        print(printable(line), file=sys.stderr)
    if lines:
        sys.exit(GATE_FAILED)


if __name__ == "__main__":
    main()

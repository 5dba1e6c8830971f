"""The net and the images of a finished audit, found again for maps and pages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stress_lab.auditing.classes import read_classes
from stress_lab.auditing.images import find_photographs
from stress_lab.auditing.nets import NetSpec, find_net
from stress_lab.auditing.outputs import LogitNet, find_output
from stress_lab.auditing.preprocessing import make_preprocessing
from stress_lab.auditing.source import AuditSource
from stress_lab.errors import RunError
from stress_lab.inference import eval_mode
from stress_lab.runs.folder import RunDir
from stress_lab.storage.seals import digest_file, require_own

NET_KEYS = ("net", "weights", "net_args", "weights_key", "strict", "out", "output", "transform", "layer")


def read_described(run: RunDir) -> Mapping[str, Any]:
    """What the config of an audit says; raises RunError where net and images were objects in memory."""
    described: Mapping[str, Any] = run.config["audit"]
    if "net" not in described or "data" not in described:
        raise RunError(f"{run.path} audited objects of a Python program, which cannot be found again")
    return described


def load_audited_source(run: RunDir, root: str | None = None, trust: bool = False) -> AuditSource:
    """The images of an audit; each is compared with the audited one when it is opened.

    Args:
        run: its folder.
        root: where the images are now, if they have moved.
        trust: whether to call what its config names although the run is not the user's own.

    Raises:
        RunError: the run is not the user's own, or its images cannot be found again.
        DataError: images are missing.
    """
    if not trust:
        require_own(run.path, run.config_digest, "reading its images")
    described, spec = read_described(run), run.load_spec()
    node = {**described["data"], **({} if root is None else {"root": root})}
    photographs = find_photographs(node, read_classes(list(spec.classes)))
    digests = run.load_image_digests("test")
    if len(digests) != len(photographs):
        raise RunError(f"{photographs.source} has {len(photographs):,} images, but {run.path} audited {len(digests):,}")
    preprocessing = make_preprocessing(described["transform"], described["net"], described["weights"])
    source = AuditSource({"test": photographs}, preprocessing, described["batch_size"], 0, spec.name)
    source.expected = {"test": digests}
    source.fingerprint = dict(spec.fingerprint)
    return source


def load_audited_net(run: RunDir, trust: bool = False) -> LogitNet:
    """The net of an audit with its weights, on the CPU.

    Raises:
        RunError: the run is not the user's own, or the file of weights was changed.
        ConfigError: the net cannot be built.
    """
    if not trust:
        require_own(run.path, run.config_digest, "building its net")
    described, spec = read_described(run), run.load_spec()
    net_spec = NetSpec(**{key: described[key] for key in NET_KEYS})
    recorded = described.get("weights_sha256")
    file = None if recorded is None else Path(str(net_spec.weights)).expanduser()
    if file is not None and file.is_file() and digest_file(file) != recorded:
        raise RunError(f"{file} is not the file of weights that was audited: put it back")
    net, _ = find_net(net_spec, spec.classes)
    source = load_audited_source(run, trust=trust)
    inputs = source.preprocessing.finish(source.first(2).prepared)
    with eval_mode(net):
        output = find_output(net(inputs), len(inputs), len(spec.classes), net_spec.output)
    return LogitNet(net, net_spec.out, output)

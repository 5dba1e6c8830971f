"""Which code trains: hash, commit and versions of the package, and of the user's own classes."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stress_lab.files import flatten

KNOWN = {"stress_lab", "torch", "torchvision", "lightning", "hydra"}  # installed, or hashed anyway


@cache
def hash_code(*more: Path) -> str:
    """SHA-256 of the package's sources and configs and of ``more`` files: other code may give other numbers."""
    from stress_lab.preflight.configs import config_folder

    digest = hashlib.sha256()
    for folder in (Path(__file__).parents[1], config_folder()):
        for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.yaml")]):
            digest.update(str(path.relative_to(folder)).encode())
            digest.update(path.read_bytes())
    for path in more:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def pick_groups(cfg: DictConfig) -> list[DictConfig]:
    """The groups of a config that conf/train.yaml gives the resolver."""
    return [cfg.data, cfg.model, cfg.augment, cfg.optim, cfg.callbacks]


def list_own_sources(*groups: DictConfig) -> list[Path]:
    """Source files of the user's own classes that a config names, and those beside them."""
    found: set[Path] = set()
    for origin in _find_modules(*groups).values():
        if not _is_installed(origin):
            found.update(origin.parent.rglob("*.py") if origin.name == "__init__.py" else origin.parent.glob("*.py"))
    return sorted(found)


def list_named_versions(*groups: DictConfig) -> dict[str, str]:
    """Version of each installed package that a config names and that is not part of every run, such as timm."""
    names = [name for name, origin in _find_modules(*groups).items() if _is_installed(origin)]
    packages = metadata.packages_distributions() if names else {}
    return {name: metadata.version(packages[name][0]) for name in names if name in packages}


def _find_modules(*groups: DictConfig) -> dict[str, Path]:
    """Top-level files of the modules that a config names in ``_target_`` or as ``optimizer``, by their first name."""
    plain = flatten([OmegaConf.to_container(group, resolve=False) for group in groups])
    targets = {str(value) for key, value in plain.items() if key.endswith(("_target_", "optimizer"))}
    found = {}
    for name in sorted({target.partition(".")[0] for target in targets if "." in target} - KNOWN):
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            continue
        if spec and spec.origin and Path(spec.origin).is_file():
            found[name] = Path(spec.origin)
    return found


def _is_installed(origin: Path) -> bool:
    """Whether a file belongs to an installed package, which its version identifies."""
    return bool({"site-packages", "dist-packages"} & set(origin.parts))


def describe_code(cfg: DictConfig) -> dict[str, Any]:
    """What ran: hash of the sources, and commit and state of their checkout, if any."""
    return {"hash": hash_code(*list_own_sources(*pick_groups(cfg))), **describe_checkout()}


def describe_checkout() -> dict[str, Any]:
    """Commit of this package's checkout, and whether files were changed; None where there is none."""
    here = Path(__file__).parents[2]

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, timeout=10)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", "stress_lab/training/code.py") is None:  # an installed package, or no git
        return {"commit": None, "changed": None}
    return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}

"""Where ``conf/`` is, and what a config says as plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf


def config_folder() -> Path:
    """``conf/`` inside an installed package, or at the top of a checkout."""
    packaged = Path(__file__).parents[1] / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "conf"


def explain_keys(command: str) -> str:
    """The keys of a command as its file in ``conf/`` has them, with the comments that say what each means."""
    text = (config_folder() / f"{command}.yaml").read_text(encoding="utf-8")
    keys = text[text.index("_self_\n") :].partition("\nhydra:")[0]
    return "\n".join(line for line in keys.splitlines()[1:] if "override" not in line).strip()


def resolve_config(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain values, with the data folder absolute, so that it means the same from anywhere."""
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    if config["data"].get("root"):
        config["data"]["root"] = str(Path(config["data"]["root"]).expanduser().absolute())
    return config

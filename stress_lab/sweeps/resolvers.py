"""What ``${share:…}`` and others stand for in ``conf/``; importing this module registers them with OmegaConf.

Every process that composes a config imports it: the commands, and those that a launcher starts.
"""

from __future__ import annotations

from omegaconf import OmegaConf

from stress_lab.preflight.configs import explain_keys
from stress_lab.runtime.cores import share_cores
from stress_lab.sweeps.resume import name_folder

OmegaConf.register_new_resolver("launch", name_folder, replace=True, use_cache=True)
OmegaConf.register_new_resolver("share", share_cores, replace=True, use_cache=True)
OmegaConf.register_new_resolver("times", lambda left, right: int(left) * int(right), replace=True)
OmegaConf.register_new_resolver("explained", explain_keys, replace=True)

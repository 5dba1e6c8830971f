"""Hydra reads and merges the package's own files once a process: each command would spend a third of a second on it."""

import copy
import functools
from contextlib import contextmanager

import omegaconf
import pytest
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository

from stress_lab.preflight.configs import config_folder


def name_sources(repo):
    """What a result depends on; None where files are not Hydra's or the package's, which no test changes."""
    sources = [(source.provider, source.scheme(), source.path) for source in repo.get_sources()]
    ours = all(scheme != "file" or path == str(config_folder()) for _, scheme, path in sources)
    return tuple(sources) if ours else None


@contextmanager
def composing_once():
    """Keep what was read, listed and merged; what is typed is parsed and applied to a copy, as ever."""
    read, listed, merged = {}, {}, {}
    load, merge = ConfigRepository.load_config, ConfigLoaderImpl._compose_config_from_defaults_list
    list_defaults = defaults_list._create_defaults_list

    def load_once(self, config_path):
        sources = name_sources(self)
        if sources is None:
            return load(self, config_path)
        key = (sources, config_path)
        if key not in read:
            read[key] = load(self, config_path)
        return copy.deepcopy(read[key])

    def list_once(repo, config_name, overrides, prepend_hydra, skip_missing):
        """With it comes which overrides choose a file, and were used."""
        sources, typed = name_sources(repo), overrides.config_overrides
        if sources is None:
            return list_defaults(repo, config_name, overrides, prepend_hydra, skip_missing)
        state = repr({name: value for name, value in vars(overrides).items() if name != "config_overrides"})
        key = (sources, config_name, state, prepend_hydra, skip_missing)
        if key not in listed:
            found = list_defaults(repo, config_name, overrides, prepend_hydra, skip_missing)
            listed[key] = found, copy.deepcopy({**vars(overrides), "config_overrides": []})
        found, after = listed[key]
        vars(overrides).update(copy.deepcopy(after), config_overrides=typed)
        return found

    def merge_once(self, defaults, repo):
        sources = name_sources(repo)
        if sources is None:
            return merge(self, defaults, repo)
        key = (sources, tuple((one.config_path, one.package, one.is_self, one.primary) for one in defaults))
        if key not in merged:
            merged[key] = merge(self, defaults, repo)
        return copy.deepcopy(merged[key])

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(omegaconf.base, "parse", functools.cache(omegaconf.base.parse))  # of interpolations
        monkeypatch.setattr(ConfigRepository, "load_config", load_once)
        monkeypatch.setattr(defaults_list, "_create_defaults_list", list_once)
        monkeypatch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", merge_once)
        yield

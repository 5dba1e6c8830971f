"""Keys without effect are refused only where that is certain (tests/bad_inputs.py has those that are)."""

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode

from stress_lab.errors import ConfigError
from stress_lab.preflight.configs import config_folder
from stress_lab.preflight.unused import FILES, RUNS, TRAINING, check_typed_in_training
from stress_lab.sweeps.plan import plan_jobs


@pytest.fixture
def check():
    """Check what was typed for a run, or with -m for a sweep, short of starting it."""

    def run(*typed):
        mode = RunMode.MULTIRUN if "-m" in typed else RunMode.RUN
        task = [one for one in typed if one != "-m"]
        GlobalHydra.instance().clear()
        with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
            hydra = GlobalHydra.instance().hydra
            cfg = hydra.compose_config("train", task, run_mode=mode, from_shell=False, with_log_configuration=False)
            jobs = list(plan_jobs(cfg).values())
            check_typed_in_training(cfg, jobs)
        return jobs

    return run


@pytest.mark.parametrize(
    "typed",
    [
        "-m optim=sgd_multistep,sgd_one_cycle optim.milestones=[0.4]",  # works in one of the two
        "-m optim=sgd_multistep,sgd_one_cycle optim.warm_up=0.3",
        "-m optim.schedule=step,one_cycle optim.gamma=0.2,0.3",
        "-m augment.initial_scale=null,0.5 augment.finetune_fraction=0.3",
        "optim.warm_up=0.2",  # what holds anyway
        "optim=sgd_one_cycle optim.gamma=1.0",
        "-m seed=1,2 augment.finetune_fraction=0.5",
        "optim=sgd_constant optim.milestones=[0.5] optim.gamma=0.1",
        "optim=sgd_constant optim.milestones=[]",
        "optim=sgd_one_cycle optim.milestones=[]",  # to turn off what is off
        "logger=csv callbacks.board.embedded=0",
        "data.val_size=0 ~callbacks.checkpoint_best trainer.limit_val_batches=0",
        "logger=tensorboard callbacks.board.embedded=9",
        "~callbacks.gradcam",
        "experiment=cifar10_fast optim.warm_up=0.3",
        "-m sweeper=optuna optim.lr=0.1,0.2 optim.warm_up=0.3",  # what a search tries is not known
        "+comparison.layer=layer2 +comparison.gallery=0",  # the cases are drawn
        "+comparison.margins.accuracy=0.01 +comparison.primary=[accuracy]",
    ],
)
def test_what_works_or_changes_nothing_is_right(check, typed):
    assert bool(check(*typed.split())) == ("optuna" not in typed)  # the jobs of a search are not known ahead


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("-m seed=1,2 optim.warm_up=0.2,0.3", "optim.warm_up"),  # the first of its values is the usual one
        ("experiment=cifar10_fast optim.gamma=0.2", "optim.gamma"),
        ("-m optim=sgd_one_cycle optim.milestones=[0.5],[0.6]", "optim.milestones"),
    ],
)
def test_what_works_nowhere_is_refused(check, typed, key):
    with pytest.raises(ConfigError, match=f"{key} has no effect"):
        check(*typed.split())


def test_the_rules_name_keys_that_exist(compose_config):
    from omegaconf import OmegaConf

    missing = object()
    for rules, cfg in ((TRAINING, compose_config()), (FILES + RUNS, compose_config(name="compare"))):
        options = compose_config(name="compare")
        for key, *_ in rules:
            held = options if key.startswith("comparison.") else cfg
            assert OmegaConf.select(held, key.removeprefix("comparison."), default=missing) is not missing, key
    assert OverridesParser.create().parse_override("+a.b=1").get_key_element() == "+a.b"

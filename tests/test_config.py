"""Every file of conf/ composes, binds to the code, and keeps what the original scripts say."""

import inspect
from pathlib import Path

import pytest
from hydra.utils import get_object
from lightning.pytorch import Trainer
from omegaconf import OmegaConf

from stress_lab.errors import ConfigError
from stress_lab.preflight.configs import config_folder
from stress_lab.preflight.rules import RULES, check_config
from stress_lab.sweeps.plan import plan_jobs

CONF = config_folder()
CHOICES = [
    f"{path.parent.name}={path.stem}"
    for path in sorted(CONF.glob("*/*.yaml"))
    if path.parent.name not in ("callbacks", "stress") or path.stem == "default"  # suites: of stress-lab stress
]
NAMED = {  # the class, where a choice leaves it to the user
    "model=custom": ["model._target_=stress_lab.models.resnet.ResNet18"],
    "data=custom": ["data._target_=stress_lab.data.datamodules.FashionSampleDataModule"],
}
SUPPLIED = {  # by code: the run folder, the batch size …
    "data": {"batch_size", "augment", "seed"},
    "model": {"in_channels", "num_classes"},
    "logger": {"save_dir"},
    "trainer": set(),
    "callbacks": set(),
}


def test_every_group_is_in_the_table_of_contents(compose_config):
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert groups - {"experiment", "launcher", "sweeper", "stress"} <= set(compose_config().keys())


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_and_keeps_the_rules(choice, compose_config):
    check_config(compose_config(choice, *NAMED.get(choice, ())))


def nodes_with_target(node, path=()):
    if OmegaConf.is_dict(node):
        if "_target_" in node:
            yield path, node
        for key in node:
            yield from nodes_with_target(node[key], (*path, key))


@pytest.mark.parametrize("choice", CHOICES)
def test_every_target_binds_to_its_signature(choice, compose_config):
    found = list(nodes_with_target(compose_config(choice, *NAMED.get(choice, ()))))
    assert len(found) >= (8 if choice.startswith("logger") else 10)
    for path, node in found:
        target = get_object(node._target_)
        signature = inspect.signature(target)
        keys = {str(key) for key in node if not str(key).startswith("_")} | SUPPLIED[path[0]]
        open_ended = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
        if open_ended:  # the rest goes to the base class
            base = target.__mro__[1]
            keys -= set(signature.parameters)
            signature = inspect.signature(base)
            keys -= {"enable_version_counter"}
        assert keys <= set(signature.parameters), f"{path}: {keys - set(signature.parameters)}"


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONF)))
def test_every_file_says_first_what_it_means(path):
    lines = [line for line in path.read_text().splitlines() if not line.startswith("# @package")]
    assert lines[0].startswith("# ")
    assert lines[0].endswith(".") or lines[1].startswith("#")


def jobs_of(experiment, compose_config, *overrides):
    """The jobs that -m experiment=… launches."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        task = [f"experiment={experiment}", *overrides]
        gh = GlobalHydra.instance()
        cfg = gh.hydra.compose_config(
            "train", task, run_mode=RunMode.MULTIRUN, from_shell=False, with_log_configuration=False
        )
        return list(plan_jobs(cfg).values())


def test_seed_a_is_the_experiment_cifar10_cutout(compose_config):
    jobs = jobs_of("cifar10_cutout", compose_config)
    assert [job.variant for job in jobs] == ["baseline", "cutout"]
    for job in jobs:
        assert job.data._target_.endswith("CIFAR10DataModule")
        assert (job.data.val_size, job.model.width, job.seed, job.threshold) == (5000, 64, 42, 0.7)
        assert (job.trainer.max_epochs, job.optim.batch_size, job.optim.optimizer, job.optim.lr) == (
            50,
            128,
            "SGD",
            0.1,
        )
        assert job.optim.args == {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
        assert [m * 50 for m in job.optim.milestones] == [25, 40]
        assert job.optim.gamma == 0.1
        assert job.callbacks.gradcam.layer == "layer3"
    assert jobs[0].augment.cutout is None
    assert jobs[1].augment.cutout == {"holes": 1, "length": None}


def test_seed_b_is_the_experiment_fashion_mnist_optim(compose_config):
    sgd, adam = jobs_of("fashion_mnist_optim", compose_config)
    assert [sgd.variant, adam.variant] == ["sgd_constant", "adam_step"]
    for job in (sgd, adam):
        assert job.data._target_.endswith("FashionMNISTDataModule")
        assert (job.data.val_size, job.trainer.max_epochs, job.optim.batch_size, job.model.width) == (
            10_000,
            15,
            128,
            64,
        )
    assert (sgd.optim.optimizer, sgd.optim.lr, sgd.optim.args.momentum) == ("SGD", 0.1, 0.9)
    assert (adam.optim.optimizer, adam.optim.lr, adam.optim.gamma) == ("Adam", 0.001, 0.1)


def test_variants_differ_in_the_declared_key_only(compose_config):
    from stress_lab.files import flatten

    for experiment, factor in (("demo", "augment"), ("cifar10_cutout", "augment"), ("fashion_mnist_optim", "optim")):
        a, b = (flatten(OmegaConf.to_container(job, resolve=True)) for job in jobs_of(experiment, compose_config))
        differing = {key.split(".")[0] for key in {*a, *b} if a.get(key) != b.get(key)}
        assert differing == {factor, "variant"}


def test_the_command_line_overrides_the_experiments_sweep(compose_config):
    jobs = jobs_of("demo", compose_config, "seed=0,1", "augment=cutout", "optim.lr=0.02")
    assert [(job.variant, job.seed, job.optim.lr) for job in jobs] == [("cutout", 0, 0.02), ("cutout", 1, 0.02)]


BAD = [
    ("seed=-1", "seed=-1"),
    ("seed=1.5", "seed=1.5"),
    ("threshold=70", "threshold=70"),
    ("optim.lr=fast", "optim.lr=fast"),
    ("optim.lr=0", "optim.lr=0"),
    ("optim.batch_size=0", "optim.batch_size=0"),
    ("optim.milestones=[25,40]", "optim.milestones"),
    ("trainer.max_epochs=0", "trainer.max_epochs=0"),
    ("trainer.devices=0", "trainer.devices=0"),
    ("trainer.devices=[0,0]", "trainer.devices=[0, 0]"),
    ("trainer.strategy=fsdp", "trainer.strategy=fsdp"),
    ("trainer.num_nodes=0", "trainer.num_nodes=0"),
    ("data.val_size=-5", "data.val_size=-5"),
    ("data.val_size=0", "leaves no validation images, but callbacks.checkpoint_best"),
    ("callbacks.checkpoint_best.monitor=test/acc", "selects on the test split"),
    ("augment.cutout={holes: 0, length: 4}", "augment.cutout.holes=0"),
    ("callbacks.gradcam.limit=-1", "callbacks.gradcam.limit=-1"),
    ("threads=0", "threads=0"),
    ("variant=a/b", "variant=a/b"),
    ("name=${nowhere}", "cannot be resolved"),
    ("trainer.precision=bf16-true", "trainer.precision=bf16-true"),
    ("~callbacks.predictions", "callbacks.failures reads what callbacks.predictions writes"),
    ("callbacks.failures=null", "callbacks.gradcam reads what callbacks.failures writes"),
]


@pytest.mark.parametrize(("override", "message"), BAD)
def test_rules_name_the_key(override, message, compose_config):
    with pytest.raises(ConfigError) as error:
        check_config(compose_config(override))
    assert message in str(error.value)


def test_no_validation_works_where_nothing_asks_for_it(compose_config):
    check_config(compose_config("data.val_size=0", "~callbacks.checkpoint_best"))


def test_every_rule_names_a_key_that_exists(compose_config):
    known = [
        compose_config(),
        compose_config("augment=cutout", "data=image_folder"),
        compose_config("data=cifar10", "optim=muon_one_cycle"),
    ]
    missing = object()
    arguments = inspect.signature(Trainer).parameters  # which a config may add
    for key, _, _ in RULES:
        group, _, leaf = key.rpartition(".")
        is_argument = group == "trainer" and leaf in arguments
        assert is_argument or any(OmegaConf.select(cfg, key, default=missing) is not missing for cfg in known), key


def test_config_travels_in_the_wheel():
    import tomllib

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"] == {"conf": "stress_lab/conf"}

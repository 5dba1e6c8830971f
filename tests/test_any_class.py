"""Whatever a class of the user's does with its arguments, the door refuses only what its call refuses too."""

import itertools
import re
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from torch import nn

from stress_lab.errors import ConfigError
from stress_lab.preflight.classes import check_arguments, check_optimizer
from stress_lab.preflight.rules import check_config
from stress_lab.training import build

PRELUDE, *SECTIONS = re.split(
    r"^### (.*)\n", (Path(__file__).parent / "odd_classes.txt").read_text(), flags=re.MULTILINE
)
ODD = dict(zip(SECTIONS[::2], SECTIONS[1::2], strict=True))  # what is odd, perhaps "as" its name: what it takes
PLAIN = "class Net:\n    def __init__(self, a, b=1):\n        pass\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a module of the user's; returns its name."""
    monkeypatch.syspath_prepend(tmp_path)
    number = itertools.count()

    def save(source, prelude=PRELUDE):
        name = f"{tmp_path.name}_{next(number)}"
        (tmp_path / f"{name}.py").write_text(prelude + source)
        return name

    yield save
    for name in [name for name in sys.modules if name.startswith(tmp_path.name)]:
        del sys.modules[name]


def node_of(target, names=(), **more):
    return OmegaConf.create({"_target_": target, **dict.fromkeys(names, 1), **more})


def ask(call, *arguments):
    """The sentence with which a call is refused, or None."""
    try:
        call(*arguments)
    except ConfigError as error:
        return str(error)
    return None


def ask_both(node, key="callbacks.mine"):
    """What the door says of a node, and what its call."""
    return ask(check_arguments, key, node), ask(build._call, key, node)


@pytest.mark.parametrize("section", ODD)
def test_what_the_door_refuses_the_call_refuses_too(write, section):
    named, right = section.split(": ")
    target = f"{write(ODD[section])}.{(named.split(' as ')[1:] or ['Net'])[-1]}"
    for count in range(4):
        for names in itertools.combinations("abc", count):
            door, call = ask_both(node_of(target, names))
            assert door is None or call is not None, (names, door)
            if set(names) == set(right):
                assert (door, call) == (None, None)


@pytest.mark.parametrize(
    ("argument", "typed"),
    [("widths", "+callbacks.mine.widths=VALUE"), ("widths, /", "'+callbacks.mine._args_=[VALUE]'")],
)
def test_what_is_missing_is_said_as_it_can_be_given(write, argument, typed):
    target = f"{write(f'def Net({argument}): return 1')}.Net"
    door, call = ask_both(node_of(target))
    assert door == call == f"callbacks.mine._target_={target} needs widths: set {typed}"
    more = {"_args_": [1]} if "_args_" in typed else {"widths": 1}
    assert ask_both(node_of(target, **more)) == (None, None)


@pytest.mark.parametrize(
    ("more", "works"),
    [
        ({"_args_": [1]}, True),
        ({"_args_": [1, 2]}, True),
        ({"_args_": [1], "b": 2}, True),
        ({"_args_": [1], "a": 2}, False),
        ({"_args_": [1, 2, 3]}, False),
        ({"_partial_": True}, True),
        ({"_partial_": True, "b": 2}, True),
        ({"_partial_": False}, False),
        ({"a": 1, "_convert_": "all", "_recursive_": False}, True),
    ],
)
def test_the_keys_of_hydra_are_not_arguments(write, more, works):
    door, call = ask_both(node_of(f"{write(PLAIN)}.Net", **more))
    assert (call is None) == works
    assert door is None or call is not None


def test_an_argument_with_an_underscore_is_one(write):
    target = f"{write('def Net(_a): return _a')}.Net"
    assert ask_both(node_of(target, ["_a"])) == (None, None)
    assert "needs _a" in ask_both(node_of(target))[0]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("ad", "does not take d: it takes a, b"),
        ("b", "needs a: set +callbacks.mine.a=VALUE"),
    ],
)
def test_the_call_says_what_the_door_says(write, names, said):
    door, call = ask_both(node_of(f"{write(PLAIN)}.Net", names))
    assert door == call
    assert said in door


def test_a_call_that_fails_for_another_reason_says_that(write):
    wrong = "@wrap\ndef Net(a): return 1 + None"
    said = ask_both(node_of(f"{write(wrong)}.Net", "ac"))[1]
    assert said.endswith("cannot be built: unsupported operand type(s) for +: 'int' and 'NoneType'")


def test_a_call_that_fails_for_its_signature_says_so_in_the_same_words(write):
    wrapped = "@wrap\ndef Net(widths): return 1\n"
    target = f"{write(wrapped)}.Net"
    door, call = ask_both(node_of(target, ["width"]))
    assert door is None  # a decorator may take more than it says
    assert (
        call == f"callbacks.mine.width does not work: {target} does not take width: did you mean callbacks.mine.widths?"
    )


LATER = """
import os
if os.environ["SET_BY_THE_JOB"]:
    class Net:
        def __init__(self, a):
            pass
"""


def test_a_module_that_works_only_later_is_left_to_the_job(write, monkeypatch):
    """``hydra.job.env_set`` sets variables when the job begins."""
    target = f"{write(LATER)}.Net"
    node = node_of(target, "d")
    assert ask(check_arguments, "model", node) is None
    monkeypatch.setenv("SET_BY_THE_JOB", "1")
    assert "does not take d" in ask(build._call, "model", node)


@pytest.mark.parametrize(("target", "right"), [("my-nets.Net", True), ("my-nets.Nett", False), ("no-nets.Net", False)])
def test_any_name_that_python_imports_will_do(tmp_path, write, target, right):
    write("")
    (tmp_path / "my-nets.py").write_text(PLAIN)
    door, call = ask_both(node_of(target, "a"))
    assert (door is None) == (call is None) == right
    sys.modules.pop("my-nets", None)


def test_classes_of_a_session_have_no_source(monkeypatch):
    """As in a notebook, whose module has no spec."""
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(sys.modules["__main__"], "Net", nn.Identity, raising=False)
    assert ask_both(node_of("__main__.Net", "a")) == (None, None)


def test_packages_of_any_kind_hold_classes(tmp_path, write):
    """A namespace package, a module below it, and names that its parent gives to it."""
    write("")
    package = f"{tmp_path.name}_space"
    (tmp_path / package / "inner").mkdir(parents=True)
    star = f"from {package}.nets import *\nfrom {package} import nets as zoo\n"
    (tmp_path / package / "inner" / "__init__.py").write_text(star)
    (tmp_path / package / "nets.py").write_text(PLAIN)
    for target in ("nets.Net", "inner.Net", "inner.zoo.Net"):
        assert ask_both(node_of(f"{package}.{target}", "a")) == (None, None)
        door, call = ask_both(node_of(f"{package}.{target}", "d"))
        assert call is not None
        assert door in (None, call)


def test_compiled_functions_are_left_to_the_call():
    assert ask_both(node_of("math.sqrt", "x"))[0] is None
    assert "math.sqrt does not take x" in ask_both(node_of("math.sqrt", "x"))[1]
    assert ask_both(node_of("math.sqrt", _args_=[4])) == (None, None)


NETS = """
import functools
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, width=1):
        super().__init__()
        self.fc = nn.Linear(784, num_classes)

    def forward(self, images):
        return self.fc(images.flatten(1))

    @classmethod
    def make(cls, num_classes, /, *, width):
        return cls(num_classes, width)

class Built(Net):
    def __init__(self, **options):
        options.pop("depth", None)
        super().__init__(**options)

Ready = functools.partial(Net, num_classes=10)
"""


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("Net", ["+model.width=2"]),
        ("Net", ["+model._args_=[10]"]),
        ("Built", ["+model.depth=2", "+model.num_classes=10"]),
        ("Ready", []),
        ("Net.make", ["+model._args_=[10]", "+model.width=1"]),
    ],
)
def test_nets_that_the_door_lets_in_are_built(write, compose_config, name, typed):
    from stress_lab.records import DatasetSpec

    spec = DatasetSpec("x", tuple("abcdefghij"), 1, 28, 28, (0.5,), (0.2,), {}, "here", "order", {})
    cfg = compose_config("model=custom", f"model._target_={write(NETS, '')}.{name}", *typed)
    check_config(cfg)
    check_arguments("model", cfg.model)
    assert isinstance(build.build_net(cfg, spec), nn.Module)


OPTIMIZER = """
from torch.optim import SGD
class Best(SGD):
    def __init__(self, *args, **options):
        self.momenta = options.pop("momentum")
        super().__init__(*args, **options)
"""


def test_an_optimiser_of_the_users_has_its_own_rules(write, compose_config):
    from stress_lab.models.recipe import make_optimizer

    target = f"{write(OPTIMIZER, '')}.Best"
    cfg = compose_config(f"optim.optimizer={target}", "optim.args.momentum=[0.9,0.95]", "optim.args.nesterov=false")
    check_optimizer(cfg)
    assert list(make_optimizer(cfg.optim, nn.Linear(2, 2)).momenta) == [0.9, 0.95]


OURS = "stress_lab.callbacks.history.HistoryWriter"
CALLBACK = """
from lightning.pytorch.callbacks import Callback
class Mine(Callback):
    def __init__(self, every, monitor=None, mode=None): pass
"""


def test_callbacks_of_the_users_have_their_own_rules(write, compose_config):
    target = f"{write(CALLBACK, '')}.Mine"
    mine = [f"+callbacks.mine={{_target_: {target}, every: 2s, monitor: test/f1, mode: auto}}"]
    terminal = [f"callbacks.terminal._target_={target}", "callbacks.terminal.every=2s"]
    gradcam = [f"callbacks.gradcam._target_={target}", "callbacks.gradcam.layer=[a,b]", "~callbacks.failures"]
    gradcam.append("~callbacks.board")
    for typed in (mine, terminal, gradcam):
        check_config(compose_config(*typed))
        with pytest.raises(ConfigError):
            check_config(compose_config(*(one.replace(target, OURS) for one in typed)))
    f1 = "callbacks.checkpoint_best.monitor=val/f1"
    check_config(compose_config(*mine, f1))  # which it may log
    with pytest.raises(ConfigError, match=r"monitor=val/f1 is never logged"):
        check_config(compose_config(f1))

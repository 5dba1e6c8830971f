import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import MultiStepLR, StepLR

from stress_lab.errors import ConfigError
from stress_lab.models.recipe import make_optimizer, make_schedule

SGD = {
    "optimizer": "SGD",
    "lr": 0.1,
    "args": {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
    "milestones": [0.5, 0.8],
    "gamma": 0.1,
}


def rates(scheduler, epochs):
    result = []
    for _ in range(epochs):
        result.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return result


def test_fractions_of_50_epochs_are_seed_a():
    ours = make_optimizer(SGD, nn.Linear(2, 2))
    theirs = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    assert ours.defaults["nesterov"]
    assert ours.defaults["weight_decay"] == 5e-4
    assert rates(make_schedule(SGD, ours, 50), 50) == rates(MultiStepLR(theirs, [25, 40], 0.1), 50)


def test_thirds_of_15_epochs_are_seed_b(compose_config):
    from omegaconf import OmegaConf

    adam = OmegaConf.to_container(compose_config("optim=adam_step").optim)
    ours = make_optimizer(adam, nn.Linear(2, 2))
    theirs = torch.optim.Adam(nn.Linear(2, 2).parameters(), lr=0.001)
    assert rates(make_schedule(adam, ours, 15), 15) == rates(StepLR(theirs, 5, 0.1), 15)


def test_a_short_run_starts_at_the_full_rate():
    for epochs in (1, 2, 3):
        optimizer = make_optimizer(SGD, nn.Linear(2, 2))
        assert rates(make_schedule(SGD, optimizer, epochs), epochs)[0] == 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "Sdg"}, r"optim\.optimizer=Sdg"),
        ({"args": {"momentun": 0.9}}, "momentun"),
        ({"milestones": [25, 40]}, "not a fraction of the run"),
    ],
)
def test_wrong_recipes_are_refused(changes, message):
    recipe = {**SGD, **changes}
    with pytest.raises(ConfigError, match=message):
        make_schedule(recipe, make_optimizer(recipe, nn.Linear(2, 2)), 50)


NET = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(5, 2))


def shapes(group):
    return [tuple(parameter.shape) for parameter in group["params"]]


def test_norms_and_biases_lose_their_decay_only_where_asked():
    every = make_optimizer(SGD, NET).param_groups
    assert [len(group["params"]) for group in every] == [len(list(NET.parameters()))]
    matrices, vectors = make_optimizer({**SGD, "decay_norms": False}, NET).param_groups
    assert shapes(matrices) == [(4, 3, 3, 3), (5, 4, 3, 3), (2, 5)]
    assert shapes(vectors) == [(4,), (4,), (4,), (5,), (2,)]
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (5e-4, 0.0)


def test_other_rules_go_to_the_first_layer_the_last_and_the_vectors():
    recipe = {**SGD, "other": {"lr": 0.01}, "decay_norms": False}
    hidden, ends, vectors = make_optimizer(recipe, NET).param_groups
    assert shapes(hidden) == [(5, 4, 3, 3)]
    assert shapes(ends) == [(4, 3, 3, 3), (2, 5)]
    assert [group["lr"] for group in (hidden, ends, vectors)] == [0.1, 0.01, 0.01]
    assert [group["weight_decay"] for group in (hidden, ends, vectors)] == [5e-4, 5e-4, 0.0]


def test_frozen_weights_are_left_alone():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    net[0].requires_grad_(False)
    (group,) = make_optimizer(SGD, net).param_groups
    assert shapes(group) == [(2, 3), (2,)]


def test_one_cycle_is_two_straight_lines():
    recipe = {**SGD, "schedule": "one_cycle", "warm_up": 0.25}
    optimizer = make_optimizer(recipe, nn.Linear(2, 2))
    seen = rates(make_schedule(recipe, optimizer, 10, steps=41), 41)
    peak = 0.25 * 41 - 1  # OneCycleLR counts from the step before
    expected = [0.1 * (1e-3 + (1 - 1e-3) * min(step / peak, (40 - step) / (40 - peak))) for step in range(41)]
    assert seen == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("warm_up", [0.01, 0.2, 0.5, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 6, 10])
def test_the_shortest_runs_have_a_cycle_too(steps, warm_up):
    recipe = {**SGD, "schedule": "one_cycle", "warm_up": warm_up}
    seen = rates(make_schedule(recipe, make_optimizer(recipe, nn.Linear(2, 2)), 1, steps), steps)
    assert len(seen) == steps
    assert all(0 < rate <= 0.1 for rate in seen)


def test_one_cycle_moves_every_group_by_the_same_factor():
    recipe = {**SGD, "schedule": "one_cycle", "warm_up": 0.5, "other": {"lr": 0.01}}
    optimizer = make_optimizer(recipe, NET)
    schedule = make_schedule(recipe, optimizer, 10, steps=20)
    for _ in range(20):
        optimizer.step()
        assert optimizer.param_groups[0]["lr"] == pytest.approx(10 * optimizer.param_groups[1]["lr"])
        schedule.step()


@pytest.mark.parametrize("recipe", [SGD, {**SGD, "optimizer": "AdamW", "args": {}}])
def test_one_kernel_for_all_weights_takes_the_same_steps(recipe):
    weights = []
    for fused in (False, True):
        torch.manual_seed(0)
        net = nn.Linear(5, 3)
        optimizer = make_optimizer(recipe, net, fused)
        for _ in range(4):
            optimizer.zero_grad()
            net(torch.randn(7, 5)).square().sum().backward()
            optimizer.step()
        weights.append(net.weight.detach())
        assert bool(optimizer.defaults.get("fused")) == fused
    torch.testing.assert_close(*weights)


def test_one_kernel_gives_way_to_what_excludes_it():
    optimizer = make_optimizer({**SGD, "args": {"foreach": True}}, nn.Linear(2, 2), fused=True)
    assert not optimizer.defaults["fused"]
    with pytest.raises(ConfigError, match="do not suit SGD"):
        make_optimizer({**SGD, "args": {"foreach": True, "fused": True}}, nn.Linear(2, 2))


def test_muon_by_its_dotted_name_makes_hidden_updates_orthogonal(compose_config):
    """Without momentum and decay a step of Muon moves a matrix along nearly equal singular values."""
    pytest.importorskip("timm")
    from omegaconf import OmegaConf

    recipe = OmegaConf.to_container(compose_config("optim=muon_one_cycle").optim)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 2))
    optimizer = make_optimizer(recipe | {"args": {"momentum": 0.0, "adjust_lr_fn": "original"}}, net)
    before = net[1].weight.detach().clone()
    net(torch.randn(16, 6)).square().sum().backward()
    optimizer.step()
    spread = torch.linalg.svdvals((net[1].weight.detach() - before) / recipe["lr"])
    raw = torch.linalg.svdvals(net[1].weight.grad)
    assert raw[0] / raw[1] > 2
    assert spread[0] / spread[1] < 1.75
    assert spread[0] < 1.3
    assert spread[1] > 0.5  # the gradient has rank two or more; Newton and Schulz's iteration ends between 0.7 and 1.2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.Muon", "cannot be imported"),
        ("torch.nn.Linear", "is not a class of torch.optim"),
        ("os.abort", "is not imported"),
    ],
)
def test_what_is_no_optimiser_is_not_called(name, message):
    with pytest.raises(ConfigError, match=message):
        make_optimizer({**SGD, "optimizer": name}, NET)


def test_one_kernel_is_asked_of_no_optimiser_that_lacks_it_on_a_gpu():
    """Adagrad has one on the CPU alone, in torch 2.11."""
    net = nn.Linear(2, 2)
    make = lambda name: make_optimizer({"optimizer": name, "lr": 0.1, "args": {}}, net, fused=True)  # noqa: E731
    assert not make("Adagrad").defaults["fused"]
    assert all(make(name).defaults["fused"] for name in ("SGD", "Adam", "AdamW"))

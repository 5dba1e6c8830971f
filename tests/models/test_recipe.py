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
    ours = make_optimizer(SGD, nn.Linear(2, 2).parameters())
    theirs = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    assert ours.defaults["nesterov"]
    assert ours.defaults["weight_decay"] == 5e-4
    assert rates(make_schedule(SGD, ours, 50), 50) == rates(MultiStepLR(theirs, [25, 40], 0.1), 50)


def test_thirds_of_15_epochs_are_seed_b(compose_config):
    from omegaconf import OmegaConf

    adam = OmegaConf.to_container(compose_config("optim=adam_step").optim)
    ours = make_optimizer(adam, nn.Linear(2, 2).parameters())
    theirs = torch.optim.Adam(nn.Linear(2, 2).parameters(), lr=0.001)
    assert rates(make_schedule(adam, ours, 15), 15) == rates(StepLR(theirs, 5, 0.1), 15)


def test_a_short_run_starts_at_the_full_rate():
    for epochs in (1, 2, 3):
        optimizer = make_optimizer(SGD, nn.Linear(2, 2).parameters())
        assert rates(make_schedule(SGD, optimizer, epochs), epochs)[0] == 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "Sdg"}, r"optim\.optimizer=Sdg"),
        ({"args": {"momentun": 0.9}}, "momentun"),
        ({"milestones": [25, 40]}, "no fraction of the run"),
    ],
)
def test_wrong_recipes_are_refused(changes, message):
    recipe = {**SGD, **changes}
    with pytest.raises(ConfigError, match=message):
        make_schedule(recipe, make_optimizer(recipe, nn.Linear(2, 2).parameters()), 50)

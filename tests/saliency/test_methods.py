"""HiResCAM and LayerCAM against plain autograd; cascading randomisation of a net whose layers matter or do not."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from stress_lab.errors import ConfigError
from stress_lab.models.resnet import ResNet18
from stress_lab.saliency.gradcam import grad_cam
from stress_lab.saliency.randomisation import randomise_in_cascade


@pytest.fixture(scope="module")
def net_and_images():
    torch.manual_seed(0)
    return ResNet18(1, 10, width=8).eval(), torch.randn(5, 1, 28, 28)


def activations_and_gradients(net, layer, images, targets):
    kept = []
    hook = layer.register_forward_hook(lambda module, inputs, output: kept.append(output))
    logits = net(images.clone().requires_grad_())
    hook.remove()
    (gradient,) = torch.autograd.grad(logits[torch.arange(len(images)), targets].sum(), kept[0])
    return kept[0].detach(), gradient


@pytest.mark.parametrize("stage", ["layer3", "layer4"])
def test_maps_equal_those_of_plain_autograd(net_and_images, stage):
    net, images = net_and_images
    targets = torch.arange(5)
    a, g = activations_and_gradients(net, getattr(net, stage), images, targets)
    told = {"hirescam": a * g, "layercam": a * g.clamp(min=0), "gradcam": a * g.mean(dim=(2, 3), keepdim=True)}
    for method, expected in told.items():
        cam = grad_cam(net, getattr(net, stage), images, targets.numpy(), method=method)
        np.testing.assert_allclose(cam.raw, expected.sum(dim=1), atol=1e-6, err_msg=method)


def test_an_unknown_method_is_named(net_and_images):
    net, images = net_and_images
    with pytest.raises(ConfigError, match="choose one of gradcam, hirescam, layercam"):
        grad_cam(net, net.layer4, images, np.zeros(5, int), method="scorecam")


@pytest.mark.slow
def test_maps_change_where_later_weights_do_and_the_net_stays_as_it_was(net_and_images):
    net, images = net_and_images
    before = copy.deepcopy(net.state_dict())
    steps = randomise_in_cascade(net, "layer3", images, np.arange(5))
    assert steps[0].part == "fc"
    assert {name for name, part in net.named_modules() if [*part.parameters(recurse=False)]} == {s.part for s in steps}
    assert abs(steps[-1].similarity) < 0.6
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert steps == randomise_in_cascade(net, "layer3", images, np.arange(5))


def test_maps_that_do_not_depend_on_the_head_stay_the_same():
    """The head has no weights that could change: only the features do, and then the maps go."""

    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Conv2d(1, 6, 3, padding=1)
            self.unused = nn.Linear(3, 3)

        def forward(self, x):
            self.unused(torch.zeros(1, 3))
            return self.features(x).mean(dim=(2, 3))

    steps = randomise_in_cascade(Fixed(), "features", torch.randn(8, 1, 6, 6), np.zeros(8, int))
    assert [step.part for step in steps] == ["unused", "features"]
    assert steps[0].similarity == pytest.approx(1)
    assert steps[1].similarity < 0.99

"""Maps of a net whose Grad-CAM can be computed by hand."""

import numpy as np
import pytest
import torch
from torch import nn

import stress_lab as sl


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)
    ).train()


@pytest.fixture
def images():
    return torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def by_hand(net, images, targets):
    """Average pooling and a linear layer: the weight of a channel is the class's over the number of positions."""
    with torch.no_grad():
        activations = net.eval()[1](net[0](images)).numpy()
    weights = net[4].weight.detach().numpy()[targets] / 36
    return np.einsum("nk,nkhw->nhw", weights, activations)


def test_maps_are_those_computed_by_hand_and_the_net_is_left_alone(net, images):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net[0].weight.grad = torch.ones_like(net[0].weight)
    maps = sl.explain(net, images, targets=[0, 1, 2, 2], layer="1", batch_size=3)
    assert net.training
    assert all(not module._forward_hooks and not module._backward_hooks for module in net.modules())
    assert (net[0].weight.grad == 1).all()
    assert all((value == before[name]).all() for name, value in net.state_dict().items())
    np.testing.assert_allclose(maps, by_hand(net, images, [0, 1, 2, 2]), atol=1e-6)


def test_the_predicted_class_is_explained_by_default(net, images):
    with torch.no_grad():
        predicted = net.eval()(images).argmax(1)
    expected = sl.explain(net, images, predicted, layer="1")
    parts = sl.explain(net, images.clone().requires_grad_(), layer="1", batch_size=3)
    np.testing.assert_allclose(parts, expected, atol=1e-6)
    np.testing.assert_array_equal(sl.explain(net, images.detach().numpy(), layer="1"), expected)
    np.testing.assert_array_equal(sl.explain(net, images, 2, layer="1"), sl.explain(net, images, [2] * 4, layer="1"))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"layer": "layer9"}, "layer=layer9 is not a part of the net"),
        ({"layer": "4"}, "gives no feature map"),
        ({"method": "lime"}, "method='lime' does not work: pass one of 'gradcam'"),
        ({"images": torch.zeros(6, 6)}, r"images has shape \(6, 6\): pass \(N, C, H, W\)"),
        ({"images": torch.zeros(2, 1, 6, 6, dtype=torch.uint8)}, "images holds uint8: pass what the model takes"),
        ({"targets": [0, 1]}, "targets has 2 entries and images has 4"),
        ({"targets": 3}, "pass whole numbers from 0 to 2"),
        ({"model": "resnet18"}, "model is of type str: pass a torch.nn.Module"),
    ],
)
def test_wrong_input_ends_in_one_sentence(net, images, given, sentence):
    with pytest.raises(sl.InputError, match=sentence):
        sl.explain(**{"model": net, "images": images, "layer": "1", **given})

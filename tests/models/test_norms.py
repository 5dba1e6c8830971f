"""Batch norms that add up accurately: against torch's own in float64, whatever the images are like."""

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stress_lab.data.datamodules import FashionSampleDataModule
from stress_lab.models import resnet, shared_norm
from stress_lab.models.recipe import make_optimizer
from stress_lab.models.resnet import ResNet18
from stress_lab.models.shared_norm import _combine, _fold, batch_norm, make_norms_accurate

PLAIN = {"crop_padding": 0, "flip": False, "cutout": None, "extra": ()}


def make_images(kind, shape=(48, 5, 24, 24)):
    """Channels-last, of five kinds that float32 sums suffer from."""
    torch.manual_seed(0)
    images = torch.randn(shape)
    if kind == "far from zero":
        images = images * 0.1 + 30
    if kind == "constant ground":
        images = torch.where(images > 1, images, 0.123456)
    if kind == "constant channel":
        images[:, 1] = 0.1
    if kind == "one pixel":
        images = images[:, :, :1, :1].repeat(9, 1, 1, 1)
    return images.contiguous(memory_format=torch.channels_last)


def learn(norm, images, kind=torch.float32):
    """What a norm makes of images: the result, the gradients and the statistics."""
    images = images.to(kind).detach().clone().requires_grad_()
    normal = norm(images)
    slopes = torch.randn(normal.shape, generator=torch.Generator().manual_seed(1)) + 0.1
    normal.backward(slopes.to(normal.dtype))
    found = {"normal": normal.detach(), "images": images.grad}
    found |= {name: one.grad for name, one in norm.named_parameters() if one.grad is not None}
    return found | {name: one for name, one in norm.named_buffers() if name != "num_batches_tracked"}


def deviations(found, expected):
    """Of each part, relative to its largest value."""
    assert found.keys() == expected.keys()
    return {
        name: float((found[name].double() - value).abs().max() / value.abs().max().clamp(min=1e-6))
        for name, value in expected.items()
    }


def pair(**options):
    """An accurate norm and torch's own in float64 with the same weights."""
    torch.manual_seed(2)
    norm = nn.BatchNorm2d(5, **options)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    exact = copy.deepcopy(norm).double()
    make_norms_accurate(norm)
    return norm, exact


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("random", 2e-6),
        ("constant ground", 2e-5),
        ("constant channel", 1e-3),  # whose variance is eps: rounding counts 300 times; torch's own is off by 0.04
        ("one pixel", 2e-6),
        ("far from zero", 2e-4),  # 30 and 0.1: float32 holds images so well
    ],
)
def test_norms_agree_with_float64(kind, least):
    norm, exact = pair()
    found = deviations(learn(norm, make_images(kind)), learn(exact, make_images(kind), torch.float64))
    assert max(found.values()) < least, found


@pytest.mark.parametrize("shape", [(3000, 5), (3000, 5, 1), (3000, 5, 1, 1)])
def test_vectors_agree_too(shape):
    """Which torch adds up as it does channels-last."""
    torch.manual_seed(0)
    vectors = (torch.rand(3000, 5) + 3).view(shape)
    norm = [nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d][len(shape) - 2](5)
    exact = copy.deepcopy(norm).double()
    make_norms_accurate(norm)
    found = deviations(learn(norm, vectors), learn(exact, vectors, torch.float64))
    assert max(found.values()) < 2e-5, found


def test_torchs_own_does_not():
    """When this fails, torch's kernel for channels-last has become accurate, and ours can go."""
    plain = nn.BatchNorm2d(5)
    images = make_images("constant ground", (128, 5, 32, 32))
    exact = copy.deepcopy(plain).double()
    ours = copy.deepcopy(plain)
    make_norms_accurate(ours)
    expected = learn(exact, images, torch.float64)
    theirs, found = (max(deviations(learn(norm, images), expected).values()) for norm in (plain, ours))
    assert theirs > 10 * found, (theirs, found)


@pytest.mark.parametrize(
    "options", [{"momentum": None}, {"affine": False}, {"track_running_stats": False}, {"eps": 0.1, "momentum": 0.7}]
)
def test_every_setting_is_torchs(options):
    norm, exact = pair(**options)
    for number in range(3):  # momentum=None averages over batches
        images = make_images("random", (19 + number, 5, 7, 3))
        found = deviations(learn(norm, images), learn(exact, images, torch.float64))
        assert max(found.values()) < 3e-6, found
    assert list(norm.state_dict()) == list(exact.state_dict())
    if exact.track_running_stats:
        assert norm.num_batches_tracked == 3


@pytest.mark.parametrize("frozen", [{"weight"}, {"bias"}, {"weight", "bias"}])
def test_frozen_weights_get_no_gradient(frozen):
    norm, exact = pair()
    for net in (norm, exact):
        for name in frozen:
            net.get_parameter(name).requires_grad_(False)
    images = make_images("random")
    assert max(deviations(learn(norm, images), learn(exact, images, torch.float64)).values()) < 2e-6


def test_images_need_no_gradient():
    norm, exact = pair()
    images = make_images("random")
    for net, kind in ((norm, torch.float32), (exact, torch.float64)):
        net(images.to(kind)).square().sum().backward()
    torch.testing.assert_close(norm.weight.grad.double(), exact.weight.grad, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("kind", ["random", "constant ground"])
def test_bf16_is_rounded_once(kind):
    """Results are bf16, to 2^-9 of themselves; the sums are those of float64."""
    norm, exact = pair()
    images = make_images(kind).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = learn(norm, images, torch.bfloat16)
    expected = learn(exact, images.double(), torch.float64)
    assert found["normal"].dtype == torch.bfloat16
    errors = deviations(found, expected)
    assert max(errors[name] for name in ("normal", "images")) < 2**-7
    assert max(errors[name] for name in ("running_mean", "running_var")) < 1e-6


def test_gradients_are_those_of_finite_differences(monkeypatch):
    monkeypatch.setattr(shared_norm, "TERMS", 4)  # several parts, the last one shorter
    monkeypatch.setattr(shared_norm, "SUMS", 6)
    torch.manual_seed(0)
    images = torch.randn(5, 3, 2, 3, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    inputs = [images.requires_grad_(), *(torch.rand(3, dtype=torch.float64).requires_grad_() for _ in range(2))]
    normalize = lambda images, weight, bias: batch_norm(images, None, None, weight, bias, True)  # noqa: E731
    assert torch.autograd.gradcheck(normalize, inputs)
    assert torch.autograd.gradgradcheck(normalize, inputs)


@pytest.mark.parametrize("pixels", [1, 2, 6, 7, 8, 24, 25, 61])
def test_parts_are_all_of_it_in_its_order(pixels):
    values = torch.arange(pixels * 3.0).view(pixels, 3)
    parts = list(_fold(values, aside=2, terms=4))
    assert torch.equal(torch.cat([part.flatten(0, 1) for part in parts]), values)
    assert all(part.shape[0] <= 4 and part.shape[1] <= 2 for part in parts)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_combining_is_two_products_and_a_sum(kind):
    torch.manual_seed(0)
    slopes, pixels = torch.randn(2, 131, 3000).to(kind)
    factor, tilt, level = torch.randn(3, 3000, dtype=torch.float64)
    expected = factor * slopes + tilt * pixels + level
    torch.testing.assert_close(_combine(slopes, factor, pixels, tilt, level), expected.to(kind), rtol=8e-3, atol=1e-4)


def test_one_value_a_channel_is_torchs_error():
    norm, _ = pair()
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        norm(torch.ones(1, 5, 1, 1).contiguous(memory_format=torch.channels_last))


class Activated(nn.BatchNorm2d):
    """As in timm: a norm whose forward pass does more."""

    def forward(self, images):
        return F.relu(super().forward(images))


def test_a_net_keeps_everything_but_the_sums():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), Activated(16), nn.BatchNorm2d(16)).to(memory_format=torch.channels_last)
    seen = []
    net[1].register_forward_hook(lambda module, inputs, output: seen.append(output.min()))
    before, norms = copy.deepcopy(net), [net[1], net[2]]
    make_norms_accurate(net)
    make_norms_accurate(net)  # the second time nothing
    assert norms == [net[1], net[2]]
    assert isinstance(net[1], Activated)
    assert repr(net) == repr(before)
    assert list(net.state_dict()) == list(before.state_dict())
    images = torch.randn(8, 3, 9, 9).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(net(images), before(images))
    assert seen[0] >= 0  # its activation and the hook are there
    again = copy.deepcopy(net)  # as for a moving average
    assert torch.equal(again(images), net(images))
    state = {name: value.clone() for name, value in net.state_dict().items()}
    before.load_state_dict(state)
    assert torch.equal(net.eval()(images), before.eval()(images))  # torch's own in evaluation


def test_what_torch_adds_up_well_is_left_to_it():
    norm = nn.BatchNorm2d(5)
    plain = copy.deepcopy(norm)
    make_norms_accurate(norm)
    images = make_images("random").contiguous()
    assert torch.equal(norm(images), plain(images))
    assert torch.equal(norm.running_var, plain.running_var)


def test_compiled_norms_are_left_to_the_compiler():
    norm = nn.BatchNorm2d(5)
    make_norms_accurate(norm)
    graphs = []
    keep = lambda graph, inputs: graphs.append(graph.code) or graph.forward  # noqa: E731
    torch.compile(norm, backend=keep, fullgraph=True)(make_images("random"))
    assert "nn.functional.batch_norm" in graphs[0]


def take_step(net, images, labels, recipe):
    """The change of every weight in one step, in float64."""
    before = {name: value.detach().clone().double() for name, value in net.named_parameters()}
    optimizer = make_optimizer(recipe, net)
    F.cross_entropy(net(images), labels).backward()
    optimizer.step()
    return {name: value.detach().double() - before[name] for name, value in net.named_parameters()}


@pytest.mark.slow
def test_a_step_of_the_recipe_is_that_of_float64(monkeypatch, compose_config):
    """At the recipe's own rate and width, on images with a constant ground; each weight against the largest update.

    Without kinks: where a unit's input is zero but for rounding, ReLU passes its gradient or does not.
    """
    monkeypatch.setattr(resnet, "F", SimpleNamespace(relu=F.silu))
    recipe = compose_config("optim=sgd_multistep").optim
    assert recipe.lr == 0.1
    source = FashionSampleDataModule(val_size=1000, batch_size=16, augment=PLAIN, seed=3)
    images, labels, _ = next(iter(source.train_dataloader()))
    torch.manual_seed(0)
    net = ResNet18(1, 10, width=64)
    exact = copy.deepcopy(net).double()
    net = net.to(memory_format=torch.channels_last)
    make_norms_accurate(net)
    found = take_step(net, images.contiguous(memory_format=torch.channels_last), labels, recipe)
    expected = take_step(exact, images.double(), labels, recipe)
    errors = deviations(found, expected)
    assert max(errors.values()) < 1e-4, errors

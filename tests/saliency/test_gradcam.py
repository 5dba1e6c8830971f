import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stress_lab.errors import ConfigError
from stress_lab.models.resnet import ResNet18
from stress_lab.saliency.gradcam import check_layer, find_fault, find_layer, grad_cam, watch_outputs
from stress_lab.saliency.maps import Cam
from tests.references import grad_cam_by_autograd


@pytest.fixture(params=[(3, 32), (1, 28)], ids=["colour", "grey"])
def net_and_images(request):
    channels, size = request.param
    torch.manual_seed(0)
    return ResNet18(channels, 10, width=8).eval(), torch.randn(9, channels, size, size)


def test_maps_equal_those_of_plain_autograd(net_and_images):
    net, images = net_and_images
    targets = np.arange(9)
    cam = grad_cam(net, net.layer3, images, targets)
    expected = [grad_cam_by_autograd(net, net.layer3, image, int(t)) for image, t in zip(images, targets, strict=True)]
    assert cam.raw.shape == (9, *expected[0].shape)
    np.testing.assert_allclose(cam.raw, expected, atol=1e-6)


def test_at_the_last_stage_the_map_sums_to_logit_minus_bias(net_and_images):
    net, images = net_and_images
    targets = np.arange(9)[::-1].copy()
    cam = grad_cam(net, net.layer4, images, targets)
    with torch.inference_mode():
        logits = net(images)[torch.arange(9), targets] - net.fc.bias[targets]
    np.testing.assert_allclose(cam.raw.sum(axis=(1, 2)), logits.numpy(), atol=1e-4)


def test_a_toy_net_has_the_map_computed_by_hand():
    class Toy(nn.Module):
        """Two channels copied from the image; class 0 likes the first, class 1 dislikes the second."""

        def __init__(self):
            super().__init__()
            self.features = nn.Conv2d(1, 2, 1, bias=False)
            self.fc = nn.Linear(2, 2, bias=False)
            self.features.weight.data = torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1)
            self.fc.weight.data = torch.tensor([[3.0, 0.0], [0.0, -1.0]])

        def forward(self, x):
            return self.fc(self.features(x).mean(dim=(2, 3)))

    net, image = Toy(), torch.tensor([[[[1.0, 2.0], [0.0, 4.0]]]])
    cam = grad_cam(net, net.features, image.repeat(2, 1, 1, 1), np.array([0, 1]))
    np.testing.assert_allclose(cam.raw[0], 3 / 4 * image[0, 0])  # alpha = weight / cells, times A_1 = x
    np.testing.assert_allclose(cam.raw[1], -1 / 4 * 2 * image[0, 0])  # times A_2 = 2x
    assert cam.is_empty.tolist() == [False, True]
    assert cam.heat((8, 8))[1].max() == 0
    assert cam.positive_share.tolist() == [0.75, 0.0]


def test_the_model_is_left_as_it_was_found(net_and_images):
    net, images = net_and_images
    net.train()
    net.layer1.eval()
    net(images).sum().backward()
    modes = [module.training for module in net.modules()]
    gradients = [parameter.grad.clone() for parameter in net.parameters()]
    state = {key: value.clone() for key, value in net.state_dict().items()}
    grad_cam(net, net.layer3, images, np.zeros(9, int))
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), gradients, strict=True))
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert not any(module._forward_hooks or module._backward_hooks for module in net.modules())


def test_the_model_is_restored_after_an_error():
    net = ResNet18(1, 3, width=4).train()
    with pytest.raises(RuntimeError):
        grad_cam(net, net.layer3, torch.zeros(1, 5, 8, 8), np.array([0]))
    assert all(module.training for module in net.modules())
    assert not any(module._forward_hooks for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_it_works_where_lightning_forbids_gradients(net_and_images):
    net, images = net_and_images
    expected = grad_cam(net, net.layer3, images, np.zeros(9, int)).raw
    for forbidden in (torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16)):
        with forbidden:
            made_inside = images.clone()
            np.testing.assert_array_equal(grad_cam(net, net.layer3, made_inside, np.zeros(9, int)).raw, expected)


def test_it_works_with_frozen_parameters(net_and_images):
    net, images = net_and_images
    expected = grad_cam(net, net.layer3, images, np.ones(9, int)).raw
    net.requires_grad_(False)
    np.testing.assert_array_equal(grad_cam(net, net.layer3, images, np.ones(9, int)).raw, expected)


def test_an_in_place_relu_after_the_layer_does_not_change_the_map():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
            self.fc = nn.Linear(4, 2)

        def forward(self, x):
            return self.fc(F.relu(self.features(x), inplace=True).mean(dim=(2, 3)))

    torch.manual_seed(0)
    net, image = InPlace().eval(), torch.randn(1, 1, 8, 8)
    activation = net.features(image).detach().requires_grad_()
    net.fc(F.relu(activation).mean(dim=(2, 3)))[0, 0].backward()
    expected = (activation.grad.mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1).detach().numpy()
    np.testing.assert_allclose(grad_cam(net, net.features, image, np.array([0])).raw, expected, atol=1e-6)


def test_batches_do_not_change_the_maps():
    net, images = ResNet18(1, 3, width=4).eval(), torch.randn(7, 1, 16, 16)
    whole = grad_cam(net, net.layer3, images, np.zeros(7, int)).raw
    np.testing.assert_allclose(grad_cam(net, net.layer3, images, np.zeros(7, int), batch_size=3).raw, whole, atol=1e-6)


def test_heat_is_the_bilinear_positive_part_on_the_given_scale():
    raw = np.random.default_rng(0).normal(size=(5, 7, 7)).astype(np.float32)
    peak = np.full(5, raw.max(), dtype=np.float32)
    heat = Cam(raw).heat((28, 28), peak)
    grown = F.interpolate(torch.from_numpy(raw.clip(min=0))[:, None], (28, 28), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(heat, grown[:, 0].numpy() / raw.max(), atol=1e-6)
    assert heat.max() <= 1


def test_an_empty_map_is_not_stretched_to_full_colour():
    cam = Cam(np.array([[[-1.0, -0.5], [-2.0, 0.0]], [[1e-9, -1.0], [-1.0, -1.0]]], dtype=np.float32))
    assert cam.is_empty.tolist() == [True, False]
    assert (cam.heat((4, 4))[0] == 0).all()


def test_an_unknown_layer_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"layer9 is not a part of the net: its parts are conv1, bn1, layer1"):
        find_layer(ResNet18(width=4), "layer9")


def faults(net, images):
    """Why each part of a net gives no map, by its name; None where it gives one."""
    outputs = watch_outputs(net, images)
    return {name: find_fault(part, outputs, images) for name, part in net.named_modules() if name}


@pytest.fixture(scope="module")
def swin():
    """A small Swin of timm's: grids of 8×8 and 4×4 tokens, channels last."""
    import timm

    torch.manual_seed(0)
    options = {
        "img_size": 32,
        "patch_size": 4,
        "window_size": 4,
        "embed_dim": 16,
        "depths": (1, 1),
        "num_heads": (2, 2),
    }
    return timm.create_model("swin_tiny_patch4_window7_224", num_classes=3, **options).eval()


def test_channels_last_are_recognised_and_what_is_a_map_is_named(swin):
    images = torch.randn(2, 3, 32, 32)
    check_layer(swin, "layers.1", images)
    with pytest.raises(ConfigError) as error:
        check_layer(swin, "head", images)
    assert str(error.value) == (
        "callbacks.gradcam.layer=head gives no feature map, its output of shape (2, 3) has no channels, height and "
        "width: use patch_embed.proj (16×8×8), or leave out Grad-CAM with '~callbacks.gradcam'"
    )
    found = faults(swin, images)
    assert {name.rpartition(".")[2] for name, fault in found.items() if fault is None} - {"softmax", "attn_drop"} == {
        "proj"
    }
    assert "has the channels last" in found["layers.0"]
    assert "has the channels last" in found["layers.0.blocks.0"]
    assert "no channels, height and width" in found["head"]
    assert grad_cam(swin, swin.layers[1], images, np.array([0, 1])).raw.shape == (2, 4, 4)
    assert grad_cam(swin, swin.patch_embed.proj, images, np.array([0, 1])).raw.shape == (2, 8, 8)


def test_as_many_channels_as_cells_do_not_hide_that_they_come_last():
    import timm

    options = {
        "img_size": 64,
        "patch_size": 4,
        "window_size": 4,
        "embed_dim": 16,
        "depths": (1, 1),
        "num_heads": (2, 2),
    }
    net = timm.create_model("swin_tiny_patch4_window7_224", num_classes=3, **options).eval()
    found = faults(net, torch.randn(2, 3, 64, 64))
    assert "(2, 16, 16, 16) has the channels last" in found["layers.0"]
    assert "(2, 8, 8, 32) has the channels last" in found["layers.1"]


def test_tokens_are_a_grid_and_a_convnext_has_maps():
    import timm

    vit = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=12, depth=1, num_heads=2, num_classes=3
    ).eval()
    check_layer(vit, "blocks.0", torch.randn(2, 3, 32, 32), "layer")
    with pytest.raises(
        ConfigError, match=r"layer=fc_norm .*\(2, 12\) .*: use patch_embed\.proj \(12×4×4\), or .* limit=0$"
    ):
        check_layer(vit, "fc_norm", torch.randn(2, 3, 32, 32), "layer")
    convnext = timm.create_model("convnext_atto", dims=(8, 8, 8, 8), depths=(1, 1, 1, 1), num_classes=3).eval()
    found = faults(convnext, torch.randn(2, 3, 64, 96))
    assert [found[f"stages.{k}"] for k in range(4)] == [None] * 4
    assert found["stages.0.blocks.0"] is None
    assert found["stem.1"] is None  # a layer norm of channels that come first


class Stages(nn.Module):
    """Convolutions of several kinds, and outputs that are no maps."""

    def __init__(self):
        super().__init__()
        self.valid = nn.Conv2d(1, 4, 5)
        self.wide = nn.Conv2d(4, 4, (3, 1), stride=(3, 1))
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.ReLU())
        self.pair = Pair()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.norm = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        self.fc = nn.Linear(4, 3)
        self.unused = nn.Conv2d(1, 1, 1)

    def forward(self, x):
        x = self.block(self.wide(self.valid(x)))
        x = self.pair(x)[0]
        return self.fc(self.norm(self.pool(x)).flatten(1))


class Pair(nn.Module):
    def forward(self, x):
        return x, x.mean()


@pytest.mark.parametrize("size", [(28, 28), (32, 64), (45, 20), (12, 12)])
def test_maps_of_any_stride_are_maps_and_other_outputs_are_not(size, caplog):
    net, images = Stages().eval(), torch.randn(2, 1, *size)
    found = faults(net, images)
    for name in ("valid", "wide", "block", "block.0", "block.1"):
        assert found[name] is None
        assert grad_cam(net, net.get_submodule(name), images, np.array([0, 1])).raw.shape[0] == 2
    assert found["pair"].startswith("it returns a tuple of 2 (")
    assert found["pool"] is found["norm"] is None
    assert "(2, 3) has no channels, height and width" in found["fc"]
    assert found["unused"] == "the forward pass does not use it"
    with pytest.raises(
        ConfigError,
        match=r"it returns a tuple of 2 .*: use block \(4×[\d×]+\) or wide \(4×[\d×]+\) or valid \(4×[\d×]+\) or block",
    ):
        check_layer(net, "pair", images)
    check_layer(net, "block", images)
    assert not caplog.records
    check_layer(net, "pool", images)
    assert "callbacks.gradcam.layer=pool is one cell" in caplog.text


@pytest.mark.parametrize(
    ("cells", "size", "is_map"),
    [
        ((7, 7), (224, 224), True),
        ((4, 4), (28, 28), True),
        ((3, 4), (28, 28), True),  # rounding
        ((7, 14), (112, 224), True),
        ((1, 2), (16, 32), True),
        ((13, 29), (32, 64), False),  # but of a convolution without padding, below
        ((7, 768), (224, 224), False),
        ((56, 96), (224, 224), False),
        ((14, 7), (112, 224), False),
        ((8, 16), (32, 32), False),
    ],
)
def test_a_map_without_a_convolution_has_the_shape_of_the_image(cells, size, is_map):
    class Grid(nn.Module):
        def forward(self, x):
            return x.new_zeros(len(x), 5, *cells)

    layer, images = Grid(), torch.zeros(2, 1, *size)
    fault = find_fault(layer, {layer: (2, 5, *cells)}, images)
    assert (fault is None) == is_map, fault
    assert find_fault(layer, {layer: (2, 5, *cells), nn.Conv2d(1, 5, 3): (2, 5, *cells)}, images) is None


def test_a_net_may_change_its_input_in_place(net_and_images):
    net, images = net_and_images
    expected = grad_cam(net, net.layer3, images - 0.5, np.zeros(9, int)).raw

    class Centred(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            x -= 0.5
            return self.net(x)

    before = images.clone()
    np.testing.assert_allclose(grad_cam(Centred(), net.layer3, images, np.zeros(9, int)).raw, expected, atol=1e-6)
    assert torch.equal(images, before)


def test_a_layer_without_gradient_is_refused():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.fc = nn.Conv2d(1, 2, 3), nn.Linear(2, 2)

        def forward(self, x):
            return self.fc(self.features(x).detach().mean((2, 3)))

    net = Cut()
    with pytest.raises(ConfigError, match="no gradient reaches its output"):
        grad_cam(net, net.features, torch.randn(2, 1, 8, 8), np.array([0, 1]))


def test_the_loaders_memory_format_changes_no_bit():
    """Gradients of inputs in channels-last once wrote past their memory (benchmarks/narrow_crash.py)."""
    torch.manual_seed(0)
    net, images = ResNet18(1, 10, width=8).eval(), torch.randn(29, 1, 28, 28)
    last = images.as_strided(images.shape, (784, 1, 28, 1))  # as the loader's batches of grey images are
    layer = find_layer(net, "layer3")
    plain, other = (grad_cam(net, layer, one, np.zeros(29, dtype=int), 29).raw for one in (images, last))
    np.testing.assert_array_equal(plain, other)

"""Maps of nets whose outputs are tokens or channels last, against the grad-cam package's own way to reshape them."""

import numpy as np
import pytest
import timm
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from stress_lab.models.resnet import ResNet18
from stress_lab.saliency.choosing import choose_layer
from stress_lab.saliency.gradcam import grad_cam
from stress_lab.saliency.layouts import find_grid

IMAGES = torch.randn(3, 3, 32, 48, generator=torch.Generator().manual_seed(0))
TARGETS = np.array([0, 1, 2])


class RawGradCAM(GradCAM):
    """Keeps the map before it is clipped, scaled and enlarged."""

    def get_cam_image(self, *args, **kwargs):
        self.raw = super().get_cam_image(*args, **kwargs)
        return self.raw


def by_package(net, layer, reshape):
    with RawGradCAM(model=net, target_layers=[layer], reshape_transform=reshape) as cam:
        cam(IMAGES.clone().requires_grad_(), [ClassifierOutputTarget(int(one)) for one in TARGETS])
    return cam.raw


def make_vit(**options):
    torch.manual_seed(0)
    sizes = {"img_size": (32, 48), "patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 2, "num_classes": 3}
    return timm.create_model("vit_tiny_patch16_224", **sizes, **options).eval()


@pytest.mark.parametrize("registers", [0, 4])
def test_a_vits_map_drops_class_and_register_tokens(registers):
    net = make_vit(reg_tokens=registers)
    layer = choose_layer(net, IMAGES)
    assert layer == "blocks.1.norm1"  # later ones have no influence but through the class token
    found = grad_cam(net, net.get_submodule(layer), IMAGES, TARGETS)

    def reshape(tokens):
        return tokens[:, 1 + registers :].reshape(len(tokens), 4, 6, 12).permute(0, 3, 1, 2)

    assert found.raw.shape == (3, 4, 6)
    np.testing.assert_allclose(found.raw, by_package(net, net.blocks[1].norm1, reshape), atol=1e-6)
    assert np.abs(found.raw).max() > 0


def test_a_swins_map_has_the_channels_last():
    torch.manual_seed(0)
    sizes = {
        "img_size": (32, 48),
        "patch_size": 4,
        "window_size": 2,
        "embed_dim": 16,
        "depths": (1, 1),
        "num_heads": (2, 2),
    }
    net = timm.create_model("swin_tiny_patch4_window7_224", num_classes=3, **sizes).eval()
    layer = choose_layer(net, IMAGES)
    assert layer == "norm"
    found = grad_cam(net, net.norm, IMAGES, TARGETS)
    np.testing.assert_allclose(found.raw, by_package(net, net.norm, lambda one: one.permute(0, 3, 1, 2)), atol=1e-6)
    assert found.raw.shape == (3, 4, 6)


def test_a_convolutional_net_is_explained_at_its_last_map():
    torch.manual_seed(0)
    assert choose_layer(ResNet18(3, 3, width=8).eval(), IMAGES) == "layer4"


def test_a_net_without_a_map_has_no_layer():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 48, 3))
    assert choose_layer(net, IMAGES) is None


@pytest.mark.parametrize(
    ("tokens", "size", "grid", "extra"),
    [
        (197, (224, 224), (14, 14), 1),
        (196, (224, 224), (14, 14), 0),
        (261, (224, 224), (16, 16), 5),
        (25, (32, 48), (4, 6), 1),
    ],
)
def test_the_grid_of_a_sequence_has_the_images_aspect(tokens, size, grid, extra):
    found = find_grid(tokens, size)
    assert (found.grid, found.extra) == (grid, extra)
    assert find_grid(3, (224, 224)) is None

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

from stress_lab.models.classifier import Classifier
from stress_lab.models.recipe import group_parameters
from stress_lab.models.resnet import ResNet18
from stress_lab.models.three_block import ThreeBlockNet


def count(net):
    return sum(parameter.numel() for parameter in net.parameters())


def test_parameter_counts_are_exact():
    assert count(ResNet18(3, 10)) == 11_173_962
    assert count(ResNet18(1, 10)) == 11_172_810


@pytest.mark.parametrize(("channels", "size", "expected"), [(3, 32, [32, 16, 8, 4]), (1, 28, [28, 14, 7, 4])])
def test_stages_have_their_shapes(channels, size, expected):
    net, shapes = ResNet18(channels, 10, width=64), {}
    for name in ("layer1", "layer2", "layer3", "layer4"):
        net.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: shapes.update({name: out.shape[1:]})
        )
    logits = net.eval()(torch.zeros(2, channels, size, size))
    assert logits.shape == (2, 10)
    assert list(shapes.values()) == [(w, s, s) for w, s in zip((64, 128, 256, 512), expected, strict=True)]


def test_convolutions_start_as_kaiming_fan_out():
    torch.manual_seed(0)
    for module in ResNet18(3, 10, width=64).modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert abs(module.weight.std() / (2 / fan_out) ** 0.5 - 1) < 0.06


def test_same_weights_in_torchvisions_resnet_give_the_same_logits():
    """An independent net: torchvision's ResNet-18 with its stem changed for CIFAR."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    ours = ResNet18(3, 10)
    theirs = resnet18(weights=None, num_classes=10)
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    for module in ours.modules():  # statistics that matter, instead of zeros and ones
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    theirs.load_state_dict({key.replace("shortcut", "downsample"): v for key, v in ours.state_dict().items()})
    images = torch.randn(16, 3, 32, 32)
    for mode in (False, True):  # evaluation, and training with batch statistics
        ours.train(mode)
        theirs.train(mode)
        with torch.inference_mode():
            assert torch.allclose(ours(images), theirs(images), atol=1e-4)


def test_three_block_net_is_three_residual_blocks():
    from stress_lab.models.resnet import BasicBlock

    net = ThreeBlockNet(1, 10)
    assert sum(isinstance(module, BasicBlock) for module in net.modules()) == 3
    assert net.layer3(net.layer2(net.layer1(torch.zeros(1, 64, 28, 28)))).shape == (1, 256, 7, 7)
    assert net.eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_width_scales_every_stage():
    assert ResNet18(3, 10, width=16).layer4[1].conv2.out_channels == 128


OPTIM = {"optimizer": "SGD", "lr": 1.0, "args": {}, "label_smoothing": 0.0, "milestones": [], "gamma": 1.0}


def test_compiled_steps_leave_the_net_and_its_state_as_they_are():
    classifier = Classifier(ThreeBlockNet(1, 10), 10, OPTIM)
    keys, images = list(classifier.state_dict()), torch.randn(2, 1, 28, 28)
    before = classifier.eval()(images)
    classifier.compile_steps(backend="eager")
    assert list(classifier.state_dict()) == keys
    assert torch.equal(classifier(images), before)
    torch.testing.assert_close(classifier._steps[0](images), before)


def test_training_uses_what_was_compiled():
    graphs = []
    classifier = Classifier(ThreeBlockNet(1, 10, width=16), 10, OPTIM)
    classifier.compile_steps(backend=lambda graph, _inputs: graphs.append(graph) or graph.forward)
    classifier._step((torch.randn(2, 1, 28, 28), torch.tensor([3, 4]), torch.tensor([0, 1])), 1, "train").backward()
    assert graphs
    assert classifier.net.layer3.conv1.weight.grad.any()


def test_logged_figures_are_means_over_images_not_over_batches():
    torch.manual_seed(0)
    classifier = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), 5, OPTIM)
    images, labels, index = torch.randn(9, 3, 2, 2), torch.arange(9) % 5, torch.arange(9)
    for part in (slice(0, 8), slice(8, 9)):
        classifier._step((images[part], labels[part], index[part]), 1, "val")
    logits = classifier(images)
    torch.testing.assert_close(classifier.mean_loss["in_val"].compute(), F.cross_entropy(logits, labels))
    torch.testing.assert_close(classifier.accuracy["in_val"].compute(), (logits.argmax(1) == labels).float().mean())


def test_gradients_are_clipped_in_mixed_precision(tmp_path):
    """A step of plain SGD at rate 1 moves the weights by the clipped norm; Lightning refuses fused optimisers there."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    before = [parameter.detach().clone() for parameter in net.parameters()]
    trainer = Trainer(
        max_steps=1,
        precision="bf16-mixed",
        gradient_clip_val=1e-3,
        accelerator="cpu",
        devices=1,
        default_root_dir=tmp_path,
        logger=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    batch = (torch.randn(8, 3, 2, 2), torch.arange(8) % 5, torch.arange(8))
    batches = DataLoader([batch], batch_size=None)
    trainer.fit(Classifier(net, 5, OPTIM), batches, batches)
    moved = torch.cat([(b - a.detach()).flatten() for b, a in zip(before, net.parameters(), strict=True)])
    assert moved.norm().item() == pytest.approx(1e-3, rel=0.01)


def test_zero_init_residual_begins_as_its_shortcuts_and_zeroes_what_torchvision_zeroes():
    from torchvision.models import resnet18

    ours, theirs = ResNet18(3, 10, width=8, zero_init_residual=True), resnet18(zero_init_residual=True)
    zeros = [
        {
            key.replace("shortcut", "downsample")
            for key, value in net.state_dict().items()
            if key.endswith("weight") and not value.any()
        }
        for net in (ours, theirs)
    ]
    assert len(zeros[0]) == 8
    assert zeros[0] == zeros[1]
    images = torch.randn(2, 8, 8, 8)
    block = ours.layer2[0]
    torch.testing.assert_close(block(images), torch.relu(block.shortcut(images)))
    assert ResNet18(3, 10, width=8).layer1[0].bn2.weight.all()


def test_a_whitening_stem_gives_decorrelated_patches_and_is_not_trained():
    generator = torch.Generator().manual_seed(0)
    images = F.avg_pool2d(torch.randn(200, 3, 20, 20, generator=generator), 2)  # neighbours are alike
    net = ResNet18(3, 10, width=64, whiten=True)
    random = net.conv1.weight[54:].clone()
    net.init_from_data(images)
    responses = F.conv2d(images, net.conv1.weight, stride=3).transpose(0, 1).flatten(1)  # the patches it saw
    found = np.corrcoef(responses[:27].detach().numpy())
    assert np.abs(found - np.eye(27)).max() < 1e-3
    assert responses[0].var() > responses[26].var()
    torch.testing.assert_close(responses[27:54], -responses[:27])
    torch.testing.assert_close(net.conv1.weight[54:], random)
    other = {**OPTIM, "other": {"lr": 0.5}, "decay_norms": False}
    hidden, ends, vectors = group_parameters(other, net)
    assert hidden["params"][0] is net.layer1[0].conv1.weight  # and not taken for the first layer
    assert len(ends["params"]) == 1
    assert not any(one is net.conv1.weight for group in (hidden, ends, vectors) for one in group["params"])
    assert not any(one is net.conv1.weight for group in group_parameters(OPTIM, net) for one in group["params"])


def test_a_stem_whitens_nothing_that_the_images_do_not_have():
    grey = F.avg_pool2d(torch.randn(200, 1, 20, 20, generator=torch.Generator().manual_seed(0)), 2).repeat(1, 3, 1, 1)
    net = ResNet18(3, 10, width=64, whiten=True)
    random = net.conv1.weight[18:].clone()
    net.init_from_data(grey)
    torch.testing.assert_close(net.conv1.weight[18:], random)  # 9 pixels, whatever the channels
    full = net.bn1(net.conv1(grey))
    low = net.bn1(F.conv2d(grey.bfloat16(), net.conv1.weight.bfloat16(), padding=1).float())
    assert (full - low).abs().mean(dim=(0, 2, 3)).max() < 0.05  # of every channel, whose spread is one


def test_a_stem_that_is_trained_keeps_its_random_filters():
    net = ResNet18(3, 10, width=8)
    before = net.conv1.weight.clone()
    net.init_from_data(torch.randn(10, 3, 8, 8))
    torch.testing.assert_close(net.conv1.weight, before)
    assert net.conv1.weight.requires_grad

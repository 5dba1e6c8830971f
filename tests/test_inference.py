import numpy as np
import pytest
import torch
from torch import nn

from stress_lab.errors import ConfigError, RunError
from stress_lab.inference import (
    are_probabilities,
    check_answers,
    eval_mode,
    full_precision,
    predict,
    predict_features,
    watch_inputs,
)
from stress_lab.models.resnet import ResNet18
from stress_lab.runtime.hardware import choose_precision


def batches(n=10, size=4):
    images = torch.randn(n, 1, 8, 8)
    for part in torch.arange(n).split(size):
        yield images[part], part % 3, part + 100


def test_every_module_gets_its_own_mode_back_also_after_an_error():
    net = ResNet18(1, 3, width=4)
    net.train()
    net.layer2.eval()  # a user may have frozen a part
    before = [module.training for module in net.modules()]
    with eval_mode(net):
        assert not any(module.training for module in net.modules())
    assert [module.training for module in net.modules()] == before
    with pytest.raises(ZeroDivisionError), eval_mode(net):
        raise ZeroDivisionError
    assert [module.training for module in net.modules()] == before


def test_prediction_keeps_the_order_and_the_model():
    net = ResNet18(1, 3, width=4).train()
    state = {key: value.clone() for key, value in net.state_dict().items()}
    torch.manual_seed(0)
    record = predict(net, batches())
    torch.manual_seed(0)
    images = torch.cat([images for images, _, _ in batches()])
    with torch.inference_mode():
        expected = net.eval()(images).numpy()
    assert record.index.tolist() == list(range(100, 110))
    assert record.label.tolist() == [i % 3 for i in range(10)]
    np.testing.assert_allclose(record.logits, expected, atol=1e-5)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


def test_autocast_around_does_not_lower_the_precision():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    torch.manual_seed(0)
    plain = predict(net, batches())
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = predict(net, batches())
    np.testing.assert_array_equal(plain.logits, inside.logits)


def test_a_split_without_images_is_refused():
    with pytest.raises(RunError, match="empty"):
        predict(nn.Identity(), [])


def test_full_precision_switches_tf32_off_and_on_again():
    units = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    torch.set_float32_matmul_precision("high")  # as Lightning advises, and a module of the user's may do
    try:
        before = [unit.fp32_precision for unit in units]
        assert "tf32" in before
        with full_precision(torch.device("cpu")):
            assert [unit.fp32_precision for unit in units] == ["ieee"] * 3
            assert not torch.is_autocast_enabled("cpu")
        assert [unit.fp32_precision for unit in units] == before
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


class Branched(nn.Module):
    """Registers its head first and runs it last; an earlier layer has as many outputs."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 3)
        self.stem = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Dropout(0.5))

    def forward(self, x):
        return self.head(torch.relu(self.stem(x)))


def count_hooks(net):
    return sum(len(module._forward_pre_hooks) for module in net.modules())


def test_features_are_the_input_of_the_layer_that_runs_last():
    net = Branched().train()
    net.head.register_forward_pre_hook(lambda module, inputs: None)  # a user's own stays
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = predict_features(net, batches(), 3)
    torch.manual_seed(0)
    images = torch.cat([images for images, _, _ in batches()])
    weight, bias = net.stem[1].weight.detach().numpy(), net.stem[1].bias.detach().numpy()
    expected = np.maximum(images.flatten(1).numpy() @ weight.T + bias, 0)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert all(module.training for module in net.modules())
    assert count_hooks(net) == 1


def test_a_net_without_a_linear_head_has_no_features():
    convolutional = nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten())
    on_columns = nn.Sequential(nn.Linear(8, 3), nn.Flatten(), nn.LazyLinear(4))  # K outputs, but for parts of an image
    for net in (convolutional, on_columns):
        assert predict_features(net, batches(), 3) is None
        assert count_hooks(net) == 0


def test_inputs_are_seen_in_the_order_of_the_calls_and_hooks_end_also_after_an_error():
    net = nn.Linear(2, 2)
    with watch_inputs([net]) as seen:
        net(torch.ones(1, 2))
        net(torch.zeros(1, 2))
    net(torch.ones(1, 2))
    assert [x.tolist() for x in seen] == [[[1, 1]], [[0, 0]]]
    with pytest.raises(RuntimeError, match="shapes"):
        predict_features(net, batches(), 2)
    assert count_hooks(net) == 0


def test_half_precision_is_refused_where_lightning_would_quietly_take_another():
    assert choose_precision("16-mixed", "cuda") == "16-mixed"
    with pytest.raises(ConfigError, match="16-mixed needs a GPU: use bf16-mixed"):
        choose_precision("16-mixed", "cpu")


def test_rows_that_sum_to_one_are_probabilities_and_logits_are_not():
    generator = torch.Generator().manual_seed(0)
    for classes in (2, 3, 10, 1000):
        for spread in (1e-3, 1, 30):
            logits = spread * torch.randn(50, classes, generator=generator)
            probs = logits.softmax(1)
            assert are_probabilities(probs)
            assert are_probabilities(probs.bfloat16())
            assert are_probabilities(probs.half())
            assert are_probabilities(torch.stack([1 - probs[:, 0] - 2e-7, probs[:, 0]], 1))
            assert not are_probabilities(logits)
            assert not are_probabilities(logits.log_softmax(1))
            assert not are_probabilities(logits.sigmoid()) or classes == 2
            assert not are_probabilities(logits.abs())
    assert are_probabilities(torch.eye(4))
    assert not are_probabilities(torch.zeros(4, 3))
    assert not are_probabilities(torch.ones(4, 1))
    assert not are_probabilities(torch.tensor([[0.25, 0.75]]))  # one image may give such logits


def test_a_softmax_is_refused_and_a_log_softmax_predicts_as_its_logits():
    logits = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    records = []
    for end in (nn.Identity(), nn.LogSoftmax(dim=1)):
        torch.manual_seed(0)
        records.append(predict(nn.Sequential(logits, end), batches()))
    np.testing.assert_allclose(records[0].probs, records[1].probs, atol=1e-6)
    with pytest.raises(RunError, match=r"the net returns probabilities \(every row sums to 1\)"):
        predict(nn.Sequential(logits, nn.Softmax(dim=1)), batches())


def test_trying_a_net_leaves_it_and_the_images_as_they_were():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).train()
    images = torch.randn(4, 1, 8, 8)
    before, state = images.clone(), {key: value.clone() for key, value in net.state_dict().items()}
    check_answers(net, images)
    assert torch.equal(images, before)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert net.training

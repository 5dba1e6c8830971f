"""Occlusion, unknown inputs and attacks against scikit-learn, worked examples and nets solved by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from sklearn.neighbors import NearestNeighbors
from torch import nn

from stress_lab.errors import InputError, PairingError
from stress_lab.stress.attack import Budget, attack, find_smallest, make_normalize, trace_accuracy
from stress_lab.stress.occlusion import SHARES, compare_occlusion, hide
from stress_lab.stress.unknown import count_confident, measure_unknown, score_logits, score_neighbours


@pytest.mark.parametrize("share", SHARES)
def test_a_square_hides_its_share_at_an_even_place(share):
    images = torch.full((400, 3, 32, 32), 200, dtype=torch.uint8)
    hidden = hide(images, share, (0.5, 0.25, 0.0), seed=3)
    covered = (hidden != images).all(dim=1)
    side = round(32 * share**0.5)
    assert covered.flatten(1).sum(dim=1).unique().tolist() == [side**2]  # always fully inside
    assert side**2 / 1024 == pytest.approx(share, abs=0.03)
    if side:
        assert hidden[0].movedim(0, -1)[covered[0]].unique(dim=0).tolist() == [[128, 64, 0]]
        tops = covered.any(dim=2).int().argmax(dim=1)
        assert (tops.min(), tops.max()) == (0, 32 - side)
        assert tops.float().mean() == pytest.approx((32 - side) / 2, abs=0.15 * (32 - side))
    order = np.random.default_rng(0).permutation(400)
    assert torch.equal(hide(images[order], share, (0.5, 0.25, 0.0), seed=3, index=order), hidden[order])


def test_the_area_between_two_curves_and_its_interval():
    rng = np.random.default_rng(0)
    chance = np.linspace(0.9, 0.3, len(SHARES))[:, None]
    latent = rng.random((1, 3000))  # the same images are hard for both
    a, b = latent < chance, latent < chance + 0.05
    gap = compare_occlusion(SHARES, a, b, resamples=2000)
    assert gap.area == pytest.approx(np.trapezoid(b.mean(axis=1) - a.mean(axis=1), SHARES) / 0.6)
    assert gap.area_low < 0.05 < gap.area_high
    per_image = np.trapezoid(b.astype(float) - a, SHARES, axis=0) / 0.6
    assert gap.area_high - gap.area_low == pytest.approx(2 * 1.96 * per_image.std() / 3000**0.5, rel=0.08)
    assert all(low <= middle <= high for low, middle, high in zip(gap.low, gap.difference, gap.high, strict=True))
    nothing = compare_occlusion(SHARES, a, a, resamples=100)
    assert (nothing.area, nothing.area_low, nothing.area_high) == (0, 0, 0)
    with pytest.raises(PairingError):
        compare_occlusion(SHARES, a, b[:, :10])


@pytest.mark.parametrize("ties", [False, True])
def test_detection_is_that_of_scikit_learn(ties):
    rng = np.random.default_rng(1)
    known, unknown = rng.normal(size=700), rng.normal(size=300) + 1
    if ties:
        known, unknown = known.round(1), unknown.round(1)
    found = measure_unknown(known, unknown)
    truth, scores = np.repeat([0, 1], [700, 300]), np.concatenate([known, unknown])
    assert found.auroc == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert found.aupr_unknown == pytest.approx(average_precision_score(truth, scores), abs=1e-12)
    assert found.aupr_known == pytest.approx(average_precision_score(1 - truth, -scores), abs=1e-12)
    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert found.fpr95 == pytest.approx(fpr[tpr >= 0.95 - 1e-12].min(), abs=1e-12)
    with pytest.raises(InputError, match="0 unknown"):
        measure_unknown(known, known[:0])


def test_scores_rise_as_the_net_knows_less():
    logits = np.array([[9.0, 0, 0], [1, 0, 0], [0, 0, 0]], dtype=np.float32)
    scores = score_logits(logits)
    assert all(np.all(np.diff(values) > 0) for values in scores.values())
    assert scores["msp"][2] == pytest.approx(2 / 3)
    assert scores["energy"][2] == pytest.approx(-np.log(3))
    assert scores["entropy"][2] == pytest.approx(np.log(3))
    rng = np.random.default_rng(2)
    features, bank = rng.normal(size=(30, 8)), rng.normal(size=(200, 8))
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (features, bank)]
    nearest = NearestNeighbors(n_neighbors=5).fit(unit[1]).kneighbors(unit[0])[0][:, 4]
    assert score_neighbours(features, bank, k=5) == pytest.approx(nearest)
    counted = count_confident(np.array([0.7, 0.71, 0.9, 0.2], dtype=np.float64))
    assert (counted["count"], counted["n"], counted["share"]) == (2, 4, 0.5)  # strictly more


class Linear(nn.Module):
    """Logits (0, w·x + b): the smallest change that turns an answer is known."""

    def __init__(self, weights, bias):
        super().__init__()
        self.layer = nn.Linear(weights.numel(), 2)
        with torch.no_grad():
            self.layer.weight.copy_(torch.stack([torch.zeros_like(weights), weights]))
            self.layer.bias.copy_(torch.tensor([0.0, bias]))

    def forward(self, images):
        return self.layer(images.flatten(1))


@pytest.fixture
def solved():
    """A linear net, images far from 0 and 1, and the distance of each to its border."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(12, generator=generator)
    pixels = 0.4 + 0.2 * torch.rand(50, 3, 2, 2, generator=generator)
    mean, std = (0.5, 0.4, 0.6), (0.2, 0.3, 0.25)
    net, normalize = Linear(weights, 0.05), make_normalize(mean, std)
    scaled = weights / torch.tensor(std).repeat_interleave(4)
    margin = net(normalize(pixels))[:, 1].detach()
    return net, pixels, (margin > 0).long(), normalize, margin.abs(), scaled


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_attack_finds_the_border_of_a_linear_net_and_stays_in_bounds(norm, solved):
    net, pixels, labels, normalize, margin, scaled = solved
    border = margin / (scaled.abs().sum() if norm == "linf" else scaled.norm())
    budget = Budget(norm, steps=10, restarts=2)
    eps = float(border.median())
    found = attack(net, pixels, labels, normalize, eps, budget)
    sure = (border - eps).abs() > 1e-3 * eps
    assert torch.equal(found.correct[sure], (border > eps)[sure])
    moved = (found.pixels - pixels).flatten(1)
    assert float(moved.norm(dim=1, p=torch.inf if norm == "linf" else 2).max()) <= eps + 1e-6
    assert found.pixels.min() >= 0
    assert found.pixels.max() <= 1
    right = net(normalize(found.pixels)).argmax(dim=1) == labels
    assert torch.equal(right, found.correct)
    assert attack(net, pixels, labels, normalize, 0.0, budget).correct.all()  # the clean accuracy
    smallest = find_smallest(net, pixels, labels, normalize, 0.2, budget)
    reached = border < 0.19
    assert reached.sum() > 10
    assert (smallest - border)[reached].abs().max() <= 0.2 / 64 + 3e-3
    assert smallest[border > 0.21].isinf().all()


def test_curves_never_rise_and_the_net_is_left_as_found(solved):
    net, pixels, labels, normalize, _, _ = solved
    net.train()
    before = [parameter.clone() for parameter in net.parameters()]
    correct = trace_accuracy(net, (pixels * 255).to(torch.uint8), labels, normalize, [0, 0.002, 0.005, 0.01])
    assert (correct.int().diff(dim=0) <= 0).all()
    assert 0 < correct[-1].float().mean() < correct[0].float().mean()
    assert net.training
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True))
    wrong = attack(net, pixels, 1 - labels, normalize, 0.05)
    assert not wrong.correct.any()
    assert torch.equal(wrong.pixels, pixels)
    with pytest.raises(InputError, match="use linf or l2"):
        Budget("l1")


def test_pixels_stay_between_0_and_1_where_images_are_black_and_white():
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 2, (20, 1, 3, 3), generator=generator).float()
    net = Linear(torch.randn(9, generator=generator), 0.0)
    labels = net(pixels).argmax(dim=1)
    for norm, eps in (("linf", 0.9), ("l2", 2.0)):
        found = attack(net, pixels, labels, lambda images: images, eps, Budget(norm, steps=5))
        assert not found.correct.all()
        assert (found.pixels.min(), found.pixels.max()) == (0, 1)

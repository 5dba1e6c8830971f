"""ROAD: imputation against a sparse solve and the grad-cam package, random maps at zero, a planted patch above."""

import csv

import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics.road import NoisyLinearImputer, neighbors_weights
from scipy.stats import t as student
from torch import nn

from stress_lab import recording
from stress_lab.files import save_json
from stress_lab.records import Failure
from stress_lab.runs.folder import RunDir
from stress_lab.saliency.road import enlarge, impute, random_maps, rank_pixels, road_scores, sobel_maps


class Patch(nn.Module):
    """Class 1 if the square of 4 pixels at the top left is bright, whatever the rest shows."""

    def forward(self, x):
        seen = x[:, 0, :4, :4].mean(dim=(1, 2))
        return torch.stack([torch.zeros_like(seen), 12 * (seen - 0.5)], dim=1)


@pytest.fixture(scope="module")
def patched():
    """Images with a bright patch on noise, all of class 1."""
    images = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.6
    images[:, :, :4, :4] = 0.9
    return images, np.ones(64, dtype=np.int64)


def test_imputation_is_that_of_the_grad_cam_package():
    torch.manual_seed(1)
    images = torch.rand(3, 2, 9, 12)
    kept = torch.rand(3, 9, 12) > torch.tensor([0.3, 0.6, 0.9])[:, None, None]
    for image, mask, found in zip(images.numpy(), kept.numpy(), impute(images, kept).numpy(), strict=True):
        system, right = NoisyLinearImputer.setup_sparse_system(mask.astype(float), image, neighbors_weights)
        expected = image.copy()
        expected[:, ~mask] = np.linalg.solve(system.toarray(), right).T
        np.testing.assert_allclose(found, expected, atol=2e-4)


def test_imputation_keeps_what_is_known_and_a_plane_in_the_inside():
    """Weights are symmetric, so a plane is its own mean away from the border."""
    plane = (torch.arange(12.0)[:, None] + 2 * torch.arange(12.0))[None, None] / 36
    kept = torch.ones(1, 12, 12, dtype=torch.bool)
    kept[0, 3:9, 4:8] = False
    np.testing.assert_allclose(impute(plane, kept), plane, atol=1e-4)
    alone = torch.zeros(1, 12, 12, dtype=torch.bool)
    alone[0, 5, 5] = True
    np.testing.assert_allclose(impute(plane, alone), plane[:, :, 5:6, 5:6].expand_as(plane), atol=1e-3)


def interval(scores):
    half = student.ppf(0.975, len(scores) - 1) * scores.std(ddof=1) / np.sqrt(len(scores))
    return scores.mean() - half, scores.mean() + half


def test_random_maps_score_zero_and_the_patch_scores_high(patched):
    images, targets = patched
    low, high = interval(road_scores(Patch(), images, targets, random_maps(64, (4, 4), (16, 16))))
    assert low <= 0 <= high
    where = np.zeros((64, 16, 16), np.float32)
    where[:, :4, :4] = 1
    right = road_scores(Patch(), images, targets, where)
    assert right.min() > 0.3
    assert road_scores(Patch(), images, targets, -where).mean() == pytest.approx(-right.mean(), abs=0.03)


def test_results_repeat_and_the_model_is_left_as_found(patched):
    images, targets = patched
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 16 * 16, 2)).train()
    maps = sobel_maps(images)
    one, other = (road_scores(model, images[:6], targets[:6], maps[:6], batch_size=4, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert model.training
    assert not any(parameter.grad is not None for parameter in model.parameters())


def test_ranks_count_the_pixels_below_and_equal_ones_are_mixed():
    rng = np.random.default_rng(0)
    maps = np.array([[[3, 1], [2, 0]], [[5, 5], [5, 5]]], np.float32)
    assert rank_pixels(maps, rng)[0].tolist() == [[0.75, 0.25], [0.5, 0]]
    first = {int(rank_pixels(maps, rng)[1].argmin()) for _ in range(50)}
    assert first == {0, 1, 2, 3}


def test_sobel_finds_edges_and_enlarging_is_bilinear():
    step = torch.zeros(1, 1, 6, 6)
    step[..., 3:] = 1
    edges = sobel_maps(step)[0]
    assert (edges[:, 2:4] == 4).all()
    assert edges[:, [0, 1, 4, 5]].max() == 0
    raw = np.array([[[0.0, 2.0], [0.0, 2.0]]], np.float32)
    assert enlarge(raw, (2, 4))[0, 0].tolist() == [0, 0.5, 1.5, 2]


def test_a_run_records_the_scores_beside_its_maps(tmp_path, patched):
    """Two maps, one of them right; the table, the sentence, and what removes the table."""
    images, _ = patched
    run = RunDir(tmp_path)
    right = np.zeros((4, 4), np.float32)
    right[0, 0] = 1
    run.gradcam.mkdir(parents=True)
    np.savez(run.gradcam / "maps.npz", index=[5, 2], predicted=np.stack([right, -right]))
    failures = [Failure(rank, index, 0, 1, "a", "b", 0.9, 0.1) for rank, index in enumerate((5, 2), 1)]
    save_json(run.failures_file, {"failures": [vars(one) for one in failures]})
    split = type("Split", (), {"images": (255 * images).byte().numpy()})

    def load(_, name, index):
        return [(torch.from_numpy(split.images[index]).float() / 255, None, index)]

    source = type("Source", (), {"batch_size": 8, "split": lambda *_: split, "eval_loader": load})()
    said = recording.record_road(run, Patch(), source, "test")
    with (run.gradcam / "road.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["index"] for row in rows] == ["5", "2"]
    assert float(rows[0]["road"]) > 0.25 > -0.1 > float(rows[1]["road"])
    assert [row["beats_random"] for row in rows] == ["True", "False"]
    assert "ROAD of 2 maps" in said
    assert "1 do no better than a random map" in said
    recording._retire_maps(run, [])
    assert recording.record_road(run, Patch(), source, "test") is None
    assert not (run.gradcam / "road.csv").exists()

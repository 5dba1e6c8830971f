"""An audit against a plain loop: logits, accuracy, confident failures; and what the run folder holds."""

import json
import re

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from torchvision.datasets import ImageFolder

import stress_lab
from stress_lab.auditing.images import find_photographs
from stress_lab.auditing.nets import NetSpec
from stress_lab.auditing.preprocessing import make_preprocessing
from stress_lab.auditing.record import PIECES, Settings, prepare_audit, record_audit
from stress_lab.auditing.source import AuditSource
from stress_lab.comparison.alarms import find_alarms
from stress_lab.comparison.loading import load_finished
from stress_lab.errors import ConfigError, DataError
from stress_lab.runs.folder import RunDir
from stress_lab.storage.seals import digest_file

SMALL = {"resize": 40, "crop": 32, "like": "imagenet"}


def plain_loop(net, root, transform):
    """What anybody's script does: ImageFolder, the library's transform, no_grad."""
    data = ImageFolder(root, transform)
    with torch.no_grad():
        logits = torch.cat([net.eval()(image[None]) for image, _ in data])
    return logits.numpy(), np.array(data.targets)


def audit_files(net_spec, root, folder, **settings):
    photographs = {"test": find_photographs({"root": str(root)}, None)}
    return record_audit(prepare_audit("net", net_spec, photographs, Settings(**settings)), folder)


def torchvision_small():
    mode = torchvision.transforms.InterpolationMode.BILINEAR
    return torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize(40, mode),
            torchvision.transforms.CenterCrop(32),
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )


def test_the_records_equal_those_of_a_plain_loop(net, photos, tmp_path):
    torch.save(net.state_dict(), tmp_path / "net.pth")
    spec = NetSpec("tests.audit.conftest.Net", str(tmp_path / "net.pth"), transform=SMALL)
    run = audit_files(spec, photos, tmp_path / "run", threshold=0.3, batch_size=5)
    logits, labels = plain_loop(net, photos / "test", torchvision_small())
    found = run.load_predictions("test")
    np.testing.assert_allclose(found.logits, logits, atol=1e-6)
    assert found.label.tolist() == labels.tolist()
    probs = torch.from_numpy(logits).softmax(1).numpy()
    wrong = (probs.argmax(1) != labels) & (probs.max(1) > 0.3)
    assert {one.index for one in run.load_failures()} == set(np.flatnonzero(wrong).tolist())
    assert len(run.load_failures()) > 0
    assert run.load_evaluation()["test"]["accuracy"] == pytest.approx((probs.argmax(1) == labels).mean())


@pytest.mark.slow
def test_an_audit_is_a_run_folder_like_any_other(net, photos, tmp_path):
    torch.save(net.state_dict(), tmp_path / "net.pth")
    spec = NetSpec("tests.audit.conftest.Net", str(tmp_path / "net.pth"), transform=SMALL)
    run = audit_files(spec, photos, tmp_path / "run", threshold=0.3)
    info = RunDir(run.path).sealed().load_info()
    assert run.find_damage() is None
    assert info.state == "finished"
    assert info.epochs == 0
    assert info.weights["sha256"] == digest_file(tmp_path / "net.pth")
    assert "imagenet: resize 40" in run.load_evaluation()["test"]["preprocessing"]
    assert not run.history_file.exists()
    assert not (run.path / PIECES).exists()
    assert len(list(run.gradcam.glob("failure_*.png"))) == len(run.load_failures())
    assert run.config["callbacks"]["gradcam"]["layer"] == "stage"
    assert all(one.file.startswith("test/") for one in run.load_failures())


@pytest.mark.slow
def test_an_audit_that_breaks_continues_where_it_was(net, photos, tmp_path, monkeypatch):
    torch.save(net.state_dict(), tmp_path / "net.pth")
    monkeypatch.setattr("stress_lab.auditing.predicting.PIECE", 4)
    spec = NetSpec("tests.audit.conftest.Net", str(tmp_path / "net.pth"), transform=SMALL)
    whole = audit_files(spec, photos, tmp_path / "whole", batch_size=2, limit=0).load_predictions("test")
    photographs = {"test": find_photographs({"root": str(photos)}, None)}
    audit = prepare_audit("net", spec, photographs, Settings(batch_size=2, limit=0))
    seen, forward = [], audit.model.forward

    def fail_once(images):
        seen.append(len(images))
        if len(seen) == 4:
            raise KeyboardInterrupt
        return forward(images)

    monkeypatch.setattr(audit.model, "forward", fail_once)
    with pytest.raises(KeyboardInterrupt):
        record_audit(audit, tmp_path / "run")
    assert RunDir(tmp_path / "run").load_info().state == "failed"
    assert len(list((tmp_path / "run" / PIECES).iterdir())) == 1
    seen[:] = [0] * 4  # no further failure
    run = record_audit(audit, tmp_path / "run")
    assert np.array_equal(run.load_predictions("test").logits, whole.logits)
    assert sum(seen[4:]) == 8  # of 12 images the first four were not computed again, maps aside


def test_weights_that_fit_only_partly_are_an_alarm(net, photos, tmp_path):
    state = {name: value for name, value in net.state_dict().items() if not name.startswith("fc")}
    torch.save(state, tmp_path / "body.pth")
    spec = NetSpec("tests.audit.conftest.Net", str(tmp_path / "body.pth"), transform=SMALL, strict=False)
    run = audit_files(spec, photos, tmp_path / "run", limit=0)
    first, *_ = find_alarms(load_finished([run]), 0.95)
    assert first.alarm
    assert first.sentence == "net was loaded only partly (strict=false): the file lacks fc.weight, fc.bias"


def test_pixels_of_auto_and_keys_equal_the_libraries_own(photos):
    file = sorted((photos / "test").rglob("*.png"))[0]
    image = Image.open(file).convert("RGB")
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    cases = [("resnet18", weights.transforms())]
    for name in ("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "convnext_tiny", "tf_efficientnet_b0"):
        config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
        cases.append((f"timm/{name}", timm.data.create_transform(**config)))
    for name, theirs in cases:
        given = make_preprocessing("auto", name)
        assert torch.equal(given.finish(given.prepare(image)[None])[0], theirs(image)), name
    keys = make_preprocessing(SMALL, "")
    assert torch.equal(keys.finish(keys.prepare(image)[None])[0], torchvision_small()(image))


def test_preprocessing_is_never_guessed():
    for spec, words in [
        ("auto", "names no library that would know: say transform=imagenet"),
        ({"like": None, "resize": 32}, "never preprocessed by guesswork"),
        ({"like": "imagenet", "fit": "stretch"}, "transform.fit=stretch does not work: use one of crop, pad, squash"),
        ({"like": "imagenet", "std": [0.1]}, "different numbers of channels"),
        ("imagnet", "transform=imagnet does not work: use auto, imagenet, cifar10"),
        ("tests.audit.conftest.nothing", "does not exist: tests.audit.conftest has no nothing"),
    ]:
        with pytest.raises(ConfigError, match=re.escape(words)):
            make_preprocessing(spec, "tests.audit.conftest.Net")


@pytest.mark.parametrize("fit", ["pad", "squash"])
def test_pad_keeps_the_whole_image_and_squash_fills_the_square(fit):
    image = Image.new("RGB", (80, 40), (255, 0, 0))
    given = make_preprocessing({"like": "imagenet", "resize": 32, "crop": 32, "fit": fit}, "")
    pixels = given.prepare(image)
    red = (pixels == torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None]).all(0)
    assert red.sum() == (16 * 32 if fit == "pad" else 32 * 32)


def test_in_memory_net_and_tensors(net, tmp_path):
    torch.manual_seed(1)
    images, labels = torch.randn(20, 3, 16, 16), torch.arange(20) % 3
    data = torch.utils.data.TensorDataset(images, labels)
    found = stress_lab.audit({"net": net}, data, classes=["a", "b", "c"], folder=tmp_path, threshold=0.3)
    with torch.no_grad():
        right = (net(images).argmax(1) == labels).float().mean().item()
    row = found.table().query("measure == 'accuracy'").iloc[0]
    assert row["value"] == pytest.approx(right)
    loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)
    again = stress_lab.audit({"net": net}, loader, classes=["a", "b", "c"], folder=tmp_path, threshold=0.3)
    assert again.table().query("measure == 'accuracy'").iloc[0]["value"] == pytest.approx(right)
    status = json.loads((tmp_path / "0_net" / "status.json").read_text())
    assert status["command"] == ["stress_lab.audit"]


def test_photographs_that_are_broken_or_of_two_sizes_are_named(net, photos, tmp_path):
    (tmp_path / "test" / "cat").mkdir(parents=True)
    (tmp_path / "test" / "dog").mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(tmp_path / "test" / "cat" / "a.png")
    Image.new("RGB", (30, 20)).save(tmp_path / "test" / "dog" / "b.png")
    found = {"test": find_photographs({"root": str(tmp_path)}, None)}
    with pytest.raises(DataError, match=r"test/cat/a.png is \(3, 20, 20\) and .* set transform.resize"):
        AuditSource(found, make_preprocessing("cifar10", ""), 4, 0, "x").first(2)
    (tmp_path / "test" / "dog" / "b.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"b.png cannot be read as an image"):
        AuditSource(found, make_preprocessing("cifar10", ""), 4, 0, "x").first(2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "mobilenet_v3_small",
        "timm/vit_tiny_patch16_224",
        "timm/swin_tiny_patch4_window7_224",
        "timm/convnext_tiny",
    ],
)
def test_logits_of_known_nets_equal_a_plain_loop_with_the_librarys_transform(name, photos, tmp_path):
    torch.manual_seed(0)
    bare = name.removeprefix("timm/")
    if name.startswith("timm/"):
        net = timm.create_model(bare, num_classes=3)
        config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(bare).to_dict())
        transform = timm.data.create_transform(**config)
    else:
        net = torchvision.models.get_model(bare, weights=None, num_classes=3)
        transform = torchvision.models.get_model_weights(bare).DEFAULT.transforms()
    torch.save({"state_dict": net.state_dict()}, tmp_path / "net.pth")
    run = audit_files(NetSpec(name, str(tmp_path / "net.pth")), photos, tmp_path / "run", threshold=0.34, limit=2)
    logits, _ = plain_loop(net, photos / "test", transform)
    np.testing.assert_allclose(run.load_predictions("test").logits, logits, atol=1e-4)
    assert (run.gradcam / "maps.npz").is_file() or not run.load_failures()

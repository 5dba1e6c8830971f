"""What TensorBoard is given, read back from its files."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from google.protobuf import text_format
from hydra import compose, initialize_config_dir
from PIL import Image
from sklearn.metrics import precision_score, recall_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from tensorboard.util.tensor_util import make_ndarray

from stress_lab.callbacks import board
from stress_lab.callbacks.board import COLUMNS, THRESHOLDS, BoardWriter, choose_points, make_thumbnails
from stress_lab.cli.train import train
from stress_lab.failures import mine_failures
from stress_lab.preflight.configs import config_folder
from stress_lab.publishing.tensorboard import METRICS, folder_name, write_sweep_board
from stress_lab.runs.folder import RunDir

SIZES = {"scalars": 0, "images": 0, "tensors": 0}
QUICK = ["trainer=smoke", "model.width=4", "threads=1", "threshold=0.05", "logger=tensorboard"]
QUICK += ["callbacks.gradcam.limit=0", "callbacks.predictions.train_examples=0", "callbacks.board.embedded=30"]


def read(folder):
    """All events of a folder."""
    return EventAccumulator(str(folder), size_guidance=SIZES).Reload()


@pytest.fixture(scope="module")
def run(tmp_path_factory, blank_figures):
    """Four batches of training, with everything that TensorBoard is given."""
    folder = tmp_path_factory.mktemp("board") / "run"
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        cfg = compose("train", QUICK)
    train(cfg, folder)
    return RunDir(folder)


@pytest.fixture(scope="module")
def embedding(run):
    """The one embedding that the projector's config lists, with its files."""
    config = text_format.Parse((run.tensorboard / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (info,) = config.embeddings
    header, *rows = [line.split("\t") for line in (run.tensorboard / info.metadata_path).read_text().splitlines()]
    features = np.loadtxt(run.tensorboard / info.tensor_path, delimiter="\t")
    return SimpleNamespace(info=info, header=header, rows=rows, features=features)


def test_curves_are_those_of_scikit_learn(run):
    events, predictions, classes = read(run.tensorboard), run.load_predictions("test"), run.load_spec().classes
    tags = {tag for tag in events.Tags()["tensors"] if tag.startswith("test/pr/")}
    assert tags == {f"test/pr/{name}" for name in classes}
    for number, name in enumerate(classes):
        tag = f"test/pr/{name}"
        assert events.SummaryMetadata(tag).plugin_data.plugin_name == "pr_curves"
        (event,) = events.Tensors(tag)
        true, false, _, missed, precision, recall = make_ndarray(event.tensor_proto)
        assert precision.shape == (THRESHOLDS,)
        is_class = predictions.label == number
        for k in range(0, THRESHOLDS, 9):
            called = predictions.probs[:, number] >= k / (THRESHOLDS - 1)
            assert (true[k], false[k]) == ((called & is_class).sum(), (called & ~is_class).sum())
            assert true[k] + missed[k] == is_class.sum()
            np.testing.assert_allclose(precision[k], precision_score(is_class, called, zero_division=0), rtol=1e-6)
            np.testing.assert_allclose(recall[k], recall_score(is_class, called), rtol=1e-6)


def test_points_are_the_first_failures_and_as_many_correct_images(run, embedding):
    predictions, classes = run.load_predictions("test"), run.load_spec().classes
    failures = run.load_failures()[:30]
    assert len(failures) == 30
    assert tuple(embedding.header) == COLUMNS
    assert len(embedding.rows) == len(embedding.features) == 60
    for row, failure in zip(embedding.rows, failures, strict=False):
        named = [str(failure.index), failure.label_name, failure.pred_name, f"{failure.confidence:.4f}"]
        assert row == [*named, "confident failure"]
    for index, true, predicted, confidence, kind in embedding.rows[30:]:
        (row,) = np.flatnonzero(predictions.index == int(index))
        assert predictions.correct[row]
        assert kind == "correct"
        assert true == predicted == classes[predictions.label[row]]
        assert float(confidence) == pytest.approx(predictions.confidence[row], abs=1e-4)


def test_features_are_what_the_last_layer_is_fed(run, embedding):
    from stress_lab.training.build import load_classifier, load_datamodule

    source = load_datamodule(run)
    net = load_classifier(run, "last", source.spec).net.eval()
    index = [int(row[0]) for row in embedding.rows]
    with torch.no_grad():
        x = source.normalize(torch.from_numpy(source.split("test").images[index]))
        x = net.layer4(net.layer3(net.layer2(net.layer1(F.relu(net.bn1(net.conv1(x)))))))
        expected = x.mean(dim=(2, 3)).numpy()
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(embedding.features, expected, rtol=1e-4, atol=1e-5)


def test_thumbnails_are_the_images_in_the_order_of_the_points(run, embedding):
    from stress_lab.training.build import load_datamodule

    assert list(embedding.info.sprite.single_image_dim) == [28, 28]
    sprite = np.asarray(Image.open(run.tensorboard / embedding.info.sprite.image_path))
    assert sprite.shape == (8 * 28, 8 * 28, 3)  # 60 images, 8 a row
    images = load_datamodule(run).split("test").images
    for place, row in enumerate(embedding.rows):
        top, left = 28 * (place // 8), 28 * (place % 8)
        tile = sprite[top : top + 28, left : left + 28].astype(int)
        assert abs(tile - images[int(row[0])].transpose(1, 2, 0)).max() <= 1


def test_paths_stay_within_the_folder_and_have_fixed_names(run, embedding):
    """The projector refuses what lies outside the folder of projector_config.pbtxt."""
    info = embedding.info
    assert info.tensor_name == "failures:00000"
    named = [info.tensor_path, info.metadata_path, info.sprite.image_path]
    assert named == [f"00000/failures/{name}" for name in ("tensors.tsv", "metadata.tsv", "sprite.png")]


def test_hyperparameters_and_final_metrics_are_still_there(run):
    events = read(run.tensorboard)
    assert {"_hparams_/experiment", "_hparams_/session_start_info"} <= events.summary_metadata.keys()
    assert events.Scalars("final/test/acc")[-1].value == pytest.approx(run.load_info().metrics["test/acc"])


def test_nothing_happens_without_tensorboard():
    trainer = SimpleNamespace(loggers=[], current_epoch=1)  # without the datamodule that recording asks for
    board = BoardWriter(30)
    board.record = lambda *arguments: pytest.fail("it recorded for nobody")
    board.on_train_end(trainer, None)
    assert board.writers == []


class Silent:
    """A writer that must not be given an embedding."""

    def add_pr_curve(self, *arguments, **options):
        pass


@pytest.mark.parametrize(
    ("embedded", "net", "said"), [(0, None, "no failures"), (5, torch.nn.Identity(), "not end in a linear layer")]
)
def test_an_embedding_that_cannot_be_is_left_out_with_a_line(embedded, net, said, make_predictions, caplog):
    predictions = make_predictions([True, False] * 10)
    classes = tuple("abcdefghij")
    failures = mine_failures(predictions, 0.5, classes)
    run = SimpleNamespace(load_predictions=lambda split: predictions, load_failures=lambda: failures)
    batches = [(torch.zeros(2, 3), None, None)]
    source = SimpleNamespace(spec=SimpleNamespace(classes=classes), eval_loader=lambda split, index: batches)
    writer = BoardWriter(embedded)
    writer.writers = [Silent()]
    with caplog.at_level("INFO"):
        assert writer.record(run, net, source) == {}
    assert said in caplog.text


def test_the_correct_points_have_the_classes_in_proportion(make_predictions):
    predictions = make_predictions([True] * 900 + [False] * 100)
    failures = mine_failures(predictions, 0.5, tuple("abcdefghij"))
    assert len(failures) == 100
    rows = choose_points(predictions, failures)
    assert predictions.index[rows[:100]].tolist() == [failure.index for failure in failures]
    assert len(set(rows)) == 200
    assert predictions.correct[rows[100:]].all()
    share = np.bincount(predictions.label[predictions.correct], minlength=10) / 9
    assert (abs(np.bincount(predictions.label[rows[100:]], minlength=10) - share) < 1).all()
    assert rows.tolist() == choose_points(predictions, failures).tolist()


def test_thumbnails_are_square_small_and_coloured(monkeypatch):
    grey = torch.randint(0, 256, (2, 1, 10, 6), dtype=torch.uint8).numpy()
    square = make_thumbnails(grey)
    assert square.shape == (2, 3, 10, 10)
    np.testing.assert_allclose(square[:, 2, :, 2:8].numpy(), grey[:, 0] / 255, atol=1e-6)
    assert (square[..., :2] == 1).all()
    assert (square[..., 8:] == 1).all()
    large = torch.randint(0, 256, (3, 3, 128, 128), dtype=torch.uint8).numpy()
    expected = large.reshape(3, 3, 64, 2, 64, 2).mean(axis=(3, 5)) / 255
    np.testing.assert_allclose(make_thumbnails(large).numpy(), expected, atol=1e-5)
    monkeypatch.setattr(board, "SPRITE", 100)  # 5 images make 3 rows of 3
    assert make_thumbnails(np.zeros((5, 1, 50, 50), np.uint8)).shape == (5, 3, 33, 33)


def history(*accuracies, val=True):
    """Rows as HistoryWriter writes them."""
    splits = ("train", "val") if val else ("train",)
    return [
        {"epoch": epoch, "lr": 0.1, **{f"{s}/acc": a for s in splits}, **{f"{s}/loss": 1 - a for s in splits}}
        for epoch, a in enumerate(accuracies, start=1)
    ]


def test_a_variant_is_mean_lowest_and_highest_of_its_seeds(tmp_path):
    seeds = np.array([[0.1, 0.5, 0.7], [0.2, 0.3, 0.9], [0.6, 0.4, 0.8]])
    runs = [("baseline", history(*seed)) for seed in seeds]
    write_sweep_board([*runs, ("cutout", history(0.3, 0.6)), ("cutout", history(0.5, 0.7))], tmp_path)
    events = read(tmp_path / "tensorboard" / "baseline")
    for tag, expected in (("", seeds.mean(0)), ("/low", seeds.min(0)), ("/high", seeds.max(0))):
        points = events.Scalars(f"variants/val/acc{tag}")
        assert [point.step for point in points] == [1, 2, 3]
        np.testing.assert_allclose([point.value for point in points], expected, rtol=1e-6)
    losses = [point.value for point in events.Scalars("variants/train/loss/low")]
    np.testing.assert_allclose(losses, 1 - seeds.max(0), rtol=1e-6)
    assert len(events.Tags()["scalars"]) == 12
    assert [point.value for point in read(tmp_path / "tensorboard" / "cutout").Scalars("variants/val/acc")] == (
        pytest.approx([0.4, 0.65])
    )


def test_epochs_that_a_seed_lacks_are_left_out(tmp_path):
    write_sweep_board([("a", history(0.1, 0.2, 0.9)), ("a", history(0.3, 0.4))], tmp_path)
    points = read(tmp_path / "tensorboard" / "a").Scalars("variants/val/acc")
    assert [(point.step, round(point.value, 6)) for point in points] == [(1, 0.2), (2, 0.3)]


def read_layout(folder):
    """The charts of each category of the only layout, and the scalars beside it."""
    found = {}
    for place in sorted((folder / "tensorboard").iterdir()):
        events = read(place)
        if "custom_scalars__config__" in events.Tags()["tensors"]:
            (event,) = events.Tensors("custom_scalars__config__")
            found[place.name] = Layout.FromString(make_ndarray(event.tensor_proto).item())
    ((place, layout),) = found.items()
    tags = read(folder / "tensorboard" / place).Tags()["scalars"]
    return {category.title: list(category.chart) for category in layout.category}, tags


def test_bands_are_laid_out_where_a_variant_has_several_seeds(tmp_path):
    write_sweep_board([(name, history(0.1, 0.2)) for name in ("a", "a", "b", "b")], tmp_path)
    categories, tags = read_layout(tmp_path)
    assert list(categories) == ["variants: mean and range over seeds"]
    charts = categories["variants: mean and range over seeds"]
    assert sorted(chart.title for chart in charts) == sorted(METRICS)
    for chart in charts:
        (series,) = chart.margin.series
        assert [series.value, series.lower, series.upper] == [
            f"variants/{chart.title}{end}" for end in ("", "/low", "/high")
        ]
        assert {series.value, series.lower, series.upper} <= set(tags)


def test_single_seeds_get_lines_and_no_band(tmp_path):
    write_sweep_board([("a", history(0.1, val=False)), ("b", history(0.2, val=False))], tmp_path)
    categories, tags = read_layout(tmp_path)
    assert sorted(tags) == ["variants/train/acc", "variants/train/loss"]
    assert {chart.title: list(chart.multiline.tag) for chart in categories["variants: mean over seeds"]} == {
        "train/acc": ["variants/train/acc$"],
        "train/loss": ["variants/train/loss$"],
    }
    write_sweep_board([("a", history(0.1)), ("a", history(0.2)), ("b", history(0.3))], tmp_path)
    assert len(read_layout(tmp_path)[0]) == 2


def test_writing_again_replaces_what_was_written_and_nothing_else(tmp_path):
    foreign = tmp_path / "tensorboard" / "a" / "events.out.tfevents.1.elsewhere"
    write_sweep_board([("a", history(0.1)), ("gone", history(0.2))], tmp_path)
    foreign.write_bytes(b"")
    write_sweep_board([("a", history(0.3))], tmp_path)
    assert [path.name for path in (tmp_path / "tensorboard").iterdir()] == ["a"]
    (ours,) = set((tmp_path / "tensorboard" / "a").iterdir()) - {foreign}
    assert foreign.exists()
    foreign.unlink()
    assert [point.value for point in read(ours.parent).Scalars("variants/val/acc")] == pytest.approx([0.3])


def test_odd_names_of_variants_become_distinct_folders(tmp_path):
    names = ["baseline (optim.lr=0.1)", "a/b", "a_b", "a\\b", "..", ".", "x" * 300, "x" * 301, "é", "ü", "a\nb", "CON "]
    write_sweep_board([(name, history(place / 100)) for place, name in enumerate(names)], tmp_path)
    folders = [tmp_path / "tensorboard" / folder_name(name) for name in names]
    assert sorted(folders) == sorted((tmp_path / "tensorboard").iterdir())
    assert len(set(folders)) == len(names)
    for place, folder in enumerate(folders):
        assert read(folder).Scalars("variants/val/acc")[0].value == pytest.approx(place / 100)

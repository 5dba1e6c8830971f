"""Loggers of other programs get hyperparameters, final metrics and the page; a broken one costs nothing."""

import logging

import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from omegaconf import OmegaConf

import stress_lab as sl
from stress_lab.errors import ConfigError
from stress_lab.preflight.classes import check_tracker
from stress_lab.publishing.trackers import list_metrics, log_comparison
from stress_lab.training.loggers import is_tracker, log_page, log_results

CONFIG = {"variant": "cutout", "seed": 3, "optim": {"lr": 0.1}, "threads": 2}
MADE = []


class MLFlowLogger(Logger):
    """With the interface of Lightning's, whose client takes the run's id first."""

    name, version, run_id = "fake", "0", "run-7"

    def __init__(self, save_dir=None, run_name="", broken=False):
        self.told, self.run_name, self.broken = [], run_name, broken
        MADE.append(self)

    @property
    def experiment(self):
        return self

    def log_hyperparams(self, params):
        self.told.append(("hyperparameters", params))

    def log_metrics(self, metrics, step=None):
        if self.broken:
            raise ConnectionError("the server is away")
        self.told.append(("metrics", metrics))

    def log_artifact(self, run_id, path):
        self.told.append(("artifact", run_id, path))


class WandbLogger(MLFlowLogger):
    """Its run takes a path, a name and a type."""

    @property
    def experiment(self):
        return Run(self.told)

    run_id = property()  # an attribute it does not have


class Run:
    def __init__(self, told):
        self.told = told

    def log_artifact(self, path, name, type):
        self.told.append(("artifact", path, name, type))


def test_a_run_leaves_its_config_its_metrics_and_its_page(tmp_path):
    fake, other = MLFlowLogger(), WandbLogger()
    log_results([fake, other, CSVLogger(tmp_path)], CONFIG, {"test/acc": 0.9})
    page = tmp_path / "report.html"
    log_page(page)
    expected = {"variant": "cutout", "seed": 3, "optim.lr": 0.1}
    assert fake.told == [
        ("hyperparameters", expected),
        ("metrics", {"final/test/acc": 0.9}),
        ("artifact", "run-7", str(page)),
    ]
    assert other.told[:2] == fake.told[:2]
    assert other.told[2] == ("artifact", str(page), "report", "report")
    assert not (tmp_path / "lightning_logs").exists()


def test_a_broken_logger_is_reported_and_the_others_go_on(caplog):
    broken, whole = MLFlowLogger(broken=True), MLFlowLogger()
    with caplog.at_level(logging.WARNING):
        log_results([broken, whole], CONFIG, {"test/acc": 0.9})
    assert "ConnectionError: the server is away" in caplog.text
    assert len(whole.told) == 2


def test_a_sweep_adds_its_comparison_to_the_tracker_alone(tmp_path):
    labels = np.arange(120) % 3
    logits = np.random.default_rng(0).normal(size=(2, 120, 3)) + np.eye(3)[labels]
    found = sl.compare(dict(zip(("baseline", "cut|out"), logits, strict=True)), labels, resamples=100)._found
    (tmp_path / "report.html").write_text("page")
    here = f"{__name__}.MLFlowLogger"
    nodes = {
        "board": {"_target_": "lightning.pytorch.loggers.TensorBoardLogger"},
        "mine": {"_target_": here, "run_name": "x"},
    }
    MADE.clear()
    log_comparison(found, OmegaConf.create({"logger": nodes}), tmp_path)
    [made] = MADE
    assert made.run_name == "comparison"
    assert made.told == [("metrics", list_metrics(found)), ("artifact", "run-7", str(tmp_path / "report.html"))]
    means = dict(made.told[0][1])
    assert means["cut_out/accuracy"] == (logits[1].argmax(1) == labels).mean()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    log_comparison(found, OmegaConf.create({"logger": None}), tmp_path)


def test_only_loggers_that_keep_files_are_trackers():
    assert is_tracker(MLFlowLogger)
    assert not is_tracker(TensorBoardLogger)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the package wandb: pip install 'stress_lab\[wandb\]'"):
        check_tracker("logger.wandb", "lightning.pytorch.loggers.WandbLogger")
    check_tracker("logger.mine", "mine.WandbLogger")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of packages that MLflow brings
def test_mlflow_itself_takes_them(tmp_path, monkeypatch):
    missing = "MLflow is not installed: pip install 'stress_lab[mlflow]'"
    for name in ("mlflow", "sqlalchemy"):
        pytest.importorskip(name, exc_type=ImportError, reason=missing)
    from lightning.pytorch.loggers import MLFlowLogger as Theirs
    from mlflow.tracking import MlflowClient

    monkeypatch.chdir(tmp_path)
    where = f"sqlite:///{tmp_path / 'mlflow.db'}"
    logger = Theirs("demo", "cutout, seed 3", where, artifact_location=(tmp_path / "kept").as_uri())
    log_results([logger], CONFIG, {"test/acc": 0.9})
    (tmp_path / "report.html").write_text("page")
    log_page(tmp_path / "report.html")
    run = MlflowClient(where).get_run(logger.run_id)
    assert run.data.params["optim.lr"] == "0.1"
    assert run.data.metrics["final/test/acc"] == 0.9
    assert [one.path for one in MlflowClient(where).list_artifacts(logger.run_id)] == ["report.html"]

"""What the documents claim."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def documented_files(heading):
    """Glob patterns in a table of multirun/README.md."""
    section = (ROOT / "multirun" / "README.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", section, flags=re.MULTILINE)


def test_the_tables_are_found():
    assert len(documented_files("A run")) > 20
    assert len(documented_files("A sweep")) >= 6


RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*/comparison.json"))


def read_script(name):
    """A script of benchmarks/ as a module."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))  # scripts import each other
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_rows_of_results_come_from_kept_results(path):
    readme = (ROOT / "docs" / "results.md").read_text()
    for row in read_script("keep_result").readme_rows(path.parent):
        assert row in readme


def test_keeping_a_result_takes_no_path_along_and_loses_nothing(tmp_path, monkeypatch):
    from stress_lab.errors import RunError

    script = read_script("keep_result")
    monkeypatch.setattr(script, "RESULTS", tmp_path)
    (tmp_path / "demo").mkdir()
    with pytest.raises(RunError):
        script.keep(tmp_path / "mistyped", "demo")
    assert (tmp_path / "demo").is_dir()
    (tmp_path / "config.yaml").write_text("root: /x\nsource: /x/cifar\nname: max")
    script._copy(tmp_path / "config.yaml", tmp_path / "kept.yaml", {"/x", "/x/cifar", "None", "relative"})
    assert (tmp_path / "kept.yaml").read_text() == "root: DIR\nsource: DIR\nname: max"


def test_rows_of_changed_code_are_marked(monkeypatch):
    import subprocess

    script = read_script("keep_result")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    if not head:
        pytest.skip("this is no checkout")
    monkeypatch.setattr(script, "TRAINING", ("LICENSE",))  # a source that no commit here has changed
    first = subprocess.run(["git", "log", "--format=%H", "--", "LICENSE"], cwd=ROOT, capture_output=True, text=True)
    since = first.stdout.split()[0]
    for commit, own, expected in (
        (since, False, False),
        (since, True, True),
        (None, None, True),
        ("0" * 40, False, True),
    ):
        assert script.is_of_changed_code({"commit": commit, "changed": own}) == expected
    monkeypatch.setattr(script, "TRAINING", ("CHANGELOG.md",))
    assert script.is_of_changed_code({"commit": f"{since}~0", "changed": False})
    monkeypatch.setattr(script, "made_at", lambda result: {"commit": since, "changed": False})
    monkeypatch.setattr(script, "is_of_changed_code", lambda code: code["commit"] != since)
    assert script.change_notes([path.parent for path in RESULTS]) == []
    assert all(script.MARK not in row for path in RESULTS for row in script.readme_rows(path.parent))
    monkeypatch.setattr(script, "is_of_changed_code", lambda code: True)
    assert f"demo at {since[:8]}" in script.change_notes([path.parent for path in RESULTS])[1]
    assert all(script.MARK in row for path in RESULTS for row in script.readme_rows(path.parent))


def test_a_result_is_replaced_once_the_new_one_is_whole(tmp_path, monkeypatch):
    script = read_script("keep_result")
    monkeypatch.setattr(script, "RESULTS", tmp_path / "results")
    kept = tmp_path / "results" / "demo"
    kept.mkdir(parents=True)
    for name in ("comparison.json", "page.png"):
        (kept / name).write_text("old")
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / "comparison.json").write_text('{"data": {"source": "here", "name": "cifar10"}, "runs": []}')
    monkeypatch.setattr(script, "find_runs", lambda folder: ([], {}))
    with pytest.raises(FileNotFoundError):  # there is no runs.csv
        script.keep(sweep, "demo")
    assert (kept / "comparison.json").read_text() == "old"
    for name in ("runs.csv", "comparison_summary.png"):
        (sweep / name).write_text("new")
    script.keep(sweep, "demo")
    assert sorted(path.name for path in kept.iterdir()) == [
        "comparison.json",
        "comparison_summary.png",
        "page.png",
        "runs.csv",
    ]
    assert "here" in (kept / "comparison.json").read_text()


def test_the_first_page_shows_the_kept_demo():
    """The block is what the terminal printed for the kept result."""
    from stress_lab.comparison.codec import from_record
    from stress_lab.files import load_json
    from stress_lab.report.table import describe_verdicts

    page = (ROOT / "docs" / "start.md").read_text()
    comparison = from_record(load_json(ROOT / "benchmarks" / "results" / "demo" / "comparison.json"))
    lines = [line for line in describe_verdicts(comparison) if line]
    assert len(lines) >= 8
    for line in lines:
        assert " ".join(line.split()) in " ".join(page.split())
    for run in comparison.runs:
        assert f"{100 * run.accuracy:.2f} %" in page
    assert (ROOT / "benchmarks" / "results" / "demo" / "case.png").is_file()


def test_rows_of_simulations_and_timings_come_from_their_records():
    readme = (ROOT / "benchmarks" / "README.md").read_text()
    script = read_script("simulation_rows")
    rows = [
        *script.rate_rows(),
        *script.family_rows(),
        *script.pattern_rows(),
        *script.cluster_rows(),
        *script.cost_rows(),
    ]
    rows.append(script.many_row())
    assert len(rows) > 45
    for row in rows:
        assert row in readme


def test_rows_of_kills_repeats_memory_and_fuzzing_come_from_their_records():
    readme = (ROOT / "benchmarks" / "README.md").read_text()
    script = read_script("survival_rows")
    rows = [*script.kill_rows(), *script.repeat_rows(), *script.memory_rows(), *script.fuzz_rows()]
    rows += [*script.launcher_rows(), *script.cache_rows(), script.evaluation_sentence()]
    assert script.together_sentence() in " ".join(readme.split())
    assert len(rows) >= 37
    for row in rows:
        assert row in readme
    for sentence in script.summaries():
        assert sentence in " ".join(readme.split())
        assert sentence in " ".join((ROOT / "docs" / "resume_and_gates.md").read_text().split())


def test_rows_of_speed_and_ablations_come_from_their_records():
    from stress_lab.files import load_json

    readme = (ROOT / "benchmarks" / "README.md").read_text()
    script = read_script("speed_rows")
    records = sorted(path for path in script.RESULTS.glob("*.json") if not path.stem.startswith("profile"))
    rows = [row for path in records for row in script.make_rows(load_json(path))]
    assert len(rows) >= 10
    assert script.run_rows()
    tricks = [row for path in script.ABLATIONS.glob("*.json") for row in script.ablation_rows(path.stem)]
    assert len(tricks) >= 5
    targets = read_script("targets").target_rows()
    for row in [*rows, *script.run_rows(), *tricks, *targets]:
        assert row in readme
    for sentence in script.summaries():
        assert " ".join(sentence.split()) in " ".join(readme.split())
    results = " ".join((ROOT / "docs" / "results.md").read_text().split())
    assert script.summaries()[0] in results
    for sentence in read_script("gpu_rows").gpu_paragraphs():
        assert sentence in results


def test_every_killed_sweep_ended_in_the_same_bits():
    from stress_lab.files import load_json

    kills = load_json(ROOT / "benchmarks" / "results" / "kills" / "kills.json")
    assert len(kills["kills"]) >= 20
    assert kills["identical"] == len(kills["kills"]) == sum(row["identical"] for row in kills["kills"])


def test_every_launcher_gave_the_same_predictions():
    from stress_lab.files import load_json

    rows = load_json(ROOT / "benchmarks" / "results" / "launchers" / "launchers.json")["rows"]
    assert {row["launcher"] for row in rows} >= {"one after the other", "joblib", "slurm_local", "ray"}
    for processes in (1, 2):
        for variant in ("baseline", "cutout"):
            found = [row["runs"][variant] for row in rows if row["processes"] == processes and variant in row["runs"]]
            assert len(found) >= 4
            assert {run["processes"] for run in found} == {processes}
            assert len({run["predictions"] for run in found}) == 1


def test_false_alarms_keep_their_promise():
    """The simulations at full size: no test rejects too often, nor do patterns appear where there are none."""
    from stress_lab.files import load_json

    folder = ROOT / "benchmarks" / "results" / "simulation"
    statistics = load_json(folder / "statistics.json")
    assert statistics["repeats"] >= 1000
    assert {name: one["verdict"] for name, one in statistics["tests"].items() if one["verdict"] == "high"} == {}
    for one in load_json(folder / "patterns.json")["without_pattern"]:
        assert one["repeats"] >= 1000
        assert one["high"] < 0.05


def load_five_seeds():
    from stress_lab.files import load_json

    return load_json(ROOT / "benchmarks" / "results" / "demo_5_seeds" / "comparison.json")


@pytest.mark.parametrize("document", ["README.md", "docs/reading_a_report.md"])
def test_the_pattern_that_documents_quote_was_confirmed(document):
    found = load_five_seeds()["patterns"]["found"]
    (quoted,) = (pattern for pattern in found if pattern["words"] == "true class Shirt")
    assert quoted["confirmed"]
    words = f"true class Shirt fails {quoted['ratio']:.1f} times as often"
    assert words in " ".join((ROOT / document).read_text().split())


@pytest.mark.parametrize("document", ["README.md", "docs/statistics.md"])
def test_the_control_that_documents_quote_is_in_the_record(document):
    (control,) = (one["control"] for one in load_five_seeds()["questions"] if one["question"] == "accuracy")
    text = " ".join((ROOT / document).read_text().split())
    assert f"{100 * control['mean']:.2f} points of accuracy on average and by {100 * control['largest']:.2f} at" in text
    counts = {20: "twenty", 6: "six"} if document == "README.md" else {20: "20", 6: "6"}
    said = re.search(r"[Oo]f twenty pairs.*alone calls (\w+)|alone calls (\w+) of the (\w+) pairs", text)
    assert counts[control["significant"]] in said.groups()
    assert counts[control["pairs"]] in said[0]


def test_the_readme_is_short_and_shows_the_page():
    readme = (ROOT / "README.md").read_text()
    assert len(readme.split()) <= 1600
    (picture,) = re.findall(r"!\[[^]]+\]\(([^)]+)\)", readme)
    assert (ROOT / picture).stat().st_size < 250_000


def test_rates_in_the_readme_are_those_of_kept_results():
    section = (ROOT / "README.md").read_text().split("## What came out\n")[1].split("\n## ")[0]
    rows = " ".join(row for path in RESULTS for row in read_script("keep_result").readme_rows(path.parent))
    rates = re.findall(r"\d+\.\d+ %", section)
    assert len(rates) == 6
    assert all(rate in rows for rate in rates)


def test_the_tests_that_the_readme_names_are_those_of_ci():
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    for target in ("lint", "docs", "test", "test-processes"):
        assert re.search(rf"^make {target}\b", readme, re.MULTILINE)
        assert f"make {target}\n" in ci


def test_constraints_name_no_address():
    assert "://" not in (ROOT / "constraints.txt").read_text()


def test_real_cifar_had_the_published_constants():
    """What the run on the real images computed from their pixels."""
    from stress_lab.files import load_json

    (data,) = (load_json(path) for path in (ROOT / "benchmarks" / "results").glob("cifar10_fast/0_*/data.json"))
    assert [round(value, 4) for value in data["mean"]] == [0.4914, 0.4822, 0.4465]
    assert [round(value, 4) for value in data["std"]] == [0.2470, 0.2435, 0.2616]
    assert data["sizes"] == {"train": 49_000, "val": 1_000, "test": 10_000}


def test_kept_results_name_no_folder_of_a_machine():
    for path in (ROOT / "benchmarks" / "results").rglob("*.*"):
        if path.suffix in (".json", ".yaml", ".csv"):
            assert not re.search(r'["\s](/[a-z]+)+', path.read_text()), path


def test_the_net_that_the_documents_show_works():
    import torch

    page = (ROOT / "docs" / "your_data_and_nets.md").read_text()
    (shown,) = re.findall(r"```python\n(from torch.*?)```", page, flags=re.DOTALL)
    defined = {}
    exec(shown, defined)
    net = defined["MyNet"](in_channels=3, num_classes=4)
    images = torch.zeros(2, 3, 48, 32)
    assert net(images).shape == (2, 4)
    assert net.features(images).ndim == 4  # as its Grad-CAM wants it
    assert "callbacks.gradcam.layer=features" in page


def test_the_rows_of_label_faults_are_those_of_its_record():
    from stress_lab.files import load_json

    rows = read_script("label_faults").format_rows(
        load_json(ROOT / "benchmarks" / "results" / "labels" / "faults.json")
    )
    assert len(rows) == 18
    assert all(row in (ROOT / "benchmarks" / "README.md").read_text() for row in rows)

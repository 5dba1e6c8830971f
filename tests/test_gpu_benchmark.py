"""What travels to a GPU machine, which steps run there, and what the documents say of them; none is run here."""

import ast
import shutil
import subprocess
import sys
import time

import pytest

from tests.test_documents import ROOT, read_script

MIB = 2**20


@pytest.fixture(scope="module")
def gpu():
    return read_script("gpu")


@pytest.mark.parametrize(
    ("tree", "wheels", "data"), [(8 * MIB, 3 * MIB, 99 * MIB), (0, 0, 7), (MIB, 5 * MIB, 2 * MIB), (0, 0, 124 * MIB)]
)
def test_both_calls_fit_and_carry_all_of_it(gpu, tree, wheels, data):
    cut = gpu.split_at(tree, wheels, data)
    calls = tree + wheels + cut, tree + data - cut
    assert 0 <= cut <= data
    assert max(calls) <= 64 * MIB - 2 * MIB
    assert abs(calls[0] - calls[1]) <= 1 or cut == 0


def test_what_does_not_fit_is_refused(gpu):
    with pytest.raises(SystemExit, match="make the checkout smaller"):
        gpu.split_at(20 * MIB, 3 * MIB, 99 * MIB)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a copy without its history")
def test_cifar_10_and_this_checkout_fit_into_two_calls(gpu):
    """104 MB of pictures, 3 MB of wheels and scripts, and a megabyte for what grows."""
    tree = gpu.measure_tree()
    assert tree > 4 * MIB
    assert gpu.split_at(tree + MIB, 2_768_115, 104_120_320) == 50_676_102


def test_every_step_is_known_and_fits_a_call(gpu, monkeypatch):
    monkeypatch.setitem(sys.modules, "gpu", gpu)
    steps = read_script("gpu_steps")
    names = [step.name for step in gpu.STEPS]
    assert len(set(names)) == len(names)
    assert set(names) == set(steps.MEASURES) | set(steps.PARTS)
    assert {step.call for step in gpu.STEPS} == set(gpu.SECONDS)
    assert sum(gpu.SECONDS.values()) <= 12.5 * 60  # of fifteen minutes, the machine's start and transfers included
    speed = ast.parse((ROOT / "benchmarks" / "speed.py").read_text())
    (parts,) = (
        node.value for node in speed.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PARTS"
    )
    assert {part for named in steps.PARTS.values() for part in named} <= {key.value for key in parts.keys}


@pytest.mark.parametrize(
    ("step", "left", "wanted"),
    [
        (0.005, 395, (50, 1)),  # 2 × 50 × 2.03 s, 50 s for records of each, 60 s to start and compare: 313 s
        (0.005, 314, (50, 1)),
        (0.005, 312, (50, 2)),
        (0.02, 300, (19, 2)),  # (300 − 85) / 0.75 s for both: 2 × 19 × 7.52 s
        (10, 60, (1, 2)),
    ],
)
def test_the_plan_prefers_all_epochs_one_run_after_the_other(gpu, monkeypatch, step, left, wanted):
    monkeypatch.setitem(sys.modules, "gpu", gpu)
    assert read_script("gpu_steps").plan(step, 0.2, left) == wanted


def test_short_and_whole_commands_compose(gpu, monkeypatch, compose_config):
    from stress_lab.preflight.rules import check_config

    monkeypatch.setitem(sys.modules, "gpu", gpu)
    steps = read_script("gpu_steps")
    short = compose_config("experiment=cifar10_cutout", *steps.SHORT)
    check_config(short)
    assert short.model.width == 4
    whole = compose_config("experiment=cifar10_cutout", "launcher=joblib", "jobs=2", "trainer.max_epochs=19")
    check_config(whole)
    for overrides in steps.OPTIONS.values():
        check_config(compose_config("trainer.deterministic=false", *overrides))


def test_a_step_that_hangs_costs_only_itself(gpu, tmp_path, monkeypatch):
    """Its children end too, and what it found before stays."""
    script = tmp_path / "step.py"
    script.write_text(
        "import subprocess, sys, time, pathlib\n"
        f"pathlib.Path({str(tmp_path)!r}, 'found').mkdir(exist_ok=True)\n"
        f"pathlib.Path({str(tmp_path)!r}, 'found', 'demo.json').write_text('{{\"half\": 1}}')\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setattr(gpu, "WORK", tmp_path)
    monkeypatch.setattr(gpu, "OUT", tmp_path)
    monkeypatch.setattr(gpu, "__file__", str(script))
    began = time.monotonic()
    line = gpu.run_one("demo", 2)
    assert time.monotonic() - began < 60
    assert (line["outcome"], line["found"]) == ("out of time", {"half": 1})


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_the_shell_script_parses_and_names_what_the_constraints_pin():
    path = ROOT / "benchmarks" / "gpu.sh"
    subprocess.run(["bash", "-n", str(path)], check=True)
    missing = path.read_text().split('MISSING="')[1].split('"')[0].split()
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert len(missing) > 8
    assert set(missing) <= pinned


def test_sentences_about_a_gpu_come_from_its_records():
    script = read_script("gpu_rows")
    on = {"device": "Chip", "machine": {"cores": 16}, "versions": {"torch": "2.11", "lightning": "2.6", "numpy": "2"}}
    on |= {"cuda": "13.0", "code": {"commit": "abcdef0123"}, "date": "2026-11-28T01:02:03", "precision": "bf16-mixed"}
    on |= {"product_flops_per_s": 8e14, "copied_bytes_per_s": 3e12}
    run = {"run": "0_baseline", "state": "finished", "seconds": 151.4, "epoch": {"images_per_s": 21_000.0}}
    run["metrics"] = {"test/acc": 0.9512, "failures/count": 301.0}
    cifar = {"planned_epochs": 50, "jobs": 2, "seconds": 240.2, "runs": [run]}
    option = {"images_per_s": 21_000.0, "waiting_share": 0.01, "peak_share": 0.25}
    found = {"environment": on, "cifar10": cifar, "profile": {"batch 128": {"step": 0.005, "kernels": 0.004}}}
    found["options"] = {"as it is": option}
    steps = {name: {"found": one} for name, one in found.items()}
    speed = {"users": {"on": {}, "width 64": {"ours": [1, 2], "scripts_way": [10, 22], "plain_lightning": [9, 16]}}}
    text = "\n".join(script.gpu_lines(steps, speed))
    for part in (
        "one Chip with 16 cores (torch 2.11, lightning 2.6, numpy 2, CUDA 13.0, commit abcdef0, 2026-11-28)",
        "800 TFLOP/s (bf16-mixed), a copy at 3.0 TB/s",
        "50 epochs of both variants side by side",
        "0_baseline 95.12 %, 301 wrong at > 70 %, 151 s, 21,000 images a second",
        "5.0 ms, kernels run for 80 %",
        "10.50 (10.00 to 11.00) times as fast as the loop of the scripts",
        "8.50 (8.00 to 9.00) times as fast as a plain",
        "| as it is | 21,000 | 1.0 % | 25 % |",
    ):
        assert part in text
    unfinished = {**steps, "cifar10": {"found": {**cifar, "runs": [{**run, "state": "started"}]}}}
    assert "50 epochs" not in "\n".join(script.gpu_lines(unfinished, speed))
    assert script.gpu_lines({"environment": {"found": on}}, {})  # the least that a call leaves

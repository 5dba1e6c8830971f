"""The batch scripts, with commands of SLURM that only write down how they were called."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
LAB = """#!/bin/bash
trap 'echo saved >> called; exit 130' TERM
echo "$@" >> called
for i in $(seq 100); do sleep 0.1; [ -e finish ] && exit 0; done
exit 9
"""


def make_command(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def submit(tmp_path):
    """Start a batch script in an empty checkout."""
    make_command(tmp_path / ".venv" / "bin" / "stress-lab", LAB)
    make_command(tmp_path / "bin" / "scontrol", '#!/bin/bash\necho scontrol "$@" >> called\n')
    make_command(tmp_path / "bin" / "srun", '#!/bin/bash\necho srun "$1" >> called\nshift\nexec "$@"\n')
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(tmp_path)}
    environment |= {"SLURM_JOB_ID": "77", "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS_PER_NODE": "4"}

    def start(name, *arguments):
        process = subprocess.Popen(
            ["bash", SCRIPTS / name, *arguments], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL
        )
        end = time.monotonic() + 20
        called = tmp_path / "called"
        while not (called.is_file() and "\n-m " in f"\n{called.read_text()}") and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.3)  # for the script's own trap to be set
        return process

    return start


EXPECTED = {
    "sweep.slurm": "-m experiment=demo seed=1,2",
    "sweep_nodes.slurm": "-m experiment=demo trainer=ddp trainer.accelerator=gpu trainer.devices=4 trainer.num_nodes=2 "
    "seed=1,2",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_end_of_the_time_saves_and_queues_again(submit, tmp_path, name):
    process = submit(name, "demo", "seed=1,2")
    process.send_signal(signal.SIGTERM)  # what --signal=B:TERM@120 and a pre-emption send to the script
    process.wait(20)
    lines = (tmp_path / "called").read_text().splitlines()
    assert lines[-3:] == [EXPECTED[name], "saved", "scontrol requeue 77"]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sweep_that_ends_is_not_queued_again(submit, tmp_path, name):
    process = submit(name, "demo", "seed=1,2")
    (tmp_path / "finish").touch()
    assert process.wait(20) == 0
    assert "scontrol" not in (tmp_path / "called").read_text()

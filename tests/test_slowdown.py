"""A run that others starve says so once; what is slower for another reason does not."""

import hashlib
import os
import threading
import time

import pytest
import torch
from torch import nn

from stress_lab.callbacks import slowdown, throughput
from stress_lab.callbacks.slowdown import Slowdown, count_waiting
from tests.test_speed import FakeTrainer


class Machine:
    """A clock, and threads that wait for cores in a share of its seconds."""

    def __init__(self):
        self.now, self.waited, self.share, self.counts = 0.0, 5.0, 0.0, True

    def clock(self):
        return self.now

    def waiting(self):
        return self.waited if self.counts else None

    def run(self, watcher, steps, seconds, kind="28x28", share=0.0):
        """Take steps; returns the number of each that warned, and what it said."""
        said = []
        for number in range(steps):
            self.now += seconds
            self.waited += share * seconds
            if (factor := watcher.add(kind, seconds)) is not None:
                said.append((number + 1, factor))
        return said


@pytest.fixture
def machine():
    return Machine()


def watch(machine, threads=2):
    return Slowdown(threads, machine.waiting, machine.clock)


@pytest.mark.parametrize(
    ("before", "after", "share", "expected"),
    [
        (0.7, 2.5, 0.6, [(20, pytest.approx(2.5 / 0.7))]),
        (0.7, 5.5, 0.3, [(20, pytest.approx(5.5 / 0.7))]),
        (0.04, 0.12, 0.5, [(80, pytest.approx(3.0))]),  # most of 10 s, not 20 steps
        (0.7, 1.5, 0.5, []),  # a fair share with one other
        (0.7, 2.5, 0.02, []),  # nobody took the cores: the run itself has more to do
    ],
)
def test_steps_that_others_slow_down_are_noticed_once(before, after, share, expected, machine):
    watcher = watch(machine)
    assert machine.run(watcher, 100, before) == []
    assert machine.run(watcher, 300, after, share=share) == expected


def test_a_short_stall_is_none(machine):
    watcher = watch(machine)
    for _ in range(10):
        assert machine.run(watcher, 30, 0.7) == []
        assert machine.run(watcher, 8, 9.0, share=0.9) == []


def test_one_thread_waits_for_no_other(machine):
    assert machine.run(watch(machine, threads=1), 100, 0.7) == []
    assert machine.run(watch(machine, threads=1), 100, 7.0, share=0.5) == []


def test_larger_images_have_a_time_of_their_own(machine):
    """Progressive resizing, also on a machine where something else runs all the time."""
    watcher = watch(machine)
    assert machine.run(watcher, 200, 0.3, "14x14", share=0.3) == []
    assert machine.run(watcher, 200, 1.2, "28x28", share=0.3) == []
    assert machine.run(watcher, 40, 6.0, "28x28", share=0.6) == [(20, pytest.approx(5.0))]


def test_a_run_that_is_slow_from_the_start_has_nothing_to_compare_with(machine):
    assert machine.run(watch(machine), 300, 5.0, share=0.6) == []


@pytest.mark.parametrize(("load", "warns"), [(2.1, False), (3.4, True)])
def test_where_the_kernel_does_not_count_the_load_decides(load, warns, machine, monkeypatch):
    monkeypatch.setattr(slowdown.os, "getloadavg", lambda: (load, 1.0, 1.0))
    machine.counts = False
    watcher = watch(machine)
    assert machine.run(watcher, 100, 0.7) == []
    assert bool(machine.run(watcher, 100, 4.0)) == warns


def test_waiting_is_counted_over_threads(tmp_path):
    for name, text in {"1": "7 1500000000 3", "2": "9 250000000 1", "3": ""}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "schedstat").write_text(text)
    assert count_waiting(tmp_path) == 1.75
    assert count_waiting(tmp_path / "nothing") is None


def test_two_threads_on_one_core_wait_for_it():
    """Of this very process; hashing lets Python's lock go."""
    before, content = count_waiting(), bytes(2**20)
    if before is None or not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system does not count")
    core = {min(os.sched_getaffinity(0))}

    def work():
        os.sched_setaffinity(0, core)  # of this thread alone
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
            hashlib.sha256(content)
        waits.append(count_waiting())

    waits = []
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(waits) > before + 0.03  # about 0.1 of each, while the other has it


def test_the_callback_says_why_and_what_to_do(tmp_path, monkeypatch, caplog):
    """Steps of 0.5 s, then of 2 s while threads wait; validation and waiting for data in between are no steps."""
    machine = Machine()
    monkeypatch.setattr(throughput.time, "perf_counter", machine.clock)
    monkeypatch.setattr(throughput, "measure_matmul", lambda device, dtype: 1.0)
    monkeypatch.setattr(throughput, "Slowdown", lambda threads: Slowdown(threads, machine.waiting, machine.clock))
    monkeypatch.setattr(throughput.torch, "get_num_threads", lambda: 2)
    trainer, net, writer = FakeTrainer(), nn.Linear(12, 5), throughput.ThroughputWriter()
    trainer.default_root_dir, trainer.num_training_batches = str(tmp_path), 50
    net.device = torch.device("cpu")
    monkeypatch.setattr(throughput, "count_flops", lambda model, images: 1)
    writer.on_train_start(trainer, net)
    batch = (torch.zeros(4, 12), torch.zeros(4), torch.zeros(4))
    for seconds, waited, warnings in ((0.5, 0.0, 0), (0.5, 0.0, 0), (2.0, 1.0, 1), (2.0, 1.0, 1)):
        writer.on_train_epoch_start(trainer, net)
        for number in range(50):
            machine.now += 3  # for data
            writer.on_train_batch_start(trainer, net, batch, number)
            machine.now += seconds
            machine.waited += 2 * waited
            writer.on_train_batch_end(trainer, net, {}, batch, number)
        machine.now += 500  # validation
        assert len(caplog.records) == warnings
    assert caplog.messages[0].startswith("steps take 4.0 times as long as before: something else keeps the cores busy")
    assert "the 2 threads" in caplog.messages[0]
    assert "threads=1" in caplog.messages[0]

"""Slurm's queue, played: what is asked of it, and how its answers are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kd_runner.errors import RunFailed, SettingsError
from kd_runner.sweeps.engines.task import Task


def test_a_queue_that_does_not_answer_is_not_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = pytest.importorskip("kd_runner.sweeps.engines.slurm")
    fields = dict.fromkeys(("partition", "account", "qos", "constraint", "mem_gb"))
    numbers = dict.fromkeys(
        (
            "cpus_per_task",
            "timeout_min",
            "signal_delay_s",
            "array_parallelism",
            "gpus_per_node",
            "max_num_timeout",
            "retries",
        ),
        1,
    )
    settings = slurm.SlurmSettings(**fields, **numbers, setup=[], additional_parameters={})
    queue = slurm.SlurmEngine(settings, tmp_path)
    monkeypatch.setattr(slurm, "in_queue", lambda: None)
    queue.refuse_running()  # nothing was ever queued from here
    (tmp_path / slurm.SLURM_FOLDER).mkdir()
    (tmp_path / slurm.SLURM_FOLDER / slurm.QUEUED).write_text(json.dumps({"#0": "12_0", "#1": "12_1"}))
    with pytest.raises(RunFailed, match="Slurm does not answer"):
        queue.refuse_running()
    with pytest.raises(RunFailed, match="Slurm does not answer"):
        queue.run([Task("#0", tmp_path / "0", [], [])], lambda *_: None, lambda _: None)
    monkeypatch.setattr(slurm, "in_queue", lambda: {"12_1"})
    with pytest.raises(SettingsError, match="end them with scancel 12"):
        queue.refuse_running()
    monkeypatch.setattr(slurm, "in_queue", lambda: {"13_1"})
    queue.refuse_running()

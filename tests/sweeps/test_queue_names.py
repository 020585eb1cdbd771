"""The names of jobs in a queue."""

from __future__ import annotations

from pathlib import Path

from kd_runner.sweeps.jobs import Job
from kd_runner.sweeps.queue_names import queue_name

SETTINGS = {
    "distillation": {"_target_": "kd_runner.distillation.dkd.DecoupledKd"},
    "student": {"_target_": "kd_runner.models.tiny_mlp.tiny_mlp"},
    "seed": 4,
}


def test_a_name_says_mode_student_and_seed() -> None:
    assert queue_name(Job(3, [], [], SETTINGS, Path("3"))) == "kd-3_dkd_tiny_mlp_s4"
    assert queue_name(Job(3, ["seed=1"], ["distillation=soft"], {}, Path("3")), SETTINGS) == "kd-3_soft_tiny_mlp_s1"
    assert queue_name(Job(12, ["+student=a b'c"], [], {}, Path("3"))) == "kd-12_a-b-c"
    assert len(queue_name(Job(3, [f"student={'x' * 99}"], [], {}, Path("3")))) <= 60

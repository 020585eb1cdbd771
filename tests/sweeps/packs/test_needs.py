"""What jobs share: not with another teacher, other images, batches or trainer settings; whatever else they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kd_runner.runs.assembly import assemble
from kd_runner.sweeps.packs.needs import OVERHEAD, bytes_of_job, free_bytes, shared_work

SHARED = ("teacher.optimizer={lr: 0.01}", "teacher.seed=0", "order_seed=0")


@pytest.mark.parametrize(
    "word",
    [
        "distillation=at",
        "temperature.value=9",
        "student=tiny_mlp",
        "student.input.size=64",  # with which batches of evaluation are smaller
        "student.optimizer={lr: 0.5}",
        "optimizer.lr=0.5",
        "distillation.weight=7",
        "seed=3",
        "finetune.epochs=2",
        "baseline=false",
    ],
)
def test_students_of_any_kind_share(settings: Callable[..., Any], word: str) -> None:
    assert shared_work(assemble(settings(*SHARED, word))) == shared_work(assemble(settings(*SHARED)))


@pytest.mark.parametrize(
    "word",
    [
        "teacher.epochs=7",
        "teacher.channels=[3,4]",
        "teacher.seed=1",
        "order_seed=1",
        "data_seed=1",
        "batch_size=17",
        "student.epochs=7",
        "student.fraction=0.5",
        "dataset.crop_padding=1",
        "dataset.mean=[0.3]",
        "trainer.channels_last=false",
    ],
)
def test_another_stream_or_another_teacher_is_not_shared(settings: Callable[..., Any], word: str) -> None:
    assert shared_work(assemble(settings(*SHARED, word))) != shared_work(assemble(settings(*SHARED)))


def test_seeds_do_not_share_by_themselves(settings: Callable[..., Any]) -> None:
    assert shared_work(assemble(settings("seed=0"))) != shared_work(assemble(settings("seed=1")))


def test_the_memory_of_a_job_grows_with_its_networks(settings: Callable[..., Any]) -> None:
    small, large = (assemble(settings("student=mlp", f"student.hidden=[{width}]")) for width in (10, 10_000))
    parameters = [sum(p.numel() for p in parts.student.parameters()) for parts in (small, large)]
    difference = bytes_of_job(large) - bytes_of_job(small)
    assert difference == 6 * 4 * (parameters[1] - parameters[0])
    assert bytes_of_job(small) > OVERHEAD
    assert free_bytes(on_cpu=True) is None or free_bytes(on_cpu=True) > 10**6  # type: ignore[operator]

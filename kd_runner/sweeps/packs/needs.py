"""The needs of jobs: which of them can share batches and the teacher's work, and how many fit into the memory."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from pathlib import Path

import torch

from kd_runner.config.fingerprint import digest
from kd_runner.files.file_digest import file_digest
from kd_runner.files.home import with_home
from kd_runner.files.stages import STUDENT
from kd_runner.networks.checkpoints import state_digest
from kd_runner.runs.parts import Parts
from kd_runner.runs.stages.labels_only import ingredients
from kd_runner.store.entries import key_of

COPIES = 6  # of a student's weights: gradients, the optimizer's numbers, the best epoch's, and those being saved
OVERHEAD = 50e6  # bytes that a run takes beside its networks: its log, its events, its batches


def shared_work(parts: Parts) -> str:
    """16 digits that are the same for jobs whose students can share batches and what the teacher gives for them.

    They have the same images, augmentation, order, batch size, epochs, trainer settings and teacher. First weights,
    pruning and early stopping belong to a student alone: one that stops early leaves the others to go on.
    """
    settings, data, recipe = parts.settings, parts.data, parts.recipes[STUDENT]
    teachers = [_weights_of_teacher(parts, name) for name in settings.all_teachers]
    nodes = [teacher.node for teacher in settings.all_teachers.values()]
    images = [data.splits.fingerprint, None if data.chosen is None else data.chosen.tolist(), settings.data_seed]
    batches = [settings.dataset.model_dump(mode="json"), settings.batch_size, recipe.batches_seed, recipe.epochs]
    batches += [] if data.transfer is None else [data.transfer.digest]
    batches += [] if settings.data_free is None else [uuid.uuid4().hex]  # images are made alone, and batches of them
    batches += [settings.replayed_views, *([] if recipe.steps is None else [recipe.steps])]
    return digest([teachers, nodes, parts.teacher_weights, images, batches, settings.trainer.model_dump(mode="json")])[
        :16
    ]


def _weights_of_teacher(parts: Parts, name: str) -> str | list[str]:
    """The origin of a teacher's final weights: its training, its file, or its first weights and its head."""
    teacher = parts.settings.all_teachers[name]
    if teacher.is_trained:
        return key_of(ingredients(parts.labels_only(name, to_train=False), parts.settings, parts.data))
    if teacher.checkpoint is None or teacher.head != "trained":
        return [teacher.head, state_digest(parts.teachers[name].state_dict())]
    return file_digest(with_home(teacher.checkpoint))


def bytes_of_job(parts: Parts) -> int:
    """An estimate of the memory that a job takes beside the batches and outputs that it shares."""
    students = [parts.student, *(peer.network for peer in parts.peers)]
    return int(COPIES * sum(map(_bytes, students)) + sum(map(_bytes, parts.teachers.values())) + OVERHEAD)


def _bytes(network: torch.nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())


def free_bytes(on_cpu: bool) -> int | None:
    """The memory that is free on the GPU or, for the CPU, on this machine; None where the system does not tell."""
    if not on_cpu and torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return None

"""A run of every stage, to be cut off and gone on with, and whether two runs came to the same."""

from __future__ import annotations

from pathlib import Path

import torch
from jobs import numbers_of, result_in
from safetensors.torch import load_file

NETWORKS = ("teacher", "baseline", "student_last", "student_best")

# Every stage, random views, dropout of its own in no stage but random negatives, a mode with a memory and a sum.
EVERY_STAGE = (
    "teacher.epochs=4", "student.epochs=4", "finetune.epochs=3", "teacher=mlp", "teacher.hidden=[64]",
    "dataset.crop_padding=1", "dataset.flip=true", "distillation=[crd,dkd]", "distillation.negatives=64",
    "temperature=learned", "optimizer=sgd", "store=store", "student.fraction=1",
    "trainer.threads=1",  # the fastest number depends on what else runs, and the last bits on the number
)  # fmt: skip


def same_to_the_bit(folder: Path, other: Path) -> bool:
    """Whether two runs came to the same, to the bit."""
    if numbers_of(result_in(folder)) != numbers_of(result_in(other)):
        return False
    for name in NETWORKS:
        ours, theirs = (load_file(place / f"{name}.safetensors") for place in (folder, other))
        if set(ours) != set(theirs) or not all(torch.equal(ours[key], theirs[key]) for key in ours):
            return False
    return True

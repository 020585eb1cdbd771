"""The student's start with its teacher's weights: tried on a copy first, and done once the teacher is trained."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from kd_runner.errors import SettingsError
from kd_runner.files.stages import TEACHER
from kd_runner.formats import count, percent
from kd_runner.networks.injection import Injected, inject
from kd_runner.runs.parts import Parts


def inject_teacher(parts: Parts, student: nn.Module) -> Injected:
    """Copy the teacher's weights into `student`, of several teachers those of the first."""
    return inject(student, parts.teachers[TEACHER], parts.data.splits.image_shape)


def check_injection(parts: Parts) -> None:
    """Raise SettingsError where the settings ask for the teacher's weights, and no layer of the student can have them.

    Which layers fit is a matter of names and shapes, so that a teacher which has not been trained can tell.
    """
    if parts.settings.student.init == "inject" and not inject_teacher(parts, copy.deepcopy(parts.student)).parameters:
        raise SettingsError(
            "student.init: must be random, as no layer of the student has the name of a layer of the teacher that is "
            "as wide or wider, got inject"
        )


def in_words(injected: Injected) -> str:
    """The share of the student's parameters that was copied, and the number of its layers."""
    layers = f"{len(injected.layers)} layer{'s' if len(injected.layers) != 1 else ''}"
    numbers = f"{count(injected.parameters)} of {count(injected.of)} parameters"
    return f"{numbers} ({percent(injected.share)}), in {layers}"


def record(injected: Injected) -> dict[str, Any]:
    """The record of the weights that were copied, for the result."""
    return {"parameters": injected.parameters, "share": injected.share}

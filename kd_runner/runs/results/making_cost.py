"""The cost of making images from a teacher, for the budget of the student that is taught on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kd_runner.datasets.made_images import MakingCost
from kd_runner.errors import one_line
from kd_runner.evaluation.macs import BACKWARD, FOR_PIXELS, multiply_accumulates
from kd_runner.notes import note
from kd_runner.runs.parts import Parts
from kd_runner.runs.stages.data_free import maker_of


def making_cost(parts: Parts, teacher: int | None) -> tuple[dict[str, int] | None, int | None]:
    """The passes through teacher and generator, by name, and their multiply-accumulates; None where they are not known.

    Images that the store had count as if they had been made.

    Args:
        teacher: The multiply-accumulates of the teacher for one image.
    """
    maker = maker_of(parts.settings)
    made = _cost_of(maker, parts.data.splits.image_shape)
    if made is None:
        return None, None
    passes = {"teacher_passes": made.passes}
    total = None if teacher is None else FOR_PIXELS * made.passes * teacher
    if made.generator is None or made.generator_input is None:
        return passes, total
    passes |= {"generator_forwards": made.generator_forwards, "generator_backwards": made.generator_backwards}
    of_generator = multiply_accumulates(made.generator, made.generator_input, "generator")
    if total is None or of_generator is None:
        return passes, None
    return passes, total + (made.generator_forwards + BACKWARD * made.generator_backwards) * of_generator


def _cost_of(maker: Any, image_shape: Sequence[int]) -> MakingCost | None:
    """The cost that a maker, which may be anyone's, says of itself; None where it says none."""
    if not callable(getattr(maker, "cost", None)):
        return None
    try:
        cost = maker.cost(image_shape)
    except Exception as error:
        note("cost", f"data_free: its compute is not known, as its cost raises {one_line(error)}")
        return None
    return cost if isinstance(cost, MakingCost) else None

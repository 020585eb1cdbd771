"""The cost of a run's networks as a table, with the student beside its teacher in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from kd_runner.files.stages import STAGES, STUDENT, TEACHER
from kd_runner.formats import clock, count, joules, milliseconds, relative, size

BESIDE = "student beside the teacher"

Words = Callable[[float, float], str]
FEWER: Words = relative
SMALLER = partial(relative, less="smaller", more="larger", same="as large")
FASTER = partial(relative, less="faster", more="slower", same="as fast")
LESS = partial(relative, less="less", more="more", same="as much")

# The rows about predictions: the name, the keys that lead to a number in a stage's result, its text, and the words.
ROWS: tuple[tuple[str, tuple[str, ...], Callable[[float | None], str], Words], ...] = (
    ("parameters", ("parameters",), count, FEWER),
    ("MACs, one image", ("macs",), count, FEWER),
    ("parameters that are not zero", ("nonzero_parameters",), count, FEWER),
    ("MACs with weights that are not zero", ("nonzero_macs",), count, FEWER),
    ("file of the weights", ("file_bytes",), size, SMALLER),
    ("one image, median", ("latency",), milliseconds, FASTER),
    ("one image, 95th percentile", ("inference", "one", "p95"), milliseconds, FASTER),
    ("{many} images, median", ("inference", "many", "median"), milliseconds, FASTER),
    ("{many} images, 95th percentile", ("inference", "many", "p95"), milliseconds, FASTER),
    ("peak memory, one image", ("inference", "peak_memory", "one"), size, LESS),
    ("peak memory, {many} images", ("inference", "peak_memory", "many"), size, LESS),
    ("energy of an image", ("inference", "energy"), joules, LESS),
)


def cost_headings(result: Mapping[str, Any]) -> list[str]:
    """The headings of the table: the stages of the run, and the student beside the teacher."""
    return [*_stages(result), BESIDE] if all(map(result.get, (TEACHER, STUDENT))) else _stages(result)


def cost_rows(result: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """The name of each row, and its text for each heading; rows of which no stage has a number are left out."""
    return [*_predicting(result), *_training(result)]


def _stages(result: Mapping[str, Any]) -> list[str]:
    return [stage for stage in STAGES if result.get(stage)]


def _predicting(result: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    images_at_once = value_at(result[STUDENT], ("inference", "many", "images"))
    for name, keys, text, words in ROWS:
        numbers = {stage: value_at(result[stage], keys) for stage in _stages(result)}
        if all(number is None for number in numbers.values()):
            continue
        cells = list(map(text, numbers.values()))
        if result.get(TEACHER):
            cells.append(beside(numbers[STUDENT], numbers[TEACHER], words))
        yield name.format(many=count(images_at_once)), cells


def beside(student: float | None, teacher: float | None, words: Words) -> str:
    """The student's number beside the teacher's in words; empty where one of them is not known or 0."""
    return words(student, teacher) if student and teacher else ""


def value_at(content: Any, keys: tuple[str, ...]) -> Any:
    """The value that nested keys lead to; None where one of them is not there."""
    for key in keys:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def _training(result: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """The rows about training, which say nothing of the student beside the teacher."""
    stages = _stages(result)
    more = [""] if result.get(TEACHER) else []
    yield "training images seen", [count(result[stage].get("images_seen")) for stage in stages] + more
    spent = [((result.get("budget") or {}).get(stage) or {}).get("macs") or {} for stage in stages]
    if any(spent):
        yield "MACs of training", [count(macs.get("sum")) for macs in spent] + more
    yield "time in this run", [clock((result.get("seconds") or {}).get(stage)) for stage in stages] + more

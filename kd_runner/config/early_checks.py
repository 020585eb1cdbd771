"""Values of parts that can only be wrong, refused before torch is imported and images are read.

The parts check all of their values where they are built, with the same messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from kd_runner.config.build import ARGUMENT_RANGES, build, convert_value, refusal
from kd_runner.config.door import check_plain_values
from kd_runner.config.field_types import Node
from kd_runner.config.fingerprint import names_a_place
from kd_runner.config.settings import Settings
from kd_runner.config.written_signature import check_arguments, hints_of
from kd_runner.errors import SettingsError
from kd_runner.files.home import refuse_without_home
from kd_runner.files.stages import FINETUNE, STUDENT
from kd_runner.temperature_range import check_temperature

GROUPS: tuple[Literal["optimizer", "scheduler"], ...] = ("optimizer", "scheduler")
OF_OPTIMIZERS = ("lr", "weight_decay")  # arguments of which no optimizer of torch takes a number below 0
SCHEDULES, OPTIMIZERS = "kd_runner.schedule.", "torch.optim."
TEMPERATURES = {  # the arguments that are temperatures
    "kd_runner.temperature.Constant": ("value",),
    "kd_runner.temperature.Linear": ("start", "end"),
    "kd_runner.temperature.Cosine": ("start", "end"),
    "kd_runner.temperature.Learned": ("lowest", "span"),
}


def refuse_wrong_values(settings: Settings) -> None:
    """Refuse a value of the wrong kind or out of its range, as far as that is known from the settings alone.

    Raises:
        SettingsError: names the key, what must hold and what was given.
    """
    for key, path in _paths(settings):
        refuse_without_home(path, key)
    for key, node in _parts(settings):
        target = node.get("_target_")
        if isinstance(target, str):
            _check_values(node, target, key)


def _paths(settings: Settings) -> Iterator[tuple[str, str]]:
    """The files and folders that the settings name, by their keys."""
    checkpoints = {f"{stage}.checkpoint": section.checkpoint for stage, section in settings.all_teachers.items()}
    values = {"store": settings.store, "evaluate.also": settings.evaluate.also, **checkpoints}
    values |= {f"dataset.{name}": value for name, value in settings.dataset.node.items()}
    values["dataset.unlabelled"] = settings.dataset.unlabelled
    for key, value in values.items():
        if names_a_place(key):
            paths = value if isinstance(value, list) else [value]
            yield from ((key, path) for path in paths if isinstance(path, str))


def _parts(settings: Settings) -> Iterator[tuple[str, Node]]:
    """The nodes of the parts that need no images, by the keys that messages about them begin with."""
    trained = {**settings.all_teachers, STUDENT: settings.student, FINETUNE: settings.finetune}
    for stage, section in trained.items():
        for group in GROUPS:
            overrides = section.optimizer if group == "optimizer" else section.scheduler
            yield f"{stage}.{group}" if overrides else group, settings.for_stage(overrides, group)
    yield "temperature", settings.temperature
    yield "distillation", settings.distillation.node
    yield from ((f"plus.{name}", mode.node) for name, mode in settings.plus.items())
    networks = {**settings.all_teachers, STUDENT: settings.student, **settings.chain, **settings.peer_students}
    yield from ((stage, section.bare_node) for stage, section in networks.items())


def _check_values(node: Node, target: str, key: str) -> None:
    hints = hints_of(target)
    arguments = {
        name: convert_value(value, hints[name], f"{key}.{name}")
        for name, value in node.items()
        if name in hints and not isinstance(value, dict)
    }
    try:
        check_arguments(target, arguments)
    except ValueError as error:
        raise SettingsError(refusal(error, node, key)) from error
    if target.startswith(SCHEDULES):
        build(node, key)
    if target.startswith(OPTIMIZERS):
        check_plain_values(node, key)
        for name in OF_OPTIMIZERS:
            value = node.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and not value >= 0:
                raise SettingsError(f"{key}.{name}: must be {ARGUMENT_RANGES[name]}, got {value}")
    for name in TEMPERATURES.get(target, ()):
        try:
            if type(node.get(name)) in (int, float):
                check_temperature(name, node[name])
        except ValueError as error:
            raise SettingsError(refusal(error, node, key)) from error

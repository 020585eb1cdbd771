"""A value of the wrong kind is refused by its key; nothing but a whole number for a real one is converted."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import composed

from kd_runner.config.build import _prepare, build
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.config.door import OPTIONS as GROUPS
from kd_runner.config.fingerprint import flat_keys
from kd_runner.config.settings import check
from kd_runner.errors import SettingsError
from kd_runner.runs.stages.training_switches import _layer_decay, without_layer_decay

OPTIONS = sorted(
    f"{path.parent.name}={path.stem}"
    for path in CONF_DIR.glob("*/*.yaml")
    if path.parent.name not in ("experiment", "trainer")
)
# What a value of a kind must not be replaced by: it would have to be converted.
WRONG: dict[type, tuple[Any, ...]] = {
    int: (64.0, 64.5, "64", True, [64]),
    float: ("0.5", True, [0.5]),
    bool: (1, 0, 1.0, "true", "yes"),
    str: (5, 1.5, True, ["x"]),
    list: ("x", 5, True),
}
LISTED: dict[type, tuple[Any, ...]] = {int: (32.0, "32", True), float: ("0.9", True)}
OFFERED = {"num_classes": 10, "image_shape": (1, 8, 8), "seed": 0, "residency": "auto"}
TEXT_FROM_NUMBERS = ("trainer.precision", "dataset.background")  # 32 and 128 are written without quotes
FLAGS_OR_AUTO = ("tracking.images",)
REAL = ("teacher.size", "student.size")  # 0.5, 1, 1.5, 2


def wrong_values(key: str, value: Any) -> Iterator[Any]:
    """Values of other kinds than `value`."""
    kind = float if key in REAL else bool if key in FLAGS_OR_AUTO else type(value)
    for wrong in WRONG.get(kind, ()):
        if not (key in TEXT_FROM_NUMBERS and type(wrong) is int):
            yield wrong
    if isinstance(value, list) and value:
        yield from ([*value[:-1], wrong] for wrong in LISTED.get(type(value[-1]), ()))


def set_at(content: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of `content` with another value at `key`, with dots."""
    changed = copy.deepcopy(content)
    *sections, last = key.split(".")
    section = changed
    for name in sections:
        section = section[name]
    section[last] = value
    return changed


def refusal(content: Mapping[str, Any]) -> str | None:
    """What is said of settings whose values are of the wrong kind; None where nothing is."""
    try:
        settings = check(content)
        nodes = {
            "dataset": settings.dataset.node, "teacher": settings.teacher.node, "student": settings.student.node,
            "distillation": settings.distillation.node, "temperature": settings.temperature,
        }  # fmt: skip
        for key, node in nodes.items():
            _prepare(node, key, (), GROUPS, OFFERED)
        _layer_decay(settings, "student")
        _prepare(without_layer_decay(settings.optimizer), "optimizer", (), GROUPS, {"params": None})
        if settings.data_free:
            _prepare(settings.data_free, "data_free", (), GROUPS, {})
        _prepare(settings.scheduler, "scheduler", (), GROUPS, {})
    except SettingsError as error:
        return str(error)
    return None


def cases(content: dict[str, Any], groups: tuple[str, ...]) -> Iterator[tuple[str, Any, Any]]:
    for key, value in flat_keys(content):
        if key.startswith(groups) and not key.endswith("_target_"):
            yield from ((key, value, wrong) for wrong in wrong_values(key, value))


def accepted(content: dict[str, Any], groups: tuple[str, ...]) -> list[str]:
    """Wrong values that nobody refused by their key in one line."""
    silent = []
    for key, value, wrong in cases(content, groups):
        said = refusal(set_at(content, key, wrong))
        if said is None or not said.startswith(key) or "\n" in said or ", got " not in said:
            silent.append(f"{key}={wrong!r} in place of {value!r}: {said}")
    return silent


def test_every_setting_of_a_run_has_a_kind() -> None:
    content = composed()
    assert refusal(content) is None
    content.pop("hydra", None)
    assert len(list(cases(content, ("",)))) > 150
    assert accepted(content, ("",)) == []


LARGE = ("distillation", "student")  # groups; a teacher's options are a student's, too
GROUPS_OF_OPTIONS = sorted({option.partition("=")[0] for option in OPTIONS})


@pytest.mark.parametrize(
    "group", [pytest.param(group, marks=pytest.mark.slow if group in LARGE else ()) for group in GROUPS_OF_OPTIONS]
)
def test_every_argument_of_every_option_has_a_kind(group: str) -> None:
    for option in OPTIONS:
        if option.startswith(f"{group}="):
            content = composed(option, *(["dataset.root=x"] if "image" in option else []))
            assert refusal(content) is None, option
            assert accepted(content, (f"{group}.",)) == [], option


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", 1e3, "seed: must be a valid integer, got 1000.0"),
        ("teacher.channels", [32.0, 64], "teacher.channels.0: must be a valid integer, got 32.0"),
        ("teacher.hidden", [64.7], "teacher.hidden.0: must be a valid integer"),
        ("optimizer.betas", [0.9, "0.999"], "optimizer.betas.1: must be a valid number, got '0.999'"),
        ("optimizer.lr", True, "optimizer.lr: must be a valid number, got True"),
        ("optimizer.lr", float("inf"), "optimizer.lr: must be a finite number, got inf"),
        ("optimizer.fused", 1, "optimizer.fused: must be a valid boolean, got 1"),
        ("dataset.std", [True], "dataset.std.0: must be a valid number, got True"),
        ("dataset.std", [float("inf")], "dataset.std.0: must be a finite number, got inf"),
        ("distillation.default_temperature", "4", "distillation.default_temperature: must be a valid number, got '4'"),
        ("student.layers", [0.1], "student.layers.0: must be the name of a layer, in quotes where it looks like"),
        ("student.layers", [None], "student.layers.0: must be the name of a layer"),
    ],
)
def test_what_would_be_converted_is_said(key: str, value: Any, message: str) -> None:
    assert (refusal(set_at(composed(), key, value)) or "").startswith(message)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer.lr", 1), ("optimizer.betas", [0, 0.5]), ("temperature.value", 4), ("distillation.weight", 1),
        ("dataset.std", [1]), ("optimizer.fused", None), ("student.layers", [3, "7"]), ("dataset.mixup", 1),
    ],
)  # fmt: skip
def test_a_whole_number_may_stand_for_a_real_one(key: str, value: Any) -> None:
    assert refusal(set_at(composed(), key, value)) is None


def test_arguments_of_other_kinds_are_made_from_text() -> None:
    def keep(place: Path, size: tuple[int, float] = (1, 2.0), names: set[str] | None = None) -> tuple[Any, ...]:
        return place, size, names

    import types

    module = types.ModuleType("kept_for_a_test")
    keep.__module__ = module.__name__
    module.keep = keep  # type: ignore[attr-defined]
    import sys

    sys.modules[module.__name__] = module
    try:
        node = {"_target_": "kept_for_a_test.keep", "place": "~/x", "size": [3, 4], "names": ["a"]}
        assert build(node, "x", ["kept_for_a_test"]) == (Path("~/x"), (3, 4.0), {"a"})
        with pytest.raises(SettingsError, match=r"^x\.size\.0: must be a valid integer, got 3\.0$"):
            build({**node, "size": [3.0, 4]}, "x", ["kept_for_a_test"])
    finally:
        del sys.modules[module.__name__]

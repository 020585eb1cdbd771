"""From plain data to settings that are checked, and the line for each value that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import (
    BaseModel,
    ValidationError,
)

from kd_runner.config.conf_dir import NAMED
from kd_runner.config.field_types import Valid
from kd_runner.config.sections import (
    DatasetSettings,
    DistillationSettings,
    ExtraTeacherSettings,
    StudentSettings,
    TeacherSettings,
    TeacherView,
)
from kd_runner.errors import SettingsError
from kd_runner.foreign_words import answer_for
from kd_runner.plain_text import lines
from kd_runner.redaction import without_passwords
from kd_runner.suggestions import did_you_mean, help_on, number_meant


def validate_section(
    kind: type[Valid], container: Mapping[str, Any], prefix: str = "", origins: Mapping[str, str] | None = None
) -> Valid:
    """A section of settings from plain data.

    Args:
        prefix: Text before the section's keys, such as 'hydra.launcher.'; empty for all settings of a run.
        origins: The key from which a copied value stems, by the key that has the copy. Where both are wrong, the error
            names only the key from which it stems.

    Raises:
        SettingsError: a line for each wrong value: its key, what must hold, what was given.
    """
    try:
        return kind.model_validate(container)
    except ValidationError as error:
        problems = {_key(problem): problem for problem in error.errors()}
        copies = {key for key, origin in (origins or {}).items() if origin in problems}
        wrong = [problem for key, problem in problems.items() if key not in copies]
        raise SettingsError(
            lines(f"{prefix}{_line(problem, kind, is_whole=not prefix)}" for problem in wrong)
        ) from None


def _key(problem: Any) -> str:
    return ".".join(map(str, problem["loc"]))


def _line(problem: Any, kind: type[BaseModel], is_whole: bool) -> str:
    key = _key(problem)
    if problem["type"] == "extra_forbidden":
        if ".dataset." in key and is_whole:
            names = ", ".join(TeacherView.model_fields)
            return f"{key}: must be a setting of augmentation ({names}), got {problem['input']!r}"
        answer = answer_for(key, str(problem["input"]))
        if answer:
            return f"{key}: no such setting; {answer}"
        suggestion = did_you_mean(key, kind.model_fields) if "." not in key else ""
        return f"{key}: no such setting{suggestion}, got {without_passwords(repr(problem['input']))}"
    if is_whole and (line := _line_of_named(problem)):
        return line
    if problem["type"] == "missing":
        section = key.removesuffix("._target_")
        return f"{key}: must be given" if section == key else f"{section}: must be an option of its group, got none"
    answer = answer_for(key, exact=True) if problem["type"].startswith("model_") else None
    value = without_passwords(repr(problem["input"]))
    question = help_on(key, problem["input"]) if is_whole else ""
    remedy = f"; {answer}" if answer else as_number(problem) or as_text(problem, key) or question
    return f"{key}: {rule_of(problem)}, got {value}{remedy}"


def _line_of_named(problem: Any) -> str | None:
    """The line for a section that has no things by their names, or for one of these that is no settings; else None."""
    section, *names = problem["loc"]
    if section not in NAMED:
        return None
    kind, value = problem["type"], problem["input"]
    option = value if isinstance(value, str) and value else "OPTION"
    remedy = f"write +{NAMED[section]}@{section}.{names[0] if names else 'NAME'}={option}"
    if len(names) == 1 and kind in ("model_type", "model_attributes_type"):
        return f"{_key(problem)}: {rule_of(problem)}, got {value!r}; {remedy}"
    if kind == "missing" and names[1:] == ["_target_"]:
        return f"{section}.{names[0]}: must be an option of the group {NAMED[section]}, got none; {remedy}"
    if not names and kind == "dict_type":
        return f"{section}: must be {'modes' if section == 'plus' else section} by name, got {value!r}; {remedy}"
    if kind in ("name", "no_name"):
        return f"{section}: {problem['msg']}{f'; {remedy}' if kind == 'no_name' else ''}"
    return None


def fields_of(key: str) -> list[str]:
    """The settings of kd-runner's own that stand at `key` beside those of a callable, such as 'plus.at'."""
    section = key.partition(".")[0]
    kinds: dict[str, type[BaseModel]] = {
        **{"teacher": TeacherSettings, "teachers": ExtraTeacherSettings, "student": StudentSettings},
        **{"dataset": DatasetSettings, "distillation": DistillationSettings, "plus": DistillationSettings},
    }
    is_section = key.count(".") == (section in NAMED)
    return [name for name in kinds[section].model_fields if name != "target"] if section in kinds and is_section else []


def as_number(problem: Any) -> str:
    """The end of the line about a text that stands for a number, such as 90%; empty for other problems."""
    meant = number_meant(problem["input"]) if str(problem["type"]).startswith("float_") else None
    return f"; as a number it is {meant}" if meant else ""


def as_text(problem: Any, key: str) -> str:
    """The end of the line about a number, or true or false, in place of a text; empty for other problems."""
    value = problem["input"]
    if problem["type"] != "string_type" or not isinstance(value, int | float):
        return ""
    is_in_list = key.rpartition(".")[2].isdecimal()
    text = str(value).lower() if isinstance(value, bool) else value
    example = "" if is_in_list or isinstance(value, float) else f""": '{key}="{text}"'"""
    return f"; in quotes it is one{example}"


def rule_of(problem: Any) -> str:
    """The rule that a wrong value breaks, from pydantic's description of the problem."""
    kind = problem["type"]
    if kind in ("sequence_str", "list_type", "is_instance_of"):
        return "must be a list"
    if kind in ("model_type", "model_attributes_type"):
        return "must be settings by their keys"
    if kind == "dict_type":
        return "must be settings such as {lr: 0.1}, or null"
    message = str(problem["msg"]).removeprefix("Value error, ")  # from a validator of ours
    return message.replace("Input should be", "must be", 1).replace("Field required", "must have more values")

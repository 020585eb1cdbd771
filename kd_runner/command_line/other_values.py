"""The values typed beside `resume=FOLDER` that are not those of the run or sweep in the folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, RangeSweep

from kd_runner.command_line.overrides import expand_modes, is_undecisive
from kd_runner.command_line.typed_words import parse_overrides, typed_settings
from kd_runner.config.fingerprint import changes_no_result, names_a_place
from kd_runner.files.indifferent import INDIFFERENT_IN


def other_values(recorded: Sequence[str], words: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Each key to which `words` give another value, or other values of a sweep, than `recorded` does; and the two."""
    before, now = _single_values(recorded), _single_values(words)
    several_before, several_now = _several_values(recorded), _several_values(words)
    for key, value in now.items():
        was = before.get(key, value)
        if was != value and str(was) != str(value):  # a text is compared with a number as it is written
            yield key, str(was), str(value)
        if several_before.get(key, [str(value)]) != [str(value)]:
            yield key, ",".join(several_before[key]), str(value)
    for key, values in several_now.items():
        if key in before and values != [str(before[key])]:
            yield key, str(before[key]), ",".join(values)
        if several_before.get(key, values) != values:
            yield key, ",".join(several_before[key]), ",".join(values)


def _several_values(words: Sequence[str]) -> dict[str, list[str]]:
    """The values that decide about the result, by their keys, of the words with a sweep's values, in their order."""
    swept = [
        override
        for override in parse_overrides(words)
        if isinstance(override._value, ChoiceSweep | RangeSweep) and not override._value.shuffle
    ]
    return {
        key: [str(value) for value in override.sweep_string_iterator()]
        for override in swept
        if not changes_no_result(key := str(override.get_key_element()).lstrip("+"))
        if not names_a_place(key) and not is_undecisive(f"{key}=")
    }


def _single_values(words: Sequence[str]) -> dict[str, Any]:
    """The values that decide about the result, by their keys, of the words that have one value."""
    decisive = [word for word in words if not word.startswith("-") and not is_undecisive(word.lstrip("+"))]
    expanded = [part for word in decisive for part in expand_modes(word)]
    single = [str(override.input_line) for override in parse_overrides(expanded) if not override.is_sweep_override()]
    return {
        key: value
        for key, value in typed_settings(single).items()
        if not changes_no_result(key) and key.partition(".")[2] not in INDIFFERENT_IN.get(key.partition(".")[0], ())
    }

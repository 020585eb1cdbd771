"""The values typed beside `resume=FOLDER` that are not those of the run or sweep in the folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException

from kd_runner.command_line.overrides import expand_modes, is_undecisive
from kd_runner.command_line.typed_words import parse_overrides, parsed_override, typed_settings
from kd_runner.config.fingerprint import changes_no_result, names_a_place
from kd_runner.files.indifferent import INDIFFERENT_IN


def other_values(recorded: Sequence[str], words: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Each key to which `words` give another value, or other values of a sweep, than `recorded` does; and the two."""
    before, now = _single_values(recorded), _single_values(words)
    several_before, several_now = _several_values(recorded), _several_values(words)
    for key, value in now.items():
        was = before.get(key, value)
        if not _is_same(was, value):
            yield key, str(was), str(value)
        if not _are_same(several_before.get(key, [str(value)]), [str(value)]):
            yield key, ",".join(several_before[key]), str(value)
    for key, values in several_now.items():
        if key in before and not _are_same(values, [str(before[key])]):
            yield key, str(before[key]), ",".join(values)
        if not _are_same(several_before.get(key, values), values):
            yield key, ",".join(several_before[key]), ",".join(values)


def in_recorded_words(recorded: Sequence[str], words: Sequence[str]) -> list[str]:
    """The words, where a recorded one gives the same values in other digits, such as 2 for 2.0, with that in its place.

    The jobs of a sweep are known by their words.
    """
    recorded_overrides = [override for override in parse_overrides(recorded) if not override.is_delete()]
    recorded_by_key = {_key_of(word): (str(word.input_line), _texts_of(word)) for word in recorded_overrides}

    def in_recorded_word(word: str) -> str:
        override = next(parse_overrides([word]), None)
        if override is None or override.is_delete():
            return word
        recorded_word, before = recorded_by_key.get(_key_of(override), (word, []))
        texts = _texts_of(override)
        return recorded_word if texts != before and _are_same(texts, before) else word

    return [in_recorded_word(word) for word in words]


def _key_of(override: Override) -> str:
    return str(override.get_key_element()).lstrip("+")


def _texts_of(override: Override) -> list[str]:
    """The values of a word, as the jobs of a sweep have them."""
    if isinstance(override._value, ChoiceSweep | RangeSweep) and not override._value.shuffle:
        return [str(value) for value in override.sweep_string_iterator()]
    if override.is_sweep_override():  # of a search, say, which is no list of values
        return [str(override.input_line).partition("=")[2]]
    return [str(override.get_value_element_as_str())]


def _are_same(texts: Sequence[str], others: Sequence[str]) -> bool:
    """True for the same values in the same order, however they are written."""
    return len(texts) == len(others) and all(map(_is_same, map(_value_in, texts), map(_value_in, others)))


def _is_same(value: Any, other: Any) -> bool:
    """True for the same value: numbers by their size, and a text and a number as they are written."""
    is_number = isinstance(value, bool) == isinstance(other, bool)  # true is not 1
    return (is_number and value == other) or str(value) == str(other)


def _value_in(text: str) -> Any:
    """The value that a text is; the text itself where Hydra reads no single value in it."""
    try:
        override = parsed_override(f"value={text}")
    except HydraException:
        return text
    return text if override.is_sweep_override() else override.value()


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

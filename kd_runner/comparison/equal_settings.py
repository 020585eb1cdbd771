"""Rows of runs whose settings are equal: equal overrides may lead to others, and other overrides to the same.

A result has a digest of its decisive settings less its seeds. Where runs of the same overrides have several, their
settings.json say what differs: that tells the rows apart, also in their names. Rows of other overrides that have the
same digest are one row, as where a default was typed. Results of earlier versions, which have no digest, are taken to
have that of the others with their overrides where these agree.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kd_runner.config.fingerprint import OF_A_MACHINE, SEED, decisive_of_row, digest, flat_keys, names_a_place
from kd_runner.files import tolerant_json
from kd_runner.files.indifferent import HOW_FAST
from kd_runner.files.results import FOLD, ROOT, SEEDS, Run, latest
from kd_runner.files.run_folder import SETTINGS

MOST_WORDS = 3  # settings in a row's name, where fewer tell it from the others
LONGEST = 40  # letters of a setting in a name, where shorter ones tell the row from the others
MOST_LETTERS = 100  # of a value in a name; of a longer one, its first letters and a few digits of all stand there
MOST_COMPARED = 50  # rows of the same overrides that a run's settings are compared with, beyond its digest
NUMBERS = re.compile(r"(\d+)")
ABSENT = object()
# Words of other rows though the digest knows nothing of them: a sweep over them compares times.
MACHINE_WORDS = ("trainer", *HOW_FAST, *OF_A_MACHINE)
# Places where other images, weights or results may not lie: those of the test images are compared by the images.
SAME_FROM_ANYWHERE = (ROOT.rstrip("="), "dataset.image_root", "dataset.cache", "evaluate.also", "store")
SEED_IN_A_NAME = "{seed}"
MOST_SEEDS_IN_NAMES = 6  # numbers in names of files that may be a seed; of more, all are or none
DIGEST = "settings_digest"  # the key of a result, in a name where the settings themselves cannot be read
Differing = tuple[tuple[str, ...], tuple[str, ...]]  # overrides, and the keys of settings in which their rows differ


@dataclass(frozen=True)
class RowOfRuns:
    """The runs of a row.

    Args:
        words: The overrides of its runs; where they have several, those of most of them.
        apart: The settings, as overrides, that tell it from rows of the same overrides; empty where there are none.
        differing: The overrides that led to several rows, of which this is one, each with the keys of all settings in
            which these rows differ.
    """

    words: tuple[str, ...]
    runs: list[Run]
    apart: tuple[str, ...] = ()
    differing: tuple[Differing, ...] = ()


def rows_of(runs: Iterable[Run]) -> list[RowOfRuns]:
    """The runs by their settings where these are known, else by their overrides."""
    by_words: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        by_words.setdefault(run.words, []).append(run)
    rows: list[RowOfRuns] = []
    for words, members in by_words.items():
        several = len({run.settings_digest for run in members if run.settings_digest}) > 1
        rows += _told_apart(words, members) if several else [RowOfRuns(words, members)]
    return _of_equal_settings(rows)


def _of_equal_settings(rows: Sequence[RowOfRuns]) -> list[RowOfRuns]:
    """The rows, those of equal settings as one: rows of which every run has a digest, and that have one in common.

    The settings of a row are read once, and only where another one has its digest.
    """
    keys_of = list(map(_digests_on_a_machine, rows))
    times = Counter(key for keys in keys_of for key in keys)
    alike: list[list[RowOfRuns]] = []
    forms_of: list[Sequence[Hashable]] = []  # of the first of the rows that are alike
    number_of: dict[Hashable, int] = {}
    for row, keys in zip(rows, keys_of, strict=True):
        shared = [key for key in keys if times[key] > 1]
        forms = _forms_of_places_and_seeds(row) if shared else []
        known_numbers = [number_of[key, form] for key in shared for form in forms if (key, form) in number_of]
        number = min(known_numbers, default=len(alike))
        if not known_numbers:
            alike.append([])
            forms_of.append(forms)
        alike[number].append(row)
        for key in shared:
            for form in forms_of[number]:
                number_of.setdefault((key, form), number)
    return [_one_row(members) for members in alike]


def _digests_on_a_machine(row: RowOfRuns) -> list[Hashable]:
    """A key for each digest of the runs of a row; none where a run has no digest."""
    digests = {run.settings_digest for run in row.runs}
    machine = tuple(word for word in row.words if word.partition("=")[0] in MACHINE_WORDS)
    return [] if None in digests else [(digest, machine) for digest in digests]


def _one_row(rows: Sequence[RowOfRuns]) -> RowOfRuns:
    """The rows as one, called by the words of most runs, of equals by the shortest; a run that was repeated is in it
    once.
    """
    if len(rows) == 1:
        return rows[0]
    named = min(rows, key=lambda row: (-len(row.runs), len(row.words), sum(map(len, row.words))))
    differing = tuple(dict.fromkeys(pair for row in rows for pair in row.differing))
    return replace(named, runs=latest([run for row in rows for run in row.runs], _seeds), differing=differing)


def _forms_of_places_and_seeds(row: RowOfRuns) -> list[Hashable]:
    """Forms of what the digest of a row leaves out: files with weights and images, and other seeds.

    Rows have the same settings there where they have a form in common. Empty where the settings cannot be read.

    A number in the name of a file may be the run's seed, or may not be: there is a form for either.
    """
    settings = _Settings.of(row.runs[0], _places_and_seeds)
    if settings is None:
        return []
    choices: list[tuple[Hashable, ...]] = []
    for key, value in sorted(settings.values.items()):
        if isinstance(value, str):
            parts = NUMBERS.split(value)
            choices += [(key,), *((part, SEED_IN_A_NAME) if part in settings.seeds else (part,) for part in parts)]
        elif value is not None:  # an older version may not have written it
            choices += [(key,), (json.dumps(value, sort_keys=True),)]
    if sum(len(choice) > 1 for choice in choices) > MOST_SEEDS_IN_NAMES:
        return [tuple(choice[0] for choice in choices), tuple(choice[-1] for choice in choices)]
    return list(itertools.product(*choices))


def _places_and_seeds(content: Any) -> dict[str, Any]:
    return {
        key: value
        for key, value in flat_keys(content)
        if (names_a_place(key) and key not in SAME_FROM_ANYWHERE) or (SEED.fullmatch(key) and key not in (*SEEDS, FOLD))
    }


@dataclass
class _Row:
    """A row while its runs are looked for.

    Args:
        digest: The settings digest of its first run.
        by_version: The settings of its first run of each version; empty where they cannot be read.
    """

    digest: str | None
    by_version: dict[tuple[Any, Any], _Settings] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)

    @functools.cached_property
    def values(self) -> dict[str, Any]:
        """The settings of all versions, once all runs are there."""
        return {key: value for settings in self.by_version.values() for key, value in settings.values.items()}

    def has(self, digest: str | None, settings: _Settings | None) -> bool:
        """True for the settings of the row; where they cannot be read, for its digest."""
        if settings is None or not self.by_version:
            return settings is None and not self.by_version and digest == self.digest
        return not any(True for of_version in self.by_version.values() for _ in of_version.differing(settings))


@dataclass(frozen=True)
class _Settings:
    """The settings of a run that tell rows apart, by their keys with dots.

    Args:
        version: The version and the commit of kd-runner that wrote them.
        seeds: The run's seeds, as they stand in a text.
    """

    values: dict[str, Any]
    version: tuple[Any, Any]
    seeds: frozenset[str]

    @staticmethod
    def of(run: Run, chosen: Callable[[Any], dict[str, Any]] = decisive_of_row) -> _Settings | None:
        """The settings of a run that `chosen` takes from its settings.json; None where they cannot be read."""
        content, wrong = tolerant_json.json_of(run.folder / SETTINGS)
        try:
            values = {} if wrong else chosen(content)
        except (LookupError, TypeError, AttributeError, ValueError, RecursionError):  # not as kd-runner writes it
            return None
        environment = run.result.get("environment") or {}
        version = environment.get("kd_runner"), environment.get("git")
        return None if wrong else _Settings(values, version, frozenset(map(str, run.seeds)))

    def differing(self, settings: _Settings) -> Iterator[str]:
        """The keys in which two runs differ, less what a newer version has added, and names with a seed in them."""
        keys = self.values.keys() | settings.values.keys()
        if self.version != settings.version:
            keys = self.values.keys() & settings.values.keys()
        return (key for key in keys if not self._agrees(settings, key))

    def _agrees(self, settings: _Settings, key: str) -> bool:
        first, second = self.values.get(key, ABSENT), settings.values.get(key, ABSENT)
        if not isinstance(first, str) or not isinstance(second, str):
            return bool(first == second)
        parts, other_parts = NUMBERS.split(first), NUMBERS.split(second)
        return len(parts) == len(other_parts) and all(
            part == of_other or (part in self.seeds and of_other in settings.seeds)
            for part, of_other in zip(parts, other_parts, strict=True)
        )


def _told_apart(words: tuple[str, ...], runs: Sequence[Run]) -> list[RowOfRuns]:
    """The rows of runs of the same overrides whose settings are not all the same."""
    rows: list[_Row] = []
    of_digest: dict[str, _Row] = {}
    for run in runs:
        digest = run.settings_digest
        row = of_digest.get(digest) if digest else None
        if row is None:
            settings = _Settings.of(run)
            row = next((row for row in rows[:MOST_COMPARED] if row.has(digest, settings)), None)
            if row is None:
                row = _Row(digest)
                rows.append(row)
            if settings is not None:
                row.by_version.setdefault(settings.version, settings)
            if digest:
                of_digest[digest] = row
        row.runs.append(run)
    if len(rows) == 1:
        return [RowOfRuns(words, latest(rows[0].runs, _seeds))]
    differing = _differing(rows) or [DIGEST]
    apart = _words_apart(rows, differing)
    return [
        RowOfRuns(words, latest(row.runs, _seeds), more, ((words, tuple(differing)),))
        for row, more in zip(rows, apart, strict=True)
    ]


def _seeds(run: Run) -> Hashable:
    return run.seeds


def _differing(rows: Sequence[_Row]) -> list[str]:
    """The keys of the settings in which rows differ, those first that are shortest in names."""
    settings = [of_version for row in rows for of_version in row.by_version.values()]
    first_of = {of_version.version: of_version for of_version in reversed(settings)}
    firsts = [*settings[:1], *first_of.values()]
    keys = {key for first in firsts for of_version in settings for key in first.differing(of_version)}

    def rank(key: str) -> tuple[bool, bool, int, str]:
        longest = max(len(word) for row in rows for word in _words(row, key))
        return longest > LONGEST, key.endswith("_target_"), key.count("."), key

    return sorted(keys, key=rank)


def _words_apart(rows: Sequence[_Row], differing: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The settings of each row, as overrides, that tell it from the other rows: the first, and more where needed."""
    chosen: list[tuple[str, ...]] = [() for _ in rows]
    for number, key in enumerate(differing):
        more = [_words(row, key) for row in rows]
        longer = [(*before, *word) for before, word in zip(chosen, more, strict=True)]
        if number < MOST_WORDS or len(set(longer)) > len(set(chosen)):
            chosen = longer
    times = Counter(chosen)
    for words, row in zip(chosen, rows, strict=True):
        unknown = (f"{DIGEST}={row.digest[:8] if row.digest else 'unknown'}",)
        yield unknown if not row.by_version or times[words] > 1 else words


def _words(row: _Row, key: str) -> tuple[str, ...]:
    """The setting as an override; none where the row lacks it."""
    if key not in row.values:
        return ()
    value = row.values[key]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return (f"{key}={text if len(text) <= MOST_LETTERS else f'{text[:LONGEST]}…{digest(text)[:8]}'}",)

"""Runs grouped over their seeds, each group named by its overrides, in the order of their validation accuracy.

Test images have no part in the order: what was chosen by them would be flattered by them. A group that lacks the
results of some seeds stands below all complete ones, since those of its seeds that are left may be the lucky ones.
Groups of each data set are ranked, corrected and compared by themselves.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from kd_runner.command_line.overrides import split
from kd_runner.comparison.data_sets import data_sets_of
from kd_runner.comparison.equal_settings import rows_of
from kd_runner.comparison.equal_students import mark_equal_students
from kd_runner.comparison.gap import gap_of
from kd_runner.comparison.groups import Group, by_data_set, corrected_gains, gain_of, gain_over
from kd_runner.errors import SettingsError
from kd_runner.files.recorded_words import without_plus
from kd_runner.files.results import MissingRun, Run, decisive_words, typed_seeds

DEFAULTS = "defaults"  # the name of a row for which nothing but seeds was typed
DIGITS = 9  # of an accuracy: sums of equal numbers in another order are the same


def compared_groups(
    runs: Sequence[Run], reference: str | None = None, missing: Iterable[MissingRun] = ()
) -> list[Group]:
    """The groups, in their order, named by the overrides in which they differ, each compared with the reference.

    Those of one data set follow those of another. Of each, complete groups come first, by their accuracy on the
    validation images, the first of equals first. Those whose accuracy there is not known follow, by that on the test
    images.

    Args:
        reference: A part of the reference's name; of several groups of a data set with it, the first. None: no
            comparison.
        missing: The runs without a result, which make a group incomplete.

    Raises:
        SettingsError: no group has such a name.
    """
    groups = [
        Group((*row.words, *row.apart), row.runs, differing=row.differing, data_set=data_set.name)
        for data_set in data_sets_of(runs)
        for row in rows_of(data_set.runs)
    ]
    lacking = _lacking_seeds(missing)
    common = _words_in_common([group.words for group in groups], lacking)
    words_of = [{_less_root(run.words) for run in group.runs} for group in groups]
    times = Counter(words for of_group in words_of for words in of_group)
    for group, of_group in zip(groups, words_of, strict=True):
        group.name = _name_of(group.words, common)
        seeds = {run.seeds for run in group.runs}
        # Of rows with the same overrides, nothing says which of them a run without a result would be in.
        lacks = set().union(*(lacking.get(words, set()) for words in of_group if times[words] == 1))
        group.planned = len(seeds | lacks)
        group.gain, group.gap = gain_of(group), gap_of(group)
    ranked = [sorted(of_data_set, key=_place) for of_data_set in by_data_set(groups)]
    for of_data_set in ranked:
        mark_equal_students(of_data_set)
        taught = [group for group in of_data_set if group.taught]
        gains_at = [functools.partial(gain_of, group) for group in taught]
        gains = corrected_gains([group.gain for group in taught], gains_at, _same_as(taught))
        for group, corrected in zip(taught, gains, strict=True):
            group.corrected = corrected
    groups = [group for of_data_set in ranked for group in of_data_set]
    if reference is not None and groups:
        if not any(_with_words(reference, of_data_set, common) for of_data_set in ranked):
            names = ", ".join(group.name for group in groups)
            raise SettingsError(f"reference: must be part of a row's name, got {without_plus(reference)}: {names}")
        for of_data_set in ranked:
            for group in _with_words(reference, of_data_set, common)[:1]:
                _compare_with(group, of_data_set)
    return groups


def _name_of(words: Sequence[str], common: Iterable[str]) -> str:
    """The name of a row: its words that not all rows have, else all that were typed but for a folder of data."""
    differing = _listed_modes(word for word in words if word not in common)
    return " ".join(differing or _listed_modes(_less_root(words))) or DEFAULTS


def _same_as(groups: Sequence[Group]) -> list[int | None]:
    """The index, for each group, of the group with the same students that counts for both; None where there is none."""
    index_of = {id(group): index for index, group in enumerate(groups)}
    return [None if group.same_as is None else index_of.get(id(group.same_as)) for group in groups]


def _place(group: Group) -> tuple[bool, bool, float]:
    """A key to sort groups by, the best first."""
    chosen_by = group.val_accuracy
    accuracy = group.mean("student", "accuracy") if chosen_by is None else chosen_by
    return group.lacking > 0, chosen_by is None, -round(accuracy or 0.0, DIGITS)


def _lacking_seeds(missing: Iterable[MissingRun]) -> dict[tuple[str, ...], set[tuple[str, ...]]]:
    """The seeds of the runs without a result, by the words of their groups."""
    seeds: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for run in missing:
        overrides = split(run.words)
        seeds.setdefault(_less_root(decisive_words(overrides)), set()).add(run.seeds or typed_seeds(overrides))
    return seeds


def _words_in_common(words_of_groups: Iterable[tuple[str, ...]], missing: Iterable[tuple[str, ...]]) -> set[str]:
    """The words that all groups have.

    Those of an only group have it beside the runs without a result whose overrides are of the same keys, which are of
    the same sweep: a setting of which only one value gave results is still one of several.
    """
    groups = list(words_of_groups)
    common = set.intersection(*map(set, groups)) if groups else set()
    if len(groups) == 1:
        keys = _keys(_less_root(groups[0]))
        for words in missing:
            if _keys(words) == keys:
                common = {word for word in common if word in words or not _less_root([word])}
    return common


def _keys(words: Iterable[str]) -> frozenset[str]:
    return frozenset(word.partition("=")[0] for word in words)


def _listed_modes(words: Iterable[str]) -> list[str]:
    """The words with several modes as people type them: `distillation=[a,b]` for the mode a, and b in `plus`."""
    words = list(words)
    first = next((word for word in words if word.startswith("distillation=")), None)
    more = [word for word in words if re.fullmatch(r"\+distillation@plus\.(\w+)=\1", word)]
    if first is None or not more:
        return words
    modes = [word.rpartition("=")[2] for word in (first, *more)]
    return [f"distillation=[{','.join(modes)}]" if word == first else word for word in words if word not in more]


def _less_root(words: Iterable[str]) -> tuple[str, ...]:
    """The words less that for where the images were, which a sweep on several machines has in several forms."""
    return tuple(word for word in words if not word.startswith("dataset.root="))


def _with_words(reference: str, groups: Sequence[Group], common: Iterable[str]) -> list[Group]:
    """The groups with these words in their names, else those with a part of their names that is written so.

    `defaults` finds the group without a word that others lack, too, whose name is all that was typed.
    """
    reference = without_plus(reference)
    return (
        [group for group in groups if reference in group.name.split()]
        or [group for group in groups if reference in group.name]
        or [group for group in groups if reference == DEFAULTS and set(group.words) <= set(common)]
    )


def _compare_with(reference: Group, groups: Sequence[Group]) -> None:
    """Give all other groups their gain over the reference; those of its own students need no correction."""
    compared = [group for group in groups if group is not reference]
    for group in compared:
        group.against, group.reference = gain_over(group, reference), reference.name
    known = reference.same_as or reference
    distinct = [group for group in compared if group is not known and group.same_as is not known]
    gains_at = [functools.partial(gain_over, group, reference) for group in distinct]
    gains = corrected_gains([group.against for group in distinct], gains_at, _same_as(distinct))
    for group, gain in zip(distinct, gains, strict=True):
        group.against = gain

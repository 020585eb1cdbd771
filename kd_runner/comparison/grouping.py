"""Runs grouped over their seeds, each group named by its overrides, the best first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kd_runner.comparison.gap import gap_of
from kd_runner.comparison.groups import Group, compare_groups, gain_of
from kd_runner.errors import SettingsError
from kd_runner.files.results import Run


def compared_groups(runs: Sequence[Run], reference: str | None = None) -> list[Group]:
    """The groups, the best first, named by the overrides in which they differ, each compared with the reference.

    Args:
        reference: A part of the reference's name; of several groups with it, the best. None: no comparison.

    Raises:
        SettingsError: no group has such a name.
    """
    by_words: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        by_words.setdefault(run.words, []).append(run)
    common = Counter(word for words in by_words for word in words)
    groups = [Group(words, members) for words, members in by_words.items()]
    for group in groups:
        group.name = " ".join(word for word in group.words if common[word] < len(groups)) or "defaults"
        group.gain, group.gap = gain_of(group), gap_of(group)
    groups.sort(key=lambda group: -group.accuracies.mean())
    if reference is None or not groups:
        return groups
    chosen = [group for group in groups if reference in group.name.split()] or [
        group for group in groups if reference in group.name
    ]
    if not chosen:
        raise SettingsError(
            f"reference: must be part of a row's name, got {reference}: {', '.join(g.name for g in groups)}"
        )
    for group in groups:
        if group is not chosen[0]:
            group.against = {"name": chosen[0].name, **compare_groups(group, chosen[0])}
    return groups

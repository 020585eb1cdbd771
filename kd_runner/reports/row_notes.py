"""Sentences on rows of a leaderboard that one might take for comparable, or for different, and that are not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from kd_runner.comparison.groups import Group, by_data_set
from kd_runner.files.results import Run

MOST_RANKS = 8  # ranks that a sentence names
MOST_SEEDS = 8  # seeds of a row, or folders, that it names
MOST_SETS = 4  # different sets of seeds that it names
NO_RANKING_ACROSS = (
    "Results on different test images say nothing about which settings are better: each data set has a ranking and a "
    "correction for its number of rows of its own."
)


def row_notes(groups: Sequence[Group]) -> list[str]:
    """The sentences on groups in the order of their rows: several data sets, other seeds, and the same students."""
    rank_of = {id(group): rank for rank, group in enumerate(groups, 1)}
    return [
        *_on_data_sets(groups, rank_of),
        *(sentence for ranked in by_data_set(groups) for sentence in _on_other_seeds(ranked, rank_of)),
        *_on_equal_students(groups, rank_of),
    ]


def note_on_repeated(runs: Sequence[Run], counted: Sequence[Run]) -> list[str]:
    """A sentence on the runs that are not counted, as others of the same settings and seeds are; none where all are."""
    folders = {run.folder for run in counted}
    left_out = [run.folder for run in runs if run.folder not in folders]
    if not left_out:
        return []
    which = "run has" if len(left_out) == 1 else "runs have"
    return [
        f"{len(left_out):,} {which} the settings and seeds of a later one, which counts alone (not counted: "
        f"{_first_and_count(left_out)})."
    ]


def first_ranks(ranks: Sequence[int]) -> str:
    """The first ranks of rows with commas, and the number of the others, such as 'rows 2, 4 and 3 more'."""
    more = f" and {len(ranks) - MOST_RANKS} more" if len(ranks) > MOST_RANKS else ""
    return f"row{'' if len(ranks) == 1 else 's'} {', '.join(map(str, ranks[:MOST_RANKS]))}{more}"


def _on_data_sets(groups: Sequence[Group], rank_of: dict[int, int]) -> Iterator[str]:
    ranked = by_data_set(groups)
    if len(ranked) > 1:
        parts = [f"{part[0].data_set} ({first_ranks([rank_of[id(group)] for group in part])})" for part in ranked]
        yield f"The runs are of {len(ranked)} data sets: {'; '.join(parts)}. {NO_RANKING_ACROSS}"


def _on_other_seeds(groups: Sequence[Group], rank_of: dict[int, int]) -> Iterator[str]:
    """A sentence where complete rows of one data set do not have the same seeds."""
    ranks: dict[frozenset[tuple[str, ...]], list[int]] = {}
    for group in groups:
        if not group.lacking:
            ranks.setdefault(frozenset(run.seeds for run in group.runs), []).append(rank_of[id(group)])
    if len(ranks) > 1:
        data_seeds = {seeds[1:] for of_rows in ranks for seeds in of_rows}
        parts = [
            f"{first_ranks(of_rows)}: {_seeds_in_words(seeds, len(data_seeds) > 1)}"
            for seeds, of_rows in list(ranks.items())[:MOST_SETS]
        ]
        more = ["and others"] if len(ranks) > MOST_SETS else []
        common = len(frozenset.intersection(*ranks))
        yield (
            f"Not all rows have the same seeds ({'; '.join([*parts, *more])}): their order may be that of their seeds. "
            f"All have {common if common else 'none'} in common; --reference compares rows on those that both have."
        )


def _seeds_in_words(seeds: frozenset[tuple[str, ...]], with_data_seed: bool) -> str:
    """The seeds of a row, such as 'seeds 0, 1, 2'; those of the data and the fold behind a colon where they differ."""
    texts = [
        f"{first}:{':'.join(others)}" if with_data_seed else first for first, *others in sorted(seeds, key=_by_size)
    ]
    return f"seed{'' if len(texts) == 1 else 's'} {_first_and_count(texts)}"


def _by_size(seeds: Sequence[str]) -> list[tuple[int, str]]:
    return [(len(seed), seed) for seed in seeds]


def _first_and_count(things: Sequence[str | Path]) -> str:
    more = f" and {len(things) - MOST_SEEDS} more" if len(things) > MOST_SEEDS else ""
    return ", ".join(map(str, things[:MOST_SEEDS])) + more


def _on_equal_students(groups: Sequence[Group], rank_of: dict[int, int]) -> Iterator[str]:
    ranks: dict[int, list[int]] = {}
    for group in groups:
        if group.same_as is not None:
            ranks.setdefault(id(group.same_as), [rank_of[id(group.same_as)]]).append(rank_of[id(group)])
    for of_rows in ranks.values():
        rows = first_ranks(sorted(of_rows))
        yield (
            f"{rows[0].upper()}{rows[1:]} are the same students for every seed that they share: their settings have "
            "the same effect. They count once in corrections for the number of rows."
        )

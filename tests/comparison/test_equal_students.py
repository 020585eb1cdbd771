"""Rows of the same students are told, and are one hypothesis."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from leaderboard_cases import right, write_run

from kd_runner.comparison.grouping import compared_groups
from kd_runner.comparison.groups import Group, corrected_gains
from kd_runner.comparison.statistics import SURE, Gain
from kd_runner.files.results import find_runs
from kd_runner.reports.leaderboard import leaderboard_of, terminal_text

GAINS = {0: 0.02, 1: 0.024, 2: 0.021, 3: 0.018}
OTHERS = {0: 0.01, 1: -0.02, 2: 0.03}


def write(folder: Path, mode: str, gains: dict[int, float], with_curve: bool = True) -> None:
    """Runs of a mode whose students have these gains for each seed; equal gains are equal students."""
    for seed, gain in gains.items():
        job = write_run(folder / f"{mode}{seed}", [f"distillation={mode}", f"seed={seed}"], right(80 + seed))
        result = json.loads((job / "result.json").read_text())
        result["student"]["nll"] = 0.5 + gain
        result["student"]["val_accuracies"] = [0.5, 0.6 + gain] if with_curve else None
        result["baseline"]["accuracy"] = result["student"]["accuracy"] - gain
        (job / "result.json").write_text(json.dumps(result))


def groups_of(folder: Path, reference: str | None = None) -> dict[str, Group]:
    return {group.name: group for group in compared_groups(find_runs([folder])[0], reference)}


def test_rows_of_the_same_students_count_once(tmp_path: Path) -> None:
    write(tmp_path, "soft", GAINS)
    write(tmp_path, "hybrid", {seed: GAINS[seed] for seed in (1, 2, 3)})
    write(tmp_path, "dkd", OTHERS)
    groups = groups_of(tmp_path)
    soft, hybrid, dkd = (groups[f"distillation={mode}"] for mode in ("soft", "hybrid", "dkd"))
    assert hybrid.same_as is soft
    assert soft.same_as is dkd.same_as is None
    assert soft.gain is not None
    assert soft.corrected is not None
    assert hybrid.corrected is not None
    assert hybrid.gain is not None
    assert soft.gain.p is not None
    assert hybrid.gain.p is not None
    assert {group.corrected.rows for group in groups.values() if group.corrected} == {2}
    assert soft.corrected.p == pytest.approx(2 * soft.gain.p)
    assert hybrid.corrected.p == pytest.approx(2 * hybrid.gain.p)
    leaderboard = leaderboard_of([tmp_path])
    ranks = {group.name: rank for rank, group in enumerate(leaderboard.groups, 1)}
    first, second = sorted((ranks["distillation=soft"], ranks["distillation=hybrid"]))
    line = f"Rows {first}, {second} are the same students for every seed that they share: their settings have the same"
    assert line in " ".join(terminal_text(leaderboard, None).split())
    assert "Of 2 rows with a teacher, 1 gained, 1 without a sure difference" in str(leaderboard.verdict)


def test_other_numbers_other_seeds_and_results_without_curves_are_other_students(tmp_path: Path) -> None:
    write(tmp_path / "a", "soft", GAINS)
    write(tmp_path / "a", "hybrid", GAINS | {3: 0.019})
    write(tmp_path / "a", "dist", dict.fromkeys((4, 5), GAINS[0]))
    assert all(group.same_as is None for group in groups_of(tmp_path / "a").values())
    write(tmp_path / "b", "soft", GAINS, with_curve=False)
    write(tmp_path / "b", "hybrid", GAINS, with_curve=False)
    assert all(group.same_as is None for group in groups_of(tmp_path / "b").values())
    assert not any("same students" in note for note in leaderboard_of([tmp_path / "a"]).order_notes)


def test_a_row_of_the_references_students_takes_no_part_in_the_correction(tmp_path: Path) -> None:
    for mode, gains in (("soft", GAINS), ("hybrid", GAINS), ("dkd", OTHERS), ("at", {0: 0.0, 1: 0.01, 2: 0.03})):
        write(tmp_path, mode, gains)
    groups = groups_of(tmp_path, "distillation=hybrid")
    assert {name[13:]: group.against.rows for name, group in groups.items() if group.against} == {
        "soft": 1,
        "dkd": 2,
        "at": 2,
    }


def test_a_row_with_fewer_seeds_is_no_surer_than_the_one_that_counts() -> None:
    """Its p may be lower by chance; its interval excludes 0 where its corrected p is below 0.05, and not else."""
    gains = [Gain(0.01, 5, p=0.04), Gain(0.01, 4, p=0.001), Gain(0.01, 5, p=0.5), Gain(0.01, 4, p=0.045)]
    errors: dict[int, float] = {}

    def at(index: int, error: float) -> Gain:
        errors[index] = error
        return gains[index]

    gain_at = [lambda error, index=index: at(index, error) for index in range(4)]
    corrected = corrected_gains(gains, gain_at, [None, 0, None, 0])
    assert [gain and gain.p for gain in corrected] == pytest.approx([0.08, 0.08, 0.5, 0.09])
    assert {gain and gain.rows for gain in corrected} == {2}
    assert errors == pytest.approx({0: SURE / 2, 1: SURE / 80, 3: SURE / 2})
    alone = corrected_gains(gains, gain_at)
    assert [gain and gain.p for gain in alone] == pytest.approx([0.12, 0.004, 0.5, 0.12])

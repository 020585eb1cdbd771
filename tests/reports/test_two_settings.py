"""The table of two settings: its values in their order, and means where there are further settings."""

from __future__ import annotations

from pathlib import Path

from leaderboard_cases import right, write_run

from kd_runner.comparison.grouping import compared_groups
from kd_runner.files.results import find_runs
from kd_runner.reports.two_settings import number_or_text, two_settings


def test_cells_are_the_mean_accuracies_of_their_two_settings(tmp_path: Path) -> None:
    grid = [(mode, value, rate) for mode in ("soft", "dkd") for value in (1, 2, 10) for rate in (0.1, 0.2)]
    for number, (mode, value, rate) in enumerate(grid):
        words = [f"distillation={mode}", f"temperature.value={value}", f"optimizer.lr={rate}"]
        write_run(tmp_path / str(number), words, right(80 + value - (mode == "dkd") + 2 * (rate == 0.2)))
    groups = compared_groups(find_runs([tmp_path])[0], None)
    table = two_settings(groups)
    assert table is not None
    assert table["down"] == "temperature.value"
    assert {table["across"], *table["averaged"]} == {"distillation", "optimizer.lr"}
    assert [row for row, _ in table["rows"]] == ["1", "2", "10"]  # numbers in their order, not in that of their letters
    if table["across"] == "distillation":
        assert table["columns"] == ["dkd", "soft"]
        assert table["rows"][2][1] == [("90.00", 0.9), ("91.00", 1.0)]
    else:
        assert table["rows"][2][1] == [("89.50", 0.826), ("91.50", 1.0)]
    assert two_settings(groups[:1]) is None


def test_values_of_settings_are_sorted_by_what_they_are_worth() -> None:
    assert sorted(["10", "soft", "2", "1e-3", "dkd"], key=number_or_text) == ["1e-3", "2", "10", "dkd", "soft"]

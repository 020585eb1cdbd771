"""The files of a sweep's report."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from leaderboard_cases import sweep_of_two_modes

from kd_runner.files import read_cache
from kd_runner.reports import leaderboard
from kd_runner.reports.sweep_report import report
from kd_runner.tracking import hparams


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return sweep_of_two_modes(tmp_path / "sweep")


def test_the_files(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report([sweep], sweep, reference="distillation=hard")
    printed = capsys.readouterr().out
    assert re.search(r"1 +distillation=soft +3 +82\.00 +82\.00 ± 2\.00 +\+2\.00 ± 0\.00", printed)
    assert (
        "No room for images seen; seconds; NLL; agreement; gap closed; 95 %; parameters: see leaderboard.csv."
        in printed
    )
    assert "failed: the loss is not finite" in printed
    with (sweep / "leaderboard.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == leaderboard.COLUMNS
    assert float(lines[0]["test_accuracy"]) == pytest.approx(0.82)
    assert lines[0]["reference"] == "distillation=hard"
    markdown = (sweep / "leaderboard.md").read_text()
    assert "| 1 | distillation=soft | 3 | 82.00 | 82.00 ± 2.00 |" in markdown


def test_the_table_of_tensorboard_is_made_again_where_a_file_has_changed_and_not_before(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_cache, "SETTLED", 0.0)
    monkeypatch.setattr(read_cache, "FEWEST", 1)
    write, written = hparams.write, []
    monkeypatch.setattr(hparams, "write", lambda *given: written.append(write(*given)))
    for path in sweep.glob("*/result.json"):
        (path.parent / "settings.json").write_text(json.dumps({"seed": 0, "optimizer": {"lr": 0.1}}, indent=2))

    def tables_after(change: str) -> int:
        written.clear()
        if change:
            path, before, after = change.split(" ")
            (sweep / path).write_text((sweep / path).read_text().replace(before, after))
        report([sweep], sweep)
        return len(written)

    assert [tables_after("") for _ in range(3)] == [1, 0, 0]
    assert [tables_after("0/settings.json 0.1 0.2"), tables_after("")] == [1, 0]
    assert [tables_after("1/result.json 12.0 13.0"), tables_after("")] == [1, 0]
    (sweep / "tensorboard" / leaderboard.NAME / hparams.FILE).unlink()
    assert [tables_after(""), tables_after("")] == [1, 0]

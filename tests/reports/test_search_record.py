"""A search in a report: it leads with the trial that the validation images chose."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from leaderboard_cases import right, search_of, write_run
from page_text import text_of

from kd_runner.reports.leaderboard import leaderboard_of, terminal_text
from kd_runner.reports.sweep_report import report


def test_the_report_leads_with_the_trial_that_validation_chose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = search_of(tmp_path / "search")
    report([folder], folder)
    page = text_of(folder / "report.html")
    printed = " ".join(capsys.readouterr().out.split())
    markdown = (folder / "leaderboard.md").read_text()
    for text in (page, printed, markdown):
        assert "Trial 1 chosen: validation accuracy 90.00 %" in text
        assert "Its test accuracy, which had no part in the choice, is 75.00 %." in text
        assert "3 of 4 trials were completed, 1 pruned." in text
        assert "Of the spread of validation accuracy between trials: temperature.value 75 %, batch_size 25 %." in text
        assert "kd-runner student=mlp temperature.value=2" in text
    assert page.index("Trial 1 chosen") < page.index("Search") < page.index("Leaderboard")
    assert "the line is the best so far" in page
    assert (folder / "report.html").read_text().count('<tr class="first"><td>1</td>') == 1


def test_several_objectives_have_a_front_and_no_command(tmp_path: Path) -> None:
    objectives = [{"name": "accuracy", "title": "validation accuracy", "better": "higher"},
                  {"name": "parameters", "title": "parameters", "better": "lower"}]  # fmt: skip
    best = [{"number": number, "folder": str(number), "overrides": [], "words": [], "accuracy": 0.9 - number / 10,
             "parameters": 2000 - 1000 * number} for number in (0, 1)]  # fmt: skip
    folder = search_of(tmp_path, objectives=objectives, best=best)
    (search,) = leaderboard_of([folder]).searches
    assert search.headline == "2 trials that no other betters in validation accuracy and parameters"
    assert "They are trial 0 (validation accuracy 90.00 %, parameters 2,000); trial 1 (" in " ".join(search.sentences)
    assert search.commands == []


def test_a_search_without_importances_says_why(tmp_path: Path) -> None:
    reason = "it takes 10 completed trials to tell what the keys count for, there are 3"
    folder = search_of(tmp_path, importances={}, no_importances=reason)
    assert f"I{reason[1:]}." in terminal_text(leaderboard_of([folder]), None)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("[]", "search.json: holds a list in place of an object: the search is not shown"),
        ('{"history": 3}', "search.json: not as kd-runner writes it: the search is not shown"),
        ('{"trials": {}, "best": []}', ""),  # of an earlier version
    ],
)
def test_a_record_of_anyones_costs_no_report(tmp_path: Path, content: str, line: str) -> None:
    folder = search_of(tmp_path)
    (folder / "search.json").write_text(content)
    leaderboard = leaderboard_of([folder])
    assert leaderboard.searches == []
    assert [fault.endswith(line) for fault in leaderboard.left_out] == ([True] if line else [])


def test_a_command_of_anyones_is_one_of_kd_runner(tmp_path: Path) -> None:
    chosen = {"number": 1, "folder": "1", "overrides": ["x=1"], "words": ["a=1; rm -rf ~", "$(x)"], "accuracy": "high"}
    (search,) = leaderboard_of([search_of(tmp_path, best=[chosen])]).searches
    assert search.commands == ["kd-runner 'a=1; rm -rf ~' '$(x)'"]
    assert search.headline == "Trial 1 chosen: validation accuracy –"


def test_a_chosen_trial_has_its_own_test_accuracy_and_folder_of_options(tmp_path: Path) -> None:
    """Trial 2 has the settings of trial 1, so that its run takes the place of that in the leaderboard."""
    folder = search_of(tmp_path)
    again = json.loads((folder / "2" / "result.json").read_text()) | {
        "overrides": ["student=mlp", "temperature.value=2"]
    }
    (folder / "2" / "result.json").write_text(json.dumps(again))
    chosen = json.loads((folder / "1" / "result.json").read_text()) | {"config_dir": "/my conf"}
    (folder / "1" / "result.json").write_text(json.dumps(chosen))
    os.utime(folder / "1" / "result.json", (1e9, 1e9))
    leaderboard = leaderboard_of([folder])
    (search,) = leaderboard.searches
    assert len(leaderboard.runs) == 2
    assert [row["test"] for row in search.rows] == [0.7, 0.75, 0.99]
    assert "Its test accuracy, which had no part in the choice, is 75.00 %." in " ".join(search.sentences)
    assert search.commands == ["kd-runner '--config-dir=/my conf' student=mlp temperature.value=2"]


def test_the_test_accuracy_of_a_trial_with_several_seeds_is_their_mean(tmp_path: Path) -> None:
    """A run whose seed failed is in neither the mean nor its number; the folder of another trial is none of a seed."""
    folder = search_of(tmp_path)
    record = json.loads((folder / "search.json").read_text())
    for trial in (record["best"][0], record["history"][1]):
        trial["seeds"] = 3
    (folder / "search.json").write_text(json.dumps(record))
    for seed, test in ((1, 51), (2, 60)):
        write_run(folder / f"1_seed{seed}", ["student=mlp", "temperature.value=2", f"seed={seed}"], right(test))
    write_run(folder / "0_seed1", ["student=mlp", "temperature.value=9", "seed=1"], right(5))  # trial 0 has one seed
    (search,) = leaderboard_of([folder]).searches
    assert "the choice, is 62.00 %, the mean of 3 seeds." in search.sentences[0]
    assert [row["test"] for row in search.rows] == pytest.approx([0.7, 0.62, 0.99])
    (folder / "1_seed2" / "result.json").write_text('{"status": "failed"}')
    (search,) = leaderboard_of([folder]).searches
    assert "the choice, is 63.00 %, the mean of 2 seeds." in search.sentences[0]


def test_numbers_that_no_result_has_are_not_shown(tmp_path: Path) -> None:
    odd = {"number": 1, "folder": "1", "overrides": [], "words": [], "accuracy": 10**400, "status": "complete"}
    folder = search_of(tmp_path, best=[odd], history=[odd])
    (search,) = leaderboard_of([folder]).searches
    assert (search.headline, search.rows[0]["values"]) == ("Trial 1 chosen: validation accuracy –", [(None, "–")])
    report([folder], folder)
    assert "0" * 400 not in (folder / "report.html").read_text()

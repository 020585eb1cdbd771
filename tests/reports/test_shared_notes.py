"""Notes of several runs: each once, with the number of runs that have it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_runs import class_names, made_run
from page_text import text_of

from kd_runner.reports.sweep_report import report


def test_a_sweep_says_each_note_once_with_how_many_runs_have_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warning = "The teacher (t.safetensors) is right on {}.0 % of 100 validation images; it is at chance"
    for seed in range(3):
        notes = [
            "of all",
            *(["of two"] if seed else []),
            f"{seed + 5} files are not read",
            *(f"note {letter}" for letter in "abcdefghijklm"[:9] if seed == 2),
            warning.format(seed),
        ]
        folder = made_run(
            tmp_path / str(seed), class_names(3), {"notes": notes, "overrides": [f"seed={seed}"], "seed": seed}
        )
        result = json.loads((folder / "result.json").read_text())
        if seed < 2:
            result["teacher"]["judged"] = {"warning": warning.format(seed)}
        else:
            result["notes"].pop()
        (folder / "result.json").write_text(json.dumps(result))
    page = report([tmp_path], tmp_path)
    printed = capsys.readouterr().out
    expected = [
        f"- {warning.format(0)} (2 of 3 runs, elsewhere with other numbers)",
        "- of all (all 3 runs)",
        "- 5 files are not read (all 3 runs, elsewhere with other numbers)",
        "- of two (2 of 3 runs)",
        *(f"- note {letter} (1 of 3 runs)" for letter in "abcd"),
        "- 5 more in report.html",
    ]
    assert "\n".join(["Notes:", *expected]) in printed
    assert "\n".join(["Notes:", "", *expected]) in (tmp_path / "leaderboard.md").read_text()
    assert f'<li class="warning">{warning.format(0)} <span' in page.read_text()
    text = text_of(page)
    assert text.index("Notes") < text.index("The teacher (t.safetensors)") < text.index("of all (all 3 runs)")
    assert text.index("1 more") < text.index("note i (1 of 3 runs)") < text.index("Leaderboard")
    assert all(text.count(line) == 1 for line in ("of two (", "5 files are not read", "The teacher (t.safetensors)"))
    assert text.count("files are not read") == 1

"""`kd-runner -m folds=2` on a table of images: a job of each fold, one row in the report, and a resumed sweep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from manifests import labelled_images, write_manifest
from sweep_commands import SHORT, started

pytestmark = pytest.mark.slow
SMALL = ("dataset.image_size=6", "dataset.cache=cache", "teacher=mlp", "student=tiny_mlp", "trainer.accelerator=cpu")


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "sweep").glob("*/result.json"))]


def test_a_cross_validation_of_a_table(tmp_path: Path) -> None:
    rows = [(path, label, f"p{number // 2}") for number, (path, label) in enumerate(labelled_images(tmp_path, 36))]
    write_manifest(tmp_path / "m.csv", rows, ("path", "label", "patient"))
    words = (
        "folds=2",
        "distillation=soft,logits_l2",
        "dataset=manifest",
        "dataset.root=m.csv",
        "dataset.group=patient",
    )
    command = started(tmp_path, *words, *SMALL, *SHORT)
    output, errors = command.communicate(timeout=300)
    assert command.returncode == 0, errors
    done = results(tmp_path)
    assert [(result["data"]["fold"], result["data"]["test"]) for result in done] == [(0, 18), (0, 18), (1, 18), (1, 18)]
    # The two modes of a fold share its teacher, its test images and a process; folds share none of them.
    teachers = [result["teacher"]["nll"] for result in done]
    assert teachers[::2] == teachers[1::2]
    assert len(set(teachers)) == 2 == len(list((tmp_path / "store").iterdir()))
    assert {result["environment"]["side_by_side"] for result in done} == {2}
    assert len({result["data"]["fingerprints"]["test"] for result in done}) == 2
    table = (tmp_path / "sweep" / "leaderboard.csv").read_text().splitlines()
    assert [line.split(",")[:4] for line in table[1:]] == [
        ["1", table[1].split(",")[1], "2", "2"],
        ["2", table[2].split(",")[1], "2", "2"],
    ]
    assert {line.split(",")[1] for line in table[1:]} == {"distillation=soft", "distillation=logits_l2"}
    before = done[3]["student"]
    (tmp_path / "sweep" / "3" / "result.json").unlink()
    again = started(tmp_path, "resume=sweep")
    output, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert "3 of 4 jobs were completed before" in output + errors
    after = results(tmp_path)[3]["student"]
    assert {name: after[name] for name in ("accuracy", "nll")} == {name: before[name] for name in ("accuracy", "nll")}

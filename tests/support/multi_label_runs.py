"""The folder of a short run whose images may have several labels, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.config.settings import check
from kd_runner.runs.run import run

LABELS = (
    *("dataset=digit_tiles", "dataset.train_images=120", "dataset.val_images=40", "dataset.test_images=60"),
    *("teacher.epochs=3", "student.epochs=2", "teacher.channels=[8,8]", "teacher.hidden=[]", "student.channels=[4,4]"),
)


@pytest.fixture(scope="session")
def label_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on pictures of several digits; tests leave it as it is."""
    from conftest import composed  # which imports this module

    top = tmp_path_factory.mktemp("labels")
    folder = top / "run"
    folder.mkdir()
    run(check(composed(*LABELS, f"store={top / 'store'}")), folder, LABELS)
    return folder

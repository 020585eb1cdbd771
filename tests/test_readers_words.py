"""The command line about data sets: files that cannot be read, and settings of another data set."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_folders import write_plain_classes
from jobs import Job, finished


@pytest.mark.parametrize("policy", ["error", "skip"])
def test_the_answer_says_why_files_cannot_be_read_and_what_a_run_would_do(tmp_path: Path, policy: str) -> None:
    root = write_plain_classes(tmp_path / "images", "a", "b")
    (root / "a" / "empty.png").write_bytes(b"")
    words = ["dataset=image_folder", f"dataset.root={root}", "dataset.cache=null", f"dataset.on_bad_image={policy}"]
    text = finished(tmp_path, *words, "dataset=?").text("out")
    effect = {
        "error": "a run would stop (dataset.on_bad_image=skip leaves them out)",
        "skip": "they are left out (dataset.on_bad_image)",
    }[policy]
    assert f"broken   1 of 7 images cannot be read: {effect}\n         a/empty.png (it is empty)\n" in text


def test_a_key_of_another_option_names_that_option(tmp_path: Path) -> None:
    job = Job(tmp_path, "dataset.root=/x", "dataset=?")
    assert job.wait() == 2
    others = "cifar10 or cifar100 or fashion_mnist or image_folder or mnist"
    assert job.text("err") == f"kd-runner: dataset.root: dataset=digits has no root; dataset={others} has\n"

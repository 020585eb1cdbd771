"""What a run's folder says of its images and its evaluation: read with limits, whoever wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kd_runner.deploy.stored_run import DATA_FOLDER, OF_DATA_FOLDER, evaluation_batch_of, read_settings, thread_count
from kd_runner.errors import SettingsError
from kd_runner.redaction import MASK


def write(folder: Path, **changes: Any) -> Path:
    content = {"dataset": {"_target_": OF_DATA_FOLDER, "root": MASK}, "data_seed": 3, "batch_size": 32, "more": 1}
    (folder / "settings.json").write_text(json.dumps(content | changes))
    return folder


def test_a_hidden_folder_of_published_images_is_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    monkeypatch.setenv(DATA_FOLDER, "/data")
    assert read_settings(tmp_path).dataset["root"] == "/data"
    assert read_settings(tmp_path, "/elsewhere").dataset["root"] == "/elsewhere"
    write(tmp_path, dataset={"_target_": "my_data.images", "root": MASK})
    with pytest.raises(
        SettingsError, match=r"hides dataset\.root, which came from the environment; say where .*--root"
    ):
        read_settings(tmp_path)
    write(tmp_path)
    monkeypatch.delenv(DATA_FOLDER)
    with pytest.raises(SettingsError, match=r"hides dataset\.root"):
        read_settings(tmp_path)


def test_settings_of_a_stranger_have_limits(tmp_path: Path) -> None:
    settings = read_settings(write(tmp_path, trainer={"accelerator": "cpu", "threads": 4, "more": "x"}), "/data")
    assert (settings.batch_size, settings.data_seed, settings.trainer.threads, settings.has_cpu) == (32, 3, 4, True)
    for changes, message in (
        ({"batch_size": 2**30}, r"settings\.json: batch_size: "),
        ({"trainer": {"threads": 10**6}}, r"settings\.json: trainer\.threads: "),
        ({"trainer": {"accelerator": "abacus"}}, r"settings\.json: trainer\.accelerator: .*got 'abacus'"),
    ):
        with pytest.raises(SettingsError, match=message):
            read_settings(write(tmp_path, **changes), "/data")


def test_the_threads_of_a_result() -> None:
    assert thread_count({"environment": {"threads": 3}}) == 3
    for result in ({}, {"environment": "x"}, {"environment": {"threads": True}}, {"environment": {"threads": 10**9}}):
        assert thread_count(result) is None


def test_the_evaluation_batch_of_a_result() -> None:
    assert evaluation_batch_of({"data": {"evaluation_batch": 64}}) == 64
    for result in (
        {},
        {"data": "x"},
        {"data": {}},
        *({"data": {"evaluation_batch": n}} for n in (0, True, "9", 10**9)),
    ):
        assert evaluation_batch_of(result) is None


def test_a_relative_folder_of_images_counts_from_where_the_run_was_begun(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    run = begun / "r"
    (run / ".hydra").mkdir(parents=True)
    record = {"hydra": {"runtime": {"cwd": str(begun)}, "run": {"dir": "r"}}}
    (run / ".hydra" / "hydra.yaml").write_text(json.dumps(record))
    write(run, dataset={"_target_": "my_data.images", "root": "photos", "image_root": None})
    assert read_settings(run).dataset["root"] == f"{begun}/photos"
    assert read_settings(run, "photos").dataset["root"] == "photos"  # as typed now, from the current folder

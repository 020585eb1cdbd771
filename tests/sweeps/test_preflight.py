"""The check of a sweep's jobs: an error for each that cannot work, and the networks to be trained first."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import composed

from kd_runner.sweeps import preflight
from kd_runner.sweeps.preflight import Examination


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The settings of a job that can work."""
    store = tmp_path_factory.mktemp("store")
    return {
        name: value
        for name, value in composed("teacher=mlp", "student=tiny_mlp", f"store={store}").items()
        if name != "hydra"
    }


def changed(content: dict[str, Any], section: str, **values: Any) -> dict[str, Any]:
    return {**content, section: {**content[section], **values}}


def test_every_job_is_tried(content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    assemble = preflight.assemble
    monkeypatch.setattr(
        preflight, "assemble", lambda settings, splits: reads.append(splits) or assemble(settings, splits)
    )
    examination = Examination(is_remote=False)
    jobs = {"0": content, "1": {**content, "seed": 1}, "2": changed(content, "optimizer", lr=-1)}
    for job, settings in jobs.items():
        examination.try_job(job, settings, [])
    report = examination.report
    assert report["errors"] == {"2": "optimizer.lr: must be 0 or more, got -1"}
    assert sorted((network["stage"], network["jobs"]) for network in report["networks"].values()) == [
        ("baseline", ["0"]),
        ("baseline", ["1"]),
        ("teacher", ["0"]),
        ("teacher", ["1"]),
    ]
    assert [splits is None for splits in reads] == [True, False, False]  # the data are read once


def test_settings_without_effect_are_reported(content: dict[str, Any]) -> None:
    examination = Examination(is_remote=False)
    hard = {"_target_": "kd_runner.distillation.hard.Hard", "weight": 1.0, "label_weight": 1.0}
    hard_job = {**content, "baseline": False, "distillation": hard}
    for job, settings in {"0": content, "1": hard_job}.items():
        examination.try_job(job, settings, ["temperature.value=3"])
    assert examination.report["errors"] == {}
    assert {job: list(unused) for job, unused in examination.report["unused"].items()} == {
        "0": [],
        "1": ["temperature.value"],
    }
    assert [network["jobs"] for network in examination.report["networks"].values()] == [["0", "1"], ["0"]]


def test_a_job_for_another_machine_is_tried_on_this_one(
    content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight.torch.cuda, "is_available", lambda: False)
    on_gpu = changed(content, "trainer", accelerator="gpu", precision="16-mixed")
    for is_remote in (True, False):
        examination = Examination(is_remote)
        examination.try_job("0", on_gpu, [])
        assert bool(examination.report["errors"]) != is_remote


@pytest.mark.slow  # two rehearsals
def test_the_data_are_read_once_for_all_folds(content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    reads, deals = [], []
    read, deal = preflight.read_whole, preflight.fold_of_settings
    monkeypatch.setattr(preflight, "read_whole", lambda settings: reads.append(1) or read(settings))
    monkeypatch.setattr(
        preflight, "fold_of_settings", lambda settings, splits: deals.append(settings.fold) or deal(settings, splits)
    )
    examination = Examination(is_remote=False)
    for job, (fold, seed) in enumerate([(0, 0), (0, 1), (1, 0)]):
        examination.try_job(str(job), {**content, "folds": 3, "fold": fold, "seed": seed}, [])
    assert (examination.report["errors"], len(reads), deals) == ({}, 1, [0, 1])
    networks = examination.report["networks"].values()
    assert sorted(jobs for network in networks for jobs in network["jobs"]) == ["0", "0", "1", "1", "2", "2"]
    work = examination.report["shared_work"]
    assert len({work["0"], work["1"], work["2"]}) == 3  # jobs of different folds share nothing

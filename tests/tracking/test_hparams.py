"""The HParams table: every run with every column, and what became of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.util import tensor_util

from kd_runner.files import atomic
from kd_runner.files.results import find_runs
from kd_runner.reports.leaderboard import leaderboard_of
from kd_runner.tracking import hparams, sessions


def values_in(folder: Path) -> dict[str, Any]:
    """By their tags, of the file that we write."""
    return {
        value.tag: value
        for event in EventFileLoader(str(folder / hparams.FILE)).Load()
        for value in event.summary.value
    }


def settings_of(folder: Path) -> dict[str, Any]:
    content = values_in(folder)[metadata.SESSION_START_INFO_TAG].metadata.plugin_data.content
    start = metadata.parse_session_start_info_plugin_data(content)
    return {key: getattr(value, value.WhichOneof("kind")) for key, value in start.hparams.items()}


def status_of(folder: Path) -> int | None:
    """None where it has not ended."""
    value = values_in(folder).get(metadata.SESSION_END_INFO_TAG)
    return (
        None
        if value is None
        else metadata.parse_session_end_info_plugin_data(value.metadata.plugin_data.content).status
    )


def experiment_in(root: Path) -> api_pb2.Experiment:
    content = values_in(root / hparams.SUMMARY)[metadata.EXPERIMENT_TAG].metadata.plugin_data.content
    return metadata.parse_experiment_plugin_data(content)


def a_run(folder: Path, words: Iterable[str], settings: dict[str, Any], **result: Any) -> None:
    folder.mkdir(parents=True)
    numbers = {
        "accuracy": 0.9,
        "nll": 0.3,
        "ece": 0.02,
        "brier": 0.1,
        "balanced_accuracy": 0.9,
        "parameters": 100,
        "macs": 1000,
    }
    whole = {
        "status": "completed",
        "overrides": list(words),
        "seed": settings.get("seed", 0),
        "teacher": {**numbers, "accuracy": 0.95},
        "baseline": {**numbers, "accuracy": 0.88},
        "student": {**numbers, "agreement": 0.8, "best_val": {"val_accuracy": 0.85}},
        "gap_closed": 0.25,
        "seconds": {"student": 12.5},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    if result.get("status") != "running":
        (folder / "result.json").write_text(json.dumps(whole | result))
    else:
        (folder / "now.json").write_text(json.dumps({"stage": "student", "epoch": 1, "epochs": 5}))


def soft(**more: Any) -> dict[str, Any]:
    node = {"_target_": "kd_runner.distillation.soft.Soft", "weight": 1.0}
    return {"distillation": node, "temperature": {"_target_": "kd_runner.temperature.Constant", "value": 4.0}} | more


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Five jobs: two modes with settings of their own, one that failed, one that runs, one that has not begun."""
    folder = tmp_path / "sweep"
    dkd = {"distillation": {"_target_": "kd_runner.distillation.dkd.DKD", "weight": 1.0, "other_weight": 8.0}}
    jobs = [["distillation=soft", "seed=0"], ["distillation=dkd", "seed=0"], ["distillation=dkd", "seed=1"],
            ["distillation=soft", "seed=1"], ["distillation=soft", "seed=2"]]  # fmt: skip
    a_run(folder / "0", jobs[0], soft(seed=0, store="here"))
    a_run(folder / "1", jobs[1], soft(seed=0, **dkd), baseline=None, gap_closed=None)
    a_run(folder / "2", jobs[2], soft(seed=1, **dkd), status="failed", error="broken", student=None)
    a_run(folder / "3", jobs[3], soft(seed=1), status="running")
    names = [f"{number}_{mode}" for number, mode in enumerate(("soft", "dkd", "dkd", "soft", "soft"))]
    record = {"jobs": [" ".join(words) for words in jobs], "folders": list("01234"), "names": names}
    atomic.write_json(folder / "sweep.json", record)
    return folder


def written(folders: list[Path], out: Path) -> Path:
    runs, missing = find_runs(folders)
    return hparams.write(out, runs, missing, "| the | table |")


def test_every_run_has_every_column_and_its_true_status(sweep: Path) -> None:
    root = written([sweep], sweep)
    assert root == sweep / "tensorboard"
    rows = {folder.name: settings_of(folder) for folder in root.iterdir() if folder.name != hparams.SUMMARY}
    assert set(rows) == {"0_soft", "1_dkd", "2_dkd", "3_soft", "4_soft"}
    assert rows["0_soft"] == {
        "distillation": "soft", "distillation.other_weight": "-", "seed": "0", "status": "finished",
    }  # fmt: skip
    assert rows["1_dkd"]["distillation.other_weight"] == "8"
    assert all(row.keys() == rows["0_soft"].keys() for row in rows.values())
    assert {name: row["status"] for name, row in rows.items()} == {
        "0_soft": "finished", "1_dkd": "finished", "2_dkd": "failed", "3_soft": "running", "4_soft": "not started",
    }  # fmt: skip
    assert {name: status_of(root / name) for name in rows} == {
        "0_soft": api_pb2.STATUS_SUCCESS, "1_dkd": api_pb2.STATUS_SUCCESS, "2_dkd": api_pb2.STATUS_FAILURE,
        "3_soft": None, "4_soft": api_pb2.STATUS_UNKNOWN,
    }  # fmt: skip


def test_columns(sweep: Path) -> None:
    root = written([sweep], sweep)
    columns = experiment_in(root)
    # What was swept comes first in TensorBoard, which sorts by this and by name.
    assert {info.name for info in columns.hparam_infos if info.differs} == {"distillation", "seed", "status"}
    metrics = {info.name.tag for info in columns.metric_infos}
    assert "final/student_accuracy" in metrics
    # One run has no baseline: as columns, these would take it out of the parallel coordinates.
    assert not metrics & {"final/baseline_accuracy", "final/gain", "final/gap_closed"}
    numbers = {
        tag: tensor_util.make_ndarray(value.tensor).item()
        for tag, value in values_in(root / "0_soft").items()
        if tag.startswith("final/")
    }
    assert numbers["final/student_val_accuracy"] == pytest.approx(0.85)
    assert numbers["final/gain"] == pytest.approx(0.02)
    assert numbers["final/gap_closed"] == pytest.approx(0.25)
    assert numbers["final/seconds"] == pytest.approx(12.5)
    assert len(numbers) == len(sessions.METRICS) - 1  # AUROC is of two classes
    assert not any(tag.startswith("final/") for tag in values_in(root / "2_dkd"))


def test_the_leaderboard_is_there_as_text(sweep: Path) -> None:
    value = values_in(written([sweep], sweep) / hparams.SUMMARY)["leaderboard"]
    assert value.metadata.plugin_data.plugin_name == "text"
    assert list(value.tensor.string_val) == [b"| the | table |"]


def test_writing_again_replaces(sweep: Path) -> None:
    root = written([sweep], sweep)
    sizes = {path: path.stat().st_size for path in root.rglob("*") if path.is_file()}
    written([sweep], sweep)
    assert {path: path.stat().st_size for path in root.rglob("*") if path.is_file()} == sizes
    (sweep / "2" / "result.json").write_text((sweep / "0" / "result.json").read_text())
    written([sweep], sweep)
    assert status_of(root / "2_dkd") == api_pb2.STATUS_SUCCESS


def test_a_file_that_would_be_the_same_is_left_alone_in_any_process(sweep: Path) -> None:
    settings = {f"group{number}": {"value": number, "name": "x" * number} for number in range(12)}
    (sweep / "0" / "settings.json").write_text(json.dumps(soft(seed=0, **settings)))
    curves = sweep / "tensorboard" / "0_soft" / "events.out.tfevents.1.host"
    curves.parent.mkdir(parents=True)
    curves.write_bytes(b"")
    root = written([sweep], sweep)
    content = values_in(root / "0_soft")[metadata.SESSION_START_INFO_TAG].metadata.plugin_data.content
    places = [content.index(key.encode()) for key in sorted(settings_of(root / "0_soft"))]
    assert len(places) > 12
    assert places == sorted(places)  # and not in an order that is another one in each process
    before = (root / "0_soft" / hparams.FILE).stat()
    written([sweep], sweep)
    after = (root / "0_soft" / hparams.FILE).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_only_folders_of_reports_are_deleted(tmp_path: Path) -> None:
    curves = "events.out.tfevents.1.host"
    for name in ("of a report", "of a run", "of a person"):
        (tmp_path / "root" / name).mkdir(parents=True)
        (tmp_path / "root" / name / hparams.FILE).write_bytes(b"")
    (tmp_path / curves).write_bytes(b"")
    (tmp_path / "root" / "of a report" / curves).symlink_to(tmp_path / curves)
    (tmp_path / "root" / "of a run" / curves).write_bytes(b"")
    (tmp_path / "root" / "of a person" / "notes.txt").symlink_to(tmp_path / curves)
    (tmp_path / "root" / "without a table").mkdir()
    (tmp_path / "root" / "without a table" / curves).symlink_to(tmp_path / curves)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / hparams.FILE).write_bytes(b"")
    (tmp_path / "root" / "a link").symlink_to(tmp_path / "elsewhere")
    hparams.delete_earlier_folders(tmp_path / "root")
    assert {path.name for path in (tmp_path / "root").iterdir()} == {
        "of a run", "of a person", "without a table", "a link",
    }  # fmt: skip
    assert (tmp_path / "elsewhere" / hparams.FILE).is_file()
    assert (tmp_path / curves).is_file()
    hparams.delete_earlier_folders(tmp_path / "nothing")


def test_several_sweeps_and_single_runs_in_one_table(sweep: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    a_run(alone, ["distillation=soft", "seed=7"], soft(seed=7))
    (alone / "tensorboard").mkdir()
    (alone / "tensorboard" / "events.out.tfevents.1.host").write_bytes(b"")
    out = tmp_path / "out"
    for _ in range(2):
        root = written([sweep, alone], out)
        names = {folder.name for folder in root.iterdir()}
        assert names == {f"sweep_{each}" for each in ("0_soft", "1_dkd", "2_dkd", "3_soft", "4_soft")} | {
            "alone",
            hparams.SUMMARY,
        }
    link = root / "alone" / "events.out.tfevents.1.host"
    assert link.resolve() == alone / "tensorboard" / "events.out.tfevents.1.host"
    assert settings_of(root / "alone")["seed"] == "7"
    written([alone], out)
    assert {folder.name for folder in root.iterdir()} == {"alone", hparams.SUMMARY}
    assert link.resolve().exists()


def test_two_hundred_runs_take_no_time(tmp_path: Path) -> None:
    for number in range(200):
        a_run(tmp_path / "sweep" / str(number), [f"seed={number}"], soft(seed=number))
    runs, missing = find_runs([tmp_path / "sweep"])
    started = time.process_time()  # not of the clock: other processes may have the cores
    hparams.write(tmp_path / "sweep", runs, missing, "")
    assert time.process_time() - started < 5
    assert leaderboard_of([tmp_path / "sweep"]).missing == missing

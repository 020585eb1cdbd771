"""kd-report: what it writes, and what it refuses."""

from __future__ import annotations

import gc
import json
import shutil
import sys
from pathlib import Path

import pytest
from leaderboard_cases import sweep_of_two_modes, sweep_over_a_grid, write_run

from kd_runner import closed_output
from kd_runner.errors import SettingsError
from kd_runner.files.links import refuse_links
from kd_runner.files.locks import lock_where_possible
from kd_runner.reports import report_arguments
from kd_runner.reports.sweep_report import report
from kd_runner.sweeps.checks import refuse_other_folders
from kd_runner.sweeps.jobs import Job


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return sweep_of_two_modes(tmp_path / "sweep")


@pytest.fixture
def grid_sweep(tmp_path: Path) -> Path:
    return sweep_over_a_grid(tmp_path / "grid")


def test_the_command(sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    copy = sweep.parent / "copy"
    shutil.copytree(sweep, copy)
    monkeypatch.setattr(sys, "argv", ["kd-report", str(sweep), str(copy), "--out", str(sweep.parent / "both")])
    assert report_arguments.main() == 0
    assert gc.isenabled()
    assert (sweep.parent / "both" / "report.html").is_file()
    for words, message in (
        (["nowhere"], "no folder"),
        ([str(sweep), "--reference", "nope"], "reference: must be part of a row's name, got nope: distillation=soft"),
    ):
        monkeypatch.setattr(sys, "argv", ["kd-report", *words])
        assert report_arguments.main() == 2
        assert message in capsys.readouterr().err
    (sweep.parent / "empty").mkdir()
    with pytest.raises(SettingsError, match="no run of kd-runner in"):
        report([sweep.parent / "empty"], sweep)
    begun = sweep.parent / "just begun"
    (begun / ".hydra").mkdir(parents=True)
    with pytest.raises(SettingsError) as refused:
        report([begun], sweep)
    assert (
        str(refused.value)
        == f"{begun} has no result yet: kd-runner 'resume={begun}' begins its run, where that was stopped"
    )
    for lock, state in (
        (".run.lock", "its run is before its first epoch"),
        (".sweep.lock", "the jobs of its sweep are being checked"),
    ):
        with lock_where_possible(begun / lock), pytest.raises(SettingsError) as refused:
            report([begun], sweep)
        assert str(refused.value) == f"{begun} has no result yet: {state}"


def test_a_reader_that_has_seen_enough_is_no_error(
    sweep: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def close(*_: object, **__: object) -> None:
        raise BrokenPipeError

    closed = []
    monkeypatch.setattr(report_arguments, "report", close)
    monkeypatch.setattr(closed_output, "discard_output", lambda: closed.append(True))
    monkeypatch.setattr(sys, "argv", ["kd-report", str(sweep)])
    assert report_arguments.main() == 1
    assert (closed, capfd.readouterr().err) == ([True], "")


def test_no_report_takes_the_place_of_another(
    sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    second_sweep = sweep.parent / "other"
    write_run(second_sweep / "0", ["distillation=dkd"])
    monkeypatch.chdir(sweep.parent)
    for folder in ("sweep", "other", "other/0"):
        assert report_arguments.write_page([Path(folder)], None, None).is_file()
    before = {path: path.read_bytes() for path in sweep.parent.rglob("*") if path.is_file()}
    for words, message in (
        (["sweep", "other"], "must be given, as sweep has a report of its own"),
        (["other", "sweep"], "must be given, as other has a report of its own"),
        (["sweep/1", "other"], "must be given, as sweep/1 has a report of its own run"),
        (["sweep", "other", "--out", "sweep/"], "must be another folder, as sweep has a report of its own"),
        (["sweep", "other", "--out", "other"], "must be another folder, as other has a report of its own"),
        (["other/0", "--out", "sweep"], "must be another folder, as sweep has a report of its own"),
        (["sweep", "--out", "other/0"], "must be another folder, as other/0 has a report of its own run"),
        (["sweep", "--out", "rep.html"], "must be a folder, got rep.html"),
        (["sweep", "--out", "sweep/sweep.json"], "must be a folder, got sweep/sweep.json"),
    ):
        monkeypatch.setattr(sys, "argv", ["kd-report", *words])
        assert report_arguments.main() == 2
        assert capsys.readouterr().err == f"kd-report: --out: {message}\n"
    assert {path: path.read_bytes() for path in sweep.parent.rglob("*") if path.is_file()} == before
    for _ in range(2):  # its own report is written again
        assert report_arguments.write_page([Path("sweep"), Path("other")], Path("v1.2"), None).is_file()
    assert "kd-report sweep other --out v1.2<" in Path("v1.2/report.html").read_text()


def test_what_kd_report_refuses(grid_sweep: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="has no result to report: failed: no good"):
        report_arguments.write_page([grid_sweep / "12"], grid_sweep / "12", None)
    with pytest.raises(SettingsError, match=r"--out: must be given, as .* has a report of its own run"):
        report_arguments.write_page([grid_sweep / "1", grid_sweep / "2"], None, None)
    with pytest.raises(SettingsError, match="--reference: has no effect on one run, got soft"):
        report_arguments.write_page([grid_sweep / "1"], grid_sweep / "1", "soft")
    assert report_arguments.write_page([grid_sweep / "1", grid_sweep / "2"], tmp_path / "out", None).is_file()
    (grid_sweep / "1" / "result.json").write_text('{"accuracy": 0.9}')  # another program's, say
    with pytest.raises(SettingsError, match=r"result\.json has no status: it is not one of kd-runner's"):
        report_arguments.write_page([grid_sweep / "1"], grid_sweep / "1", None)


def killed_job(sweep: Path) -> Path:
    """The folder of the sweep's job that was killed, with its curves in the sweep's folder."""
    job, curves = sweep / "8", sweep / "tensorboard" / "8_dkd"
    (job / "settings.json").write_text("{}")
    curves.mkdir(parents=True)
    (curves / "events.out.tfevents.1.host.2.0").touch()
    record = json.loads((sweep / "sweep.json").read_text())
    names = [f"{number}_dkd" for number in record["folders"]]
    (sweep / "sweep.json").write_text(json.dumps({**record, "names": names}))
    return job


def test_the_report_of_an_unfinished_job_leaves_its_folder_to_the_job(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = killed_job(sweep)
    before = {path.name for path in job.iterdir()}
    assert report_arguments.write_page([job], None, None) == job / "report.html"
    assert {path.name for path in job.iterdir()} == before | {"report.html"}
    printed = capsys.readouterr().out
    assert "silent since student epoch 3 of 9" in printed
    assert f"tensorboard --logdir {sweep}/tensorboard/8_dkd" in printed
    refuse_links(job, "resume")
    refuse_other_folders([Job(8, [], [], {}, job)])
    assert report_arguments.write_page([job], None, None) == job / "report.html"
    with pytest.raises(SettingsError, match=r"--out: must be another folder, as .*/8 has a report of its own run$"):
        report_arguments.write_page([sweep], job, None)


def test_curves_that_no_report_within_a_sweep_shows_are_said_in_one_line(
    sweep: Path, caplog: pytest.LogCaptureFixture
) -> None:
    others = [sweep.parent / name for name in ("other", "more", "most")]
    for number, other in enumerate(others):
        write_run(other, [f"seed={number}"])
    report_arguments.write_page([sweep, *others], sweep / "all", None)
    (line,) = [record.message for record in caplog.records if "lead out of" in record.message]
    assert line.startswith(f"note      the curves of {others[0]}/tensorboard and 2 others are not shown")


@pytest.mark.parametrize(("names", "is_linked"), [(["settings.json"], True), (["settings.json", "now.json"], False)])
def test_a_settings_file_of_another_program_makes_no_run_of_its_folder(
    sweep: Path, names: list[str], is_linked: bool
) -> None:
    project = sweep.parent / "project"
    project.mkdir()
    for name in names:
        (project / name).write_text("{}")
    other = sweep.parent / "other"
    write_run(other, ["distillation=dist"])
    (other / "tensorboard").mkdir()
    (other / "tensorboard" / "events.out.tfevents.1.host.2.0").touch()
    report_arguments.write_page([sweep, other], project / "report", None)
    links = list((project / "report/tensorboard/other").glob("events.out.tfevents.1.*"))
    assert bool(links) == is_linked


def test_no_report_within_a_sweep_links_to_what_lies_outside(sweep: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = sweep.parent / "other"
    write_run(other, ["distillation=dist"])
    (other / "tensorboard").mkdir()
    (other / "tensorboard" / "events.out.tfevents.1.host.2.0").touch()
    report_arguments.write_page([sweep, other], sweep / "both", None)
    refuse_links(sweep, "resume")
    assert "are not shown beside the table: a link to them would lead out of" in caplog.text
    report_arguments.write_page([sweep, other], sweep.parent / "both", None)
    assert (sweep.parent / "both/tensorboard/other/events.out.tfevents.1.host.2.0").is_symlink()

"""Nothing that was there is destroyed: folders with other things, of every kind, by every way that leads to them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from files_of_others import KEY, content_of, put
from omegaconf import OmegaConf

from kd_runner import cli
from kd_runner.command_line.composition import FromEnvironment
from kd_runner.command_line.refused_command_cleanup import remove_traces
from kd_runner.command_line.used_folder import RefuseUsedFolder
from kd_runner.errors import SettingsError
from kd_runner.files import atomic, contents
from kd_runner.files.folder_checks import refuse_no_run, refuse_other_contents, refuse_output_subdir, refuse_used_folder
from kd_runner.files.written_pages import MARKS
from kd_runner.reports.replaceable import refuse_another_page, refuse_another_table
from kd_runner.reports.report_arguments import write_page
from kd_runner.runs.run import run
from kd_runner.store.command import main as store
from kd_runner.sweeps.checks import compose_jobs, refuse_completed, refuse_other_folders
from kd_runner.sweeps.folder import exclusive_folder
from kd_runner.sweeps.jobs import Job
from kd_runner.tracking import event_files, hparams
from kd_runner.training.resume_state import ResumeState

PRECIOUS = (
    "thesis.tex", "result.json", "report.html", "analysis.json", "teacher.safetensors", "student_last.safetensors",
    "tensorboard/events.out.tfevents.1", "tensorboard/00000/tensors.tsv", "unfinished/novel.txt",
    "unfinished/begun.json", ".git/config", ".env", "multirun.yaml", "sweep.json", "report.html/index.html",
    ".thesis.unfinished", "now.json",
)  # fmt: skip


def config_of(folder: Path, **settings: Any) -> Any:
    hydra = {"run": {"dir": str(folder)}, "output_subdir": ".hydra"}
    return OmegaConf.create({"resume": None, "hydra": hydra, **settings})


@pytest.mark.parametrize("name", PRECIOUS)
def test_a_new_run_is_refused_by_either_door(settings: Callable[..., Any], tmp_path: Path, name: str) -> None:
    folder = tmp_path / "mine"
    before = put(folder, name)
    with pytest.raises(SystemExit) as ended:
        RefuseUsedFolder().on_run_start(config_of(folder))
    assert ended.value.code == 2
    with pytest.raises(SettingsError, match=r"^hydra\.run\.dir: "):
        run(settings(), folder)
    assert content_of(folder) == before


@pytest.mark.parametrize("name", [name for name in PRECIOUS if name != "sweep.json"])
def test_a_sweep_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "mine"
    before = put(folder, name)
    with pytest.raises(SettingsError, match=r"^hydra\.sweep\.dir: must be new, empty"), exclusive_folder(folder):
        pass
    assert content_of(folder) == before


@pytest.mark.parametrize("name", [name for name in PRECIOUS if "begun" not in name and name != "now.json"])
def test_what_is_no_run_is_not_gone_on_with(settings: Callable[..., Any], tmp_path: Path, name: str) -> None:
    """A folder of another program that uses Hydra, which has .hydra, too."""
    folder = tmp_path / "mine"
    before = put(folder, name, ".hydra/overrides.yaml")
    with pytest.raises(SettingsError, match=r"^resume: "):
        run(settings(f"resume={folder}"), folder)
    with pytest.raises(SystemExit):
        RefuseUsedFolder().on_run_start(config_of(folder, resume=str(folder)))
    assert content_of(folder) == before


def test_a_run_that_was_stopped_early_may_go_on(tmp_path: Path) -> None:
    put(tmp_path, ".hydra/overrides.yaml", "kd-runner.log", "unfinished/begun.json", ".DS_Store")
    (tmp_path / f".settings.json.{'0' * 32}.unfinished").touch()
    atomic.write_json(tmp_path / "result.json", {"status": "interrupted"})
    (tmp_path / "report.html").write_bytes(MARKS[0])
    refuse_no_run(tmp_path)
    refuse_no_run(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "name", ["unfinished", "tensorboard", "kd-runner.log", "result.json", "tensorboard/x", "unfinished/teacher"]
)
def test_links_in_a_run_folder_are_not_written_through(settings: Callable[..., Any], tmp_path: Path, name: str) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "run"
    before = put(elsewhere, "state.pt", "epoch.json", "events.out.tfevents.1")
    put(folder, "settings.json")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to(elsewhere / "epoch.json" if name.endswith((".log", ".json")) else elsewhere)
    with pytest.raises(SettingsError, match=r"^resume: .* must be no link"):
        run(settings(f"resume={folder}"), folder)
    assert content_of(elsewhere) == before


@pytest.mark.parametrize("name", ["kd-runner.log", "console.log"])
def test_a_log_that_is_a_link_is_not_written_to(tmp_path: Path, name: str) -> None:
    put(tmp_path, "diary")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / "diary")
    with pytest.raises(SettingsError, match="must hold no symbolic link that leads out"):
        refuse_used_folder(tmp_path / "run")


@pytest.mark.parametrize("name", [".check", ".earlier", "multirun.yaml", ".sweep.lock", "tensorboard", "tensorboard/0"])
def test_links_in_a_sweep_are_not_written_through(tmp_path: Path, name: str) -> None:
    before = put(tmp_path / "elsewhere", "x")
    put(tmp_path / "sweep", "sweep.json")
    (tmp_path / "sweep" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "sweep" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="must hold no symbolic link that leads out"):
        refuse_other_contents(tmp_path / "sweep")
    assert content_of(tmp_path / "elsewhere") == before


def test_ways_that_lead_to_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "mine", "thesis.tex")
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    for way in (".", "../mine", str(tmp_path / "link"), str(tmp_path / "other" / ".." / "mine"), f"{tmp_path}//mine/"):
        with pytest.raises(SettingsError, match=r"thesis\.tex"):
            refuse_used_folder(Path(way))


def test_what_is_no_folder(tmp_path: Path) -> None:
    put(tmp_path, "file")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for check, key in ((refuse_used_folder, "hydra.run.dir"), (refuse_other_contents, "hydra.sweep.dir")):
        for way, reason in (("file", "is a file"), ("file/below", "is a file"), ("dangling", "is a link to nothing")):
            with pytest.raises(SettingsError, match=f"^{key}: must be a folder, .*{reason}"):
                check(tmp_path / way)


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refused)  # root may read every folder
    with pytest.raises(SettingsError, match=r"must be a folder that can be read, got .*Permission denied"):
        refuse_used_folder(tmp_path)


@pytest.mark.parametrize("name", ["../x", "..", ".", "", "/tmp", "a/b", "tensorboard", "unfinished", "result.json"])
def test_the_record_of_a_command_stays_in_its_folder(name: str) -> None:
    with pytest.raises(SettingsError, match=r"^hydra\.output_subdir: "):
        refuse_output_subdir(name)
    for fine in (None, ".hydra", "record"):
        refuse_output_subdir(fine)


def test_a_refused_command_removes_its_own_record_alone(tmp_path: Path) -> None:
    put(tmp_path, ".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/notes.txt")
    remove_traces(tmp_path, ".hydra")
    assert content_of(tmp_path) == {".hydra/notes.txt": "precious .hydra/notes.txt"}


def test_the_end_of_a_run_removes_its_own_states_alone(tmp_path: Path) -> None:
    put(tmp_path / "unfinished", "begun.json", "teacher/state.pt", "teacher/epoch.json", "student/state.pt", "mine.txt")
    contents.remove_resume_states(tmp_path / "unfinished")
    assert list(content_of(tmp_path)) == ["unfinished/mine.txt"]
    put(tmp_path / "work", "state.pt", "epoch.json", "holder.json")
    (tmp_path / "work" / f".state.pt.{'a' * 32}.unfinished").touch()
    ResumeState(tmp_path / "work", "").discard()
    assert not (tmp_path / "work").exists()
    put(tmp_path / "elsewhere", "state.pt")
    (tmp_path / "work").symlink_to(tmp_path / "elsewhere")
    ResumeState(tmp_path / "work", "").discard()
    assert (tmp_path / "elsewhere" / "state.pt").exists()


def test_what_was_being_written_is_known_by_its_form(tmp_path: Path) -> None:
    form = f".a[b].{'0' * 32}.unfinished"
    before = put(tmp_path, ".thesis.unfinished", ".a.unfinished", f".aa.{'0' * 32}.unfinished", ".a[b].mine")
    put(tmp_path, form)
    contents.remove_abandoned(tmp_path / "a[b]")
    assert content_of(tmp_path) == before
    put(tmp_path, form)
    atomic.remove_unfinished(tmp_path)
    assert sorted(content_of(tmp_path)) == [".a.unfinished", ".a[b].mine", ".thesis.unfinished"]


def test_a_job_folder_with_files_of_others_is_not_emptied(tmp_path: Path) -> None:
    job = Job(0, [], [], {}, tmp_path / "0")
    put(job.folder, "console.log", "settings.json", "tensorboard/x", "teachers.second.safetensors")
    refuse_other_folders([job])
    for name in ("leaderboard.csv", "leaderboard.md"):  # kd-report 0.15 left them there
        (job.folder / name).write_text("rank,settings,mode" if name.endswith(".csv") else "| rank |")
        if name == "leaderboard.csv":
            refuse_other_folders([job])
    refuse_other_folders([job])
    (job.folder / "leaderboard.csv").write_text("my best times")
    with pytest.raises(SettingsError, match=r"holds leaderboard\.csv that is no run"):
        refuse_other_folders([job])
    (job.folder / "leaderboard.csv").unlink()
    with pytest.raises(SettingsError, match=r"holds leaderboard\.md that is no run"):
        refuse_other_folders([job])
    (job.folder / "leaderboard.md").unlink()
    put(job.folder, "thesis.tex")
    with pytest.raises(SettingsError, match=r"holds thesis\.tex that is no run"):
        refuse_other_folders([job])
    (tmp_path / "1").symlink_to(tmp_path / "0")
    with pytest.raises(SettingsError, match="it is a link or a file"):
        refuse_other_folders([Job(1, [], [], {}, tmp_path / "1")])


def test_completed_jobs_are_not_replaced(tmp_path: Path) -> None:
    jobs = [Job(number, [], [], {}, tmp_path / str(number)) for number in range(2)]
    refuse_completed(jobs, tmp_path)
    jobs[0].folder.mkdir()
    atomic.write_json(jobs[0].folder / "result.json", {"status": "failed"})
    refuse_completed(jobs, tmp_path)
    atomic.write_json(jobs[0].folder / "result.json", {"status": "completed"})
    with pytest.raises(SettingsError, match=r"holds completed runs of this sweep \(1 of 2\); go on with it: resume="):
        refuse_completed(jobs, tmp_path)


def test_folders_that_a_file_system_takes_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compose(number: int, overrides: object) -> tuple[dict[str, Any], str, FromEnvironment]:
        return {"number": number}, ["run", "RUN"][number], FromEnvironment({}, {})

    compose_jobs([["a=1"], ["a=2"]], tmp_path, compose)
    (tmp_path / ".sweep.lock").touch()
    (tmp_path / ".SWEEP.LOCK").touch()  # as a file system seems to hold that does not tell them apart
    with pytest.raises(SettingsError, match="must give each job a folder of its own"):
        compose_jobs([["a=1"], ["a=2"]], tmp_path, compose)


def test_the_check_of_the_jobs_never_stays(tmp_path: Path) -> None:
    """A killed driver's is gone at the next start, and this one's whatever the sweep comes to."""
    put(tmp_path, ".check/jobs.json", "sweep.json")
    with exclusive_folder(tmp_path):
        assert not (tmp_path / ".check").exists()
        put(tmp_path, ".check/jobs.json")
    assert not (tmp_path / ".check").exists()
    for stop in (KeyboardInterrupt, SystemExit, SettingsError):
        with pytest.raises(stop), exclusive_folder(tmp_path):  # noqa: PT012
            put(tmp_path, ".check/jobs.json")
            raise stop
        assert not (tmp_path / ".check").exists()
    put(tmp_path, ".check/jobs.json", ".slurm/queued.json")
    with exclusive_folder(tmp_path):  # tasks in Slurm's queue read it
        assert (tmp_path / ".check").exists()


def test_files_of_hydra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = {"console": {"stream": "x"}, "file": {"filename": f"{tmp_path}/own.log"}, "b": {"filename": os.devnull}}
    job = OmegaConf.create({"job_logging": {"handlers": handlers}, "output_subdir": "record"})
    monkeypatch.setattr(cli, "HydraConfig", SimpleNamespace(get=lambda: job))
    assert cli.files_of_hydra(tmp_path) == {"own.log", "record"}


def test_prune_deletes_what_is_an_entry_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, elsewhere = tmp_path / "store", tmp_path / "elsewhere"
    put(elsewhere, "MANIFEST.json", "network.safetensors", "state.pt")
    put(root, "holidays/cat.png", "notes.txt", f"{KEY}/diary.txt", f"{'0' * 16}/network.safetensors")
    put(root, f"{'1' * 16}/MANIFEST.json", f"{'1' * 16}/diary.txt", f"{'2' * 16}.corrupt.12345678/diary.txt")
    put(root, f".{'3' * 16}.work/diary.txt", f"{'4' * 16}.corrupt.0", f"{'5' * 16}/MANIFEST.json/x")
    (root / f"{'6' * 16}").symlink_to(elsewhere)
    (root / f".{'7' * 16}.work").symlink_to(elsewhere)
    (root / f"{'8' * 16}.corrupt.1").symlink_to(elsewhere)
    (root / f".{'9' * 16}.{'0' * 32}.unfinished").symlink_to(elsewhere)
    before = content_of(tmp_path)
    assert store(["--store", str(root), "prune", "--unused-for", "0"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "diary.txt, which is no file of kd-runner" in said.err
    assert "it is a link, and what it leads to may be anyone's" in said.err
    assert "it has no MANIFEST.json" in said.err
    assert content_of(tmp_path) == before


def test_prune_deletes_entries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("MANIFEST.json", "made_of.json", "epochs.json", "network.safetensors")
    put(tmp_path, *(f"{KEY}/{name}" for name in names))
    put(tmp_path, f"{KEY}.corrupt.12345678/network.safetensors", f".{KEY}.work/state.pt", f".{KEY}.work/holder.json")
    assert store(["--store", str(tmp_path), "prune", KEY, "--dry-run"]) == 0
    assert len(content_of(tmp_path)) == 7
    assert capsys.readouterr().out.count("would delete ") == 3
    assert store(["--store", str(tmp_path), "prune", KEY]) == 0
    assert capsys.readouterr().out.count("deleted ") == 3
    assert content_of(tmp_path) == {}


@pytest.mark.parametrize("name", ["report.html", "leaderboard.csv", "leaderboard.md"])
def test_a_report_replaces_a_report_alone(settings: Callable[..., Any], tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    before = put(out, name)

    def refuse() -> None:
        refuse_another_page(out)
        refuse_another_table(out / "leaderboard.csv")

    with pytest.raises(SettingsError, match=r"^--out: .* must be a report of kd-runner"):
        refuse()
    put(tmp_path / "runs" / "a", "settings.json")
    with pytest.raises(SettingsError):
        write_page([tmp_path / "runs"], out, None)
    assert content_of(out) == before


def test_reports_of_earlier_versions_are_replaced(tmp_path: Path) -> None:
    csp = "<meta content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">"
    (tmp_path / "report.html").write_text(csp)
    (tmp_path / "leaderboard.csv").write_text("rank,settings,n\r\n")
    (tmp_path / "leaderboard.md").write_text("anything")
    refuse_another_page(tmp_path)
    refuse_another_table(tmp_path / "leaderboard.csv")


def test_tensorboard_folders_of_others_stay(tmp_path: Path) -> None:
    root = tmp_path / "tensorboard"
    put(tmp_path, "run/events.out.tfevents.1", "tensorboard/mine/events.out.tfevents.1", "tensorboard/own/diary")
    (root / "empty").mkdir()
    (root / "linked").symlink_to(tmp_path / "run")
    for name in ("ours", "links"):
        (root / name).mkdir()
        (root / name / "events.out.tfevents.1").symlink_to(tmp_path / "run" / "events.out.tfevents.1")
    put(tmp_path, f"tensorboard/ours/{hparams.FILE}")
    hparams.delete_earlier_folders(root)
    assert sorted(path.name for path in root.iterdir()) == ["empty", "linked", "links", "mine", "own"]
    assert (tmp_path / "run" / "events.out.tfevents.1").exists()
    folder = hparams.free_folder(root, "mine", hparams.Counter())
    assert folder == root / "mine_2"  # not between the files of `mine`
    hparams.link_event_files(tmp_path / "run", folder, hparams.LinkBounds())
    assert (root / "mine" / "events.out.tfevents.1").read_text() == "precious tensorboard/mine/events.out.tfevents.1"


def test_a_tensorboard_folder_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tensorboard").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="it is a link"):
        hparams.write(tmp_path / "out", [], [], "")


@pytest.mark.parametrize("name", ["../../x", "..", "/tmp/x", "a/b", "a\\b", ""])
def test_names_of_a_foreign_sweep_lead_nowhere_else(tmp_path: Path, name: str) -> None:
    (tmp_path / "0").mkdir()
    atomic.write_json(tmp_path / "sweep.json", {"jobs": [""], "folders": ["0"], "names": [name]})
    assert event_files.event_folder_of(tmp_path / "0") == tmp_path / "0" / "tensorboard"
    atomic.write_json(tmp_path / "sweep.json", {"jobs": [""], "folders": ["0"], "names": ["0_s0"]})
    assert event_files.event_folder_of(tmp_path / "0") == tmp_path / "tensorboard" / "0_s0"

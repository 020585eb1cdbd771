"""Folders of runs and sweeps that a stranger made, read by `kd-report`, `find_runs` and `resume=`."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hostile import CANARY, SECRET, Case, bounded, cases, nothing_happens
from made_runs import class_names, made_run

from kd_runner.command_line.again import read_again
from kd_runner.command_line.resume import command_of_folder
from kd_runner.deploy.card import model_card
from kd_runner.deploy.hub_folder import card_sources
from kd_runner.errors import SettingsError
from kd_runner.files.results import find_runs
from kd_runner.plain_text import printable
from kd_runner.proof.verify import verify
from kd_runner.reports import report_arguments as report_command
from kd_runner.runs.resume.resuming import earlier_result
from kd_runner.runs.resume.same_settings import refuse_other_settings

# The tags, handlers and addresses that a page may have: these of its lists, and those of the pages of a good folder.
KNOWN = {("tag", name) for name in ("ul", "li", "details", "summary", "code")}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a sweep with one run, and things of somebody else beside it."""
    top = tmp_path_factory.mktemp("good")
    run = made_run(top / "runs" / "run", class_names(4))
    (run / "tensorboard").mkdir()
    result = json.loads((run / "result.json").read_text())
    (top / SECRET).write_text(
        json.dumps({**result, "notes": [CANARY], "classes": [CANARY], "overrides": [f"a={CANARY}"]})
    )
    (top / "other").mkdir()
    (top / "other" / "now.json").write_text(json.dumps({"stage": CANARY, "epoch": 1, "epochs": 2}))
    (top / "other" / "events.out.tfevents.1.x").write_text(CANARY)
    return top


class Page(HTMLParser):
    """The scripts, handlers and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(("tag", tag))
        self.found += [
            (name if name.startswith("on") else "address", f"{tag} {value}")
            for name, value in attrs
            if name.startswith("on") or name in ("src", "href", "xlink:href", "action", "formaction")
        ]


def parts_of(page: Path) -> set[tuple[str, str]]:
    text = page.read_text(encoding="utf-8")
    return {
        part for part in Page(text).found if part[0] != "address" or not re.match(r"\w+ (#|data:image/png)", part[1])
    }


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def typed(folder: Path) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["kd-report", str(folder)])
        return report_command.main(), *capsys.readouterr()

    return typed


def assert_nothing_leaked(top: Path, *texts: str) -> None:
    """No word of somebody else is in what was printed or written, and nothing of his has changed."""
    assert CANARY not in "".join(texts)
    for path in (top / "runs").rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 2**30:
            assert CANARY.encode() not in path.read_bytes(), path
        assert not (path.is_symlink() and "hparams" in path.name and path.exists() and path.parent.name == "run"), path
    assert {path.name for path in (top / "other").iterdir()} == {"now.json", "events.out.tfevents.1.x"}
    assert {path.name for path in top.iterdir()} == {"runs", "other", SECRET}


@pytest.mark.parametrize("case", cases("run folder"))
def test_a_folder_of_a_stranger(
    case: Case, good: Path, tmp_path: Path, report: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / "top"
    shutil.copytree(good, top)
    monkeypatch.chdir(top / "runs")
    run = top / "runs" / "run"
    case.write(run)
    secret = (top / SECRET).read_bytes()
    with bounded(), nothing_happens(top / "runs", (top / SECRET, Path("/etc/passwd"))):
        code, out, complaint = report(run)
        runs_code, runs_out, runs_complaint = report(top / "runs")
        find_runs([top / "runs"])
    assert_nothing_leaked(top, out, complaint, runs_out, runs_complaint)
    assert (top / SECRET).read_bytes() == secret
    for line in (complaint, runs_complaint):
        assert re.fullmatch(r"(kd-report: [^\n]+\n)?", line), line
        assert "\x1b" not in line
    if case.outcome == "refused":
        assert 2 in (code, runs_code)
        assert case.says in complaint + runs_complaint
    else:
        assert (code, runs_code) == (0, 0)
        assert "\x1b" not in out
        if case.says in ("analysis.json", "settings.json"):
            is_an_object = ("a key twice", "Infinity", "half a letter", "a BOM", "600 objects in one another")
            assert case.says in out or case.name.endswith(is_an_object)
    if code == 0:
        assert parts_of(run / "report.html") <= KNOWN
        assert parts_of(top / "runs" / "report.html") <= KNOWN


@pytest.fixture(scope="module", autouse=True)
def known(good: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The tags, handlers and addresses of the pages of the good folder."""
    top = tmp_path_factory.mktemp("known") / "top"
    shutil.copytree(good, top)
    for folder in (top / "runs" / "run", top / "runs"):
        KNOWN.update(parts_of(report_command.write_page([folder], folder, None)))


@pytest.mark.parametrize(
    "case", [case for case in cases("run folder") if case.values[0].says in (".hydra/overrides.yaml", "multirun.yaml")]
)
def test_resume_of_a_folder_of_a_stranger(
    case: Case, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / "top"
    shutil.copytree(good, top)
    run = top / "runs" / "run"
    monkeypatch.chdir(top / "runs")
    case.write(run)
    with bounded(), nothing_happens(top / "runs", (top / SECRET, Path("/etc/passwd"))):
        line = ""
        try:
            words = command_of_folder([f"resume={run}"])
        except SettingsError as error:
            words, line = [], str(error)
    assert re.match(r"(resume: .*(does not say how it was started|holds neither))?", line)
    assert line.isprintable()
    assert CANARY not in " ".join(words)
    if case.says == "multirun.yaml":  # then the result.json of the good run says how that was started
        assert words[:1] in ([], ["student.epochs=3"])
    else:
        assert words == [] or case.name.endswith(("an environment variable", "an interpolation of itself")), words


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in cases("run folder")
        if case.values[0].says in ("result.json", "settings.json", "unfinished/begun.json")
    ],
)
def test_a_run_that_would_go_on_in_it(case: Case, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tmp_path / "top"
    shutil.copytree(good, top)
    run = top / "runs" / "run"
    monkeypatch.chdir(top / "runs")
    case.write(run)
    with bounded(), nothing_happens(top / "runs", (top / SECRET, Path("/etc/passwd"))):
        line = "resume: "
        try:
            refuse_other_settings(run, {"seed": 0, "finetune": {"epochs": 0}, "student": {"epochs": 3}})
            result = earlier_result(run, "21be5d5254053585")
        except SettingsError as error:
            result, line = None, str(error)
    assert line.startswith("resume: ")
    assert line.isprintable()
    assert CANARY not in str(result)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [case for case in cases("run folder") if case.values[0].says in ("result.json", "settings.json", "analysis.json")],
)
def test_proof_and_card_of_a_folder_of_a_stranger(
    case: Case, stored_run: Path, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verifying it, the words to make it again, and its card: one line or an answer, and nothing else happens."""
    top = tmp_path / "top"
    shutil.copytree(good, top)
    run = top / "runs" / "run"
    shutil.rmtree(run)
    shutil.copytree(stored_run, run)
    monkeypatch.chdir(top / "runs")
    verify(run)  # what is done once in a process
    monkeypatch.setattr(tempfile, "tempdir", str(top / "runs"))
    case.write(run)
    texts, complaints = [], []
    with bounded(60), nothing_happens(top / "runs", (top / SECRET, Path("/etc/passwd"))):
        for ask in (
            lambda: verify(run).text(),
            lambda: " ".join(read_again([str(run)]).words),
            lambda: model_card(card_sources(run)[0]),
        ):
            try:
                texts.append(printable(ask()))
            except SettingsError as error:
                complaints.append(str(error))
    assert "".join(complaints).isprintable()
    assert CANARY not in "".join([*texts, *complaints])
    assert "\x1b" not in "".join(texts)

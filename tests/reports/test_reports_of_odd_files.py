"""Reports of folders whose files are missing, cut short, edited or another program's: never a traceback."""

from __future__ import annotations

import copy
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from data_records import DATA_WITH_ODDITIES, JUDGED
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import class_names, made_analysis, made_result, made_run
from page_text import text_of

from kd_runner.files import result_schema, tolerant_json
from kd_runner.files.results import MissingRun, Run, read_run
from kd_runner.reports import report_arguments as report_command

quick = settings(max_examples=25, deadline=None, derandomize=True, database=None)
FILES = ("result.json", "analysis.json", "settings.json")
ODD = ["", "null", "[]", "[1, 2]", '"text"', "3", "NaN", "true", "{", "{}", '{"status": null}', '{"a": {"b": []}}',
       "[" * 100_000, '{"status": "completed"}', '{"status": "completed", "student": []}', "\x00\x01"]  # fmt: skip
WEIRD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\ud800", "\x1b[31m"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`kd-report` with those words: its exit code, what it printed, and what it complained of."""

    def typed(*words: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["kd-report", *map(str, words)])
        code = report_command.main()
        return code, *capsys.readouterr()

    return typed


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("whole") / "run", class_names(4))


def copied(run: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(run, place)
    return place


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [None, *ODD])
def test_a_file_of_another_kind(
    name: str, content: str | None, whole: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    folder = copied(whole, tmp_path / "runs" / "odd")
    copied(whole, tmp_path / "runs" / "good")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    code, out, complaint = command(folder)
    if name == "result.json":
        assert code == 2 or content is None  # without that file it is a folder of runs, with one that has no result
        assert complaint.count("\n") == (code == 2)
        assert "result.json" in complaint or content is None
    else:
        assert code == 0
        assert complaint == ""
        assert name in out or content in ("{}", '{"a": {"b": []}}', '{"status": null}') or "status" in str(content)
        assert "Numbers" in text_of(folder / "report.html")
    code, out, _ = command(tmp_path / "runs", "--out", tmp_path)
    assert code == 0
    assert ("no result: " in out) is (name == "result.json")
    assert text_of(tmp_path / "report.html")


def nodes(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of everything in some JSON; of a long list the first two elements."""
    pairs = (
        content.items() if isinstance(content, dict) else enumerate(content[:2]) if isinstance(content, list) else ()
    )
    for key, value in pairs:
        yield (*place, key)
        yield from nodes(value, (*place, key))


def changed(content: Any, place: tuple[Any, ...], value: Any) -> None:
    """Replace what is at the place, or delete it where the value is `...`."""
    for key in place[:-1]:
        content = content[key]
    if value is ...:
        del content[place[-1]]
    else:
        content[place[-1]] = value


SEEN, PREDICTED = made_analysis(class_names(4), per_class=4)
RESULT = json.loads(
    json.dumps(made_result(PREDICTED, data=DATA_WITH_ODDITIES, notes=["a note", "The teacher is at chance."]))
)
RESULT["teacher"]["judged"] = JUDGED
ANALYSIS = json.loads(json.dumps(SEEN))
SETTINGS = {
    "seed": 0,
    "finetune": {"epochs": 2},
    "student": {"epochs": 3, "_target_": "a.b.c"},
    "temperature": {"value": 4.0},
}
changes = st.lists(st.tuples(st.integers(0, 10**6), WEIRD | st.just(...)), min_size=1, max_size=3)


def mutated(content: Any, mutations: list[tuple[int, Any]]) -> Any:
    content = copy.deepcopy(content)
    for number, value in mutations:
        places = list(nodes(content))
        if places:
            changed(content, places[number % len(places)], value)
    return content


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
@quick
@given(mutations=changes)
def test_any_change_of_a_file_is_survived(name: str, tmp_path_factory: Any, mutations: list[tuple[int, Any]]) -> None:
    contents = {"result.json": RESULT, "analysis.json": ANALYSIS, "settings.json": SETTINGS}
    top = tmp_path_factory.mktemp("fuzz")
    folder = top / "runs" / "0"
    folder.mkdir(parents=True)
    for file, content in contents.items():
        (folder / file).write_text(json.dumps(mutated(content, mutations) if file == name else content))
    run = read_run(folder / "result.json")
    assert isinstance(run, (Run, MissingRun))
    if isinstance(run, Run):
        assert report_command.write_page([folder], folder, None).is_file()
    else:
        assert run.reason
    assert report_command.write_page([top / "runs"], top, None).is_file()


def test_every_part_of_a_result_alone(tmp_path: Path) -> None:
    """Each part deleted and each replaced by a text: what a change of one place can do, without chance."""
    for place in nodes(RESULT):
        for value in (..., "text", None, -1, [], {}):
            content = copy.deepcopy(RESULT)
            changed(content, place, value)
            cleaned, gone = tolerant_json.remove_misshapen(content, result_schema.RESULT)
            assert tolerant_json.remove_misshapen(copy.deepcopy(cleaned), result_schema.RESULT) == (cleaned, [])
            assert len(gone) <= 2, place


def test_what_is_left_out_is_said(tmp_path: Path, command: Callable[..., tuple[int, str, str]]) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    result = copy.deepcopy(RESULT)
    result["student"]["nll"] = "low"
    result["teacher"]["accuracy"] = 95.0  # percent in place of a share
    (folder / "result.json").write_text(json.dumps(result))
    analysis = copy.deepcopy(ANALYSIS)
    analysis["disagreements"][0]["label"] = 99
    analysis["networks"]["student"]["confusion"][0] = [1, 2]
    analysis["soft_targets"] = None
    (folder / "analysis.json").write_text(json.dumps(analysis))
    code, out, _ = command(folder)
    assert code == 0
    page = text_of(folder / "report.html")
    for line in (
        "result.json: left out, as kd-runner does not write it so: student.nll, teacher",
        "analysis.json: not drawn, as its parts do not fit together: confusion matrices, disagreements",
        "settings.json is not there: no settings are shown",
    ):
        assert line in out
        assert line in page
    assert "Reliability" in page
    assert "Soft targets" not in page.replace("soft targets", "")
    assert "9500.00 %" not in page


def test_a_sweep_with_odd_records(whole: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]]) -> None:
    copied(whole, tmp_path / "0")
    records = ['{"folders": 3, "jobs": null}', '{"folders": ["0", 1], "jobs": ["a"], "names": [{}]}',
               '{"folders": ["x"], "jobs": ["a=1"], "names": ["../../y"]}']  # fmt: skip
    for content in [*ODD, *records]:
        for name in ("sweep.json", "multirun.yaml", "networks/0/now.json", "1/now.json", "1/settings.json"):
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / name).write_text(content)
        assert command(tmp_path)[0] == 0
    assert not (tmp_path.parent / "y").exists()


@pytest.mark.parametrize("words", [["nowhere"], ["a file"], ["empty"]])
def test_what_is_no_folder_of_runs(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a file").write_text("")
    Path("empty").mkdir()
    code, out, complaint = command(*words)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"kd-report: [^\n]+\n", complaint)
    assert words[0] in complaint


def test_signs_that_no_terminal_shows() -> None:
    assert tolerant_json.readable({"a\ud800": ["\x1b[31mred", "fine 🦊\n"]}) == {
        "a\ufffd": ["\ufffd[31mred", "fine 🦊\n"]
    }

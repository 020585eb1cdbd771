"""Tab completion, asked as a shell asks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kd_runner import cli
from kd_runner.command_line.tab_completion import COMPLETION_FLAGS, LINE, completions, print_completions


def completed(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    monkeypatch.setenv(LINE, f"kd-runner {line}")
    monkeypatch.setattr("sys.argv", ["kd-runner", "-sc", "query=bash"])
    assert cli.main() == 0
    output, errors = capsys.readouterr()
    assert errors == ""  # it would stand in the middle of what a person types
    return output.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dist", ["distillation.", "distillation="]),
        ("sto", ["stop", "store", "store="]),
        ("-m seed=0,1 student.fraction=0.1 student.optimizer.lr=0.1 distillation=dk", ["distillation=dkd"]),
        ("distillation=soft,dk", ["distillation=soft,dkd"]),
        ("distillation=[soft,dk", ["distillation=[soft,dkd"]),
        ("-m 'distillation=[soft,dk", ["distillation=[soft,dkd"]),
        ('"distillation=dk', ["distillation=dkd"]),
        ("'temperature.va", ["temperature.value="]),
        ("'teacher=resnet' teacher.dep", ["teacher.depth="]),
        ("distillation=[soft,dkd] seed=1 -m teacher=resnet teacher.dep", ["teacher.depth="]),
        ("again x temperature.va", ["temperature.value="]),
        ("help temper", ["temperature"]),
        ("store ", ["list", "prune", "verify"]),
        ("new n", ["network"]),
        ("--config-d", ["--config-dir"]),
        ("--cfg j", ["job"]),
        ("no_such=1 stude", ["student.", "student="]),
    ],
)
def test_a_word_is_completed(
    line: str, expected: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completed(line, monkeypatch, capsys) == expected


@pytest.mark.parametrize(
    "line", ["predict outp", "evaluate --", "store verify ", "--config-dir my", "no_such=", "distillation=nothing_"]
)
def test_files_are_left_to_the_shell(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completed(line, monkeypatch, capsys) == []


def test_the_word_at_the_cursor_is_completed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "name=ä stude"
    monkeypatch.setenv("COMP_POINT", str(len(f"kd-runner {line}".encode())))
    assert completed(f"{line} seed=2", monkeypatch, capsys) == ["student.", "student="]


def test_names_with_blanks_are_offered_in_no_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("plain", "two words"):
        (tmp_path / name).mkdir()
    assert [word.rstrip("/") for word in completed(f"resume={tmp_path}/", monkeypatch, capsys)] == [
        f"resume={tmp_path}/plain"
    ]


def test_an_own_option_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "distillation").mkdir()
    (tmp_path / "distillation/mine.yaml").write_text("_target_: mine.loss\n")
    for flag in (f"--config-dir {tmp_path}", f"-cd={tmp_path}"):
        assert completed(f"seed=1 {flag} distillation=min", monkeypatch, capsys) == ["distillation=mine"]


def test_nothing_is_said_where_hydra_ends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def ask() -> None:
        print("half")
        raise SystemExit(2)

    assert completions("kd-runner ha", ask) == ["half"]
    monkeypatch.setenv(LINE, "kd-runner st")
    monkeypatch.setattr("sys.argv", ["kd-runner"])
    print_completions([COMPLETION_FLAGS[0], "query=fish"], lambda: None)
    assert capsys.readouterr().out == "stop\nstore\n"


@pytest.mark.slow
def test_bash_completes(tmp_path: Path) -> None:
    """The script that a person evaluates, in bash."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    command = tmp_path / "kd-runner"
    command.write_text(f"#!{sys.executable}\nimport sys\nfrom kd_runner.cli import main\nsys.exit(main())\n")
    command.chmod(0o755)
    script = (
        'eval "$(kd-runner --shell-completion install=bash)"\ncomplete -p kd-runner\n'
        'COMP_LINE="kd-runner dist"; COMP_POINT=14; COMP_CWORD=1; hydra_bash_completion; echo "${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([bash, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    function, words = done.stdout.splitlines()
    assert "-F hydra_bash_completion kd-runner" in function
    assert words.split() == ["distillation.", "distillation="]
    script = script.replace("kd-runner dist", "kd-runner 'distillation=[soft,dk").replace("=14", "=32")
    done = subprocess.run([bash, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[1] == "distillation=[soft,dkd"

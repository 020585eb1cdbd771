"""`kd-report --verify`: a good run is verified to the digit, and whatever was changed in one is found."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from stored_runs import change_json

from kd_runner.deploy import stored_data as module
from kd_runner.networks import checkpoints
from kd_runner.proof.report_command import main

Report = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(stored_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored_run, tmp_path / "run"))


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Report:
    def typed(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["kd-report", *map(str, words)])
        return main(), *capsys.readouterr()

    return typed


def test_a_run_is_verified_to_the_digit(run: Path, report: Report) -> None:
    code, out, err = report("--verify", run)
    assert (code, err) == (0, "")
    assert "Verified: all 54 numbers are as reported, to the digit." in out
    assert "Made with others" not in out
    accuracy = json.loads((run / "result.json").read_text())["student"]["accuracy"]
    assert any(f"{accuracy:.10g}" in line and line.endswith("equal") for line in out.splitlines())


def test_a_number_that_was_changed_differs(run: Path, report: Report) -> None:
    change_json(run / "result.json", lambda result: result["student"].update(accuracy=0.99))
    code, out, _ = report("--verify", run)
    assert code == 1
    assert "Not verified: 1 of 54 numbers differ: student accuracy." in out
    assert any("0.99" in line and line.endswith("differs") for line in out.splitlines())


def test_weights_that_were_changed_differ(run: Path, report: Report) -> None:
    state, info = checkpoints.read_checkpoint(run / "student_last.safetensors")
    assert info is not None
    name = next(iter(state))
    checkpoints.save(run / "student_last.safetensors", {**state, name: torch.zeros_like(state[name])}, info)
    code, out, _ = report("--verify", run)
    assert code == 1
    assert "numbers differ: student accuracy, " in out.splitlines()[-1]
    assert any("images judged otherwise" in line and line.endswith("differs") for line in out.splitlines())


def test_other_test_images_are_told_by_their_fingerprint(
    run: Path, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = module.build

    def other(*words: Any, **more: Any) -> Any:
        splits = build(*words, **more)
        splits.test.images[0] += 1
        return splits

    monkeypatch.setattr(module, "build", other)
    code, out, _ = report("--verify", run)
    assert code == 1
    assert "The test images are not those of the run: their fingerprint was edd42e521f6a3638, is " in out


def test_elsewhere_there_is_a_tolerance_that_is_said(run: Path, report: Report) -> None:
    def elsewhere(result: dict) -> None:
        result["environment"] |= {"torch": "2.0.0", "processor": "another"}
        result["student"]["nll"] += 1e-5
        result["teacher"]["accuracy"] += 1 / 539  # of one image

    change_json(run / "result.json", elsewhere)
    code, out, _ = report("--verify", run)
    assert code == 0
    assert f"Made with others: torch was 2.0.0, is {torch.__version__}; processor was another" in out
    assert "Tolerance elsewhere than on the run's machine: 0.002, or one image." in out
    assert "Verified: all 54 numbers are as reported, 52 to the digit, the others within the tolerance." in out
    change_json(run / "result.json", lambda result: result["student"].update(nll=result["student"]["nll"] * 1.1))
    code, out, _ = report("--verify", run)
    assert (code, out.splitlines()[-1]) == (1, "Not verified: 1 of 54 numbers differ: student nll.")


def test_last_digits_count_on_the_same_machine(run: Path, report: Report) -> None:
    change_json(run / "result.json", lambda result: result["student"].update(nll=result["student"]["nll"] + 1e-9))
    code, out, _ = report("--verify", run)
    assert code == 1
    assert "They differ in their last digits alone" in out.splitlines()[-1]


def test_networks_that_are_not_there_are_said_and_the_student_must_be(run: Path, report: Report) -> None:
    (run / "teacher.safetensors").unlink()
    (run / "student_best.safetensors").unlink()
    code, out, _ = report("--verify", run)
    assert code == 0
    assert "teacher.safetensors is not there: its numbers are not measured." in out
    assert "Verified: all 28 numbers" in out
    (run / "student_last.safetensors").unlink()
    code, out, err = report("--verify", run)
    assert (code, out) == (2, "")
    assert err == f"kd-report: {run}/student_last.safetensors is not there: there is no student to evaluate\n"


def test_the_networks_that_are_chosen_are_compared(run: Path, report: Report) -> None:
    code, out, _ = report("--verify", run, "--network", "student")
    assert code == 0
    assert "Verified: all 25 numbers are as reported, to the digit." in out
    (run / "baseline.safetensors").unlink()
    code, out, err = report("--verify", run, "--network", "baseline")
    assert (code, out) == (2, "")
    assert "has no baseline.safetensors: its run has no baseline; it has teacher (teacher.safetensors), student" in err
    assert "--network: must be one of student, student_best," in report("--verify", run, "--network", "best")[2]


def test_a_package_to_trust_is_typed_as_this_command_has_it(run: Path, report: Report) -> None:
    state, info = checkpoints.read_checkpoint(run / "student_last.safetensors")
    assert info is not None
    info["network"] = {"_target_": "my_networks.net"}
    checkpoints.save(run / "student_last.safetensors", state, info)
    code, _, err = report("--verify", run)
    assert code == 2
    assert "--trust my_networks" in err
    assert "trust=[" not in err


def test_what_cannot_be_verified_is_one_line(run: Path, tmp_path: Path, report: Report) -> None:
    cases = [
        (["--verify", tmp_path / "none"], f"no folder {tmp_path}/none"),
        (["--verify", tmp_path], f"{tmp_path} has no result of a completed run: result.json is not there"),
        (["--verify", run, "--out", tmp_path / "x"], "--out: has no effect beside --verify"),
        (["--verify", run, "--root", "x"], "--root: has no effect, the run's data set has no root, got x"),
        ([run, "--trust", "x"], "--trust: has no effect without --verify, got x"),
        ([run, "--root", "x"], "--root: has no effect without --verify, got x"),
        ([run, "--network", "teacher"], "--network: has no effect without --verify, got teacher"),
    ]
    for words, message in cases:
        code, out, err = report(*words)
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    assert f"name one of its runs, such as {tmp_path}/sweep/0" in report("--verify", tmp_path / "sweep")[2]


def test_settings_of_a_stranger_extend_no_trust(run: Path, tmp_path: Path, report: Report) -> None:
    """What settings.json names passes the door; trust in it counts for nothing; a link is not followed."""
    change_json(
        run / "settings.json",
        lambda settings: settings.update(trust=["os"], dataset={**settings["dataset"], "_target_": "os.system"}),
    )
    code, _, err = report("--verify", run)
    assert code == 2
    assert err.startswith(f"kd-report: {run}/settings.json: dataset._target_: must ")
    change_json(run / "settings.json", lambda settings: settings.update(batch_size="many\x1b[31m"))
    code, _, err = report("--verify", run)
    assert code == 2
    assert f"{run}/settings.json: batch_size: " in err
    assert "\x1b" not in err
    (run / "student_last.safetensors").unlink()
    (run / "student_last.safetensors").symlink_to(tmp_path / "other")
    (run / "settings.json").write_text((run / "settings.json").read_text().replace('"many\\u001b[31m"', "64"))
    assert "is a link, and links are not followed here" in report("--verify", run)[2]


def test_settings_that_were_hidden_must_be_typed(run: Path, report: Report) -> None:
    change_json(run / "settings.json", lambda settings: settings["dataset"].update(root="***"))
    code, _, err = report("--verify", run)
    assert code == 2
    assert "hides dataset.root, which came from the environment; say where the images are with --root" in err

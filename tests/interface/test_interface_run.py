"""`kd_runner.run` in a program of its own, without Hydra's command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from stored_runs import change_json, stored_run  # noqa: F401
from torch import nn

from kd_runner.errors import SettingsError
from kd_runner.interface.result import RunResult
from kd_runner.interface.run import _with_targets, run

PROGRAM = """
import json
import kd_runner
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, image_shape, width=4):
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, num_classes))
    def forward(self, images):
        return self.inner(images)

def loss(student, teacher, labels, temperature):
    return kd_runner.losses.dkd(student.logits, teacher.logits, labels, temperature, other_weight=2)

settings = {"dataset": "digits", "teacher": "mlp", "teacher__epochs": 1, "seed": 3, "quiet": True}
options = {"_target_": Net, "width": 6, "epochs": 1}
first = kd_runner.run("temperature.value=2", student=options, distillation=loss, folder="first", tags=["a"], **settings)
again = kd_runner.run("temperature.value=2", student=options, distillation=loss, folder="again", **settings)
html = first._repr_html_()
print(json.dumps({
    "folder": str(first.folder), "accuracy": first.student.accuracy, "again": again.student.accuracy,
    "parameters": first.student.parameters, "gain": first.gain, "baseline": first.baseline.accuracy,
    "html": [html.count("<table"), html.count("<img"), html.count("<th style")], "text": str(first).splitlines()[0],
    "network": type(first.predictor().network).__name__,
}))
"""


class Tiny(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.inner(images)


def test_a_network_is_trained_in_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = Tiny(10)
    before = network.inner[1].weight.clone()
    options = {"teacher": "mlp", "teacher__epochs": 1, "student__epochs": 2, "baseline": False, "quiet": True}
    (tmp_path / "own").mkdir()
    result = run("finetune.epochs=0", student=network, folder="run", config_dir="own", **options)
    assert result.numbers["config_dir"] == str(tmp_path / "own")
    assert capsys.readouterr().out == ""
    assert torch.equal(network.inner[1].weight, before)
    trained = result.predictor().network.inner[1].weight
    assert not torch.equal(trained, before)
    assert (result.gain, result.baseline, result.student.parameters) == (None, None, 650)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["student"]["accuracy"] == result.student.accuracy


def test_a_run_goes_on_in_its_folder_with_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("teacher=mlp", "teacher.epochs=1", "student=mlp", "student.hidden=[6]", "student.epochs=2")
    first = run(*words, baseline=False, folder="run", quiet=True)
    places = sorted(tmp_path.glob("*"))
    completed = run("resume=run", quiet=True)
    assert completed.folder == tmp_path / "run"
    assert completed.numbers == first.numbers
    change_json(tmp_path / "run" / "result.json", lambda content: content.update(status="interrupted"))
    again = run(resume=Path("run"), folder="run", trainer__threads=1, quiet=True)
    assert again.student.parameters == 64 * 6 + 6 + 6 * 10 + 10
    assert again.student.accuracy == first.student.accuracy
    assert set(again.numbers["overrides"]) > set(first.numbers["overrides"])
    assert sorted(tmp_path.glob("*")) == places  # nothing was begun elsewhere
    with pytest.raises(SettingsError, match=r"^folder: must be left out or the same beside resume=run, got other$"):
        run("resume=run", folder="other")
    with pytest.raises(SettingsError, match=r"^student\.epochs: was 2 when the run began, got 3; "):
        run("resume=run", "student.epochs=3")
    with pytest.raises(SettingsError, match=r"^resume: run has other settings: student\.epochs was 2, is 3$"):
        run(*words, "resume=run", baseline=False, student__epochs=3)
    (tmp_path / "run" / "multirun.yaml").touch()
    with pytest.raises(
        SettingsError, match=r"^resume: must be the folder of a run for kd_runner\.run, run is that of a"
    ):
        run("resume=run")


@pytest.mark.slow
def test_a_program_with_a_network_and_a_mode_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1  # quiet
    told = json.loads(done.stdout)
    result = json.loads((tmp_path / "first" / "result.json").read_text())
    assert told["folder"] == str(tmp_path / "first")
    assert told["accuracy"] == told["again"] == result["student"]["accuracy"]
    assert told["parameters"] == 64 * 6 + 6 + 6 * 10 + 10
    assert told["gain"] == pytest.approx(result["student"]["accuracy"] - told["baseline"])
    assert told["html"][0] == 1
    assert told["html"][1] >= 4
    assert told["html"][2] == 3  # a row for each network
    assert told["text"] == "On the 539 test images:"
    assert told["network"] == "Net"
    assert len(list((tmp_path / "outputs" / "store").iterdir())) == 2  # the second run found both networks there
    overrides = result["overrides"]
    assert overrides[0] == "temperature.value=2"
    assert any(word.startswith("student._target_=given.Net_") for word in overrides)
    assert any(word.startswith("distillation._target_=given.loss_") for word in overrides)
    assert result["described"] == {"name": None, "notes": None, "tags": ["a"]}


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"lr": 0.1}, "lr: no such setting; type optimizer.lr=0.1"),
        ({"student__depth": 3}, "student.depth: no such setting; kd_runner.models.plain_cnn.plain_cnn takes "),
        ({"teacher": "resnet99"}, "teacher: must be one of cifar_cnn, "),
        ({"resume": "x"}, "resume: must be the folder of a run or a sweep, got x: no folder "),
        ({"resume": ""}, "resume: must be"),
        ({"hydra": {}}, "hydra: is for the command kd-runner, and not for kd_runner.run, got {}"),
        ({"temperature": "constnt"}, "temperature: must be one of constant, "),
        ({"student": {"epochs": 0}}, "student.epochs: must be greater than or equal to 1, got 0"),
    ],
)
def test_what_cannot_work_is_a_value_error_of_one_line(settings: dict, line: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError) as refused:
        run(quiet=True, **settings)
    assert str(refused.value).startswith(line)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("-m", "seed=0,1"), ("--multirun",), ("--cfg", "job")])
def test_flags_of_the_command_line_are_refused_in_words(words: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError) as refused:
        run(*words)
    assert str(refused.value) == f"{words[0]}: is for the command line: one call is one run of settings such as seed=0"


def test_objects_deep_in_dictionaries_become_targets() -> None:
    def mode(student, teacher, labels, temperature):
        return student.logits.mean()

    settings, trust = _with_targets({"plus": {"mine": {"_target_": mode, "weight": 2}}, "student.epochs": 3})
    assert trust == []
    assert settings["plus"]["mine"]["weight"] == 2
    assert settings["plus"]["mine"]["_target_"].startswith("given.mode_")
    assert settings["student.epochs"] == 3


def test_print_and_notebook_do_not_credit_finetuning_to_distillation(
    stored_run: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    shutil.copytree(stored_run, tmp_path / "run")
    result = RunResult.of(tmp_path / "run")
    assert "Distillation gave " in str(result)
    change_json(tmp_path / "run" / "settings.json", lambda content: content["finetune"].update(epochs=2))
    assert "Distillation and 2 more epochs of finetuning gave " in str(result)
    assert "Distillation and 2 more epochs of finetuning gave " in result._repr_html_()
    shutil.rmtree(tmp_path / "run")
    assert "Distillation gave " in str(result)


def test_the_result_of_a_folder(stored_run: Path) -> None:  # noqa: F811
    result = RunResult.of(stored_run)
    numbers = json.loads((stored_run / "result.json").read_text())
    assert result.student.accuracy == numbers["student"]["accuracy"]
    assert result.student["nll"] == numbers["student"]["nll"]
    assert result.teacher is not None
    assert result.notes == numbers["notes"]
    assert result.report == stored_run / "report.html"
    assert result.gain is not None
    assert result.gain < 0
    assert result.gap_closed is None


class Scale(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self._scale = scale

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * self._scale


def scaled_network(scale: float) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), Scale(scale), nn.Linear(64, 10))


@pytest.mark.slow  # four runs
def test_no_network_gets_the_baseline_of_one_with_another_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = {"teacher": "mlp", "teacher__epochs": 1, "student__epochs": 4, "quiet": True}

    def baseline(scale: float, store: str, folder: str) -> tuple[float, float]:
        result = run(student=scaled_network(scale), folder=folder, store=store, **options)
        assert result.baseline is not None
        return result.baseline.accuracy, result.student.accuracy

    first, other = baseline(1.0, "store", "first"), baseline(9.0, "store", "other")
    assert len(list((tmp_path / "store").iterdir())) == 3  # the teacher, and two baselines
    assert first[0] != other[0]
    assert baseline(9.0, "empty", "fresh") == other
    assert baseline(1.0, "store", "again") == first
    assert len(list((tmp_path / "store").iterdir())) == 3

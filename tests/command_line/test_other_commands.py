from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from image_folders import write_image
from stored_networks import store_network

from kd_runner import cli
from kd_runner.command_line import other_commands

Printed = pytest.CaptureFixture[str]


def test_the_name_of_a_command_as_first_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    monkeypatch.chdir(tmp_path)
    store_network(Path("net.safetensors"))
    write_image(Path("x.png"), 0)
    monkeypatch.setattr("sys.argv", ["kd-runner", "predict", "net.safetensors", "x.png", "--format", "csv"])
    assert cli.main() == 0
    assert capsys.readouterr().out.startswith("image,class,probability")
    monkeypatch.setattr("sys.argv", ["kd-runner", "evaluate", "net.safetensors"])
    assert cli.main() == 2
    assert capsys.readouterr().err.startswith("kd-evaluate: net.safetensors is in no folder of a run")


def test_the_names_lead_to_functions() -> None:
    for module in other_commands.MODULES.values():
        assert callable(importlib.import_module(module).main)
    assert not other_commands.names_another_command(["predict=1"])
    assert not other_commands.names_another_command([])

"""kd-runner store: list, verify and prune."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from torch import nn

from kd_runner import formats
from kd_runner.store import command, entries
from kd_runner.store.command import main
from kd_runner.training.resume_state import ResumeState


def train(_resume_state: ResumeState) -> tuple[nn.Module, list[dict[str, float]]]:
    return nn.Linear(8, 4), [{"val_accuracy": 0.5}]


@pytest.mark.parametrize("width", [60, 80, 100, 200, None])
def test_no_key_and_no_size_is_cut_in_a_narrow_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int | None
) -> None:
    network = {"_target_": "kd_runner.models.plain_cnn.PlainCNN", "widths": [16, 32, 64], "norm": "[b]", "odd": None}
    about = {"role": "teacher", "network": network, "image_shape": [1, 28, 28], "num_classes": 10, "epochs": 60}
    for seed in range(2):
        entries.trained_once(tmp_path, "teacher", {**about, "seed": seed}, {}, lambda _: (nn.Linear(64, 64), []))
    monkeypatch.setattr(command, "terminal_width", lambda: width)
    assert main(["--store", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert width is None or max(len(line) for line in lines if str(tmp_path) not in line) <= width
    for path in tmp_path.iterdir():
        (line,) = [line for line in lines if path.name in line.split()]
        size = formats.size(sum(file.stat().st_size for file in path.iterdir()))
        assert re.search(rf"  {re.escape(size)}( |$)", line)
        assert "PlainCNN(" in line
    text = " ".join(lines)
    if width is None or width >= 200:
        assert "1x28x28, 10 classes" in text
        assert "No room" not in text
    elif width == 80:
        assert f"No room for images; epochs; seed; role: see kd-runner store --store {tmp_path} | cat" in text
    assert len(lines) < 20


def test_an_empty_store_has_no_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--store", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "0 networks, 0 bytes"


def test_the_store_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "store"
    place = ["--store", str(root)]
    assert main(place) == 2
    assert "store: no folder" in capsys.readouterr().err
    for role in ("teacher", "student"):
        entries.trained_once(root, role, {"role": role, "network": {"_target_": "torch.nn.Linear"}}, {}, train)
    keys = sorted(path.name for path in root.iterdir())
    assert main(place) == 0
    text = capsys.readouterr().out
    assert all(key in text for key in keys)
    total = sum(path.stat().st_size for key in keys for path in (root / key).iterdir())
    assert f"2 networks, {formats.size(total)}\n" in text
    assert "0.0 MB" not in text
    assert max(map(len, text.splitlines())) <= 120
    assert main([*place, "verify"]) == 0
    weights = root / keys[0] / entries.NETWORK
    weights.write_bytes(weights.read_bytes()[:-100])
    assert main([*place, "verify"]) == 1
    assert f"{keys[0]}: network.safetensors has" in capsys.readouterr().out
    (root / ".0123456789abcdef.work").mkdir()
    (root / "holidays").mkdir()
    (root / f"{keys[0]}.corrupt.1").mkdir()
    assert main([*place, "prune", "--dry-run", keys[1]]) == 0
    assert len(list(root.iterdir())) == 5
    assert main([*place, "prune", "nokey"]) == 2
    assert main([*place, "prune", keys[1]]) == 0
    assert sorted(path.name for path in root.iterdir()) == sorted([keys[0], "holidays"])
    assert main([*place, "prune", "--unused-for", "1"]) == 0
    assert len(list(root.iterdir())) == 2
    capsys.readouterr()
    assert main([*place, "prune", "--unused-for", "1", "--dry-run"]) == 0
    assert capsys.readouterr().out == "nothing to delete\n"
    assert main([*place, "prune", "--unused-for", "-1"]) == 2
    os.utime(root / keys[0] / entries.MANIFEST, (0, 0))
    assert main([*place, "prune", "--unused-for", "1"]) == 0
    assert [path.name for path in root.iterdir()] == ["holidays"]

"""Files of weights for tests, and their refusal in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kd_runner.errors import SettingsError
from kd_runner.networks import weight_files

STATE = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.tensor([0.5, -1.0])}


class Call:
    """Pickles as a call of a function, which no reader here may make."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def tensors(path: Path) -> dict[str, Tensor]:
    return {entry.name: entry.tensor for entry in weight_files.read_tensors(path)[0]}


def reason(path: Path) -> str:
    """Why the file is not read, in one line."""
    with pytest.raises(SettingsError) as caught:
        weight_files.read_tensors(path)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < len(str(path)) + 400
    return line.removeprefix(f"{path} is not a plain weights file (safetensors, or a state dict saved by torch): ")


def of_torch(content: Any, path: Path, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path

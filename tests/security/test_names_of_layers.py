"""Names of layers, which torch.fx writes into the code of a network that it traces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import fx

from kd_runner.config.build import build
from kd_runner.errors import SettingsError

IDENTITY = {"_target_": "torch.nn.Flatten"}
LAYERS_OF = "torchvision.models._utils.IntermediateLayerGetter"


def network(name: str) -> dict[str, Any]:
    layers = {"a": IDENTITY, name: IDENTITY, "good": IDENTITY}
    return {
        "_target_": LAYERS_OF,
        "model": {"_target_": "torch.nn.ModuleDict", "modules": layers},
        "return_layers": {"good": "good"},
    }


def test_torch_fx_runs_what_a_name_holds(tmp_path: Path) -> None:
    """The reason for the rule: where this fails, torch quotes names, and the rule may go."""
    code = f"__import__('os').mkdir({str(tmp_path / 'harmed')!r})"
    escaped = "".join(f"\\x{ord(letter):02x}" for letter in code)
    layers = {"a": torch.nn.Flatten(), f'a" if exec("{escaped}") else "a': torch.nn.Flatten()}
    from torchvision.models._utils import IntermediateLayerGetter

    getter = IntermediateLayerGetter(torch.nn.ModuleDict({**layers, "good": torch.nn.Flatten()}), {"good": "good"})
    fx.symbolic_trace(getter)(torch.zeros(1, 2))
    assert (tmp_path / "harmed").is_dir()


@pytest.mark.parametrize("name", ['a" if exec("x") else "a', "a b", "a-b", "a\nb", "a'", "", "é\u202e", "a\\"])
def test_a_name_that_is_no_word_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="names must be words"):
        build(network(name), "student")


@pytest.mark.parametrize("name", ["conv1", "0", "_x", "größe"])
def test_words_are_names(name: str) -> None:
    assert torch.equal(build(network(name), "student")(torch.ones(1, 2))["good"], torch.ones(1, 2))

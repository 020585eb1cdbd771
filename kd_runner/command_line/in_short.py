"""A run in a few words: the first line that it prints, before PyTorch is imported."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from kd_runner.config.given import is_name_of_given

log = logging.getLogger(__name__)


def in_short(config: DictConfig) -> str:
    """The data set, the networks and the modes of a run, such as 'digits, cnn → mlp, soft'."""
    choices = HydraConfig.get().runtime.choices if "hydra" not in config else config.hydra.runtime.choices
    teachers = [network(config.teacher, choices.get("teacher"))]
    teachers += [network(config.teachers[name], choices.get(f"teacher@teachers.{name}")) for name in config.teachers]
    modes = [choices.get("distillation") or thing(config.distillation)]
    modes += [choices.get(f"distillation@plus.{name}") or name for name in config.plus]
    student = network(config.student, choices.get("student"))
    data = choices.get("dataset") or thing(config.dataset)
    if peers := number_of_peers(config.peers):
        return f"{data}, {student} and {peers} peer{'s' if peers > 1 else ''}, {' + '.join(map(str, modes))}"
    return f"{data}, {' and '.join(teachers)} → {student}, {' + '.join(str(mode) for mode in modes)}"


def number_of_peers(peers: Any) -> int:
    """The number of students beside the student, from the setting `peers`."""
    return max(0, peers - 1) if isinstance(peers, int) else len(peers or ())


def network(section: Mapping[str, Any], option: str | None) -> str:
    """The option of a network, with its depth, or its name among those of a library."""
    name = option or thing(section)
    if name in ("timm", "torchvision"):
        return str(section.get("name", name))
    return f"{name} {section['depth']}" if isinstance(section.get("depth"), int) else name


def thing(section: Mapping[str, Any]) -> str:
    """The name of what a section's `_target_` is; of a Python object without its digest."""
    name = str(section.get("_target_", "")).rpartition(".")[2]
    return name.rpartition("_")[0] if is_name_of_given(section.get("_target_")) else name


def log_packages(trust: Iterable[str]) -> None:
    """Log where the packages were found that a person vouches for: a folder may have another one of the same name."""
    for name in trust:
        try:
            spec = find_spec(name)
        except (ImportError, ValueError, AttributeError):  # whatever the person's packages do
            continue
        if spec is not None:
            origin = (
                spec.origin
                if spec.origin not in (None, "namespace")
                else next(iter(spec.submodule_search_locations or []), "")
            )
            log.info("code      %s is read from %s", name, origin)

"""YAML files of options as Hydra reads them, less those that would fill the memory or end in many lines."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import yaml
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, ListConfig, OmegaConf

from kd_runner.errors import SettingsError

MOST_VALUES = 100_000  # in a file, with each reference counted as all that it stands for
REFERENCE = re.compile(r"[\s\[{,:-]\*\w")


class BoundedOmegaConf(OmegaConf):
    """OmegaConf for Hydra's reader of files; what is wrong with a file is said in one line that names it."""

    @staticmethod
    def load(file_: Any) -> DictConfig | ListConfig:
        try:
            _refuse_unfolding(file_)
            return OmegaConf.load(file_)
        except RecursionError as error:
            raise SettingsError(f"{file_.name} must not be nested so deeply, or in itself") from error
        except OSError as error:  # OmegaConf's word for a file that is one number, say
            raise SettingsError(f"{file_.name} must hold settings by their keys ({error})") from error


@contextmanager
def bounded_files() -> Iterator[None]:
    """Have Hydra read files with `BoundedOmegaConf` in this block."""
    Plugins.instance()  # which executes the module of Hydra's reader anew
    reader: Any = importlib.import_module("hydra._internal.core_plugins.file_config_source")
    reader.OmegaConf = BoundedOmegaConf
    try:
        yield
    finally:
        reader.OmegaConf = OmegaConf


def _refuse_unfolding(file: IO[str]) -> None:
    """Raise SettingsError where references in the file make more of it than a file of settings has.

    OmegaConf copies what a reference stands for: a file of thirty lines can unfold to more than any memory.
    """
    text = file.read()
    file.seek(0)
    if REFERENCE.search(text) and _unfolded_size(yaml.compose(text, yaml.SafeLoader), {}) > MOST_VALUES:
        raise SettingsError(f"{file.name} must not unfold to more than {MOST_VALUES:,} values by its references (*)")


def _unfolded_size(node: yaml.Node | None, sizes: dict[int, float]) -> float:
    """The number of values below a node; infinite where it holds itself.

    Args:
        sizes: The sizes that are known, by the identities of nodes.
    """
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in sizes:
        sizes[id(node)] = float("inf")  # until it is known: who finds it now is inside it
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        sizes[id(node)] = 1 + sum(_unfolded_size(part, sizes) for part in parts)
    return sizes[id(node)]

"""The YAML files of options, read without composing them: for messages that name an option's settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from kd_runner.config.conf_dir import CONF_DIR

HERE = "@_here_"  # Hydra's word for settings that are taken over from another file, to the same place
PUBLISHED = "published"  # the folder of a group's options that nobody ran here
SHARED = "shared"  # that of settings which several options take over


def option_settings(file: Path, folders: Sequence[Path] = (CONF_DIR,)) -> dict[str, Any]:
    """The settings of an option's file, those that must be given and those that it takes from other files among them.

    Args:
        file: FOLDER/GROUP/OPTION.yaml.
        folders: Folders in which the other files are looked for.
    """
    content: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    if not isinstance(content, dict):
        return {}
    settings: dict[str, Any] = {}
    for entry in content.pop("defaults", []):
        if isinstance(entry, str) and entry.endswith(HERE):
            path = entry.removesuffix(HERE)
            path = path[1:] if path.startswith("/") else f"{file.parent.name}/{path}"
            files = (folder / f"{path}.yaml" for folder in folders)
            settings |= next((option_settings(file, folders) for file in files if file.is_file()), {})
    return settings | {str(name): value for name, value in content.items()}


def options_of(group: str) -> list[str]:
    """The options of a group as they are typed, with those in folders below it."""
    files = sorted((CONF_DIR / group).glob("*.yaml"))
    return [*(file.stem for file in files), *nested_options(group)]


def nested_options(group: str) -> list[str]:
    """The options in folders below that of a group, as they are typed: FOLDER/NAME."""
    files = (CONF_DIR / group).glob("*/*.yaml")
    return sorted(f"{file.parent.name}/{file.stem}" for file in files if file.parent.name != SHARED)


def published_options(group: str) -> list[str]:
    """The options in the folder `published` of a group, as they are typed: published/NAME."""
    return [name for name in nested_options(group) if name.startswith(f"{PUBLISHED}/")]


def as_published(override: str) -> str:
    """An override of the experiment with recipes by their names of today: those that moved are in `published`."""
    key, _, value = override.partition("=")
    if key.lstrip("+") != "experiment":
        return override
    moved = published_options("experiment")
    names = (f"{PUBLISHED}/{name}" if f"{PUBLISHED}/{name}" in moved else name for name in value.split(","))
    return f"{key}={','.join(names)}"

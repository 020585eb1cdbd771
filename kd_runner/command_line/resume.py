"""`resume=FOLDER`: the command that made a folder, typed again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from kd_runner.command_line.flags import SWEEP_FLAGS
from kd_runner.command_line.option_files import as_published
from kd_runner.command_line.overrides import UNDECISIVE
from kd_runner.errors import SettingsError
from kd_runner.files.plain_files import read_yaml
from kd_runner.files.run_folder import HYDRA, MULTIRUN, TYPED, holds_a_run

# Settings of a sweep that say how its jobs are started.
OF_LAUNCHING = ("hydra.sweep.subdir", "hydra.launcher", "hydra/launcher", "hydra.sweeper", "hydra/sweeper")


def command_of_folder(words: list[str]) -> list[str]:
    """The command line in Hydra's words where it has `resume=FOLDER`: the same command, in the folder that it had.

    Without any other setting, the command is the one that made the folder. A command line without `resume=` stays as
    it is.

    Raises:
        SettingsError: there is no run and no sweep in the folder.
    """
    typed = [word.partition("=")[2].strip("'\"") for word in words if word.startswith("resume=")]
    if not typed or typed[-1] in ("", "null"):
        return words
    folder = Path(typed[-1]).expanduser()
    _refuse_other_folders(words, folder)
    is_sweep = _holds_a_sweep(folder, typed[-1])
    has_flag = bool(SWEEP_FLAGS & set(words))
    if not any("=" in word and not word.startswith(("-", *UNDECISIVE)) for word in words):
        recorded = _recorded_settings(folder, is_sweep)
        if any(word.startswith("hydra/launcher=") for word in words):  # another launcher has other settings
            recorded = [word for word in recorded if not word.startswith(("hydra/launcher", "hydra.launcher"))]
        words = [*_config_dir(folder, is_sweep, words), *recorded, *words]
        words = ["-m", *words] if is_sweep and not has_flag else words
    elif has_flag != is_sweep:
        kind, remedy = ("sweep", "add -m") if is_sweep else ("run", "leave -m out")
        raise SettingsError(f"resume: {typed[-1]} is the folder of a {kind}: {remedy}")
    if set('"\\') & set(str(folder)):
        raise SettingsError(f"resume: must be a folder without quotes and backslashes in its name, got {typed[-1]}")
    words = [f'resume="{folder}"' if word.startswith("resume=") else word for word in words]
    return [*words, f'hydra.{"sweep" if is_sweep else "run"}.dir="{folder}"', "hydra.output_subdir=null"]


def _holds_a_sweep(folder: Path, typed: str) -> bool:
    """True where `folder` holds a sweep, False where it holds a run.

    Raises:
        SettingsError: it holds neither.
    """
    if not folder.is_dir():
        raise SettingsError(
            f"resume: must be the folder of a run or a sweep, got {typed}: no folder {folder.resolve()}"
        )
    if (folder / MULTIRUN).is_file():
        return True
    if not holds_a_run(folder):
        raise SettingsError(f"resume: must be the folder of a run or a sweep, {typed} holds neither")
    return False


def _refuse_other_folders(words: Sequence[str], folder: Path) -> None:
    """Raise SettingsError where the command names another folder than the one that it should go on in."""
    for word in words:
        key, _, value = word.partition("=")
        if key in ("resume", "hydra.run.dir", "hydra.sweep.dir"):
            named = Path(value.strip("'\"")).expanduser()
            if named.absolute() != folder.absolute():
                raise SettingsError(f"{key}: must be left out or the same beside resume={folder}, got {value}")


def resume_override(folder: Path) -> str:
    """The override, quoted for a shell, that goes on with what is in `folder`."""
    return shlex.quote(f"resume={folder}")


def _recorded_settings(folder: Path, is_sweep: bool) -> list[str]:
    """The settings that a run or sweep was started with, as Hydra recorded them."""
    path = folder / (MULTIRUN if is_sweep else f"{HYDRA}/{TYPED}")
    try:
        content = OmegaConf.create(read_yaml(path))
        recorded: Any = OmegaConf.to_container(content.hydra.overrides if is_sweep else content, resolve=False)
        overrides = recorded["task"] if is_sweep else recorded or []
        if is_sweep:  # how many threads a job has shows in its last bits
            overrides += [word for word in recorded["hydra"] if word.startswith(OF_LAUNCHING)]
        if not isinstance(overrides, list) or not all(isinstance(word, str) for word in overrides):
            raise TypeError
        return [as_published(word) for word in overrides if not word.startswith("resume=")]
    except Exception:  # whatever is in the file
        raise SettingsError(
            f"resume: {folder} does not say how it was started ({path.name} is missing or broken); "
            "type the command's other settings, too"
        ) from None


def _config_dir(folder: Path, is_sweep: bool, words: list[str]) -> list[str]:
    """The flag for the folder of own options that a run or sweep was started with; empty where `words` has one."""
    if any(word.startswith(("--config-dir", "-cd")) for word in words):
        return []
    try:
        content = OmegaConf.create(read_yaml(folder / (MULTIRUN if is_sweep else f"{HYDRA}/hydra.yaml")))
        sources = [src.path for src in content.hydra.runtime.config_sources if src.provider == "command-line"]
    except Exception:  # whatever is in the file
        sources = []
    return ["--config-dir", sources[0]] if sources else []

"""`resume=FOLDER`: the command that made a folder, typed again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from kd_runner.command_line.option_files import as_published
from kd_runner.command_line.overrides import UNDECISIVE

OF_LAUNCHING = ("hydra.sweep.subdir", "hydra.launcher", "hydra/launcher", "hydra.sweeper", "hydra/sweeper")


def _command_of_folder(words: list[str]) -> list[str]:
    """A command line with `resume=FOLDER`, in Hydra's words: the same command, in the folder that it had.

    Without any other setting, the command is the one that made the folder.

    Raises:
        SettingsError: there is no run and no sweep in the folder.
    """
    from kd_runner.errors import SettingsError
    from kd_runner.files.run_folder import holds_a_run

    given = [word.partition("=")[2].strip("'\"") for word in words if word.startswith("resume=")]
    if not given or given[-1] in ("", "null"):
        return words
    folder = Path(given[-1]).expanduser()
    _refuse_other_folders(words, folder)
    if not folder.is_dir():
        raise SettingsError(
            f"resume: must be the folder of a run or a sweep, got {given[-1]}: no folder {folder.resolve()}"
        )
    sweep = (folder / "multirun.yaml").is_file()
    if not sweep and not holds_a_run(folder):
        raise SettingsError(f"resume: must be the folder of a run or a sweep, {given[-1]} holds neither")
    several = bool({"-m", "--multirun"} & set(words))
    if not any("=" in word and not word.startswith(("-", *UNDECISIVE)) for word in words):
        recorded = _recorded_settings(folder, sweep)
        if any(word.startswith("hydra/launcher=") for word in words):  # another one has other settings
            recorded = [word for word in recorded if not word.startswith(("hydra/launcher", "hydra.launcher"))]
        words = [*_config_dir(folder, sweep, words), *recorded, *words]
        words = ["-m", *words] if sweep and not several else words
    elif several != sweep:
        what, remedy = ("sweep", "add -m") if sweep else ("run", "leave -m out")
        raise SettingsError(f"resume: {given[-1]} is the folder of a {what}: {remedy}")
    if set('"\\') & set(str(folder)):
        raise SettingsError(f"resume: must be a folder without quotes and backslashes in its name, got {given[-1]}")
    words = [f'resume="{folder}"' if word.startswith("resume=") else word for word in words]
    return [*words, f'hydra.{"sweep" if sweep else "run"}.dir="{folder}"', "hydra.output_subdir=null"]


def _refuse_other_folders(words: Sequence[str], folder: Path) -> None:
    """Raise SettingsError where the command names another folder than the one that it should go on in."""
    from kd_runner.errors import SettingsError

    for word in words:
        key, _, value = word.partition("=")
        if key in ("resume", "hydra.run.dir", "hydra.sweep.dir"):
            other = Path(value.strip("'\"")).expanduser()
            if other.absolute() != folder.absolute():
                raise SettingsError(f"{key}: must be left out or the same beside resume={folder}, got {value}")


def resuming(folder: Path) -> str:
    """The word for a shell that goes on with what is in `folder`."""
    return shlex.quote(f"resume={folder}")


def _recorded_settings(folder: Path, sweep: bool) -> list[str]:
    """The settings that a run or sweep was started with, as Hydra kept them."""
    from kd_runner.errors import SettingsError

    path = folder / ("multirun.yaml" if sweep else ".hydra/overrides.yaml")
    try:
        content = OmegaConf.load(path)
        kept: Any = OmegaConf.to_container(content.hydra.overrides if sweep else content, resolve=False)
        found = kept["task"] if sweep else kept or []
        if sweep:  # how many threads a job has shows in its last bits
            found += [word for word in kept["hydra"] if word.startswith(OF_LAUNCHING)]
        return [as_published(str(word)) for word in found if not str(word).startswith("resume=")]
    except Exception:  # whatever is in the file
        raise SettingsError(
            f"resume: {folder} does not say how it was started ({path.name} is missing or broken); "
            "type the command's other settings, too"
        ) from None


def _config_dir(folder: Path, sweep: bool, words: list[str]) -> list[str]:
    """The flag for a folder of options of one's own that a run or sweep was started with, unless there is one."""
    if any(word.startswith(("--config-dir", "-cd")) for word in words):
        return []
    try:
        content = OmegaConf.load(folder / ("multirun.yaml" if sweep else ".hydra/hydra.yaml"))
        sources = [each.path for each in content.hydra.runtime.config_sources if each.provider == "command-line"]
    except Exception:  # whatever is in the file
        sources = []
    return ["--config-dir", sources[0]] if sources else []

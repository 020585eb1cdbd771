"""`resume=FOLDER`: the command that made a folder, typed again.

The folder may be a stranger's. What it recorded chooses settings, and nothing else: words that extend trust, flags, and
most of Hydra's settings are not taken from it. A person who wants those types them again.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from kd_runner.command_line.begun_folder import place_recorded, place_remark, place_words
from kd_runner.command_line.flags import CONFIG_DIR, SWEEP_FLAGS, split_flags
from kd_runner.command_line.foreign_files import may_be_in_a_file
from kd_runner.command_line.option_files import as_published
from kd_runner.command_line.other_values import in_recorded_words, other_values
from kd_runner.command_line.overrides import (
    EARLIER_DEFAULTS,
    PUBLISHED_WEIGHTS,
    expand_modes,
    is_undecisive,
    split,
)
from kd_runner.command_line.typed_words import parse_overrides
from kd_runner.config.fingerprint import changes_no_result
from kd_runner.errors import SettingsError
from kd_runner.files.home import with_home
from kd_runner.files.indifferent import HOW_FAST
from kd_runner.files.links import refuse_links
from kd_runner.files.plain_files import read_plain, read_yaml
from kd_runner.files.recorded_words import recorded_words, without_plus
from kd_runner.files.run_folder import GRID, HYDRA, MULTIRUN, SETTINGS, TYPED, holds_a_run, without_page
from kd_runner.formats import number_of
from kd_runner.plain_text import printable
from kd_runner.redaction import MASK
from kd_runner.typed_files import CLASS_NAMES, are_typed, leads_out

# Settings of a sweep that say how its jobs are started.
OF_LAUNCHING = ("hydra.sweep.subdir", "hydra.launcher", "hydra/launcher", "hydra.sweeper", "hydra/sweeper")
LAUNCHER = ("hydra/launcher", "hydra.launcher")
TRIALS = "hydra.sweeper.trials"


def command_of_folder(words: list[str]) -> list[str]:
    """The command line in Hydra's words where it has `resume=FOLDER`: the same command, in the folder that it had.

    Without any other setting, the command is the one that made the folder. A command line without `resume=` stays as
    it is.

    Raises:
        SettingsError: there is no run and no sweep in the folder.
    """
    typed = [word.partition("=")[2].strip("'\"") for word in words if word.startswith("resume=")]
    if not typed or typed[-1] == "null":
        return words
    folder = without_page(with_home(typed[-1]))
    _refuse_other_folders(words, folder)
    is_sweep = _holds_a_sweep(folder, typed[-1])
    refuse_links(folder, "resume")
    has_flag = bool(SWEEP_FLAGS & set(words))
    typed_keys = {key_of(word) for word in words}
    words = _without_typed_again(words, folder, is_sweep)
    beside = words_beside(words)
    if has_flag and not is_sweep:
        _refuse_other_values(words, folder, is_sweep, typed[-1])
        raise SettingsError(f"resume: {typed[-1]} is the folder of a run: leave -m out")
    if not is_sweep:
        _refuse_several_values(beside, typed[-1])
    if not _keys(words) - {key_of(word) for word in beside}:
        if is_sweep and beside:
            raise SettingsError(
                f"{key_of(beside[0])}: must be left out beside resume={typed[-1]}: a sweep goes on with what it was "
                f"started with, got {beside[0].partition('=')[2]}"
            )
        recorded = recorded_settings(folder, is_sweep)
        if any(word.startswith("hydra/launcher=") for word in words):  # another launcher has other settings
            recorded = [word for word in recorded if not without_plus(word).startswith(LAUNCHER)]
        typed_keys = {key_of(word) for word in words}
        taken = [word for word in recorded if not _must_be_typed(word) and key_of(word) not in typed_keys]
        _ask_for_words(typed[-1], words, recorded, _config_dir(folder, is_sweep), "resume", f"resume={typed[-1]}")
        words = [*taken, *words]
        words = ["-m", *words] if is_sweep and not has_flag else words
    else:
        _refuse_other_values(words, folder, is_sweep, typed[-1])
        _refuse_a_part(words, folder, is_sweep, has_flag)
        if is_sweep and not has_flag:
            raise SettingsError(f"resume: {typed[-1]} is the folder of a sweep: add -m")
        if is_sweep:
            words = _in_recorded_words(words, folder)
    words = place_words(words, folder, typed_keys)
    if set('"\\') & set(str(folder)):
        raise SettingsError(f"resume: must be a folder without quotes and backslashes in its name, got {typed[-1]}")
    words = [f'resume="{folder}"' if word.startswith("resume=") else word for word in words]
    return [*words, f'hydra.{"sweep" if is_sweep else "run"}.dir="{folder}"', "hydra.output_subdir=null"]


def remarks_on_places(words: Sequence[str]) -> list[str]:
    """The line about a run or a sweep that goes on where it is not known which store it was begun with."""
    typed = [word.partition("=")[2].strip("'\"") for word in words if word.startswith("resume=")]
    if not typed or typed[-1] == "null":
        return []
    remark = place_remark(without_page(with_home(typed[-1])), map(key_of, words))
    return [] if remark is None else [remark]


def _without_typed_again(words: list[str], folder: Path, is_sweep: bool) -> list[str]:
    """The words less a file of class names that the folder recorded, too: it was typed, so that the record counts."""
    if not any(_is_of_class_names(word) for word in words):
        return words
    try:
        recorded = {without_plus(word) for word in recorded_settings(folder, is_sweep)}
    except SettingsError:
        return words  # all settings are typed then
    remaining = [word for word in words if not _is_of_class_names(word) or without_plus(word) not in recorded]
    return remaining if not _keys(remaining) - {key_of(word) for word in words_beside(remaining)} else words


def _refuse_several_values(words: Sequence[str], typed: str) -> None:
    """Raise SettingsError where a setting that may be typed beside `resume=RUN` has the values of a sweep."""
    for override in parse_overrides(words):
        if override.is_sweep_override():
            key, _, values = str(override.input_line).partition("=")
            raise SettingsError(f"{key.lstrip('+')}: must be one value beside the run resume={typed}, got {values}")


def _refuse_a_part(words: Sequence[str], folder: Path, is_sweep: bool, has_flag: bool) -> None:
    """Raise SettingsError where some of the folder's settings are typed again, and nothing else.

    What is typed is the whole command then, and what it lacks would have its default.
    """
    try:
        recorded = [word for word in recorded_settings(folder, is_sweep) if _keys([word])]
    except SettingsError:
        return  # such a folder is gone on with by typing all settings
    typed, optional = _keys(words), set() if is_sweep else set(HOW_FAST)  # all words name the jobs of a sweep
    recorded = [word for word in recorded if _keys([word]) - optional]
    missing = [word for word in recorded if _keys([word]) - typed]
    if typed and missing and typed - optional <= _keys(recorded):
        raise SettingsError(
            f"resume: {folder} was started with {number_of(len(recorded), 'setting')}, {len(missing)} of which are not "
            f"typed here, such as {shlex.quote(printable(missing[0]))}: type none, as the folder knows them, or all"
            f"{' and -m' if is_sweep and not has_flag else ''}"
        )


def _refuse_other_values(words: Sequence[str], folder: Path, is_sweep: bool, typed: str) -> None:
    """Raise SettingsError where a setting is typed with another value than the run or sweep had when it began.

    Of a setting that was not typed then, it is known of a sweep alone, whose jobs are known by their words.
    """
    if not (folder / (GRID if is_sweep else SETTINGS)).exists():
        return  # it was stopped before it had begun
    try:
        recorded = recorded_settings(folder, is_sweep)
    except SettingsError:
        return
    for key, was, value in other_values(recorded, words):
        if not any("${" in text or MASK in text for text in (was, value)):
            raise SettingsError(_of_another_value(key, f"was {printable(was)}", value, recorded, is_sweep, typed))
    for word in words:
        if is_sweep and _keys([word]) - _keys(recorded):
            value = word.partition("=")[2]
            raise SettingsError(_of_another_value(key_of(word), "was not typed", value, recorded, is_sweep, typed))


def _in_recorded_words(words: list[str], folder: Path) -> list[str]:
    """The words, with those that the sweep was started with in place of the same values in other digits."""
    try:
        return in_recorded_words(recorded_settings(folder, is_sweep=True), words)
    except SettingsError:
        return words  # such a folder is gone on with by typing all settings


def _of_another_value(key: str, before: str, value: str, recorded: Sequence[str], is_sweep: bool, typed: str) -> str:
    """The line about a setting whose value is not that of the run or sweep; `before` says what it was."""
    kind, noun = "sweep" if is_sweep else "run", "length" if key.endswith(("epochs", "steps")) else "value"
    alone = "alone"
    if is_sweep and any(without_plus(word).startswith("hydra/sweeper=optuna") for word in recorded):
        kind, alone = "search", f"alone, or with {TRIALS}=… to extend it"
    another = "" if changes_no_result(key) else f", and with another {noun} it is another {kind}"
    return (
        f"{key}: {before} when the {kind} began, got {value}; a {kind} goes on with its own settings "
        f"(kd-runner {shlex.quote(f'resume={typed}')} {alone}){another}"
    )


def words_beside(words: Sequence[str]) -> list[str]:
    """The words that may be typed beside `resume=RUN` alone: how fast the run is, and where its files are now."""
    return [word for word in words if "=" in word and changes_no_result(key_of(word))]


def _keys(words: Sequence[str]) -> set[str]:
    """The keys of the words that decide about the result, but for those that others bring along."""
    decisive = [word for word in words if "=" in word and not word.startswith("-") and not is_undecisive(word)]
    keys = {key_of(part) for word in decisive for part in expand_modes(word)}
    return keys - {"fold"}  # of a sweep over folds it may be left out


def _holds_a_sweep(folder: Path, typed: str) -> bool:
    """True where `folder` holds a sweep, False where it holds a run.

    Raises:
        SettingsError: it holds neither.
    """
    if not typed:
        raise SettingsError("resume: must be the folder of a run or a sweep, got nothing")
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
        key, _, value = without_plus(word).partition("=")
        if key in ("resume", "hydra.run.dir", "hydra.sweep.dir"):
            named = without_page(with_home(value.strip("'\"")))
            if named.absolute() != folder.absolute():
                raise SettingsError(f"{key}: must be left out or the same beside resume={folder}, got {value}")


def resume_override(folder: Path) -> str:
    """The override, quoted for a shell, that goes on with what is in `folder`."""
    return shlex.quote(f"resume={folder}")


def go_on_command(folder: Path, overrides: Sequence[str], config_dir: str | None = None) -> str:
    """The command line, for a shell, that goes on with the run in `folder`.

    Args:
        overrides: The overrides that the run was last started with. Those that its folder does not bring back are in
            the command.
        config_dir: The folder of a person's own options that it was started with.
    """
    try:
        recorded = list(map(str, recorded_words(folder)[1]))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        recorded = list(overrides)
    brought_back = {*recorded, *place_recorded(recorded, folder)}
    beside = [word for word in words_beside(overrides) if word not in brought_back]
    own_options = [f"--config-dir={config_dir}"] if config_dir else []
    words = [*beside, *words_for_a_person([*own_options, *overrides])]
    return " ".join(["kd-runner", resume_override(folder), *map(shlex.quote, dict.fromkeys(words))])


def settings_of_run(folder: Path, words: Sequence[str], command: Sequence[str]) -> list[str]:
    """The settings that the run in `folder` was started with, less those that count only where they are typed.

    Args:
        words: The words that were typed.
        command: The words, such as 'again FOLDER', to which a message adds what must be typed.

    Raises:
        SettingsError: there is no readable record, or a word of it must be typed and was not.
    """
    recorded = recorded_settings(folder, False, command[0])
    _ask_for_words(str(folder), words, recorded, _config_dir(folder, False), command[0], *command)
    return [word for word in recorded if not _must_be_typed(word)]


def recorded_settings(folder: Path, is_sweep: bool, key: str = "resume") -> list[str]:
    """The settings that a run or sweep was started with, as its folder records them.

    Args:
        key: The word that messages start with.

    Raises:
        SettingsError: there is no readable record, or it holds a word that is no setting.
    """
    path = folder / (MULTIRUN if is_sweep else f"{HYDRA}/{TYPED}")
    try:
        if is_sweep:
            content = OmegaConf.create(read_yaml(path))
            recorded: Any = OmegaConf.to_container(content.hydra.overrides, resolve=False)
        else:
            path, words_of_run = _words_of_run(folder)
            recorded = {"task": OmegaConf.to_container(OmegaConf.create(words_of_run), resolve=False)}
        overrides = recorded["task"] or []
        if not isinstance(overrides, list) or not all(isinstance(word, str) for word in overrides):
            raise TypeError
        launching: list[str] = []
        if is_sweep:  # how many threads a job has shows in its last bits
            launching = [str(word) for word in recorded["hydra"] if without_plus(str(word)).startswith(OF_LAUNCHING)]
    except Exception:  # whatever is in the file
        raise SettingsError(
            f"{key}: {folder} does not say how it was started ({path.name} is missing or broken); "
            "type the command's other settings, too"
        ) from None

    for word in overrides:
        if _root_of(word) in (None, "hydra"):
            raise SettingsError(
                f"{key}: {path} must hold settings alone, got {printable(word)}; "
                "where you know the command, type its other settings, too"
            )
    words = [as_published(word) for word in [*overrides, *launching] if _root_of(word) != "resume"]
    return [*_earlier_defaults(folder, is_sweep), *words]


def _words_of_run(folder: Path) -> tuple[Path, Any]:
    """The file that records the words of the run in `folder`, and these; of a job that has not begun, its sweep's file.

    Raises:
        OSError, ValueError, LookupError, TypeError, RecursionError: there is no such file, or it cannot be read.
    """
    try:
        return recorded_words(folder)
    except (OSError, LookupError):
        sweep = next((path for path in folder.absolute().parents if (path / GRID).is_file()), None)
        if sweep is None or (folder / HYDRA).exists():
            raise
        content = json.loads(read_plain(sweep / GRID))
        number = content["folders"].index(str(folder.absolute().relative_to(sweep)))
        return sweep / GRID, [word for word in split(content["jobs"][number]) if word]


def _earlier_defaults(folder: Path, is_sweep: bool) -> list[str]:
    """The words that give back the defaults of the version that started the run or sweep, where they have changed."""
    files = sorted(folder.glob(f"*/{SETTINGS}")) if is_sweep else [folder / SETTINGS]
    started = [sections for sections in map(_sections, files) if sections]
    has_fractions = all("fraction" in sections["student"] for sections in started)
    has_weights = all("default_weights" in sections["dataset"] for sections in started)
    return [*(() if has_fractions else EARLIER_DEFAULTS), *(() if has_weights else (PUBLISHED_WEIGHTS,))]


def _sections(path: Path) -> dict[str, dict[str, Any]]:
    """The sections `student` and `dataset` of a run's settings; nothing where the file does not have both."""
    try:
        settings = json.loads(read_plain(path))
        sections = {name: settings[name] for name in ("student", "dataset")}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}
    return sections if all(isinstance(section, dict) for section in sections.values()) else {}


def _root_of(word: str) -> str | None:
    """The first part of the key, or of the place, that a word sets; None for a flag and what Hydra cannot read."""
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException:
        return None
    if word.startswith("-"):
        return None
    roots = [name.replace("/", ".").partition(".")[0] for name in (override.key_or_group, override.package) if name]
    return next((root for root in roots if root in ("hydra", "trust", "resume")), roots[0])


def is_for_a_person(word: str) -> bool:
    """True for a word that counts only where a person types it.

    It extends trust, says what a launcher runs, or has the names of classes read from a file outside of the data set.
    """
    if _is_of_class_names(word):
        value = word.partition("=")[2].strip("'\"")
        return not value.startswith("[") and leads_out(value)
    root = _root_of(word)
    if root != "hydra":
        return root == "trust"
    key, _, value = word.partition("=")
    if key in ("hydra/launcher", "hydra/sweeper"):
        return not re.fullmatch(r"\w+", value.strip("'\""))  # a path leads to anybody's file
    if key == "hydra.sweep.subdir":
        return "${oc." in value  # the environment is nothing to name folders by
    override = OverridesParser.create().parse_override(word)
    return not may_be_in_a_file(key.lstrip("+"), None if override.is_sweep_override() else override.value())


def _must_be_typed(word: str) -> bool:
    """True for a recorded word that counts only where a person types it, and that none has typed."""
    return is_for_a_person(word) and not (_is_of_class_names(word) and are_typed(word.partition("=")[2]))


def _is_of_class_names(word: str) -> bool:
    return without_plus(word).startswith(f"{CLASS_NAMES}=")


def words_for_a_person(words: Sequence[str]) -> list[str]:
    """The words of a command line that its folder does not bring back, so that they must be typed to go on."""
    flags, settings = split_flags(list(words))
    folders = []
    for number, flag in enumerate(flags):
        if flag in CONFIG_DIR:
            folders += flags[number : number + 2]
        elif flag.startswith(tuple(f"{name}=" for name in CONFIG_DIR)):
            folders.append(flag)
    keys = (*OF_LAUNCHING, CLASS_NAMES)
    started_by = [word for word in settings if without_plus(word).startswith(keys) or _root_of(word) == "trust"]
    return [*folders, *filter(is_for_a_person, started_by)]


def _ask_for_words(
    folder: str, words: Sequence[str], recorded: Sequence[str], config_dir: Sequence[str], key: str, *command: str
) -> None:
    """Raise SettingsError where the folder's command had words that count only where they are typed, and none was.

    Args:
        key: The word that the message starts with.
        command: The words to which those are added.
    """
    has_folder = any(word.startswith(CONFIG_DIR) for word in words)
    typed_keys = {key_of(word) for word in words}
    missing = [*([] if has_folder else config_dir)]
    for word in recorded:
        is_nothing = word.partition("=")[2] in ("[]", "null")
        if _must_be_typed(word) and key_of(word) not in typed_keys and not is_nothing:
            missing.append(word)
    if missing:
        again = " ".join(shlex.quote(printable(word)) for word in missing)
        raise SettingsError(
            f"{key}: {folder} was started with {again}, which counts only where it is typed: where you trust it, "
            f"type kd-runner {shlex.join(command)} {again}"
        )


def key_of(word: str) -> str:
    """The key that a word sets; that of all words about trust is the same."""
    return "trust" if _root_of(word) == "trust" else word.lstrip("+~").partition("=")[0]


def _config_dir(folder: Path, is_sweep: bool) -> list[str]:
    """The flag for the folder of own options that a run or sweep was started with."""
    if not is_sweep and not (folder / HYDRA).exists():  # the job of a sweep
        above = next((path for path in folder.absolute().parents if (path / GRID).is_file()), None)
        return [] if above is None else _config_dir(above, True)
    try:
        content = OmegaConf.create(read_yaml(folder / (MULTIRUN if is_sweep else f"{HYDRA}/hydra.yaml")))
        sources = [str(src.path) for src in content.hydra.runtime.config_sources if src.provider == "command-line"]
    except Exception:  # whatever is in the file
        sources = []
    return ["--config-dir", sources[0]] if sources else []

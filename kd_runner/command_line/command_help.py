"""The commands of the package by their names: what each is for, and the names that people try for them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from kd_runner.command_line.flags import FLAGS
from kd_runner.command_line.key_names import groups, is_key
from kd_runner.command_line.option_files import options_of
from kd_runner.errors import SettingsError

NEARLY = 0.7  # how alike a misspelt command is to the one that was meant, from 0 to 1
# How each is typed, and what it does. All answer --help but resume, which is a setting.
COMMANDS = {
    "stop": ("kd-runner stop SWEEP [JOB …]", "ends a sweep that runs in another terminal, or some of its jobs"),
    "again": ("kd-runner again RUN [key=value …]", "makes a run anew from its folder, and compares the results"),
    "store": ("kd-runner store [list|verify|prune]", "lists, checks and removes the networks that runs use again"),
    "resume": ("kd-runner resume=FOLDER", "goes on with a run or a sweep that was interrupted"),
    "new": (
        "kd-runner new mode|network|dataset NAME",
        "writes files for a mode, a network or a data set of your own",
    ),
    "export": ("kd-export RUN --format FORMAT", "writes a network in another format, checked after writing"),
    "predict": ("kd-predict RUN cat.jpg", "prints the classes of pictures"),
    "evaluate": ("kd-evaluate RUN FOLDER", "prints the metrics of a network on the pictures of a folder or a table"),
    "report": ("kd-report FOLDER …", "writes the report of runs and sweeps"),
    "help": ("kd-runner help [WORD …]", "says what a setting, a group, an option or a command is"),
}
# Other names, with how they are typed here and what that does.
OTHER_NAMES = {
    "verify": {
        "report": ("kd-report --verify RUN", "evaluates a run's networks again, and compares the results"),
        "store": ("kd-runner store verify", "compares the files of the store with what was written"),
    },
    **{
        name: {"export": (f"kd-export RUN --format {name}", f"writes a network as {about}")}
        for name, about in {
            "onnx": "ONNX",
            "torch_export": "a program of torch.export",
            "openvino": "OpenVINO's files",
            "executorch": "ExecuTorch's file",
            "safetensors": "its weights alone",
        }.items()
    },
    **{
        name: {"": ("kd-runner [key=value …]", "trains a teacher, a student and its baseline")}
        for name in ("train", "run", "fit", "start", "distill")
    },
    "sweep": {"": ("kd-runner -m key=A,B [key=value …]", "runs every combination of the values")},
    "list": {"store": ("kd-runner store list", "lists the networks and logits in the store")},
    "delete": {"store": ("kd-runner store prune", "deletes what is in the store and no job needs")},
    "kill": {"stop": COMMANDS["stop"]},
    "cancel": {"stop": COMMANDS["stop"]},
    "continue": {"resume": COMMANDS["resume"]},
    "rerun": {"again": COMMANDS["again"]},
    "reproduce": {"again": COMMANDS["again"]},
    "leaderboard": {"report": COMMANDS["report"]},
    "compare": {"report": COMMANDS["report"]},
    "infer": {"predict": COMMANDS["predict"]},
    "inference": {"predict": COMMANDS["predict"]},
    "classify": {"predict": COMMANDS["predict"]},
    "convert": {"export": COMMANDS["export"]},
    "init": {"new": COMMANDS["new"]},
    "create": {"new": COMMANDS["new"]},
}
WITH_A_PROGRAM = ("export", "predict", "evaluate", "report")  # kd-NAME, which kd-runner NAME runs, too


def about_command(word: str) -> str | None:
    """A line on each command that has this name; None where there is none."""
    name = _plain(word)
    commands = {name: COMMANDS[name]} if name in COMMANDS else OTHER_NAMES.get(name)
    if commands is None:
        return None
    return "\n".join(f"{word}: a command: {usage} {about}{_help_of(name)}" for name, (usage, about) in commands.items())


def refuse_commands(words: Sequence[str]) -> None:
    """Raise SettingsError where the first word is nearly a command, or another word is one."""
    apart = [
        word
        for number, word in enumerate(words)
        if not word.startswith("-") and not (number and FLAGS.get(words[number - 1], False))
    ]
    for word in apart:
        name = _plain(word)
        if not re.fullmatch(r"[\w-]+", word) or is_key(word):
            continue
        if word in COMMANDS and word != words[0]:
            raise SettingsError(f"{word}: a command must be the first word: {COMMANDS[word][0]}")
        meant = _meant_command(name) if word == apart[0] and not _is_option(word) else None
        if meant:
            raise SettingsError(f"{word}: no such command (did you mean {meant}?)")


def _meant_command(name: str) -> str | None:
    if name in OTHER_NAMES:
        return " or ".join(usage for usage, _ in OTHER_NAMES[name].values())
    close = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=NEARLY)
    return COMMANDS[close[0]][0] if close else None


def _is_option(word: str) -> bool:
    return any(word in options_of(group) for group in groups())


def _plain(word: str) -> str:
    return word.lower().removeprefix("kd-runner-").removeprefix("kd-").rstrip("=").replace("-", "_")


def _help_of(name: str) -> str:
    if name in ("", "resume", "help"):
        return ""
    program = f"kd-{name}" if name in WITH_A_PROGRAM else f"kd-runner {name}"
    return f"; {program} --help"

"""The object that stands for one command from its start to its exit code."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.types import TaskFunction
from omegaconf import DictConfig

from kd_runner.command_line.again import Again
from kd_runner.command_line.command_help import refuse_commands
from kd_runner.command_line.empty_values import refuse_empty_paths
from kd_runner.command_line.flags import SWEEP_FLAGS, split_flags
from kd_runner.command_line.fold_words import with_folds
from kd_runner.command_line.overrides import expand
from kd_runner.command_line.own_folder import refuse_ignored_files
from kd_runner.command_line.resume import (
    command_of_folder,
    remarks_on_places,
    resume_override,
    words_beside,
    words_for_a_person,
)
from kd_runner.command_line.typed_texts import as_hydra_reads_it
from kd_runner.command_line.typed_words import is_question
from kd_runner.errors import SettingsError
from kd_runner.files.recorded_words import without_plus

# A command that only asks about the data leaves no files of Hydra's behind.
WITHOUT_FILES = ("hydra.output_subdir=null", f"hydra.job_logging.handlers.file.filename={os.devnull}")


@dataclass
class Invocation:
    """One command: the words that it was started with, and its outcome so far.

    Args:
        words: The command line as a person typed it, without the program's name.
        flags: Hydra's flags that each job of a sweep gets, too; empty until `translate` is called.
        resume_hint: The end of a message about an interruption, with the command to go on; empty until a run starts.
        exit_code: The exit code of the last job in this process; None before one starts.
        companions: The runs of this process, where it runs several jobs; None for a command that is alone.
        again: The run that the command makes again; None for any other command.
        remarks: Lines about the words, to be noted once the run or sweep begins.
    """

    words: Sequence[str]
    flags: list[str] = field(default_factory=list)
    resume_hint: str = ""
    exit_code: int | None = None
    companions: Any = None
    again: Again | None = None
    remarks: list[str] = field(default_factory=list)

    @property
    def typed_words(self) -> list[str]:
        """The words without `dataset=?`, before `resume=FOLDER` adds the settings of that folder."""
        return [word for word in self.words if not is_question(word)]

    @property
    def asks_for_data(self) -> bool:
        """True where `dataset=?` asks for what would be read, in place of a run."""
        return any(map(is_question, self.words))

    @property
    def asks_for_help(self) -> bool:
        """True where we print the help. Hydra prints it where the command chooses other files of settings."""
        chooses_files = any(word.startswith(("--config", "-c")) for word in self.words)
        return bool({"--help", "-h"} & set(self.words)) and not chooses_files

    def translate(self) -> list[str]:
        """The command line as Hydra reads it: flags first, `resume=` and `dataset=?` spelled out.

        Raises:
            SettingsError: a flag that does not exist, or words that contradict each other.
        """
        if not self.asks_for_help:
            refuse_commands(self.words)
        refuse_empty_paths(self.words)
        typed = [as_hydra_reads_it(word) for word in self.words]
        words = [word for word in command_of_folder(typed) if not is_question(word)]
        self.remarks = remarks_on_places(typed)
        refuse_ignored_files(words)
        if self.asks_for_data:
            if SWEEP_FLAGS & set(words):
                raise SettingsError("dataset: ? asks about the data of one run, leave -m out")
            words += WITHOUT_FILES
        flags, settings = split_flags(words)
        settings = with_folds(settings, bool(SWEEP_FLAGS & set(flags)), self.asks_for_data)
        self.flags = [flag for flag in flags if flag not in SWEEP_FLAGS]
        return expand([*flags, *settings])

    def remember_folder(self, folder: Path) -> None:
        """Make the message about an interruption say how to go on with the run or sweep in `folder`."""
        typed = self.typed_words
        # What was typed beside `resume=` is in no file of the folder.
        beside = words_beside(typed) if any(without_plus(word).startswith("resume=") for word in typed) else []
        words = [resume_override(folder), *map(shlex.quote, [*beside, *words_for_a_person(typed)])]
        self.resume_hint = f"; to go on: kd-runner {' '.join(words)}"


@dataclass(frozen=True)
class JobFunction:
    """The function that Hydra calls with the settings of a job.

    Hydra also hands this object to its plugins, which find the invocation in it.
    """

    run: Callable[[DictConfig, Invocation], None]
    invocation: Invocation

    def __call__(self, config: DictConfig) -> Any:
        self.run(config, self.invocation)


def invocation_of(function: TaskFunction) -> Invocation:
    """The invocation that belongs to the function which Hydra hands to a plugin."""
    assert isinstance(function, JobFunction)
    return function.invocation

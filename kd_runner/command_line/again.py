"""`kd-runner again RUN key=value …`: the command that made a run, for a new folder.

As with `resume=`, the folder may be a stranger's: what it recorded chooses settings, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kd_runner.command_line.begun_folder import place_recorded
from kd_runner.command_line.flags import SWEEP_FLAGS, split_flags
from kd_runner.command_line.overrides import group_of_target, is_settings_of_group, without_replaced_targets
from kd_runner.command_line.resume import key_of, settings_of_run
from kd_runner.command_line.typed_words import is_question
from kd_runner.errors import Answer, SettingsError
from kd_runner.files.home import with_home
from kd_runner.files.indifferent import WORDS_OF_THE_SAME_NUMBERS
from kd_runner.files.links import refuse_links
from kd_runner.files.run_folder import GRID, MULTIRUN, holds_a_run, without_page

AGAIN = "again"
USAGE = """kd-runner again RUN [key=value …]

Make the run in the folder RUN anew, from the settings that lie in it, in a new folder, and compare the results.
The teacher and the baseline are trained anew, too, unless store=PATH is typed. Settings behind RUN change the new run;
~key leaves a setting of RUN out. Exit code 0: all numbers are equal to the digit, or settings were changed;
1: a number differs, or the run failed; 2: a setting, file or data set cannot work."""


@dataclass(frozen=True)
class Again:
    """A run that is made again.

    Args:
        folder: The folder of the run.
        words: The command line of the new run.
        changes: The typed words that can change the result.
        has_store: A store was typed, from which trained networks are taken.
        has_threads: The number of CPU threads was typed.
    """

    folder: Path
    words: list[str]
    changes: list[str]
    has_store: bool = False
    has_threads: bool = False


def read_again(typed: Sequence[str]) -> Again:
    """The run that `kd-runner again` with these words makes again.

    Raises:
        SettingsError: no folder of a run, or words that contradict it.
        Answer: the words ask for help.
    """
    if {"--help", "-h"} & set(typed):
        raise Answer(USAGE)
    flags, words = split_flags(list(typed))
    if SWEEP_FLAGS & set(flags):
        raise SettingsError(f"{AGAIN}: makes one run anew: leave -m out")
    folders = [word for word in words if "=" not in word and not word.startswith("~")]
    settings = [word for word in words if word not in folders]
    if len(folders) != 1:
        got = f"got {' and '.join(folders)}" if folders else "got none"
        raise SettingsError(f"{AGAIN}: must name the folder of one run, as in kd-runner again RUN seed=1, {got}")
    if not folders[0].strip():
        raise SettingsError(f"{AGAIN}: must be the folder of a run, got nothing")
    folder = without_page(with_home(folders[0]))
    _refuse_no_run(folder, folders[0])
    if any(key_of(word) == "resume" for word in settings):
        raise SettingsError(f"resume: has no effect beside {AGAIN}, which makes a run in a new folder")
    recorded = settings_of_run(folder, [*flags, *settings], (AGAIN, folders[0]))
    changed = [word for word in settings if not is_question(word)]
    typed_keys = {key_of(word) for word in changed if not is_settings_of_group(word)}
    remaining = without_replaced_targets(recorded, changed)
    unchanged = [word for word in remaining if key_of(word) not in typed_keys and key_of(word) != "store"]
    unchanged = place_recorded(unchanged, folder)
    dropped = {f"~{key}" for word in recorded for key in (key_of(word), group_of_target(word))}
    added = [word for word in settings if word not in dropped]
    changes = [word for word in changed if not word.lstrip("+").startswith(WORDS_OF_THE_SAME_NUMBERS)]
    has = {key: any(key_of(word) == key for word in settings) for key in ("store", "trainer.threads")}
    return Again(folder, [*flags, *unchanged, *added], changes, has["store"], has["trainer.threads"])


def _refuse_no_run(folder: Path, typed: str) -> None:
    """Raise SettingsError where `folder` is not that of a run."""
    if not folder.is_dir():
        raise SettingsError(f"{AGAIN}: must be the folder of a run, got {typed}: no folder {folder.resolve()}")
    sweep = any((folder / name).is_file() for name in (GRID, MULTIRUN))
    if sweep or not holds_a_run(folder):
        kind = f"a sweep: name one of its runs, such as {typed.rstrip('/')}/0" if sweep else "none"
        raise SettingsError(f"{AGAIN}: must be the folder of a run, {typed} holds {kind}")
    refuse_links(folder, AGAIN)

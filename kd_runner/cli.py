"""The command line: Hydra composes the settings, one line answers what cannot work, a run does the rest.

Nothing here imports torch before a run starts: `--help`, `--cfg job` and shell completion answer at once.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from kd_runner.command_line.composition import _from_environment, settings_of, variables_of
from kd_runner.command_line.conf_dir import CONF_DIR
from kd_runner.command_line.flags import _flags_apart
from kd_runner.command_line.messages import _help, _one_line_message, _say, _with_origin
from kd_runner.command_line.overrides import _sum_of_modes
from kd_runner.command_line.resume import _command_of_folder, resuming
from kd_runner.errors import BAD_SETTINGS, COMPLETED, FAILED, INTERRUPTED, TERMINATED
from kd_runner.threads import settle_threads

WITHOUT_LOG = f"hydra.job_logging.handlers.file.filename={os.devnull}"

_exit_code: int | None = None  # of the last job; None until one starts
flags: list[str] = []  # of this command line, for the jobs of a sweep
asks_for_data = False  # whether the command line has `dataset=?`: what would be read, in place of a run
typed: list[str] = []  # its settings as a person typed them, before `resume=` adds those of the folder
resume_hint = ""  # how to go on after an interruption, once there is something to go on with


def command(words: Sequence[str]) -> int:
    """`main` with these words for the command line's."""
    sys.argv = ["kd-runner", *words]
    return main()


def main() -> int:
    """Run the command line; returns the exit code.

    0: completed. 1: a run failed. 2: a setting, file or data set cannot work. 130: Ctrl-C. 143: terminated.
    """
    # Hydra then raises what it would otherwise print over several lines, so that we can say it in one.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    settle_threads()
    words = sys.argv[1:]
    if words[:1] == ["store"]:
        from kd_runner.store.command import main as store

        return store(words[1:])
    signal.signal(signal.SIGTERM, _terminate)
    try:
        typed[:] = [word for word in words if not _is_question(word)]
        given, settings = _flags_apart(_without_question(_command_of_folder(words)))
        flags[:] = [flag for flag in given if flag not in ("-m", "--multirun")]
        sys.argv[1:] = [*given, *settings]
        sys.argv[1:] = [each for word in sys.argv[1:] for each in _sum_of_modes(word)]
        if {"--help", "-h"} & set(words) and not any(word.startswith(("--config", "-c")) for word in words):
            print(_help([word for word in words if not word.startswith("-")]))
            return COMPLETED
        _hydra_main()
    except KeyboardInterrupt:
        _say(f"interrupted{resume_hint}")
        return INTERRUPTED
    except SystemExit as ended:
        if ended.code != TERMINATED:  # --version, say
            raise
        _say(f"terminated{resume_hint}")
        return TERMINATED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if _exit_code is None:  # no job in this process: composing the settings, or a sweep
            code = _exit_code_of(error)
            if code is None and resume_hint:  # the sweep had begun
                raise
            _say(str(error) if code else _one_line_message(error))
            return code or BAD_SETTINGS
        if _exit_code_of(error) is None:
            raise
    return _exit_code or COMPLETED


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")
def _hydra_main(config: DictConfig) -> None:
    """One job: a run of its own, or one of a sweep."""
    global _exit_code, resume_hint
    _exit_code = _exit_code or COMPLETED
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    place = Path(job.sweep.dir) if job.mode == RunMode.MULTIRUN else folder
    resume_hint = f"; to go on: kd-runner {resuming(place)}"
    words = OmegaConf.to_container(job.overrides.task, resolve=False)  # an override may hold ${…}
    assert isinstance(words, list)
    overrides = [str(word) for word in words if not str(word).startswith("resume=")]
    from kd_runner.config.settings import check
    from kd_runner.errors import Answer
    from kd_runner.files.atomic import write_json
    from kd_runner.notes import collected_notes

    try:
        with collected_notes() as remarks:
            settings = check(settings_of(config, overrides))
            note_idle_words(sweep=job.mode == RunMode.MULTIRUN, read=variables_of(config))
        if settings.trust:
            sys.path.insert(0, str(Path.cwd()))  # one's own package is often in the folder one stands in
        if asks_for_data:
            from kd_runner.runs.dataset_answer import dataset_answer

            raise Answer(dataset_answer(settings, folder))
        from kd_runner.runs.run import run

        run(settings, folder, overrides, list(_from_environment(config)), remarks)
    except Answer as answer:
        if job.output_subdir is not None and not (folder / "settings.json").exists():  # nothing ran
            shutil.rmtree(folder / job.output_subdir, ignore_errors=True)
        print(answer)
    except (KeyboardInterrupt, SystemExit):
        if not (folder / "result.json").exists():  # before the run could say so itself
            write_json(folder / "result.json", {"status": "interrupted", "overrides": overrides})
        raise
    except Exception as error:
        code = _exit_code_of(error)
        if code is None:
            _exit_code = FAILED
            raise
        _exit_code = code
        ran = (folder / "settings.json").exists()  # before this command; else there is nothing to look up
        if code == BAD_SETTINGS and job.output_subdir is not None and not ran:
            shutil.rmtree(folder / job.output_subdir, ignore_errors=True)
        if asks_for_data:
            with suppress(OSError):  # it may hold a run
                folder.rmdir()
        message = _with_origin(str(error), overrides)
        _say(message)
        logging.getLogger("kd_runner.problems").error("%s", message)
        if job.mode == RunMode.MULTIRUN:
            raise  # Hydra goes on with the other jobs and ends with this error


def _is_question(word: str) -> bool:
    """Whether the word is `dataset=?`, which is no setting."""
    return re.fullmatch(r"dataset=(['\"]?)\\?\?\1", word) is not None


def _without_question(words: list[str]) -> list[str]:
    """The words without `dataset=?`, which asks for what would be read; the run's folder then gets no log."""
    global asks_for_data
    rest = [word for word in words if not _is_question(word)]
    asks_for_data = len(rest) < len(words)
    if not asks_for_data:
        return words
    if {"-m", "--multirun"} & set(words):
        from kd_runner.errors import SettingsError

        raise SettingsError("dataset: ? asks about the data of one run, leave -m out")
    return [*rest, "hydra.output_subdir=null", WITHOUT_LOG]


def _terminate(number: int, frame: object) -> None:
    raise SystemExit(TERMINATED)


def note_idle_words(sweep: bool, read: Iterable[str] = ()) -> None:
    """Say which words of the command line, and which environment variables, count for nothing.

    Args:
        read: The names of the variables that the settings read.
    """
    from kd_runner.command_line.typed_words import idle_hydra_words, repeated_words, unknown_variables
    from kd_runner.notes import note

    lines = [*repeated_words(typed), *idle_hydra_words(typed, sweep)]
    for line in lines if sweep else [*lines, *unknown_variables(os.environ, read)]:
        note("settings", line)


def _exit_code_of(error: BaseException) -> int | None:
    """The exit code for an error that is the user's to mend, None for one that is ours."""
    from kd_runner.errors import RunFailed, SettingsError

    if isinstance(error, SettingsError):
        return BAD_SETTINGS
    return FAILED if isinstance(error, RunFailed) else None

"""The command line: Hydra composes the settings, `runs.run` runs them, and an error is printed as one line.

Nothing here imports torch before a run starts, so `--help`, `--cfg job` and shell completion answer at once.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from kd_runner import __version__, redaction
from kd_runner.closed_output import answer, discard_output, may_be_closed
from kd_runner.command_line.again import AGAIN, read_again
from kd_runner.command_line.composition import keys_from_environment, settings_of, variables_of
from kd_runner.command_line.explain import HELP, explanation
from kd_runner.command_line.flags import SWEEP_FLAGS
from kd_runner.command_line.foreign_files import guarded_composition
from kd_runner.command_line.in_short import in_short, log_packages
from kd_runner.command_line.invocation import Invocation, JobFunction
from kd_runner.command_line.messages import help_text, one_line_message, say, with_origin
from kd_runner.command_line.moved_files import where_they_are_now
from kd_runner.command_line.new_parts import NEW, new_part
from kd_runner.command_line.other_commands import names_another_command, run_other_command
from kd_runner.command_line.refused_command_cleanup import remove_traces
from kd_runner.command_line.tab_completion import asks_for_completions, print_completions
from kd_runner.command_line.typed_words import note_idle_words
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.distributed_launch import DistributedLaunch, launch_from_environment
from kd_runner.errors import (
    BAD_SETTINGS,
    COMPLETED,
    FAILED,
    INTERRUPTED,
    TERMINATED,
    Answer,
    RunFailed,
    SettingsError,
    exit_code_of,
    raise_errors_of_hydra,
    traceback_of,
    traceback_remedy,
)
from kd_runner.files.atomic import write_json
from kd_runner.files.disk import refusal
from kd_runner.files.run_folder import HYDRA, RESULT, RUN_LOCK
from kd_runner.notes import collected_notes, note
from kd_runner.plain_text import Lines, lines, print_exception, printable
from kd_runner.quick_imports import quick_imports
from kd_runner.stop_signals import watch_stop_signals
from kd_runner.threads import settle_threads
from kd_runner.typed_files import remember_typed

RUNS = "kd_runner.runs.run"  # the module that imports torch and all else that a run needs
CONFIG_FLAGS = ("--config-", "-cd", "-cn", "-cp")  # flags that a run may have, too


def command(words: Sequence[str], companions: Any = None) -> int:
    """`main` with these words as the command line; the jobs of a sweep are started by this function's name.

    Args:
        companions: The runs of this process, a `kd_runner.runs.companions.Companions`, where it runs several jobs.
    """
    sys.argv = ["kd-runner", *words]
    return main(companions)


@may_be_closed
def main(companions: Any = None) -> int:
    """Run the command line; returns the exit code.

    0: completed. 1: a run failed. 2: a setting, file or data set cannot work. 130: Ctrl-C. 143: terminated.
    """
    raise_errors_of_hydra()  # and we print each in one line
    sys.excepthook = print_exception
    settle_threads()
    words = sys.argv[1:]
    if words[:1] == ["store"]:
        from kd_runner.store.command import main as store

        return store(words[1:])
    if names_another_command(words):
        return run_other_command(words)
    if words == ["--version"]:
        answer(f"kd-runner {__version__}")
        return COMPLETED
    if asks_for_completions(words):
        print_completions(words, lambda: _hydra_main(Invocation(words)))
        return COMPLETED
    launch = launch_from_environment()
    if launch is not None and launch.rank:
        return _follow(launch, words)
    watch_stop_signals()
    invocation = Invocation(words, companions=companions)
    try:
        if words[:1] == [HELP]:
            raise Answer(lines(explanation(words[1:]).split("\n")))
        if words[:1] == [NEW]:
            raise new_part(words[1:])
        if words[:1] == [AGAIN]:
            remember_typed(words)
            again = read_again(words[1:])
            invocation = Invocation(again.words, companions=companions, again=again)
            words = again.words
        redaction.hide_named(words)
        remember_typed(words)
        sys.argv[1:] = invocation.translate()
        if launch is not None and SWEEP_FLAGS & set(sys.argv):
            raise SettingsError(
                f"-m: a sweep must be one process, and torchrun or srun started {launch.size}; leave it out, and give "
                "each job its devices by trainer.devices"
            )
        redaction.hide_named(sys.argv[1:])
        if invocation.asks_for_help:
            overrides = [word for word in words if not word.startswith("-")]
            answer(lines((explanation(overrides) if overrides else help_text()).split("\n")))
        else:
            _hydra_main(invocation)
    except Answer as found:
        answer(lines(str(found).split("\n")))
    except KeyboardInterrupt:
        say(f"interrupted{invocation.resume_hint}")
        return INTERRUPTED
    except SystemExit as ended:
        if ended.code != TERMINATED:  # --version, say
            raise
        say(f"terminated{invocation.resume_hint}")
        return TERMINATED
    except BrokenPipeError:  # the reader of our output has closed it, as `head` does
        discard_output()
        return FAILED
    except Exception as error:
        return _exit_code_after(error, invocation)
    return invocation.exit_code or COMPLETED


def _follow(launch: DistributedLaunch, words: Sequence[str]) -> int:
    """Take part in the run of process 0, unless the words ask for an answer or a sweep; returns the exit code."""
    flags = [word for word in words if word.startswith("-") and not word.startswith(CONFIG_FLAGS)]
    if flags or Invocation(words).asks_for_data:
        return COMPLETED
    from kd_runner.runs.processes.worker_process import end_process, follow_started

    end_process(follow_started(launch))


def _exit_code_after(error: Exception, invocation: Invocation) -> int:
    """Print the error that ended a command in one line; returns the exit code.

    An error of no known kind is raised again where a job or a sweep had begun, as it is a bug; before that, it is
    Hydra's about the settings. A job in this process has printed its error already.
    """
    reason = refusal(error)
    if exit_code_of(error) is None and reason is not None:
        error = RunFailed(reason)
    code = exit_code_of(error)
    if invocation.exit_code is not None:  # a job in this process, which has printed its error
        if code is None:
            raise error
        return invocation.exit_code
    if code is None and invocation.resume_hint:  # the sweep had begun, so it is no mistake in the settings
        raise error
    message = one_line_message(error) if code is None else str(error)
    is_a_list = isinstance(message, Lines)  # of jobs or trials that failed, which say how to go on where one can
    if code == FAILED and not is_a_list and "resume=" not in message:  # the process that starts jobs was killed, say
        message += invocation.resume_hint
    _print_traceback(error)
    say(message)
    return BAD_SETTINGS if code is None else code


def _print_traceback(error: Exception) -> None:
    """Print what an error was raised from, where the person has set HYDRA_FULL_ERROR=1."""
    if text := traceback_of(error):
        print(redaction.mask(text), file=sys.stderr)


def _hydra_main(invocation: Invocation) -> None:
    """Have Hydra read `sys.argv`, compose the settings, and call one job or a sweeper with them."""
    with guarded_composition():
        hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")(JobFunction(_job, invocation))()


def _job(config: DictConfig, invocation: Invocation) -> None:
    """Run one job: a single run, or one job of a sweep in this process."""
    invocation.exit_code = invocation.exit_code or COMPLETED
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    in_sweep = job.mode == RunMode.MULTIRUN
    invocation.remember_folder(Path(job.sweep.dir) if in_sweep else folder)
    words = OmegaConf.to_container(job.overrides.task, resolve=False)  # an override may hold ${…}
    assert isinstance(words, list)
    overrides = [str(word) for word in words if not str(word).startswith("resume=")]
    try:
        _run_or_answer(config, folder, overrides, invocation, in_sweep)
    except Answer as found:
        remove_traces(folder, job.output_subdir)
        answer(printable(redaction.mask(str(found))))
    except (KeyboardInterrupt, SystemExit):
        if not (folder / RESULT).exists():  # before the run could say so itself
            _write_interrupted(folder, overrides)
        raise
    except Exception as error:
        code = exit_code_of(error)
        invocation.exit_code = FAILED if code is None else code
        if code is None:
            raise
        message = with_origin(f"{error}{traceback_remedy(error)}", overrides)
        message += where_they_are_now(message, invocation.typed_words, invocation.again)
        _print_traceback(error)
        say(message)
        logging.getLogger("kd_runner.problems").error("%s", message)
        if code == BAD_SETTINGS:
            remove_traces(folder, job.output_subdir)
        if invocation.asks_for_data:
            with suppress(OSError):  # the folder is not empty: it holds a run
                folder.rmdir()
        if in_sweep:
            raise  # Hydra goes on with the other jobs and ends with this error


def _write_interrupted(folder: Path, overrides: list[str]) -> None:
    """Write that a run was interrupted before its first stage, with its page; nothing where another process does it.

    Where not even the code of runs has been imported, there is no page: whoever stops the run would wait for that.
    """
    if os.path.lexists(folder / RUN_LOCK):
        from kd_runner.files.results import is_at_work  # which takes a moment, and whoever stops the run waits

        if is_at_work(folder):  # this command was about to be refused
            return
    result = {"status": "interrupted", "overrides": overrides}
    with suppress(OSError, RunFailed):  # a full disk
        write_json(folder / RESULT, result)
    if RUNS not in sys.modules:
        return
    from kd_runner.runs.run import write_page_of_stopped_run

    config_dir = typed_config_dir()
    own_options = {} if config_dir is None else {"config_dir": str(config_dir.absolute())}
    write_page_of_stopped_run(folder, redaction.masked_data(result | own_options))


def _run_or_answer(
    config: DictConfig, folder: Path, overrides: list[str], invocation: Invocation, in_sweep: bool
) -> None:
    """Run the job that `config` describes, or answer a question about its data.

    Raises:
        Answer: the command asked with `dataset=?` what would be read.
        SettingsError, RunFailed: as in `kd_runner.runs.run.run`.
    """
    with collected_notes() as notes:
        settings = settings_of(config, overrides)
        note_idle_words(invocation.typed_words, in_sweep, variables_of(config))
        for line in invocation.remarks:
            note("settings", line)
    if settings.trust:
        sys.path.insert(0, str(Path.cwd()))  # a person's own package is often in the current folder
    if invocation.asks_for_data:
        with quick_imports():
            from kd_runner.runs.dataset_answer import dataset_answer

        raise Answer(dataset_answer(settings, folder))
    logging.getLogger(__name__).info("starting  %s", in_short(config))
    log_packages(settings.trust)
    with quick_imports():
        from kd_runner.runs.run import run

    written, secrets = files_of_hydra(folder), keys_from_environment(config)
    if invocation.again is None:
        run(settings, folder, overrides, secrets, notes, written, invocation.companions, typed_config_dir())
        return
    from kd_runner.proof.rerun import as_before, compare

    with as_before(invocation.again, settings) as (settings, remarks):
        all_notes = [*notes, *remarks]
        result = run(settings, folder, overrides, secrets, all_notes, written, config_dir=typed_config_dir())
    comparison = compare(invocation.again, result, folder)
    print(printable(redaction.mask(str(comparison.text()))))
    invocation.exit_code = comparison.exit_code


def typed_config_dir() -> Path | None:
    """The folder of a person's own options that the command named."""
    sources = HydraConfig.get().runtime.config_sources
    return next((Path(str(source.path)) for source in sources if source.provider == "command-line"), None)


def files_of_hydra(folder: Path) -> set[str]:
    """The names of what Hydra has written into the folder of a job: its record, and the files of its log."""
    job = HydraConfig.get()
    handlers = job.job_logging.get("handlers") or {}
    logs = [Path(str(handler.filename)) for handler in handlers.values() if handler.get("filename")]
    names = {path.name for path in logs if path.absolute().parent == folder.absolute()}
    return names | {job.output_subdir or HYDRA}

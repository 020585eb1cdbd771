"""`kd_runner.run`: one run from a Python program, with the settings of the command line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from kd_runner.command_line.python_settings import RESUME, TARGET, composed_settings, resumed_run
from kd_runner.files.home import refuse_without_home, with_home
from kd_runner.files.scores import with_scores
from kd_runner.interface.objects import target_of
from kd_runner.interface.result import RunResult
from kd_runner.log_handlers import Console
from kd_runner.notes import collected_notes
from kd_runner.plain_text import PlainFormatter
from kd_runner.runs.run import run as run_settings

RUNS = Path("outputs/runs")
PLAIN = (str, int, float, bool, list, tuple, Path, type(None))


def run(
    *words: str,
    folder: str | Path | None = None,
    config_dir: str | Path | None = None,
    quiet: bool = False,
    **settings: Any,
) -> RunResult:
    """Train a teacher, a baseline and a student as `kd-runner` does, and return the result.

    `run(dataset="digits", student="mlp", student__epochs=5)` is `kd-runner dataset=digits student=mlp
    student.epochs=5`. In place of an option, a network, a mode, a data set or an optimizer may be an object: a class or
    function that makes it, a `torch.nn.Module`, a loss, `Splits`, or a dictionary with it as `_target_` and its
    arguments beside it.

    Args:
        words: Settings as they are typed, such as "teacher.epochs=5".
            "resume=FOLDER" goes on with a run that was interrupted, with the settings that its folder records, and
            gives the result of a completed one.
        folder: The folder of the run, which must be new or empty; None for one by date below outputs/runs, or for that
            which is resumed.
        config_dir: A folder of own options, as behind --config-dir.
        quiet: True to print nothing.
        settings: Values of settings by their keys, with two underscores for a dot, and dictionaries for sections.

    Raises:
        SettingsError: settings that cannot work; nothing was trained.
        RunFailed: a stage could not be finished.
    """
    values, trust = _with_targets({name.replace("__", "."): value for name, value in settings.items()})
    typed_words, folder = resumed_run(words, values, folder, config_dir)
    values.pop(RESUME, None)
    if folder is not None:
        refuse_without_home(str(folder), "folder")
    run_folder = with_home(folder) if folder is not None else RUNS / f"{datetime.now():%Y-%m-%d_%H-%M-%S_%f}"
    with _print_log(quiet):
        with collected_notes() as notes:
            composed = composed_settings(typed_words, values, trust, config_dir)
        logging.getLogger(__name__).info("starting  %s", composed.in_short)
        options_folder = None if config_dir is None else with_home(config_dir)
        checked, typed = composed.settings, composed.overrides
        result = run_settings(checked, run_folder, typed, composed.secrets, notes, (), config_dir=options_folder)
    return RunResult(run_folder.absolute(), with_scores(result))


def _with_targets(settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The settings with a `_target_` in place of each object, and the packages that the program vouches for by it."""
    trust: list[str] = []

    def with_names(value: Any, key: str) -> Any:
        if isinstance(value, Mapping):
            inner = {name: with_names(part, key if name == TARGET else f"{key}.{name}") for name, part in value.items()}
            target = inner.get(TARGET)
            return inner | ({TARGET: target[TARGET]} if isinstance(target, dict) else {})
        if isinstance(value, PLAIN) or hasattr(value, "item"):
            return value
        target, package = target_of(value, key)
        trust.extend([package] if package else [])
        return {TARGET: target}

    return {key: with_names(value, key) for key, value in settings.items()}, trust


@contextmanager
def _print_log(quiet: bool) -> Iterator[None]:
    """Print the log's lines of kd-runner in this block, unless the program has a handler of its own."""
    logger = logging.getLogger("kd_runner")
    level, handler = logger.level, Console(sys.stdout)
    handler.setFormatter(PlainFormatter("%(message)s"))
    is_handled = logger.hasHandlers()
    if not quiet and not is_handled:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    elif quiet:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)

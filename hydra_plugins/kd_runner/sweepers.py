"""Hydra's sweepers: a grid, and a search with Optuna.

Hydra imports this file at every start, so it imports little.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from kd_runner.closed_output import discard_output
from kd_runner.command_line.invocation import invocation_of
from kd_runner.command_line.refused_command_cleanup import folder_goes_where_refused
from kd_runner.formats import number_of
from kd_runner.plain_text import lines

log = logging.getLogger(__name__)


def write_leaderboard(folder: Path, with_commands: bool = True) -> None:
    """Write and print the sweep's leaderboard; an error on the way is a warning, since the results are there.

    Args:
        with_commands: False where the commands of chosen trials follow.
    """
    from kd_runner.reports.sweep_report import report

    try:
        log.info("%s", report([folder], folder, with_commands=with_commands))
    except BrokenPipeError:  # all is written; nobody reads what is printed
        discard_output()
    except Exception as error:  # a table must not take the sweep with it
        log.warning("note      the leaderboard could not be written: %s", error)


class GridSweeper(Sweeper):
    """All combinations of the swept values: refused as a whole or run to the end, whatever happens to some of them."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra.core.plugins import Plugins

        self.config, self.loader = config, hydra_context.config_loader
        self.invocation = invocation_of(task_function)
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep.

        Raises:
            SettingsError: a job that cannot work, or a folder that holds another sweep; nothing was started.
            RunFailed: naming the jobs that have no result, after all others ended.
        """
        from kd_runner.command_line.typed_words import idle_launcher_words, note_idle_words
        from kd_runner.errors import RunFailed
        from kd_runner.notes import collected_notes, note
        from kd_runner.sweeps.early_end import JobFailed, end_message
        from kd_runner.sweeps.folder import exclusive_folder, refuse_other_grid

        assert self.launcher is not None
        assert self.config is not None
        combinations = BasicSweeper.split_arguments(self.parse_overrides(arguments), None)[0]
        if len(combinations) == 1:
            log.info("sweep     of one job: no setting has several values, as seed=0,1,2 has")
        else:
            log.info("starting  a sweep of %s", number_of(len(combinations), "job"))
        # A note on several jobs is said once.
        with folder_goes_where_refused(self.folder), exclusive_folder(self.folder, self.is_resumed), collected_notes():
            note_idle_words(self.invocation.typed_words, sweep=True)
            for line in [
                *self.invocation.remarks,
                *idle_launcher_words(self.invocation.typed_words, self.config.hydra.launcher),
            ]:
                note("settings", line)
            refuse_other_grid(self.folder, combinations, self.is_resumed)
            with self.record_the_start():
                returns = self.launcher.launch(combinations, 0)
            write_leaderboard(self.folder)
        values = [job_return._return_value for job_return in returns]
        failures = [value for value in values if isinstance(value, JobFailed)]
        if failures:
            raise RunFailed(lines(end_message(len(returns), failures, self.invocation.resume_hint)))
        return returns

    @property
    def folder(self) -> Path:
        assert self.config is not None
        return Path(self.config.hydra.sweep.dir).absolute()

    @property
    def is_resumed(self) -> bool:
        assert self.config is not None
        return self.config.get("resume") is not None

    def parse_overrides(self, arguments: Sequence[str]) -> list[Override]:
        """The overrides of the jobs among the words of the command line."""
        words = [word for word in arguments if not word.startswith("resume=")]
        return OverridesParser.create(config_loader=self.loader).parse_overrides(words)

    @contextmanager
    def record_the_start(self) -> Iterator[None]:
        """Record in the folder how the sweep was started that runs in this block, unless the block refuses it.

        A sweep that goes on keeps the folder that it was begun in, from which its relative paths count.
        """
        from kd_runner.command_line.begun_folder import begun_in
        from kd_runner.errors import SettingsError
        from kd_runner.files import atomic
        from kd_runner.files.run_folder import MULTIRUN

        record = self.folder / MULTIRUN
        earlier_record = record.read_bytes() if record.exists() else None
        self.folder.mkdir(parents=True, exist_ok=True)
        begun = begun_in(self.folder) if self.is_resumed else None
        begun_folder = begun.folder if begun is not None and begun.is_there else None
        content = start_record(self.config, self.folder, begun_folder)
        atomic.write(record, content.encode())  # another driver may read it
        self.invocation.remember_folder(self.folder)
        try:
            yield
        except SettingsError:  # nothing was started: the folder is to be as it was
            record.unlink()
            if earlier_record is not None:
                record.write_bytes(earlier_record)
            raise


def start_record(config: Any, folder: Path, begun: Path | None) -> str:
    """The settings as YAML, without the password of a database's address that was typed, which a report would show.

    Args:
        folder: The folder of the sweep.
        begun: The current folder when a sweep that goes on was begun; None for others.
    """
    from kd_runner.redaction import without_password

    content: Any = OmegaConf.to_container(config, resolve=False)
    hydra = content["hydra"]
    if begun is not None:
        hydra["runtime"]["cwd"], hydra["sweep"]["dir"] = str(begun), str(folder)
    if isinstance(storage := hydra["sweeper"].get("storage"), str):
        hydra["sweeper"]["storage"] = without_password(storage)
    for words in hydra["overrides"].values():
        words[:] = [
            without_password(word) if word.lstrip("+").startswith("hydra.sweeper.storage=") else word for word in words
        ]
    return OmegaConf.to_yaml(OmegaConf.create(content))


LAUNCHERS = [f"hydra_plugins.kd_runner.launchers.{name}" for name in ("PoolLauncher", "SlurmLauncher", "RayLauncher")]


class OptunaSweeper(GridSweeper):
    """Runs trials that Optuna chooses from the swept values, by the results of the trials before.

    See `kd_runner.sweeps.search.study`.

    Args:
        settings: The keys of conf/hydra/sweeper/optuna.yaml.
    """

    def __init__(self, **settings: Any) -> None:
        self.unchecked = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from kd_runner.errors import SettingsError

        if config.hydra.launcher._target_ not in LAUNCHERS:
            chosen = config.hydra.runtime.choices.get("hydra/launcher")
            raise SettingsError(f"hydra/launcher: must be pool, slurm or ray for a search, got {chosen}")
        if find_spec("optuna") is None:
            raise SettingsError("hydra/sweeper: optuna is not installed: pip install optuna")
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> None:
        """Run the search.

        Raises:
            SettingsError: a space or settings that cannot work, or a folder that holds something else; nothing was
                started.
            RunFailed: naming the trials that failed, after all others ended.
        """
        from hydra_plugins.kd_runner.launchers import PoolLauncher, plain_settings
        from kd_runner.command_line.typed_words import idle_search_words, note_idle_words
        from kd_runner.config.validation import validate_section
        from kd_runner.errors import RunFailed, SettingsError
        from kd_runner.notes import collected_notes, note
        from kd_runner.sweeps.search.run import run_search
        from kd_runner.sweeps.search.space import space_of
        from kd_runner.sweeps.search.study import SearchSettings, driver_of, refuse_other_search, refuse_other_space

        assert isinstance(self.launcher, PoolLauncher)
        search = validate_section(SearchSettings, plain_settings(self.unchecked), "hydra.sweeper.")
        space = space_of(self.parse_overrides(arguments))
        refuse_other_space(search, space)
        log.info("starting  a search of %s", number_of(search.trials, "trial"))
        access = driver_of(self.folder, search.storage, self.is_resumed)
        # A note on several trials is said once.
        with folder_goes_where_refused(self.folder), access as driver, collected_notes():
            note_idle_words(self.invocation.typed_words, sweep=True)
            for line in [
                *self.invocation.remarks,
                *idle_search_words(self.invocation.typed_words, search.sampler, search.pruning),
            ]:
                note("settings", line)
            refuse_other_search(driver, search, space, self.is_resumed)
            launcher_settings, flags = self.launcher.settings(), self.launcher.flags()
            if launcher_settings.fail_fast:
                raise SettingsError("hydra.launcher.fail_fast: must be false for a search, got true")
            with self.record_the_start():
                outcome = run_search(search, space, driver, launcher_settings, flags, self.launcher.compose)
            with driver.exclusive_access():
                write_leaderboard(self.folder, with_commands=False)
        for line in outcome.best:
            log.info("%s", line)
        if outcome.trials_left:
            number_left, verb = number_of(outcome.trials_left, "trial"), "is" if outcome.trials_left == 1 else "are"
            log.info("search    %s %s left%s", number_left, verb, self.invocation.resume_hint)
        if outcome.failed:
            raise RunFailed(
                lines([f"{len(outcome.failed)} of {number_of(outcome.count, 'trial')} failed", *outcome.failed])
            )

"""The driver of a sweep composes for the processes of its jobs, each of which would need 0.1 s for it.

It composes one of several similar jobs, as that job itself would. All of them have the settings that were in the files
when the first of them began.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from kd_runner.command_line.composition_cache import CompositionCache
from kd_runner.command_line.flags import split_flags
from kd_runner.command_line.foreign_files import GuardedLoader
from kd_runner.command_line.invocation import Invocation
from kd_runner.errors import SettingsError


class JobComposer:
    """Composes the jobs of a sweep; none before `begin` is called."""

    def __init__(self) -> None:
        self._loader: GuardedLoader | None = None
        self._config_name: str | None = None

    def begin(self, loader: ConfigLoader, config_name: str | None) -> None:
        """Compose, from now on, from the folders of this loader of Hydra's, beginning with the file of this name."""
        assert isinstance(loader, ConfigLoaderImpl)
        self._loader, self._config_name = GuardedLoader(loader.config_search_path), config_name
        self._loader.cache = CompositionCache()
        self._loader.cache.enable()

    def cache_entry(self, words: Sequence[str]) -> bytes:
        """The entry that a job's process adds to its `CompositionCache`; empty where the job must compose by itself.

        Args:
            words: Words of the job, flags included.
        """
        if self._loader is None or any(word.startswith("resume=") for word in words):
            return b""
        try:
            return self._loader.cache_entry(self._config_name, split_flags(Invocation(words).translate())[1])
        except (HydraException, OmegaConfBaseException, SettingsError):  # the job says what is wrong
            return b""


JOB_COMPOSER = JobComposer()  # the composer of this process

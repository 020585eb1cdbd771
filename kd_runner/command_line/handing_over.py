"""What the process that runs a sweep composes for those of its jobs, which would each need 0.1 s for it.

Of jobs that are alike, it composes one, as that job itself would. So all have the settings that were in the files when
the first of them began.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from kd_runner.command_line.flags import split_flags
from kd_runner.command_line.foreign_files import GuardedLoader
from kd_runner.command_line.invocation import Invocation
from kd_runner.command_line.kept_compositions import KeptCompositions
from kd_runner.errors import SettingsError


class HandingOver:
    """Composes for the processes of jobs; nothing before `begin`."""

    def __init__(self) -> None:
        self._loader: GuardedLoader | None = None
        self._config_name: str | None = None

    def begin(self, loader: ConfigLoader, config_name: str | None) -> None:
        """Compose, from now on, from the folders of this loader of Hydra's, beginning with the file of this name."""
        assert isinstance(loader, ConfigLoaderImpl)
        self._loader, self._config_name = GuardedLoader(loader.config_search_path), config_name
        self._loader.kept = KeptCompositions()
        self._loader.kept.keep()

    def composed(self, words: Sequence[str]) -> bytes:
        """What the process of a job takes by `KeptCompositions.take`; nothing where it must compose by itself.

        Args:
            words: The job's words, flags included.
        """
        if self._loader is None or any(word.startswith("resume=") for word in words):
            return b""
        try:
            return self._loader.composed_run(self._config_name, split_flags(Invocation(words).translate())[1])
        except (HydraException, OmegaConfBaseException, SettingsError):  # which the job says itself
            return b""


HANDING_OVER = HandingOver()  # that of this process

"""The jobs of a sweep, composed together: Hydra reads every file again for each job, which costs it 0.15 s."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig

from kd_runner.command_line.similar_commands import Composed, change, compose_first, read_words


class SweepComposer:
    """Composes jobs one after the other, similar ones from the first of them.

    Args:
        loader: Hydra's loader.
        config: All that Hydra composed for the sweep.
    """

    def __init__(self, loader: Any, config: DictConfig) -> None:
        self._loader, self._config = loader, config
        self._composed: dict[tuple[str, ...], Composed | None] = {}

    def compose(self, words: Sequence[str]) -> DictConfig:
        """All that Hydra composes of a job's words. It is good until the next job is composed.

        Raises:
            HydraException, OmegaConfBaseException, SettingsError: it cannot be composed.
        """
        read = read_words(words, lambda key: key in self._config.hydra.runtime.choices)
        shape = read.shape
        if shape not in self._composed:
            self._composed[shape] = compose_first(read, self._load)
        known = self._composed[shape]
        return self._load(words) if known is None else change(known, read)

    def _load(self, words: Sequence[str]) -> DictConfig:
        config: DictConfig = self._loader.load_sweep_config(self._config, list(words))
        return config

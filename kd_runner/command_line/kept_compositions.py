"""What Hydra has composed of commands, kept for those that are like them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from kd_runner.command_line.alike import change, compose_first, read_words

Key = tuple[Any, ...]


class KeptCompositions:
    """Nothing, unless one of its methods was called.

    It is kept as bytes, since each command changes what it gets, and another may run beside it.
    """

    def __init__(self) -> None:
        self._kept: dict[Key, bytes] | None = None

    def keep(self) -> None:
        """Keep what is composed from now on."""
        self._kept = {} if self._kept is None else self._kept

    def take(self, kept: bytes) -> None:
        """Keep what another process has kept, where `last` gave it there."""
        if kept:
            self.keep()
            assert self._kept is not None
            key, composed = pickle.loads(kept)
            self._kept[key] = composed

    def compose(
        self,
        origin: Sequence[Any],
        words: list[str],
        is_group: Callable[[str], bool],
        load: Callable[[list[str]], DictConfig],
    ) -> tuple[DictConfig, bytes]:
        """All that Hydra composes of a command, and that for `take`; nothing for it where no other is like it.

        Args:
            origin: All but the words that it is composed of.
            words: Those of the command, without flags.
            is_group: True for the name of a group of options.
            load: Has Hydra compose words.

        Raises:
            HydraException, OmegaConfBaseException, SettingsError: it cannot be composed.
        """
        if self._kept is None:
            return load(words), b""
        read = read_words(words, is_group)
        key = (*origin, str(Path.cwd()), *read.shape)
        if key not in self._kept:
            first = compose_first(read, load)
            depends = first is not None and first.config.hydra.job.env_copy  # on the variables of a process
            self._kept[key] = b"" if depends else pickle.dumps(first)
        composed = pickle.loads(self._kept[key]) if self._kept[key] else None
        if composed is None:
            return load(words), b""
        config = change(composed, read)
        config.hydra.overrides.hydra = [word.input_line for word in read.overrides if word.is_hydra_override()]
        return config, pickle.dumps((key, self._kept[key]))


KEPT = KeptCompositions()  # those of this process

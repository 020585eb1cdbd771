"""A cache of Hydra's compositions: of commands that differ in the values of settings alone, it composes one."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from kd_runner.command_line.similar_commands import change, compose_first, read_words

Key = tuple[Any, ...]


class CompositionCache:
    """Compositions by the words of their commands. It is off until `enable` or `add` is called.

    An entry is serialized, since each command changes its composition, and another command may run beside it.
    """

    def __init__(self) -> None:
        self._entries: dict[Key, bytes] | None = None

    def enable(self) -> None:
        """Add an entry, from now on, for each composition that has none."""
        self._entries = {} if self._entries is None else self._entries

    def add(self, entry: bytes) -> None:
        """Add an entry that `compose` returned in another process of ours; an empty one adds nothing."""
        if entry:
            self.enable()
            assert self._entries is not None
            key, composition = pickle.loads(entry)
            self._entries[key] = composition

    def compose(
        self,
        origin: Sequence[Any],
        words: list[str],
        is_group: Callable[[str], bool],
        load: Callable[[list[str]], DictConfig],
    ) -> tuple[DictConfig, bytes]:
        """The composition of a command, and its entry for `add`; an empty entry where no other command can use it.

        Args:
            origin: Everything beside `words` that the composition depends on, such as the folders of its files.
            words: Words of the command, without flags.
            is_group: True for the name of a group of options.
            load: Has Hydra compose words.

        Raises:
            HydraException, OmegaConfBaseException, SettingsError: it cannot be composed.
        """
        if self._entries is None:
            return load(words), b""
        read = read_words(words, is_group)
        key = (*origin, str(Path.cwd()), *read.shape)
        if key not in self._entries:
            first = compose_first(read, load)
            depends_on_process = first is not None and first.config.hydra.job.env_copy
            self._entries[key] = b"" if depends_on_process else pickle.dumps(first)
        composition = pickle.loads(self._entries[key]) if self._entries[key] else None
        if composition is None:
            return load(words), b""
        config = change(composition, read)
        config.hydra.overrides.hydra = [word.input_line for word in read.overrides if word.is_hydra_override()]
        return config, pickle.dumps((key, self._entries[key]))


CACHE = CompositionCache()  # the cache of this process

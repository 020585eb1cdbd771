"""The start of a sweep: its command, its folder, and the record in the folder of how it was started."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from kd_runner.command_line.begun_folder import begun_in
from kd_runner.command_line.invocation import Invocation
from kd_runner.command_line.typed_words import note_idle_words
from kd_runner.errors import SettingsError
from kd_runner.files import atomic
from kd_runner.files.run_folder import MULTIRUN
from kd_runner.notes import note
from kd_runner.redaction import without_password


@dataclass(frozen=True)
class SweepStart:
    """The start of a sweep, or of one that goes on.

    Args:
        config: The settings of the command, with Hydra's.
        invocation: The command.
    """

    config: DictConfig
    invocation: Invocation

    @property
    def folder(self) -> Path:
        """The folder of the sweep."""
        return Path(self.config.hydra.sweep.dir).absolute()

    @property
    def is_resumed(self) -> bool:
        """True where the sweep goes on."""
        return self.config.get("resume") is not None

    def note_words(self, idle: Iterable[str]) -> None:
        """Note what is to be said about the typed words; `idle` are lines about settings of Hydra without effect."""
        note_idle_words(self.invocation.typed_words, sweep=True)
        for line in [*self.invocation.remarks, *idle]:
            note("settings", line)

    @contextmanager
    def record(self) -> Iterator[None]:
        """Record in the folder how the sweep was started that runs in this block, unless the block refuses it.

        A sweep that goes on keeps the folder that it was begun in, from which its relative paths count.
        """
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

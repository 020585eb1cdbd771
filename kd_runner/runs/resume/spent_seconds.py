"""The seconds that a run has spent, kept in its folder, so that they still count when it goes on."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from kd_runner.errors import RunFailed
from kd_runner.files import atomic


class SpentSeconds:
    """The seconds of the stages and networks of a run that have ended.

    A stage that has ended is gone through again when the run goes on, from its files and in no time. One that was cut
    off may have trained some of its networks to their end.

    Args:
        path: The file that keeps them; None to keep them nowhere. A power cut may take what it was given last.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        content = {} if path is None else atomic.read_json(path)
        self._stages, self._networks = (_seconds(content.get(name)) for name in ("stages", "networks"))

    def of_stage(self, stage: str) -> float:
        """The seconds that a stage took which has ended before; 0 for others."""
        return self._stages.get(stage, 0.0)

    def of_network(self, name: str) -> float:
        """The seconds that a network of a stage took which this run has finished before; 0 for others."""
        return self._networks.get(name, 0.0)

    def keep_stage(self, stage: str, seconds: float) -> None:
        """Keep the seconds of a stage that has ended."""
        self._stages[stage] = seconds
        self._write()

    def keep_network(self, name: str, seconds: float) -> None:
        """Keep the seconds of a network that has its final weights."""
        self._networks[name] = seconds
        self._write()

    def _write(self) -> None:
        if self._path is not None and self._path.parent.is_dir():
            with suppress(OSError, RunFailed):  # on a full disk, say: no run ends for that
                content = {"stages": self._stages, "networks": self._networks}
                atomic.write_json(self._path, content, survives_power_cut=False)


def _seconds(content: Any) -> dict[str, float]:
    """The numbers of seconds in what a file has in their place: anything at all."""
    numbers = content.items() if isinstance(content, dict) else ()
    return {
        name: float(value)
        for name, value in numbers
        if isinstance(value, (int, float)) and math.isfinite(value) and value >= 0
    }

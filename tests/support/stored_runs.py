"""Folders of short runs on the digits, made once for a module's tests and copied for each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import composed

from kd_runner.config.settings import check
from kd_runner.runs.run import run

SHORT = ("teacher.epochs=1", "student.epochs=1")


def short_run(top: Path) -> Path:
    """The folder of a run of a second, below `top`, with Hydra's record of its words."""
    folder = top / "run"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {word}\n" for word in SHORT))
    run(check(composed(*SHORT, f"store={top / 'store'}")), folder, SHORT)
    return folder


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the content of a file of JSON."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))

"""The folder of a short run on the digits, made once and copied for each test that changes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kd_runner.config.settings import check
from kd_runner.runs.run import run

SHORT = ("teacher.epochs=1", "student.epochs=1")


@pytest.fixture(scope="session")
def stored_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of a second, with Hydra's record of its words; tests leave it as it is."""
    from conftest import composed  # which imports this module

    top = tmp_path_factory.mktemp("stored")
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

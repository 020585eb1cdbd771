"""Files that no command of kd_runner may touch, in folders that it is given."""

from __future__ import annotations

from pathlib import Path


def put(folder: Path, *names: str) -> dict[str, str]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"precious {name}")
    return content_of(folder)


def content_of(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


KEY = "0123456789abcdef"

"""What a folder may hold in which a run begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.errors import SettingsError
from kd_runner.files.folder_checks import refuse_used_folder


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("result.json", '{"status": "failed"}', r"holds a run already \(failed\); go on with it: resume="),
        ("result.json", '{"status": "interrupted"}', r"holds a run already \(interrupted\)"),
        ("settings.json", "{}", r"holds a run already \(not finished\)"),
        ("unfinished/begun.json", "{}", r"holds a run already \(not finished\)"),
        (".hydra/overrides.yaml", "", r"holds a run already \(not finished\)"),
        ("multirun.yaml", "", r"holds a sweep; go on with it: resume="),
        ("thesis.tex", "", r"must be new or empty, it holds thesis\.tex"),
    ],
)
def test_whatever_is_in_the_folder(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(SettingsError, match=rf"^hydra\.run\.dir: \S+ {message}"):
        refuse_used_folder(tmp_path)


@pytest.mark.parametrize("names", [[], ["console.log"], ["kd-runner.log"], [".DS_Store"]])
def test_logs_and_hidden_files_are_in_nobodys_way(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    refuse_used_folder(tmp_path)
    refuse_used_folder(tmp_path / "nowhere")

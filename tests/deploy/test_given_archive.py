"""An archive that a command is given in place of a folder."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from kd_runner.datasets.folders import archives
from kd_runner.deploy.given_archive import unpacked_folder
from kd_runner.errors import SettingsError


def test_a_full_disk_is_answered_with_what_chooses_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "more/0").mkdir(parents=True)
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "more"))

    def fill_disk(*_: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archives, "_folder_with_files", fill_disk)
    with (
        pytest.raises(SettingsError, match=r"\(No space left on device\): set TMPDIR to another folder$"),
        unpacked_folder(packed),
    ):
        pass

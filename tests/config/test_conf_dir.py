"""The folder of the YAML files."""

from __future__ import annotations

from pathlib import Path

from kd_runner.config.conf_dir import CONF_DIR


def test_conf_is_beside_or_inside_the_package() -> None:
    assert (Path(CONF_DIR) / "config.yaml").is_file()

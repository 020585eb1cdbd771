"""The folder of the settings' YAML files, by the name that the command line knows it by."""

from __future__ import annotations

from kd_runner.config.conf_dir import CONF_DIR as CONF_DIR

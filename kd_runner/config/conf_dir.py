"""The folder of the settings' YAML files, and what its groups are for."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
# Inside the package in a wheel, beside it in a checkout.
CONF_DIR = next(folder for folder in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if folder.is_dir())
# Sections that hold several things by their names, and the group whose options are added to each.
NAMED = {"teachers": "teacher", "assistants": "student", "peers": "student", "plus": "distillation"}

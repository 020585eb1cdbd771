"""A table that a person gives a command, read as the run's own was: its columns, and where its paths start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

from kd_runner.datasets.tables.labelled_table import TableWords
from kd_runner.datasets.tables.rows import COLUMNS, GROUP, WEIGHT
from kd_runner.errors import SettingsError
from kd_runner.files import tolerant_json
from kd_runner.files.home import with_home
from kd_runner.files.run_folder import SETTINGS
from kd_runner.notes import note
from kd_runner.redaction import MASK

MANIFEST = "kd_runner.datasets.manifest.manifest"
READ = tuple(name for name in COLUMNS if name not in (WEIGHT, GROUP))  # columns that an evaluation reads


def table_words(model: Path, columns: Sequence[str], image_root: Path | None) -> TableWords:
    """The words about a table: what is known of it beside its content.

    Args:
        model: The run's folder or a file in it; where the run learned from a table, its settings say what is not typed.
        columns: The typed names of columns, such as 'label=diagnosis'.
        image_root: The typed folder that paths start from.

    Raises:
        SettingsError: a column that is none.
    """
    dataset = _dataset_of(model if model.is_dir() else model.parent)
    folders = [name for name in _list(dataset.get("may_lead_to")) if isinstance(name, str) and name not in ("", MASK)]
    root = dataset.get("image_root")
    if image_root is None and isinstance(root, str) and root not in ("", MASK):
        image_root = with_home(root)
        note(
            "data",
            f"paths start from {image_root}, as in the run's own table; --image-root FOLDER names another folder",
        )
    return TableWords(
        columns_typed(columns),
        {name: dataset[name] for name in READ if name in dataset and isinstance(dataset[name], (str, NoneType))},
        image_root,
        [with_home(name) for name in folders],
    )


def columns_typed(words: Sequence[str]) -> dict[str, str | None]:
    """The names of columns by what they hold; None for one that is not to be read (`split=null`).

    Raises:
        SettingsError: a word of another form.
    """
    columns: dict[str, str | None] = {}
    for word in words:
        column, sign, name = word.partition("=")
        if column not in READ or not sign or not name:
            raise SettingsError(f"--column: must be {', '.join(f'{known}=NAME' for known in READ)}, got {word}")
        columns[column] = None if name == "null" else name
    return columns


def _dataset_of(folder: Path) -> Mapping[str, Any]:
    """The settings of the run's data set where that is a table; else nothing. The folder may be anyone's."""
    content = tolerant_json.json_of(folder / SETTINGS)[0]
    dataset = content.get("dataset") if isinstance(content, dict) else None
    return dataset if isinstance(dataset, dict) and dataset.get("_target_") == MANIFEST else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

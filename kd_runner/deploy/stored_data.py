"""The test images of a run read again by the settings in its folder, which may be anyone's.

Nothing is downloaded or written for it: the folder says which images to read, and no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from kd_runner.config.build import build, takes
from kd_runner.config.field_types import Residency
from kd_runner.config.sections import DatasetSettings
from kd_runner.datasets.folders.archives import is_archive, note_other_names_before_016
from kd_runner.datasets.splits import Splits
from kd_runner.datasets.subsets.folds import fold_of
from kd_runner.datasets.tables.table_file import is_table_name
from kd_runner.deploy.stored_run import StoredSettings, evaluation_batch_of, read_settings
from kd_runner.errors import SettingsError
from kd_runner.files import tolerant_json
from kd_runner.files.home import with_home
from kd_runner.files.run_folder import ANALYSIS, RESULT, SETTINGS
from kd_runner.input_pipeline.batches import evaluation_batch
from kd_runner.notes import note
from kd_runner.runs.data import VAL_FRACTION, fold_seed
from kd_runner.typed_files import is_typed, leads_out


@dataclass(frozen=True)
class StoredData:
    """The test of a run.

    Args:
        splits: The images of the run.
        settings: The settings of its images and its evaluation, which its folder records.
        result: The content of its result.json; empty where there is none.
    """

    splits: Splits
    settings: StoredSettings
    result: Mapping[str, Any]

    def settle(self, device: torch.device) -> None:
        """Give this process what shows in the last bits of a prediction: the run's CPU threads and algorithms."""
        self.settings.settle(self.result, on_gpu=device.type == "cuda")

    @property
    def memory_format(self) -> torch.memory_format:
        """The order of the bytes of images that the run's networks had."""
        return torch.channels_last if self.settings.trainer.channels_last else torch.contiguous_format

    @property
    def batch_size(self) -> int:
        """The number of images at once in the run's evaluation: its batch size, or more."""
        _, height, width = self.splits.image_shape
        recorded = evaluation_batch_of(self.result)
        return recorded or max(self.settings.batch_size, evaluation_batch(height, width))


@contextmanager
def read_stored_data(
    folder: Path, trust: Sequence[str] = (), root: str | None = None, residency: Residency | None = None
) -> Iterator[StoredData]:
    """The test of the run in `folder`; what is unpacked for it is deleted after the block.

    Args:
        trust: Packages that a person typed; the run's own record extends no trust.
        root: The place of the images now; None: where they were.
        residency: The place where decoded images stay; None: as the run's settings say.

    Raises:
        SettingsError: the settings or the images cannot be read.
    """
    settings = read_settings(folder, root)
    fields = {field.alias or name for name, field in DatasetSettings.model_fields.items()} - {"_target_"}
    node = {name: value for name, value in settings.dataset.items() if name not in fields}
    node |= _recorded_class_names(folder, node)
    chosen = residency or settings.dataset.get("residency", "auto")
    with TemporaryDirectory(prefix="kd_runner_") as unpacked:
        in_archive = isinstance(node.get("root"), str) and is_archive(with_home(node["root"]))
        if in_archive:
            _note_other_names(node)
        safe = {"download": False, "cache": unpacked if in_archive else None}
        try:
            node = _with_arguments(node, "dataset", safe, trust)
            splits = build(node, "dataset", trust, ("datasets",), seed=settings.data_seed, residency=chosen)
        except SettingsError as error:
            is_gone = str(error).startswith("dataset.root: no ")
            moved = "; where the images lie elsewhere now, name their folder with --root" if is_gone else ""
            raise SettingsError(f"{folder / SETTINGS}: {error}{moved}{_remedy_of_table(root)}") from error
        if not isinstance(splits, Splits):
            raise SettingsError(f"{folder / SETTINGS}: dataset: must return Splits, got {type(splits).__name__}")
        if settings.folds is not None:
            splits = _fold(folder, settings, splits)
        result = tolerant_json.json_of(folder / RESULT)[0]
        if residency is None:  # images that are read in another way than the run's have another fingerprint
            _note_other_images(folder, result, splits)
        yield StoredData(splits, settings, result)


def _note_other_names(node: Mapping[str, Any]) -> None:
    """Note the folder in which an older version unpacked the run's archive, where it had other names for the files."""
    cache = node.get("cache")
    if isinstance(cache, str):
        note_other_names_before_016(with_home(node["root"]), with_home(cache))


def _recorded_class_names(folder: Path, node: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names of the classes as the run recorded them, where its settings name a file that is not read for a folder.

    Empty where the settings name none, or one in the data set's folder, and where nothing is recorded.
    """
    file = node.get("class_names")
    if not isinstance(file, str) or not leads_out(file) or is_typed(file):
        return {}
    names = tolerant_json.texts(tolerant_json.json_of(folder / ANALYSIS)[0].get("classes"))
    return {"class_names": names} if names else {}


def _with_arguments(node: Any, key: str, arguments: Mapping[str, Any], trust: Sequence[str]) -> Any:
    """The node, and each node in it, with these arguments wherever its callable has them, also where it names none."""
    if not isinstance(node, dict):
        return node
    inside = {name: _with_arguments(value, f"{key}.{name}", arguments, trust) for name, value in node.items()}
    if "_target_" not in node:
        return inside
    return inside | {name: value for name, value in arguments.items() if name in node or takes(node, key, name, trust)}


def _remedy_of_table(root: str | None) -> str:
    """The end of a message where a table was typed in place of the run's own data set."""
    if root is None or not is_table_name(Path(root)):
        return ""
    return f"; --root is for the run's own data set: kd-evaluate MODEL {root} judges the rows of another table"


def _fold(folder: Path, settings: StoredSettings, splits: Splits) -> Splits:
    """The splits of the run's fold."""
    folds, fold, share = settings.folds or 0, settings.fold, settings.dataset.get("val_fraction", VAL_FRACTION)
    share = share if type(share) is float else VAL_FRACTION
    if fold is None or fold >= folds:
        raise SettingsError(f"{folder / SETTINGS}: fold: must be 0 to {folds - 1} where folds={folds}, got {fold}")
    try:
        return fold_of(splits, folds, fold, fold_seed(settings.data_seed), settings.data_seed, share)
    except ValueError as error:
        raise SettingsError(f"{folder / SETTINGS}: {error}") from error


def _note_other_images(folder: Path, result: dict[str, Any], splits: Splits) -> None:
    """Note where the test images are not those that the run was evaluated on."""
    value: Any = result
    for name in ("student", "correct", "of"):
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{16}", value) and value != splits.test_fingerprint[:16]:
        files = " (or have another place or time of change)" if splits.pixels is not None else ""
        note("data", f"the test images are not those that {folder} was evaluated on{files}")

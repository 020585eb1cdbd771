"""A data set that Hugging Face `datasets` saved with `save_to_disk`: a `DatasetDict` or a `Dataset`.

Splits are those of the dictionary, by the names that folders of splits may have; those that are missing are cut from
the training images as `image_folder` cuts them. Images are an `Image` column or a column of bytes. They are decoded by
the code that reads image files, not by `datasets`: nothing is downloaded, and no path in the data is opened.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, Any, Literal

import numpy as np
import torch

from kd_runner.datasets.decoding.files import PixelSettings
from kd_runner.datasets.decoding.image_file import MAX_PIXELS
from kd_runner.datasets.decoding.pixels import Color, parse_background
from kd_runner.datasets.folders.split_folders import NAMES, READ, similar_splits, split_called
from kd_runner.datasets.folders.tree import decoded_name, name_in_list
from kd_runner.datasets.inspection.survey import LeftOut, list_of_names
from kd_runner.datasets.packed.hf_columns import Columns, find_columns
from kd_runner.datasets.packed.packed_images import PackedImages
from kd_runner.datasets.packed.packed_splits import Problems, splits_of_packed
from kd_runner.datasets.splits import Splits
from kd_runner.datasets.tables.label_values import Value, classes_and_labels, label_value, names_of_classes
from kd_runner.files.home import with_home
from kd_runner.notes import note

DICT, STATE = "dataset_dict.json", "state.json"  # the files by which a saved data set is known
LONGEST_STATE = 2**24  # bytes
NEEDED = "dataset=hf_disk needs Hugging Face datasets: pip install 'kd-runner[huggingface]'"
WANTED = "it must hold what save_to_disk of Hugging Face datasets wrote"


def hf_disk(
    root: str,
    seed: int,
    train: str | None = None,
    val: str | None = None,
    test: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    class_names: Sequence[str] | str | None = None,
    image_size: int = 32,
    color: Color = "rgb",
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
    on_bad_image: Literal["error", "skip"] = "error",
    cache: str | None = None,
    residency: Literal["auto", "device", "host", "stream"] = "auto",
    background: str | int = "white",
    max_pixels: int = MAX_PIXELS,
    white: float | None = None,
    resize_size: int | None = None,
) -> Splits:
    """The images of a saved data set: decoded once and kept in memory as bytes, or read from its files while training.

    Args:
        root: The folder that `save_to_disk` wrote; `~` is expanded.
        train, val, test: Names of the splits in the data set; None: by the usual names.
        image_column: The column of images; None: the only one, or the one called image.
        label_column: The column of labels; None: the only ClassLabel, or the one called label.
        class_names: A name for each number that is a label, or a text file with a name in each line; None: those of the
            ClassLabel, else the numbers.
        image_size, color, max_pixels, white, resize_size: The fields of `PixelSettings`.
        on_bad_image: `error` ends the run at a row without a label, or whose image cannot be read; `skip` leaves it
            out.
        val_fraction, test_fraction, cache, residency, background: The arguments of `image_folder` with these names.

    Raises:
        FileNotFoundError: there is no such folder, or nothing that was saved.
        ImportError: `datasets` is not installed.
        ValueError: a data set that cannot be read, or without columns of images and labels.
    """
    pixels = PixelSettings(image_size, color, parse_background(background), max_pixels, white, resize_size=resize_size)
    folder = with_home(root)
    folders, unread = _folders_of_splits(folder, {"train": train, "val": val, "test": test})
    tables = {split: _load(path) for split, path in folders.items()}
    columns = find_columns(tables["train"].features, image_column, label_column)
    for split, table in tables.items():
        _check_like_training(split, table, columns)
    rows = {split: _read_rows(table, folders[split], folder, columns) for split, table in tables.items()}
    names = names_of_classes(class_names, folder) or columns.class_names
    _refuse_reordered(names, columns.class_names)
    classes, labels = classes_and_labels({split: part.values for split, part in rows.items()}, names)
    pack = _pack(tables, folders, rows, columns)
    files = {
        split: PackedImages(folder, part.names, torch.tensor(labels[split]), pixels, pack=pack)
        for split, part in rows.items()
    }
    problems = Problems(
        [name for part in rows.values() for name in part.without_label],
        ["it has no label" for part in rows.values() for _ in part.without_label],
    )
    cache_folder, fractions = with_home(cache) if cache else None, {"val": val_fraction, "test": test_fraction}
    left_out = LeftOut()
    if unread:
        note(
            "data", f"{list_of_names(map(decoded_name, unread))} in {root} left out: no split of a run has such a name"
        )
    return splits_of_packed(files, classes, left_out, problems, fractions, seed, residency, cache_folder, on_bad_image)


def _refuse_reordered(names: Sequence[str] | None, own_names: Sequence[str] | None) -> None:
    """Raise ValueError for the data set's own names in another order, in which each image would get another's."""
    if (
        names is not None
        and own_names is not None
        and sorted(names) == sorted(own_names)
        and list(names) != list(own_names)
    ):
        raise ValueError(
            f"class_names must be in the order of the data set's own ({list_of_names(map(name_in_list, own_names))}), "
            f"got {list_of_names(map(name_in_list, names))}"
        )


def _folders_of_splits(root: Path, asked: Mapping[str, str | None]) -> tuple[dict[str, Path], list[str]]:
    """The folder of each split, and the names of other splits, which are not read.

    Raises:
        FileNotFoundError: nothing was saved in `root`.
        ValueError: no training split, or a split that may be one under another name.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root.resolve()}: {WANTED}")
    typed = {split: name for split, name in asked.items() if name is not None}
    if (root / STATE).is_file() and not (root / DICT).is_file():
        if typed:
            raise ValueError(
                f"{next(iter(typed))} must be null for {root}, which is one split, got {next(iter(typed.values()))}"
            )
        return {"train": root}, []
    names = _names_of_splits(root)
    for split, name in typed.items():
        if name not in names:
            raise ValueError(
                f"{split} must be a split of {root} ({list_of_names(map(decoded_name, names))}), got {name}"
            )
    chosen = typed or _by_name(root, names)
    if "train" not in chosen:
        raise ValueError(
            f"{root} has the splits {list_of_names(map(decoded_name, names))}, and none for training: dataset.train "
            f"names it; names that are read are {READ}"
        )
    unread = [name for name in names if name not in chosen.values()]
    return {split: root / chosen[split] for split in NAMES if split in chosen}, unread


def _names_of_splits(root: Path) -> list[str]:
    """The splits in a saved dictionary, or the folders below `root` that are saved data sets."""
    if not (root / DICT).is_file():
        names = sorted(path.parent.name for path in root.glob(f"*/{STATE}"))
        if not names:
            raise FileNotFoundError(
                f"nothing saved by Hugging Face datasets in {root.resolve()}: {WANTED}{_holds(root)}"
            )
        return names
    splits = _json(root / DICT).get("splits")
    if not isinstance(splits, list) or not all(isinstance(name, str) and _is_plain(name) for name in splits):
        raise ValueError(f"{root / DICT} must name its splits, folders beside it, got {str(splits)[:80]}")
    return splits


def _holds(root: Path) -> str:
    """The end of a message for a folder that is a download from the Hub and was not saved."""
    parquet = next(root.rglob("*.parquet"), None)
    if parquet is None:
        return ""
    return (
        f"; it holds Parquet files: datasets.load_dataset('parquet', data_dir='{root}').save_to_disk(…) saves them so"
    )


def _is_plain(name: str) -> bool:
    return bool(name) and name not in (".", "..") and name == PurePath(name).name and "\\" not in name


def _by_name(root: Path, names: Sequence[str]) -> dict[str, str]:
    """The name of each split, by the usual names."""
    chosen: dict[str, str] = {}
    for name in names:
        split = split_called(name)
        if split in chosen:
            raise ValueError(
                f"{root} has {chosen[split]} and {name}, both a name of the {split} split: dataset.{split} names one"
            )
        if split is not None:
            chosen[split] = name
    for name in names:
        missing = {split for split in similar_splits(name) if split not in chosen}
        if split_called(name) is None and missing:
            raise ValueError(
                f"{decoded_name(name)} in {root} looks like the {' or '.join(sorted(missing))} split, and is not "
                f"called so: dataset.train={chosen.get('train', '…')} and so on name the splits to read"
            )
    return chosen


def _json(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(LONGEST_STATE))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must be a record")
    return content


def _load(folder: Path) -> Any:
    """The `datasets.Dataset` that was saved in `folder`, its table mapped from its files.

    Raises:
        ImportError: `datasets` is not installed.
        ValueError: it cannot be read.
    """
    files = _json(folder / STATE).get("_data_files")
    names = (
        [file.get("filename") if isinstance(file, dict) else None for file in files] if isinstance(files, list) else []
    )
    if not all(isinstance(name, str) and _is_plain(name) for name in names):
        raise ValueError(f"{folder / STATE} must name files beside it, got {str(names)[:80]}")
    try:
        library = importlib.import_module("datasets")
        load = library.load_from_disk  # a folder called datasets, which Python takes for a package, has none
    except (ImportError, AttributeError) as error:
        raise ImportError(f"{NEEDED} ({error})") from None
    try:
        with _without_bars(library):
            table = load(str(folder.resolve()), keep_in_memory=False)
    except Exception as error:  # of others' files, which raise errors of pyarrow, json and datasets
        raise ValueError(f"{folder} cannot be read by datasets {library.__version__}: {_one_line(error)}") from error
    return table


@contextmanager
def _without_bars(library: Any) -> Iterator[None]:
    """During the block, `datasets` draws no progress bar."""
    were_off = library.are_progress_bars_disabled()
    library.disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            library.enable_progress_bars()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _check_like_training(split: str, table: Any, columns: Columns) -> None:
    split_columns = find_columns(table.features, columns.image, columns.label)
    if split_columns.class_names != columns.class_names:
        raise ValueError(f"the {split} split must have the classes of the training split, in the same order")


@dataclass(frozen=True)
class Rows:
    """The rows of a split that have labels.

    Args:
        names: A name of each image: folder of the split, row, and the name of the file that it was.
        numbers: The row of each image.
        values: The labels as the table holds them.
        without_label: The names of rows without a label.
    """

    names: list[str]
    numbers: list[int]
    values: list[Value]
    without_label: list[str]


def _read_rows(table: Any, folder: Path, root: Path, columns: Columns) -> Rows:
    """The names and labels of a split's rows; images are not read.

    Raises:
        ValueError: the table is broken.
    """
    arrow = table.select_columns([columns.image, columns.label]).with_format("arrow")
    try:
        for column in (columns.image, columns.label):
            table.data.column(column).validate(
                full=True
            )  # offsets in the file of others, before anything is read there
        labels = arrow.select_columns([columns.label])[:].column(0).to_pylist() if len(table) else []
        files = _file_names(arrow, columns) if len(table) else []
    except Exception as error:  # pyarrow's
        raise ValueError(f"{folder} cannot be read: {_one_line(error)}") from error
    split_path = os.path.relpath(folder, root)
    rows = Rows([], [], [], [])
    for number, (label, file) in enumerate(zip(labels, files, strict=True)):
        name = str(PurePath(split_path, str(number), file))
        value = None if columns.class_names is not None and label == -1 else label_value(label)
        if value is None:
            rows.without_label.append(name)
            continue
        rows.names.append(name)
        rows.numbers.append(number)
        rows.values.append(value)
    if not rows.names:
        why = f"; none of its {len(labels):,} rows has a label" if labels else "; it has no rows"
        raise ValueError(f"no images with labels in {folder}{why}")
    return rows


def _file_names(arrow: Any, columns: Columns) -> list[str]:
    """The name of the file that each image was, '' where the table does not say."""
    if not columns.has_paths:
        return [""] * len(arrow)
    column = arrow.select_columns([columns.image])[:].column(0)
    paths = [path for chunk in column.chunks for path in chunk.field("path").to_pylist()]
    return [PurePath(path.replace("\\", "/")).name.replace("\0", "") if path else "" for path in paths]


@dataclass(frozen=True)
class TablePack:
    """Images in the tables of saved splits.

    Args:
        tables: The image column of each split, as Arrow's tables.
        rows: The split and the row of each image, by its name.
        marks: Two numbers for each split, which change with its files.
    """

    tables: Mapping[str, Any]
    rows: Mapping[str, tuple[str, int]]
    marks: Mapping[str, tuple[int, int]]

    def open(self, name: str) -> IO[bytes]:
        split, row = self.rows[name]
        value = self.tables[split][row].column(0)[0].as_py()
        content = value["bytes"] if isinstance(value, dict) else value
        if content is None:
            path = value.get("path") if isinstance(value, dict) else None
            raise ValueError(
                f"its bytes are not in the data set, only a path: {decoded_name(path)}" if path else "it has no image"
            )
        return io.BytesIO(content)

    def stamps(self, names: Sequence[str]) -> np.ndarray:
        return np.array([self.marks[self.rows[name][0]] for name in names], dtype=np.int64).reshape(-1, 2)


def _pack(
    tables: Mapping[str, Any], folders: Mapping[str, Path], rows: Mapping[str, Rows], columns: Columns
) -> TablePack:
    return TablePack(
        {split: table.select_columns([columns.image]).with_format("arrow") for split, table in tables.items()},
        {
            name: (split, row)
            for split, part in rows.items()
            for name, row in zip(part.names, part.numbers, strict=True)
        },
        {split: _marks(folder, columns.image) for split, folder in folders.items()},
    )


def _marks(folder: Path, column: str) -> tuple[int, int]:
    """Two numbers that change with names, sizes and times of the files in a folder, and with the column of images."""
    statuses = [(path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file()]
    content = [(name, status.st_size, status.st_mtime_ns) for name, status in statuses]
    digest = hashlib.sha256(repr((column, content)).encode()).digest()
    return int.from_bytes(digest[:7], "big"), int.from_bytes(digest[7:14], "big")

"""The images of a folder, packed as shards and as a data set that Hugging Face datasets saved."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

Files = Iterable[tuple[str, bytes]]


def write_shard(path: Path, files: Files) -> Path:
    """A tar of these files, in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def splits_of_folder(root: Path) -> dict[str, list[tuple[str, Path]]]:
    """(class, file) of each image of a folder, in the order in which `image_folder` reads them, by split."""
    return {
        split.name: [(path.parent.name, path) for kind in sorted(split.iterdir()) for path in sorted(kind.iterdir())]
        for split in sorted(root.iterdir())
    }


def shards_of_folder(root: Path, into: Path, label: str = "cls", shards: int = 2) -> Path:
    """The images of `root/SPLIT/CLASS` as shards SPLIT-000.tar and so on, in the order of the folder."""
    for split, images in splits_of_folder(root).items():
        size = -(-len(images) // shards)
        for number in range(shards):
            files = []
            for index, (kind, path) in enumerate(images[number * size : (number + 1) * size]):
                content = json.dumps({"label": kind, "more": 1}) if label == "json" else f"{kind}\n"
                ending = path.name.partition(".")[2]
                files += [(f"{index:05}.{ending}", path.read_bytes()), (f"{index:05}.{label}", content.encode())]
            write_shard(into / f"{split}-{number:03}.tar", files)
    return into


def saved_of_folder(root: Path, into: Path, as_bytes: bool = False) -> Path:
    """The same images in what `save_to_disk` writes: a DatasetDict with an Image column, or with one of bytes."""
    datasets = pytest.importorskip("datasets.arrow_dataset", reason="needs Hugging Face datasets").Dataset
    from datasets import ClassLabel, DatasetDict, Features, Image, Value, disable_progress_bars

    disable_progress_bars()
    splits = splits_of_folder(root)
    classes = sorted({kind for images in splits.values() for kind, _ in images})
    features = Features({"image": Value("binary") if as_bytes else Image(), "label": ClassLabel(names=classes)})
    tables = {}
    for split, images in splits.items():
        contents = [path.read_bytes() for _, path in images]
        column = (
            contents
            if as_bytes
            else [{"bytes": content, "path": path.name} for content, (_, path) in zip(contents, images, strict=True)]
        )
        table = {"image": column, "label": [classes.index(kind) for kind, _ in images]}
        tables[split] = datasets.from_dict(table, features=features)
    DatasetDict(tables).save_to_disk(str(into))
    return into

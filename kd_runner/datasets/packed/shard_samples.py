"""The samples of a shard: files of one name with different endings, an image and its label among them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

from kd_runner.datasets.decoding.image_file import SUFFIXES
from kd_runner.datasets.folders.tree import decoded_name, is_hidden, is_image_name, kind_of_unread
from kd_runner.datasets.inspection.survey import list_of_names
from kd_runner.datasets.packed.packed_images import window
from kd_runner.datasets.packed.tar_members import Member, Members, members_of
from kd_runner.datasets.tables.label_values import Value, label_value

LABELS = ("cls", "json", "txt")  # endings of labels; the first that a sample has is its label
LONGEST_LABEL = 2**20  # bytes
DUPLICATE = "the shard has a file of this name before it"
ENDINGS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True)
class Keys:
    """The endings of the files in a sample, in lower case without the first dot.

    Args:
        image: Ending of the image; None: the only one that an image has.
        label: Ending of the label; None: the first of LABELS that is there.
        field: The name under which a label of the ending json stands, where it is no number or text itself.
    """

    image: str | None = None
    label: str | None = None
    field: str = "label"


def samples_of(shard: Path, keys: Keys) -> dict[str, Any]:
    """The samples of a shard as plain data, for a cache.

    Returns:
        `samples`: (name of the image, its first byte, its size, its label) each.
        `problems`: (name, reason) of each sample without image or label, and of each repeated file.
        `labels`: the number of labels by their ending; `unread`: that of other files by kind; `hidden`: of hidden ones.
        `broken` and `behind`: as in `Members`.

    Raises:
        ValueError: a sample with several images, or a shard that is compressed.
    """
    with shard.open("rb") as file:
        start = file.read(6)
        packed = next((name for magic, name in ENDINGS.items() if start.startswith(magic)), None)
        if packed is not None:
            raise ValueError(f"{shard} is compressed ({packed}), and no image can be found in it: uncompress it once")
        members = members_of(shard)
        return _samples(shard, file, members, keys)


def _samples(shard: Path, file: IO[bytes], members: Members, keys: Keys) -> dict[str, Any]:
    groups, problems, without_ending, hidden = _groups(members)
    kinds_without_images: set[str] = set()
    unread = Counter(_kind(shard, member, kinds_without_images) for member in without_ending)
    samples: list[tuple[str, int, int, Value]] = []
    labels: Counter[str] = Counter()
    for key, group in groups.items():
        image = _image_key(shard, key, group, keys)
        label_key = keys.label or next((name for name in LABELS if name in group), None)
        for ending, member in group.items():
            if ending not in (image, label_key):
                unread[_kind(shard, member, kinds_without_images)] += 1
        if image is None:
            if label_key in group:  # files without an image and a label are of no sample, and counted above
                problems.append((key, "it has no image"))
            continue
        label, reason = _label(file, group.get(label_key or ""), label_key, keys)
        if label is None:
            problems.append((group[image].name, reason))
        else:
            samples.append((*group[image], label))
            labels[str(label_key)] += 1
    return {
        "samples": samples,
        "problems": problems,
        "labels": labels,
        "unread": unread + members.unread,
        "hidden": hidden,
        "broken": members.broken,
        "behind": members.behind,
    }


def _groups(members: Members) -> tuple[dict[str, dict[str, Member]], list[tuple[str, str]], list[Member], int]:
    """The files of each sample by ending; repeated files; files without an ending; and the number of hidden ones."""
    groups: dict[str, dict[str, Member]] = {}
    problems: list[tuple[str, str]] = []
    without_ending: list[Member] = []
    hidden = 0
    for member in members.files:
        folder, slash, name = member.name.rpartition("/")
        base, dot, ending = name.partition(".")
        if is_hidden(name):
            hidden += 1
        elif not dot:
            without_ending.append(member)
        elif ending.lower() in (group := groups.setdefault(f"{folder}{slash}{base}", {})):
            problems.append((member.name, DUPLICATE))
        else:
            group[ending.lower()] = member
    return groups, problems, without_ending, hidden


@dataclass(frozen=True)
class MemberFile:
    """A file in a shard, as the decoder reads one."""

    shard: Path
    member: Member

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.member.name).suffix

    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        return window(self.shard, self.member.start, self.member.size)


def _kind(shard: Path, member: Member, kinds_without_images: set[str]) -> str:
    """The suffix of a file that is not read, or that it is an image whose name does not say so, for counts."""
    if is_image_name(member.name.rpartition("/")[2]):  # it is not the one that is read
        return decoded_name(PurePosixPath(member.name).suffix.lower())
    return kind_of_unread(member.name, MemberFile(shard, member), kinds_without_images)


def _image_key(shard: Path, key: str, group: Mapping[str, Member], keys: Keys) -> str | None:
    """The ending of a sample's image; None where it has none."""
    if keys.image is not None:
        return keys.image if keys.image in group else None
    images = [ending for ending in group if f".{ending}" in SUFFIXES]
    if len(images) > 1:
        raise ValueError(
            f"the sample {decoded_name(key)} in {shard} has several images ({', '.join(images)}): dataset.image_key "
            "names the one to read"
        )
    return images[0] if images else None


def _label(file: IO[bytes], member: Member | None, ending: str | None, keys: Keys) -> tuple[Value | None, str]:
    """The label in a file of a shard, or the reason why there is none."""
    if member is None:
        return None, f"it has no label (.{ending})" if ending else f"it has no label (.{', .'.join(LABELS)})"
    if member.size > LONGEST_LABEL:
        return None, f"its label has {member.size:,} bytes"
    file.seek(member.start)
    try:
        text = file.read(member.size).decode()
        if ending is None or ending.rpartition(".")[2] != "json":
            return label_value(text), "its label is empty"
        value = json.loads(text)
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        return None, f"its label (.{ending}) cannot be read"
    return _label_in_json(value, keys.field)


def _label_in_json(value: object, field: str) -> tuple[Value | None, str]:
    if not isinstance(value, dict):
        return label_value(value), "its .json is no number, text or record"
    if field not in value:
        names: Sequence[str] = [decoded_name(str(name))[:40] for name in value]
        return None, f"its .json has no {field} (dataset.json_field), it has {list_of_names(names)}"
    return label_value(value[field]), f"the {field} in its .json is no number or text"

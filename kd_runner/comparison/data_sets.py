"""The data sets that runs were tested on: results on other test images are not ranked in one list.

Runs with the same test images have the same data set. Of other images, those of the same classes, numbers and settings
of the data set have it, too: another size or colour of the same files, the same files in a folder of the same name on
another machine, and another split of them by `data_seed` or by folds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from kd_runner.config.sections import DatasetSettings
from kd_runner.files import tolerant_json
from kd_runner.files.indifferent import SPEED_OF_DATASET
from kd_runner.files.recorded_words import without_plus
from kd_runner.files.results import SEEDS, Run
from kd_runner.files.run_folder import SETTINGS
from kd_runner.formats import number_of

SECTION = "dataset"
FOLDERS = ("root", "image_root")
TARGET = "target"  # the field of the callable that makes the data set
# Settings of a data set that leave its test images the same pictures with the same labels: all that every data set has,
# which are about training or about how images are given to networks, and arguments of its callable.
OF_EVERY_DATA_SET = tuple(name for name in DatasetSettings.model_fields if name != TARGET)
PREPROCESSING = frozenset(
    (
        *OF_EVERY_DATA_SET,
        *("image_size", "resize_size", "color", "background", "white", "max_pixels"),
        *("val_fraction", "on_bad_image", "on_empty_label", "may_lead_to", "download", "weight"),
        *SPEED_OF_DATASET,
    )
)


@dataclass(frozen=True)
class DataSet:
    """A data set with the runs that were tested on it.

    Args:
        name: Its kind, and its numbers of classes and test images; empty where it is the only one.
    """

    name: str
    runs: list[Run]


@dataclass
class _Images:
    """The test images of runs.

    Args:
        first: The first of the runs.
        splits: The data seed, the number of folds and the fold of each run: what chose these images from the others.
        digest, number, classes, largest: A few digits for the images, their number and that of the classes, and the
            class that most images are of; None where the result does not say so.
        settings: The settings of the data set, as they were used, and as they were typed; None where they cannot be
            read.
    """

    first: Run
    digest: str | None
    number: int | None
    classes: int | None
    largest: Any
    settings: dict[str, Any] | None = None
    typed: dict[str, Any] = field(default_factory=dict)
    splits: set[Hashable] = field(default_factory=set)

    @staticmethod
    def of(run: Run) -> _Images:
        """The test images of a run, whose settings are not read yet."""
        data = run.result.get("data") or {}
        largest = (data.get("largest_class") or {}).get("test")
        return _Images(run, *_tested_on(run), data.get("classes"), largest)

    @property
    def kind(self) -> str:
        """A text for its classes and its settings."""
        return json.dumps([self.classes, self.settings, self.typed], sort_keys=True)

    def are_of_the_kind_of(self, images: _Images) -> bool:
        """True where classes and settings may be those of the same data."""
        return not _differ(self.classes, images.classes) and not self._settings_differ(images)

    def are_as_many_as(self, images: _Images) -> bool:
        """True where these images may be the other ones, of the same split, in another size."""
        return not _differ(self.number, images.number) and not _differ(self.largest, images.largest)

    def _settings_differ(self, images: _Images) -> bool:
        settings, other_settings = self.typed, images.typed
        if self.settings is not None and images.settings is not None:
            settings, other_settings = self.settings, images.settings
        return any(settings[key] != other_settings[key] for key in settings.keys() & other_settings.keys())


@dataclass
class _Members:
    """All test images of a data set, of which those that would tell the same of others are kept once.

    Args:
        kinds: The first images of each kind.
        of_split: The images of each split whose numbers differ.
    """

    first: _Images
    kinds: dict[str, _Images] = field(default_factory=dict)
    of_split: dict[Hashable, list[_Images]] = field(default_factory=dict)

    def may_have(self, images: _Images) -> bool:
        """True where images may be those of the members in another size, or another part of the same data."""
        return all(map(images.are_of_the_kind_of, self.kinds.values())) and all(
            images.are_as_many_as(known) for split in images.splits for known in self.of_split.get(split, ())
        )

    def add(self, images: _Images) -> None:
        """Take images that the data set may have."""
        self.kinds.setdefault(images.kind, images)
        for split in images.splits:
            known = self.of_split.setdefault(split, [])
            if not any((images.number, images.largest) == (member.number, member.largest) for member in known):
                known.append(images)


def _differ(first: Any, second: Any) -> bool:
    """True where two values are known and differ."""
    return first is not None and second is not None and first != second


def data_sets_of(runs: Iterable[Run]) -> list[DataSet]:
    """The runs by their data sets, in the order of their first runs."""
    runs = list(runs)
    keys = list(map(_key, runs))
    images: dict[Hashable, _Images] = {}
    for run, key in zip(runs, keys, strict=True):
        if key not in images:
            images[key] = _Images.of(run)
        images[key].splits.add((run.seeds[1 : len(SEEDS)], run.folds, run.fold))
    if len(images) < 2:
        return [DataSet("", runs)] if runs else []
    data_sets: list[_Members] = []
    number_of_key = {}
    for key, of_key in images.items():
        of_key.settings, of_key.typed = _settings(of_key.first), _typed_settings(of_key.first.words)
        number = next((n for n, members in enumerate(data_sets) if members.may_have(of_key)), len(data_sets))
        if number == len(data_sets):
            data_sets.append(_Members(of_key))
        data_sets[number].add(of_key)
        number_of_key[key] = number
    names = _names([members.first for members in data_sets]) if len(data_sets) > 1 else [""]
    result = [DataSet(name, []) for name in names]
    for run, key in zip(runs, keys, strict=True):
        result[number_of_key[key]].runs.append(run)
    return result


def _key(run: Run) -> Hashable:
    """Equal for runs with the same test images."""
    digest, number = _tested_on(run)
    return digest or (number, tuple(sorted(_typed_settings(run.words).items())))


def _tested_on(run: Run) -> tuple[str | None, int | None]:
    """The digest of the test images, and their number; None where the result does not say so."""
    data = run.result.get("data") or {}
    digest, number = run.tested_on
    return digest or (data.get("fingerprints") or {}).get("test"), number or data.get("test")


def _settings(run: Run) -> dict[str, Any] | None:
    """The settings of the data set of a run that decide what it holds; None where they cannot be read."""
    content, wrong = tolerant_json.json_of(run.folder / SETTINGS)
    section = None if wrong else content.get(SECTION)
    return _less_preprocessing(section) if isinstance(section, dict) else None


def _typed_settings(words: Iterable[str]) -> dict[str, Any]:
    """The settings in overrides that decide what a data set holds, by keys of its section; '' is the section's own."""
    pairs = [word.partition("=")[::2] for word in map(without_plus, words)]
    return _less_preprocessing(
        {key[len(SECTION) + 1 :]: value for key, value in pairs if key == SECTION or key.startswith(f"{SECTION}.")}
    )


def _less_preprocessing(section: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide what a data set holds; of a folder or an archive its name, wherever it lies."""
    deciding = {key: value for key, value in section.items() if key.partition(".")[0] not in PREPROCESSING}
    return deciding | {key: PurePath(deciding[key]).stem for key in FOLDERS if isinstance(deciding.get(key), str)}


def _names(data_sets: Sequence[_Images]) -> list[str]:
    """A name for each data set, which no other one has."""
    names = [_name(images) for images in data_sets]
    times = Counter(names)
    digests = [images.digest[:8] if images.digest else str(number) for number, images in enumerate(data_sets, 1)]
    return [name if times[name] == 1 else f"{name} ({digest})" for name, digest in zip(names, digests, strict=True)]


def _name(images: _Images) -> str:
    """A data set in words, such as 'digits, 10 classes, 539 test images'."""
    typed = _typed_settings(images.first.result.get("overrides") or ())
    target = str((images.settings or {}).get("_target_", ""))
    kind = typed.get("") or target.rpartition(".")[0].rpartition(".")[2] or "data set"
    parts = [" ".join(filter(None, [kind, typed.get("root")]))]
    parts += [f"{images.classes} classes"] if images.classes else []
    parts += [number_of(images.number, "test image")] if images.number else []
    return ", ".join(parts)

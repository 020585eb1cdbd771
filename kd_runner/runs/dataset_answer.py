"""The answer to `dataset=?`: counts, files, statistics and a contact sheet. Nothing is trained."""

from __future__ import annotations

import logging
import os
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kd_runner import plain_text
from kd_runner.config.settings import Settings
from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.decoding.image_file import ImageFacts, facts
from kd_runner.datasets.decoding.in_threads import results_in_order
from kd_runner.datasets.folders.tree import decoded_name
from kd_runner.datasets.inspection import survey
from kd_runner.datasets.inspection.contact_sheet import CLASSES, contact_sheet
from kd_runner.datasets.inspection.duplicates import Copies, Position, copies_by_digest, digest_of
from kd_runner.datasets.inspection.survey import SPLITS, class_counts, count, list_of_names
from kd_runner.datasets.inspection.unreadable import NOT_READ
from kd_runner.datasets.splits import Images, Split, Splits
from kd_runner.files.home import with_home
from kd_runner.files.run_folder import CONTACT_SHEET
from kd_runner.formats import cut_end, percent
from kd_runner.notes import collected_notes
from kd_runner.notes import log as notes_log
from kd_runner.plain_text import lines
from kd_runner.runs.data import absent_classes, chosen_images, data_set_name, read_data, student_choices
from kd_runner.runs.stages.unlabelled_images import unlabelled_images

# What a note on a broken shard says where images are left out, and what it is where a run would stop.
WHAT_FOLLOWS = (
    "what follows is left out (dataset.on_bad_image)",
    "a run would stop (dataset.on_bad_image=skip leaves out what follows)",
)
NOT_READ_FOLLOWS = (f" and are {NOT_READ}", "; a run would stop (dataset.on_bad_image=skip leaves them out): ")
TABLE = 30  # classes up to which all are in the table; else the EXTREMES with the most and the fewest training images
EXTREMES = 5
NAMED = 5  # files
LONGEST_NAME = 40  # letters of a class's name
BLOCK = 256  # images at a time


@dataclass(frozen=True)
class Pixels:
    """The statistics of all pixels of a data set.

    Args:
        mean, std: The mean and the standard deviation of the training images by channel, scaled to [0, 1].
        copies: The images that are there twice.
    """

    mean: list[float]
    std: list[float]
    copies: Copies


def dataset_answer(settings: Settings, folder: Path) -> str:
    """The text of the answer; the contact sheet is written to `folder`.

    Raises:
        SettingsError: the data set cannot be read.
    """
    with _silent(), collected_notes() as notes:
        lenient = _lenient(settings)
        splits = read_data(lenient)
        more = _unlabelled_lines(lenient, splits)
        pixels = read_pixels(splits)
        survey.write_notes(splits, pixels.copies)
        chosen = chosen_images(settings, splits)
    contact_sheet(splits.train, splits.classes).save(folder / CONTACT_SHEET)
    name = data_set_name(settings.dataset)
    shown = "" if splits.num_classes <= CLASSES else f" ({CLASSES} of the {splits.num_classes:,} classes)"
    skips = settings.dataset.node.get("on_bad_image") == "skip"
    of_student = []
    if chosen is not None:
        choices, absent = student_choices(settings), absent_classes(settings, splits)
        of_student = [f"student  {survey.student_line(len(chosen), len(splits.train), choices, absent)}"]
    parts = [
        [f"{name}: {survey.line(splits)}"],
        of_student,
        class_table(splits),
        largest_classes(splits),
        file_lines(splits),
        more,
        [f"mean     [{', '.join(f'{value:.4f}' for value in pixels.mean)}] of the training images, by channel"],
        [f"std      [{', '.join(f'{value:.4f}' for value in pixels.std)}]"],
        unreadable_lines(splits, skips),
        copy_lines(splits, pixels.copies),
        [
            f"note     {note if skips else note.replace(*WHAT_FOLLOWS).replace(*NOT_READ_FOLLOWS)}"
            for note in notes
            if NOT_READ not in note or _is_of_more(note, settings)
        ],  # it is said above
        [f"pictures {folder / CONTACT_SHEET}{shown}"],
    ]
    return lines(line for lines in parts for line in lines)


def _is_of_more(note: str, settings: Settings) -> bool:
    """True for a note on the images of `dataset.unlabelled`."""
    return settings.dataset.unlabelled is not None and f"under {with_home(settings.dataset.unlabelled)} " in note


def _unlabelled_lines(settings: Settings, splits: Splits) -> list[str]:
    lines = []
    if splits.unlabelled is not None:
        lines.append(
            f"more     {survey.count(len(splits.unlabelled), 'image')} without labels (dataset.on_empty_label)"
        )
    if settings.dataset.unlabelled is not None:
        images = len(unlabelled_images(settings, splits))
        lines.append(f"more     {survey.count(images, 'image')} without labels under {settings.dataset.unlabelled}")
    return lines


@contextmanager
def _silent() -> Iterator[None]:
    """Notes are collected and not logged: they are part of the answer."""
    level = logging.getLogger("kd_runner").level
    notes_log.propagate = False
    logging.getLogger("kd_runner").setLevel(logging.ERROR)
    try:
        yield
    finally:
        notes_log.propagate = True
        logging.getLogger("kd_runner").setLevel(level)


def _lenient(settings: Settings) -> Settings:
    """The settings with which files that cannot be read are counted and named, not an error."""
    if "on_bad_image" not in settings.dataset.node:
        return settings
    dataset = settings.dataset.model_copy()
    assert dataset.model_extra is not None
    object.__setattr__(dataset, "__pydantic_extra__", {**dataset.model_extra, "on_bad_image": "skip"})
    return settings.model_copy(update={"dataset": dataset})


def read_pixels(splits: Splits) -> Pixels:
    """Statistics of all pixels, each image read once."""
    parts = [splits.train, splits.val, splits.test]
    total = squares = torch.zeros(splits.image_shape[0], dtype=torch.float64)
    digests: list[list[bytes]] = []
    for part in parts:
        digests.append([])
        for block in blocks(part):
            if part is splits.train:
                floats = block.double().div(255).transpose(0, 1).flatten(1)
                total, squares = total + floats.sum(1), squares + floats.square().sum(1)
            if splits.copies is None:
                digests[-1] += [digest_of(image) for image in block]
    number = len(splits.train) * splits.image_shape[1] * splits.image_shape[2]
    mean = total / number
    std = ((squares / number - mean.square()).clamp_min(0) * number / max(1, number - 1)).sqrt()
    copies = splits.copies or copies_by_digest(digests, [part.labels for part in parts])
    return Pixels(mean.tolist(), std.tolist(), copies)


def blocks(images: Images) -> Iterator[Tensor]:
    """uint8 [up to 256, C, H, W]: all images in their order."""
    if isinstance(images, Split):
        yield from images.images.split(BLOCK)
        return
    assert isinstance(images, ImageFiles)
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(images), BLOCK):
            indices = range(start, min(start + BLOCK, len(images)))
            yield torch.stack(results_in_order(pool, images.__getitem__, indices))


def class_table(splits: Splits) -> list[str]:
    """The numbers of images by class; of many classes those with the most and the fewest training images."""
    columns = [class_counts(getattr(splits, split).labels, splits.num_classes) for split in SPLITS]
    train = columns[0]
    chosen = list(range(splits.num_classes))
    heading = []
    if splits.num_classes > TABLE:
        by_size = sorted(chosen, key=lambda label: (-train[label], label))
        chosen = by_size[:EXTREMES] + by_size[-EXTREMES:]
        heading = [
            f"training images of a class: {min(train):,} to {max(train):,}, median {statistics.median(train):g}; "
            f"the {EXTREMES} largest and the {EXTREMES} smallest classes:"
        ]
    names = [cut_end(plain_text.printable(decoded_name(str(splits.classes[label]))), LONGEST_NAME) for label in chosen]
    width = max(map(len, (*names, "class")))
    rows = [("class", *SPLITS)] + [
        (name, *(f"{column[label]:,}" for column in columns)) for name, label in zip(names, chosen, strict=True)
    ]
    return heading + [f"  {row[0]:<{width}}" + "".join(f"{cell:>9}" for cell in row[1:]) for row in rows]


def largest_classes(splits: Splits) -> list[str]:
    """The accuracy of always guessing the largest class, by split."""
    largest = survey.record(splits)["largest_class"]
    parts = [
        f"{split} {percent(most['share'])} ({cut_end(most['class'], LONGEST_NAME)})" for split, most in largest.items()
    ]
    if splits.several_labels:
        return [f"largest  {', '.join(parts)}: the label that most images have"]
    return [f"largest  {', '.join(parts)}: the accuracy of always guessing that class"]


def file_lines(splits: Splits) -> list[str]:
    """Sizes and kinds of the image files, by their headers."""
    if splits.survey is None:
        return []
    headers = headers_of(list(splits.survey.files.values()))
    sizes = Counter((header.width, header.height) for header in headers)
    by_area = sorted(sizes.elements(), key=lambda size: (size[0] * size[1], size))
    small, middle, large = (f"{by_area[index][0]}x{by_area[index][1]}" for index in (0, len(by_area) // 2, -1))
    side = splits.image_shape[1]
    below = sum(number for size, number in sizes.items() if min(size) < side)
    uneven = sum(number for (width, height), number in sizes.items() if width != height)
    text = f"sizes    {small} to {large}, median {middle} (width x height); {count(len(sizes), 'size')}"
    text += f"; {below:,} smaller than {side} enlarged" if below else ""
    text += f"; of {uneven:,} that are not square the middle is taken" if uneven else ""
    kinds = {
        "gray": sum(header.channels == "gray" for header in headers),
        "in colour": sum(header.channels == "color" for header in headers),
        "with transparency": sum(header.alpha for header in headers),
        "of more than 8 bits": sum(header.bits > 8 for header in headers),
        "turned by EXIF": sum(header.orientation != 1 for header in headers),
        "with several frames": sum(header.frames > 1 for header in headers),
        "in CMYK": sum(header.mode == "CMYK" for header in headers),
    }
    files = [f"{number:,} {kind}" for kind, number in kinds.items() if number]
    return [f"root     {decoded_name(str(splits.survey.root.resolve()))}", text, f"files    {', '.join(files)}"]


def headers_of(splits: Sequence[ImageFiles]) -> list[ImageFacts]:
    """The facts in the headers of all files."""
    files = [split.file(index) for split in splits for index in range(len(split))]
    with ThreadPoolExecutor() as pool:
        return results_in_order(pool, facts, files)


def unreadable_lines(splits: Splits, skipped: bool) -> list[str]:
    """The files that cannot be read and why: a run stops at the first of them, or leaves them out."""
    if splits.survey is None or not splits.survey.left_out.unreadable:
        return []
    left_out = splits.survey.left_out
    names, number = list(map(decoded_name, left_out.unreadable)), len(left_out.unreadable)
    shown = [f"{name} ({reason})" for name, reason in zip(names, left_out.reasons[:NAMED], strict=False)]
    images = number + sum(map(len, splits.survey.files.values()))
    effect = "a run would stop (dataset.on_bad_image=skip leaves them out)"
    if skipped:
        effect = "they are left out (dataset.on_bad_image)"
    return [
        f"broken   {number:,} of {count(images, 'image')} cannot be read: {effect}",
        *(f"         {line}" for line in shown),
        *([f"         and {number - NAMED:,} more"] if number > NAMED else []),
    ]


def copy_lines(splits: Splits, copies: Copies) -> list[str]:
    """Lines on images that are there twice, with some of them."""
    lines = []
    for name, pairs in copies.across.items():
        first, second = name.split("_")
        if pairs:
            shown = [f"{name_of(splits, copy)} = {name_of(splits, original)}" for original, copy in pairs[:NAMED]]
            more = f" and {len(pairs) - NAMED:,} more" if len(pairs) > NAMED else ""
            lines.append(f"copies   {len(pairs):,} of {second} in {first}: {', '.join(shown)}{more}")
    if copies.of_two_classes:
        names = [f"{name_of(splits, image)} ({_labels_of(splits, copies, image)})" for image in copies.of_two_classes]
        lines.append(f"copies   {len(names):,} under two classes: {list_of_names(names, NAMED)}")
    return lines


def _labels_of(splits: Splits, copies: Copies, image: Position) -> str:
    """The class of an image, or its labels."""
    label = copies.label(image)
    if isinstance(label, list):
        return "|".join(str(name) for name, has in zip(splits.classes, label, strict=True) if has) or "none"
    return str(splits.classes[label])


def name_of(splits: Splits, image: Position) -> str:
    """The file of an image, relative to the root; else its split and number there."""
    split = list(SPLITS)[image[0]]
    if splits.survey is None:
        return f"{split} {image[1]}"
    files = splits.survey.files[split]
    return decoded_name(os.path.relpath(files.folder / files.paths[image[1]], splits.survey.root))

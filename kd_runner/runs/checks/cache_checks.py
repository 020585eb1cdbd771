"""Before anything trains: can the teacher's logits be kept, and is there room for them?"""

from __future__ import annotations

import math
import os
import shutil
from contextlib import suppress
from pathlib import Path

import torch

from kd_runner import formats
from kd_runner.config.field_types import CACHE, ONLINE
from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.files.home import with_home
from kd_runner.input_pipeline.step_plan import images_per_epoch
from kd_runner.networks.observed import Observed
from kd_runner.notes import note
from kd_runner.runs.data import Data
from kd_runner.runs.stages.cached_outputs import is_augmented, shape_of
from kd_runner.runs.stages.teacher_student import Pairing, noise, observed_outputs
from kd_runner.store.entries import LOGITS
from kd_runner.store.logits import BYTES
from kd_runner.training.cached_teacher import TOLERANCE
from kd_runner.training.mode import learns_from_teacher, strong_view

OF_ONE_IMAGE = (
    "crop_padding",
    "flip",
    "resized_crop",
    "random_resized_crop",
    "rand_augment",
    "cutout",
    "random_erasing",
)
MIXING = ("mixup", "cutmix")
HEADER = 1000  # bytes, more than what stands before the logits in their file


def check_cache(settings: Settings, data: Data, pairing: Pairing) -> None:
    """Refuse to keep the logits of the teacher where they could not take its place, or where there is no room.

    Raises:
        SettingsError: one line that says what must hold, and what to choose.
    """
    if settings.teacher_outputs == ONLINE or not learns_from_teacher(pairing.modes):
        return
    refuse_modes(settings, pairing)
    refuse_augmentation(settings, data)
    refuse_teacher(pairing.teacher, data, settings)
    refuse_size(settings, data)


def refuse_modes(settings: Settings, pairing: Pairing) -> None:
    """Raise SettingsError where a mode looks at more than the teacher's logits for the images as they are shown."""
    active = [mode for mode in pairing.modes if mode.weight > 0]
    for mode in active:
        if mode.teacher_layers:
            raise _must_be_online(settings, f"{mode.key} looks at features of the teacher, and logits alone are kept")
    if strong_view(active):
        key = next(mode.key for mode in active if mode.needs.strong_view)
        raise _must_be_online(settings, f"{key} shows the teacher a strong view, and logits of one view are kept")


def refuse_augmentation(settings: Settings, data: Data) -> None:
    """Raise SettingsError where the images are not those of the views that are kept."""
    augmentation = data.view.augmentation
    for name in MIXING:
        if getattr(augmentation, name):
            raise _must_be_online(settings, f"dataset.{name} mixes images by their order, which every epoch draws anew")
    keys = ", ".join(f"dataset.{name}" for name in OF_ONE_IMAGE if getattr(augmentation, name))
    if settings.teacher_outputs == CACHE and is_augmented(augmentation):
        raise SettingsError(
            f"teacher_outputs: must be views:K, such as views:8, or online where training images are augmented "
            f"({keys}): every epoch draws a new view of each image, got cache"
        )
    views = settings.replayed_views
    if views and not is_augmented(augmentation):
        raise SettingsError(
            f"teacher_outputs: must be cache or online where training images are not augmented: all views would be the "
            f"same, got {settings.teacher_outputs}"
        )
    if views and settings.student.steps is not None:
        refuse_views_beyond_steps(settings, data, views)
    elif views and views > settings.student.epochs:
        raise SettingsError(
            f"teacher_outputs: must have at most a view for each of student.epochs={settings.student.epochs}, or be "
            f"online, got {settings.teacher_outputs}"
        )


def refuse_views_beyond_steps(settings: Settings, data: Data, views: int) -> None:
    """Raise SettingsError where the steps of the student are not enough for every view to be seen."""
    images = images_per_epoch(len(data.taught_images), settings.batch_size)
    steps = settings.student.steps
    assert steps is not None
    passes = -(-steps // -(-images // settings.batch_size))
    if views > passes:
        raise SettingsError(
            f"teacher_outputs: must have at most a view for each of the {passes} passes over the images that "
            f"student.steps={steps} makes, or be online, got {settings.teacher_outputs}"
        )


def refuse_teacher(teacher: Observed, data: Data, settings: Settings) -> None:
    """Raise SettingsError where the teacher's logits for an image depend on the rest of its batch, or on chance.

    It is tried on images of noise, in two batches.
    """
    images = noise(data.splits.image_shape, max(2, min(4, data.batch_size)))
    with torch.no_grad():
        logits = observed_outputs(teacher, images).logits
        in_another_batch = observed_outputs(teacher, images[1:].repeat(2, 1, 1, 1)).logits[: len(images) - 1]
    difference = (logits[1:] - in_another_batch).abs().max() / logits.abs().max().clamp_min(1e-12)
    if difference > TOLERANCE:
        raise _must_be_online(settings, "the teacher's logits for an image depend on the other images of its batch")


def refuse_size(settings: Settings, data: Data) -> None:
    """Raise SettingsError where the disk has no room for the logits; note where they are larger than free memory."""
    shape = shape_of(settings, data)
    size = math.prod(shape) * BYTES[settings.teacher_outputs_dtype]
    store = with_home(settings.store).absolute()
    content = "{:,} view(s) x {:,} images x {:,} classes, {}".format(*shape, settings.teacher_outputs_dtype)
    free = shutil.disk_usage(next(folder for folder in (store, *store.parents) if folder.exists())).free
    if size + HEADER > free and not _has_logits(store, size):
        raise SettingsError(
            f"teacher_outputs: must leave room on the disk of the store: {content} are {formats.size(size)}, "
            f"{formats.size(free)} are free in {store}; choose fewer views, teacher_outputs_dtype=float16, another "
            "store, or online"
        )
    memory = available_memory()
    if memory is not None and size > memory:
        note(
            "teacher",
            f"the kept logits ({content}: {formats.size(size)}) are larger than the free memory "
            f"({formats.size(memory)}), so that steps will wait for the disk (teacher_outputs, teacher_outputs_dtype)",
        )


def _has_logits(store: Path, size: int) -> bool:
    """True where the store has logits of this size, which may be those that are wanted."""
    with suppress(OSError):
        return any(size <= path.stat().st_size <= size + HEADER for path in store.glob(f"*/{LOGITS}"))
    return False


def available_memory() -> int | None:
    """The bytes of memory that processes can have; None where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _must_be_online(settings: Settings, reason: str) -> SettingsError:
    return SettingsError(f"teacher_outputs: must be online: {reason}, got {settings.teacher_outputs}")

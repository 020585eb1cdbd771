"""More test images than those of the data set: folders, or archives of these, that `evaluate.also` names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kd_runner.config.settings import Settings
from kd_runner.datasets.decoding.conversions import note_conversions
from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.decoding.image_cache import count_conversions, decode_all
from kd_runner.datasets.decoding.image_file import MAX_PIXELS
from kd_runner.datasets.decoding.image_input import input_of_images
from kd_runner.datasets.folders.labelled_folder import labelled_folder
from kd_runner.datasets.inspection.survey import count, list_of_names
from kd_runner.datasets.inspection.unreadable import reason_of, unreadable_indices
from kd_runner.datasets.splits import Images, Splits
from kd_runner.errors import SettingsError
from kd_runner.evaluation.metrics import classification_metrics, pair_metrics
from kd_runner.evaluation.predictions import Predictions, predict
from kd_runner.files.home import with_home
from kd_runner.files.stages import STUDENT, TEACHER
from kd_runner.input_pipeline.batches import PlainBatches
from kd_runner.input_pipeline.sources import source_of
from kd_runner.input_pipeline.view import View
from kd_runner.notes import note
from kd_runner.runs.data import Data
from kd_runner.runs.image_places import folder_of_images, with_typed_name

KEY = "evaluate.also"
MOST_BYTES = 2**28  # of images that are decoded at once; more are read from their files by worker processes


def further_tests(settings: Settings, splits: Splits, view: View) -> dict[str, ImageFiles]:
    """The images of the folders and archives, by their paths as typed, read as the data set's own images are.

    Notes say which classes a folder lacks, and which of its folders are no class.

    Raises:
        SettingsError: no such folder, an archive that is refused, no class of the data set in it, or a first image that
            cannot be read.
    """
    return {path: _images(with_home(path), settings, splits, view) for path in settings.evaluate.also}


def _images(root: Path, settings: Settings, splits: Splits, view: View) -> ImageFiles:
    classes = [str(name) for name in splits.classes]
    mean, std = view.mean.tolist(), view.std.tolist()
    folder = root
    try:
        image_input = input_of_images(splits.image_shape, classes, mean, std, splits.pixels)
        pixels = image_input.pixel_settings(splits.pixels.max_pixels if splits.pixels else MAX_PIXELS)
        folder = folder_of_images(root, settings)
        content = labelled_folder(folder, classes, None if folder == root else root)
        paths = [str(path.relative_to(content.folder)) for path in content.paths]
        files = ImageFiles(content.folder, paths, torch.tensor(content.labels), pixels)
        files[0]  # a run of hours must not end at a folder that nobody can read
        note_conversions(count_conversions(files, None), len(files), pixels.ground, pixels.white, content.shown_folder)
    except (ValueError, SettingsError) as error:
        raise SettingsError(f"{KEY}: {with_typed_name(str(error), folder, root)}") from None
    return files


def judged_on_further_tests(
    files_by_path: Mapping[str, ImageFiles], networks: Mapping[str, nn.Module], data: Data
) -> dict[str, dict[str, Any]]:
    """All metrics of each network on each folder: by the network's stage, and by the folder's path.

    Args:
        networks: The networks by stage.
    """
    results: dict[str, dict[str, Any]] = {stage: {} for stage in networks}
    for path, files in files_by_path.items():
        predictions = _predictions(path, files, networks, data)
        if predictions is None:
            continue
        for stage, logits in predictions.logits.items():
            results[stage][path] = {
                "images": len(predictions.labels),
                **classification_metrics(logits, predictions.labels),
            }
        if TEACHER in predictions.logits:
            results[STUDENT][path] |= pair_metrics(predictions.logits[STUDENT], predictions.logits[TEACHER])
    return results


def _predictions(path: str, files: ImageFiles, networks: Mapping[str, nn.Module], data: Data) -> Predictions | None:
    """The logits for the images of a folder that can be read; None where there are none, which is noted."""
    broken = unreadable_indices(files, None)
    if broken:
        verb = "is" if len(broken) == 1 else "are"
        names, reason = list_of_names([files.paths[index] for index in broken]), reason_of(files, broken[0])
        note("data", f"{path}: {count(len(broken), 'image')} cannot be read and {verb} left out: {names} ({reason})")
        is_readable = torch.ones(len(files), dtype=torch.bool)
        is_readable[broken] = False
        files = files.subset(is_readable.nonzero().flatten())
    if not len(files):
        return None
    images: Images = files if files.decoded_bytes > MOST_BYTES else decode_all(files, None)[0]
    workers = data.settings.workers if data.settings.workers is not None else min(8, os.cpu_count() or 1)
    source = source_of(images, data.device, data.settings.residency, workers)
    return predict(networks, PlainBatches(source, data.view, data.evaluation_batch), data.device)

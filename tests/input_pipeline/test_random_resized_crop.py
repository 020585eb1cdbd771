"""Random windows of whole pictures, and the middle of resized ones: the steps of torchvision's reference recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import composed
from PIL import Image
from torchvision import transforms
from torchvision.transforms.v2 import functional as vision

from kd_runner.config.settings import check
from kd_runner.datasets.decoding.files import ImageFiles, PixelSettings
from kd_runner.datasets.image_folder import image_folder
from kd_runner.errors import SettingsError
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import PlainBatches, TrainingBatches
from kd_runner.input_pipeline.random_resized_crop import Window, WindowedFiles, box_of
from kd_runner.input_pipeline.sources import FileSource
from kd_runner.input_pipeline.view import View
from kd_runner.randomness import derived_seed, keyed_uniform
from kd_runner.runs.data import view_of

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = ((40, 30), (25, 60), (33, 33), (90, 21), (22, 22), (35, 51))
PIXELS = PixelSettings(18, "rgb", resize_size=21)  # in place of 224 and 256


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ImageFiles:
    """Pictures of several sizes, some less wide than high."""
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number, (width, height) in enumerate(SIZES):
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return ImageFiles(folder, [f"{number}.png" for number in range(len(SIZES))], torch.arange(len(SIZES)) % 2, PIXELS)


def picture(files: ImageFiles, number: int) -> Image.Image:
    return Image.open(files.folder / files.paths[number])


def test_training_images_are_those_of_torchvision_with_the_same_windows(files: ImageFiles) -> None:
    view = View(torch.tensor(MEAN), torch.tensor(STD), Augmentation(flip=True, random_resized_crop=0.08))
    batches = TrainingBatches(FileSource(files, torch.device("cpu"), 0), view, 4, seed=5)
    finish = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    seen = []
    for epoch in range(2):
        batches.epoch = epoch
        seed = derived_seed(5, "augmentation", epoch)
        for batch in batches.batches():
            mirrored = keyed_uniform(batch.indices, seed, draws=3)[2] < 0.5
            for index, image, is_mirrored in zip(batch.indices.tolist(), batch.images, mirrored, strict=True):
                whole = picture(files, index)
                box = box_of(Window(index, index, derived_seed(seed, "random_resized_crop"), 0.08), whole)
                expected = vision.resized_crop(whole, *box, [18, 18], vision.InterpolationMode.BILINEAR, antialias=True)
                expected = vision.horizontal_flip(expected) if is_mirrored else expected
                assert torch.allclose(image, finish(expected), atol=1e-5)
                seen.append((index, *box))
    assert len(set(seen)) == 2 * len(SIZES)  # each epoch has windows of its own


def test_windows_are_drawn_as_torchvision_draws_them() -> None:
    whole = Image.new("RGB", (90, 50))
    boxes = torch.tensor([box_of(Window(0, key, 7, 0.08), whole) for key in range(2000)]).double()
    torch.manual_seed(0)
    drawn = [transforms.RandomResizedCrop.get_params(whole, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(2000)]
    # Rows, columns, heights and widths have the means of torchvision's within four standard errors.
    expected = torch.tensor(drawn).double()
    error = 4 * expected.std(0) * (2 / 2000) ** 0.5
    assert bool(((boxes.mean(0) - expected.mean(0)).abs() < error).all())
    top, left, height, width = boxes.T
    assert bool((top + height <= 50).all())
    assert bool((left + width <= 90).all())


def test_images_of_evaluation_are_those_of_torchvision(files: ImageFiles) -> None:
    view = View(torch.tensor(MEAN), torch.tensor(STD), Augmentation(random_resized_crop=0.08))
    (batch,) = PlainBatches(FileSource(files, torch.device("cpu"), 0), view, 10)
    steps = transforms.Compose(
        [transforms.Resize(21), transforms.CenterCrop(18), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    )
    for number, image in enumerate(batch.images):
        assert torch.allclose(image, steps(picture(files, number)), atol=1e-5)
    assert torch.equal(WindowedFiles(files)[2], files[2])


def test_the_middle_is_cut_of_a_larger_picture_and_has_a_fingerprint_of_its_own(files: ImageFiles) -> None:
    plain = ImageFiles(files.folder, files.paths, files.labels, PixelSettings(18, "rgb"))
    assert plain.fingerprint() != files.fingerprint()
    assert not torch.equal(plain[2], files[2])
    assert files.image_shape == (3, 18, 18)
    with pytest.raises(ValueError, match=r"resize_size must be image_size \(18\) or more, or null, got 17"):
        PixelSettings(18, "rgb", resize_size=17)


@pytest.mark.slow
def test_windows_need_pictures_that_stay_in_their_files(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (9, 9), (number, 0, 0)).save(tmp_path / name / f"{number}.png")
    words = ("dataset=image_folder", f"dataset.root={tmp_path}", "dataset.random_resized_crop=0.08")
    settings = check(composed(*words)).dataset
    held = image_folder(str(tmp_path), 0, image_size=8)
    with pytest.raises(SettingsError) as error:
        view_of(settings, held, False)
    assert str(error.value) == (
        "dataset.random_resized_crop: must be 0 for images that are decoded once, which are no whole pictures; "
        "dataset.residency=stream reads files while training, got 0.08"
    )
    streamed = image_folder(str(tmp_path), 0, image_size=8, residency="stream")
    with pytest.raises(SettingsError, match=r"must be 0 where dataset\.crop_padding is above 0 \(4\), got 0\.08"):
        view_of(settings, streamed, False)
    uncropped = settings.model_copy(update={"crop_padding": 0})
    assert view_of(uncropped, streamed, False).augmentation.random_resized_crop == 0.08

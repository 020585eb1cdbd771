"""Augmentation of a batch, with torchvision's v2 as the reference."""

from __future__ import annotations

import pytest
import torch
import torchvision.transforms.v2.functional as reference
from batch_cases import channels_last, images, planar
from torchvision.transforms import v2

from kd_runner.input_pipeline import operations
from kd_runner.randomness import keyed_uniform


@pytest.mark.parametrize("channels", [1, 3])
def test_crops_and_mirrors_are_torchvisions(channels: int) -> None:
    pictures = images(60, channels)
    generator = torch.Generator().manual_seed(1)
    top, left = torch.randint(0, 5, (2, 60), generator=generator)
    mirrored = torch.rand(60, generator=generator) < 0.5
    out = planar(operations.crop_and_flip(channels_last(pictures), 2, top, left, mirrored))
    for number, padded in enumerate(reference.pad(pictures, [2, 2, 2, 2])):
        wanted = reference.crop(padded, int(top[number]), int(left[number]), 8, 8)
        assert torch.equal(out[number], reference.horizontal_flip(wanted) if mirrored[number] else wanted)


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 32)])
def test_resized_crops_are_torchvisions(channels: int, side: int) -> None:
    pictures = images(200, channels, side)
    boxes = operations.crop_boxes(keyed_uniform(torch.arange(200), 3, 2 + 2 * operations.ATTEMPTS), 0.08, side, side)
    out = planar(operations.resized_crop(channels_last(pictures), *boxes))
    for number in range(200):
        box = [int(each[number]) for each in boxes]
        wanted = reference.resized_crop(pictures[number].float(), *box, size=[side, side], antialias=True)
        # Half of a 255th for the rounding to bytes, and a hundredth for floating point.
        torch.testing.assert_close(out[number].float(), wanted, rtol=0, atol=0.51)


def test_a_window_of_the_whole_image_changes_nothing() -> None:
    pictures, zero, whole = channels_last(images(3)), torch.zeros(3, dtype=torch.int64), torch.full((3,), 8)
    assert torch.equal(operations.resized_crop(pictures, zero, zero, whole, whole), pictures)


def test_windows_have_torchvisions_sizes() -> None:
    numbers = keyed_uniform(torch.arange(4000), 5, 2 + 2 * operations.ATTEMPTS)
    top, left, height, width = operations.crop_boxes(numbers, 0.25, 64, 64)
    assert ((top >= 0) & (left >= 0) & (top + height <= 64) & (left + width <= 64)).all()
    area, ratio = (height * width) / 64**2, width / height
    assert area.min() > 0.24
    assert 0.71 < ratio.min() < ratio.max() < 1.4
    torch.manual_seed(0)
    draw = v2.RandomResizedCrop.get_params
    theirs = torch.tensor([draw(images(1, side=64)[0], [0.25, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)])
    ours = torch.stack([top, left, height, width], 1).float()
    torch.testing.assert_close(ours.mean(0), theirs.float().mean(0), rtol=0, atol=1.0)
    torch.testing.assert_close(ours.std(0), theirs.float().std(0), rtol=0.05, atol=0)


@pytest.mark.parametrize(("height", "width", "box"), [(64, 8, (26, 0, 11, 8)), (8, 64, (0, 26, 8, 11))])
def test_where_no_window_fits_it_is_the_largest_in_the_middle(
    height: int, width: int, box: tuple[int, int, int, int]
) -> None:
    found = operations.crop_boxes(torch.full((2 + 2 * operations.ATTEMPTS, 1), 0.5), 0.9, height, width)
    assert tuple(int(each) for each in found) == box


def test_without_padding_images_are_only_mirrored_and_without_mirrors_only_cropped() -> None:
    pictures, zero = images(4), torch.zeros(4, dtype=torch.int64)
    mirrored = torch.tensor([True, False, False, True])
    out = planar(operations.crop_and_flip(channels_last(pictures), 0, zero, zero, mirrored))
    assert torch.equal(out[0], pictures[0].flip(2))
    assert torch.equal(out[1], pictures[1])
    moved = planar(operations.crop_and_flip(channels_last(pictures), 1, zero, zero, None))
    assert torch.equal(moved[:, :, 1:, 1:], pictures[:, :, :-1, :-1])
    assert int(moved[:, :, 0].max()) == 0


OPERATIONS = [
    ("Identity", 0.0), ("ShearX", 0.3), ("ShearY", 0.3), ("TranslateX", 150 / 331 * 12), ("TranslateY", 150 / 331 * 12),
    ("Rotate", 30.0), ("Brightness", 0.9), ("Color", 0.9), ("Contrast", 0.9), ("Sharpness", 0.9), ("Posterize", None),
    ("Solarize", None), ("AutoContrast", 0.0), ("Equalize", 0.0),
]  # fmt: skip


@pytest.mark.parametrize("magnitude", [0, 9, 30])
@pytest.mark.parametrize("negative", [False, True])
def test_rand_augments_operations_are_torchvisions(magnitude: int, negative: bool) -> None:
    pictures, theirs = images(4, side=12), v2.RandAugment()
    for number, (name, largest) in enumerate(OPERATIONS):
        scale = theirs._AUGMENTATION_SPACE[name][0](31, 12, 12)
        level = 0.0 if scale is None else float(scale[magnitude])
        if largest:
            assert level == pytest.approx(largest * magnitude / 30, rel=1e-5)
            level = -level if negative else level
        wanted = theirs._apply_image_or_video_transform(
            pictures, name, level, v2.InterpolationMode.NEAREST, theirs._fill
        )
        which = torch.full((4,), (number + 0.5) / 14)
        sign = torch.full((4,), 0.2 if negative else 0.8)
        ours = operations.rand_augment(channels_last(pictures), torch.stack([which, sign]).unsqueeze(0), magnitude)
        off = (planar(ours).int() - wanted.int()).abs().max()
        assert off <= 1, name  # solarize's and enhance's levels differ in the last bit


def test_rand_augment_gives_each_image_its_own_operations() -> None:
    pictures = channels_last(images(50, side=12))
    numbers = torch.rand(2, 2, 50, generator=torch.Generator().manual_seed(2))
    together = operations.rand_augment(pictures, numbers, 9)
    for one in (3, 17, 41):
        alone = operations.rand_augment(pictures[one : one + 1], numbers[:, :, one : one + 1], 9)
        assert torch.equal(alone[0], together[one])


def test_erasing_blanks_the_rectangle_and_nothing_else() -> None:
    pictures = torch.ones(2, 3, 8, 8)
    numbers = (torch.tensor([1, -2]), torch.tensor([2, 5]), torch.tensor([3, 4]), torch.tensor([4, 9]))
    out = operations.erase(pictures, *numbers)
    wanted = reference.erase(pictures[0], 1, 2, 3, 4, torch.zeros(3, 3, 4))
    assert torch.equal(out[0], wanted)
    assert int((out[1] == 0).sum()) == 3 * 2 * 3  # rows 0 and 1, columns 5 to 7


def test_random_erasing_draws_as_torchvision_does() -> None:
    numbers = keyed_uniform(torch.arange(4000), seed=7, draws=3 + 2 * operations.ATTEMPTS)
    top, left, height, width = operations.erasing_boxes(numbers, 0.25, 32, 24)
    erased = height > 0
    assert erased.double().mean() == pytest.approx(0.25, abs=0.03)
    assert bool((top + height <= 32).all())
    assert bool((left + width <= 24).all())
    torch.manual_seed(0)
    theirs = [v2.RandomErasing().make_params([torch.zeros(3, 32, 24)]) for _ in range(4000)]
    for ours, name in ((height, "h"), (width, "w"), (top, "i"), (left, "j")):
        wanted = torch.tensor([params[name] for params in theirs if params["v"] is not None]).double()
        assert ours[erased].double().mean() == pytest.approx(wanted.mean().item(), rel=0.08), name
        assert ours[erased].double().std() == pytest.approx(wanted.std().item(), rel=0.12), name


def test_cutout_is_a_square_around_any_pixel() -> None:
    numbers = torch.tensor([[0.0, 0.5, 0.999], [0.5, 0.5, 0.999]])
    top, left, height, width = operations.cutout_boxes(numbers, 4, 8, 8)
    assert top.tolist() == [-2, 2, 5]
    assert left.tolist() == [2, 2, 5]
    assert height.tolist() == width.tolist() == [4, 4, 4]
    out = operations.erase(torch.ones(3, 1, 8, 8), top, left, height, width)
    assert (out == 0).sum((1, 2, 3)).tolist() == [8, 16, 9]


def test_mixup_and_cutmix_are_torchvisions(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, labels = torch.rand(6, 3, 10, 10), torch.arange(6)
    theirs = v2.MixUp(num_classes=6)
    wanted = theirs.transform(pictures.clone(), {"lam": 0.3, "labels": labels, "batch_size": 6})
    torch.testing.assert_close(operations.mixup(pictures, 0.3), wanted)

    across, down, share = 0.35, 0.8, 0.4
    half = 0.5 * (1 - share) ** 0.5
    box = (3 - int(half * 10), max(0, 8 - int(half * 10)), 3 + int(half * 10), 10)
    wanted = v2.CutMix(num_classes=6).transform(
        pictures.clone(), {"box": (max(0, box[0]), *box[1:]), "lam_adjusted": 0.0, "labels": labels, "batch_size": 6}
    )
    ours, left = operations.cutmix(pictures, share, across, down)
    torch.testing.assert_close(ours, wanted)
    changed = (ours != pictures).any(1)[1].double().mean().item()
    assert left == pytest.approx(1 - changed)


def test_shares_follow_the_beta_distribution() -> None:
    shares = torch.tensor([operations.mixing_share(0.4, key) for key in range(3000)])
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    assert shares.var() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), rel=0.05)  # of Beta(a, a)
    assert operations.mixing_share(0.4, 5) == operations.mixing_share(0.4, 5)

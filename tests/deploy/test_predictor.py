from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from image_cases import exif, noise
from image_folders import mixed_folder
from PIL import Image
from stored_networks import store_network

import kd_runner
from kd_runner.datasets.image_folder import image_folder
from kd_runner.deploy.predictor import Prediction
from kd_runner.errors import SettingsError

RNG = np.random.default_rng(0)


def test_pictures_become_the_bytes_of_training(tmp_path: Path) -> None:
    mixed_folder(tmp_path / "data")
    Image.fromarray(noise(RNG, 20, 30)).save(tmp_path / "data/test/a/gray.png")
    Image.fromarray(noise(RNG, 20, 30, 3)).quantize(7).save(tmp_path / "data/test/b/palette.png")
    Image.fromarray(noise(RNG, 8, 9, 2), "LA").save(tmp_path / "data/test/b/small.png")
    splits = image_folder(str(tmp_path / "data"), 0, image_size=8, background="#10ff20", cache=None)
    store_network(tmp_path / "net.safetensors", ("a", "b"), ground=(16, 255, 32))
    predictor = kd_runner.load(tmp_path / "net.safetensors")
    files = splits.survey.files["test"]
    paths = [files.folder / path for path in files.paths]
    assert {path.suffix for path in paths} >= {".png", ".tif", ".jpg"}
    pixels = torch.stack([predictor.read(path) for path in paths])
    assert torch.equal(pixels, splits.test.images)
    for path, image in zip(paths, splits.test.images, strict=True):
        with Image.open(path) as opened:
            assert torch.equal(predictor.batch(opened), predictor.batch(image))
        with path.open("rb") as file, Image.open(file) as opened:
            opened.load()
            assert torch.equal(predictor.batch(opened), predictor.batch(image)), path


def test_the_probabilities_are_those_of_the_network(tmp_path: Path) -> None:
    network = store_network(tmp_path / "net.safetensors")
    pixels = noise(RNG, 8, 8, 3)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    floats = torch.from_numpy((pixels.transpose(2, 0, 1) / 255 - 0.4) / 0.2).float()
    expected = network(floats[None]).softmax(1).detach()
    predict = kd_runner.load(tmp_path / "net.safetensors")
    tensor = torch.from_numpy(pixels)
    assert predict.batch([]).shape == (0, 3, 8, 8)
    for given in (
        tmp_path / "x.png",
        str(tmp_path / "x.png"),
        Image.fromarray(pixels),
        pixels,
        tensor,
        tensor.permute(2, 0, 1),
        tensor[None],
        tensor.permute(2, 0, 1)[None],
        [tmp_path / "x.png"],
    ):
        prediction = predict(given)
        assert prediction.classes == ("ant", "bee", "cat")
        torch.testing.assert_close(prediction.probabilities, expected, atol=1e-5, rtol=0)
    many = predict([pixels, tmp_path / "x.png", Image.fromarray(pixels), tensor], batch_size=3)
    torch.testing.assert_close(many.probabilities, expected.expand(4, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(predict.network(predict.batch(pixels)).softmax(1), expected, atol=1e-5, rtol=0)


def test_the_most_probable_classes_come_first() -> None:
    prediction = Prediction(("ant", "bee", "cat"), torch.tensor([[0.0, 2.0, 1.0], [5.0, 0.0, 0.0]]))
    assert prediction.names == ["bee", "ant"]
    assert [[name for name, _ in row] for row in prediction.top(2)] == [["bee", "cat"], ["ant", "bee"]]
    assert prediction.top(9)[0][0][1] == pytest.approx(np.exp(2) / (1 + np.exp(2) + np.exp(1)))
    assert [len(row) for row in prediction.top(9)] == [3, 3]
    for count in (0, -1, "x"):
        with pytest.raises(ValueError, match=f"count must be a whole number of 1 or more, got {count!r}"):
            prediction.top(count)  # type: ignore[arg-type]
    assert prediction.top(np.int64(2)) == prediction.top(2)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, -1, 2.0])
def test_a_batch_size_is_a_whole_number(tmp_path: Path, size: float) -> None:
    store_network(tmp_path / "net.safetensors")
    predict = kd_runner.load(tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=f"batch_size must be a whole number of 1 or more, got {size}"):
        predict([], batch_size=size)  # type: ignore[arg-type]


def test_a_picture_is_cropped_and_not_squashed(tmp_path: Path) -> None:
    store_network(tmp_path / "net.safetensors", shape=(1, 8, 8))
    wide = np.zeros((8, 24), np.uint8)
    wide[:, 8:16] = 200
    predictor = kd_runner.load(tmp_path / "net.safetensors")
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert predictor.read(tmp_path / "wide.png").unique().tolist() == [200]
    assert torch.equal(predictor.batch(wide), predictor.batch(np.full((8, 8), 200, np.uint8)))


def test_a_phone_picture_is_turned_upright(tmp_path: Path) -> None:
    store_network(tmp_path / "net.safetensors", shape=(1, 8, 8))
    stored = np.zeros((40, 40), np.uint8)
    stored[:, :20] = 255  # the left half is white; turned by 90 degrees to the right, the upper half is
    Image.fromarray(stored).save(tmp_path / "phone.jpg", exif=exif(6), quality=95)
    pixels = kd_runner.load(tmp_path / "net.safetensors").read(tmp_path / "phone.jpg")[0]
    assert pixels[:3].min() > 240
    assert pixels[5:].max() < 15


def test_the_bare_network_as_before(tmp_path: Path) -> None:
    original = store_network(tmp_path / "net.safetensors")
    network, about = kd_runner.load(tmp_path / "net.safetensors")
    images = torch.randn(4, 3, 8, 8)
    assert torch.equal(network(images), original(images))
    assert about["classes"] == ["ant", "bee", "cat"]
    assert kd_runner.load(tmp_path / "net.safetensors")[1] == about


def test_an_earlier_file_says_what_is_assumed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store_network(tmp_path / "old.safetensors", input=None)
    store_network(tmp_path / "arrays.safetensors", ground=None)
    pictures = [noise(RNG, 16, 8, 3), noise(RNG, 9, 8, 3)]
    with caplog.at_level(logging.WARNING):
        predictor = kd_runner.load(tmp_path / "old.safetensors")
        predictor(noise(RNG, 8, 8, 3))
        assert not caplog.messages
        assert len(predictor(pictures)) == 2
        assert len(caplog.messages) == 1
        assert "does not say how its pictures were resized (it is of an earlier version); assumed:" in caplog.text
        kd_runner.load(tmp_path / "arrays.safetensors")(pictures)
    assert "arrays.safetensors was trained on images that came as arrays of this size" in caplog.messages[1]


def test_a_folder_of_a_run_stands_for_its_best_student(tmp_path: Path) -> None:
    for name in ("student_last", "student_best"):
        store_network(tmp_path / f"run/{name}.safetensors")
    assert kd_runner.load(tmp_path / "run").name.endswith("student_last.safetensors")
    assert kd_runner.load(tmp_path / "run", network="student_best").name.endswith("student_best.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": {"origin": "files", "color": "rgb", "hook": "os.system"}}, "input has 'hook', which this version"),
        ({"classes": ["ant"]}, "classes must be 3 names, one for each output, got 1"),
        ({"std": [0, 1, 1]}, "std.0: must be greater than 0, got 0"),
    ],
)
def test_damaged_metadata_are_refused_in_one_line(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    store_network(tmp_path / "net.safetensors", **changes)
    with pytest.raises(SettingsError, match=message) as caught:
        kd_runner.load(tmp_path / "net.safetensors")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "net.safetensors") in str(caught.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
def test_pictures_follow_the_network_to_a_gpu(tmp_path: Path) -> None:
    store_network(tmp_path / "net.safetensors")
    predict, pictures = kd_runner.load(tmp_path / "net.safetensors"), noise(RNG, 3, 9, 8, 3)
    expected = predict(pictures).probabilities
    predict.network.to("cuda")
    assert predict.batch(pictures).is_cuda
    torch.testing.assert_close(predict(pictures).probabilities, expected, atol=1e-4, rtol=0)


def test_a_network_of_other_channels_takes_arrays_alone(tmp_path: Path) -> None:
    store_network(tmp_path / "net.safetensors", shape=(5, 4, 4), ground=None)
    predictor = kd_runner.load(tmp_path / "net.safetensors")
    assert len(predictor(np.zeros((2, 5, 4, 4), np.uint8))) == 2
    with pytest.raises(ValueError, match=r"images of 5 channels, which no picture has: give it arrays of \[5, 4, 4\]"):
        predictor(Image.new("RGB", (4, 4)))

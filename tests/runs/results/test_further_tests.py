"""More test images from folders: what is read, what is refused, and what the result has of them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kd_runner.config.settings import Settings
from kd_runner.datasets.folders.archives import SUFFIXES
from kd_runner.errors import SettingsError
from kd_runner.evaluation.metrics import classification_metrics
from kd_runner.notes import collected_notes
from kd_runner.reports.run_page import read_folder, run_page
from kd_runner.runs.assembly import assemble
from kd_runner.runs.image_places import folder_of_images
from kd_runner.runs.parts import Parts
from kd_runner.runs.results.further_tests import judged_on_further_tests


def write_digits(parts: Parts, folder: Path, count: int = 30) -> None:
    """The first test images of the digits as files, in folders of their classes."""
    for index in range(count):
        image, label = parts.data.splits.test.subset(torch.tensor([index])), int(parts.data.splits.test.labels[index])
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.images[0, 0].numpy()).save(folder / str(label) / f"{index}.png")


def test_metrics_are_those_of_the_same_images_in_the_test_split(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    plain = assemble(settings())
    write_digits(plain, tmp_path / "more")
    (tmp_path / "more/3/broken.png").write_bytes(b"no picture")
    word = f"evaluate.also=[{tmp_path / 'more'}]"
    parts = assemble(settings(word))
    assert parts.fingerprint() != plain.fingerprint()
    networks = {"teacher": parts.teacher, "student": parts.student}
    with collected_notes() as notes:
        found = judged_on_further_tests(parts.further_tests, networks, parts.data)
    assert any("1 image cannot be read and is left out: 3/broken.png" in text for text in notes)
    images, labels = parts.data.splits.test.subset(torch.arange(30)), parts.data.splits.test.labels[:30]
    with torch.inference_mode():
        pixels = parts.data.view.normalise(images.images.permute(0, 2, 3, 1))
        wanted = classification_metrics(parts.student(pixels), labels)
    student = found["student"][str(tmp_path / "more")]
    assert student["images"] == 30
    assert {name: student[name] for name in wanted} == pytest.approx(wanted, rel=1e-5)
    assert 0 <= student["agreement"] <= 1
    assert "agreement" not in found["teacher"][str(tmp_path / "more")]


def test_an_archive_is_read_as_the_folder_in_it(
    settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kd_runner.runs.image_places.CACHE", str(tmp_path / "cache"))
    write_digits(assemble(settings()), tmp_path / "more", count=12)
    packed = [shutil.make_archive(str(tmp_path / "packed"), kind, tmp_path, "more") for kind in ("zip", "gztar")]
    for _ in range(2):  # the second time as it was unpacked
        parts = assemble(settings(f"evaluate.also=[{tmp_path / 'more'},{','.join(packed)}]"))
        folder, *archives = parts.further_tests.values()
        assert list(parts.further_tests)[1:] == packed
        for images in archives:
            assert images.paths == folder.paths
            assert images.labels.tolist() == folder.labels.tolist()
            assert [images[number].tolist() for number in range(12)] == [
                folder[number].tolist() for number in range(12)
            ]
    (tmp_path / "bad.zip").write_bytes(b"no archive")
    with pytest.raises(SettingsError, match=r"^evaluate\.also: .*bad\.zip cannot be unpacked: "):
        assemble(settings(f"evaluate.also=[{tmp_path / 'bad.zip'}]"))
    without_cache = settings("dataset=image_folder", "dataset.root=x", "dataset.cache=null")
    with pytest.raises(ValueError, match=r"packed\.zip cannot be unpacked where dataset\.cache is null: unpack it"):
        folder_of_images(Path(packed[0]), without_cache)


def test_a_folder_for_the_files_of_an_archive_that_cannot_be_written_is_named_with_what_chooses_it(
    settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "more/0").mkdir(parents=True)
    packed, cache = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "more")), tmp_path / "afile"
    cache.touch()
    monkeypatch.setattr("kd_runner.runs.image_places.CACHE", str(cache))
    line = rf"packed\.zip cannot be unpacked in {cache} \(File exists\): "
    with pytest.raises(ValueError, match=rf"{line}set HOME to a folder that can be written, or unpack it$"):
        folder_of_images(packed, settings())
    with pytest.raises(ValueError, match=rf"{line}choose another dataset\.cache$"):
        folder_of_images(packed, settings("dataset=image_folder", "dataset.root=x", f"dataset.cache={cache}"))


def test_what_cannot_be_judged_is_refused_before_anything_trains(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    for name in ("cat", "dog"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder_of(tmp_path / "others" / name) / "1.png")
    (tmp_path / "packed.7z").touch()
    (folder_of(tmp_path / "broken/0") / "1.png").write_bytes(b"no picture")
    for word, message in (
        (f"[{tmp_path / 'none'}]", "evaluate.also: no folder "),
        (f"[{tmp_path / 'others'}]", "has no folder with the name of a class"),
        (f"[{tmp_path / 'broken'}]", "cannot be read as an image"),
        (f"[{tmp_path / 'packed.7z'}]", f"class folders, or an archive of one ({', '.join(SUFFIXES)}), got the file "),
        ("[a,a]", "evaluate.also: must name each folder or archive once, and names a twice"),
    ):
        with pytest.raises(SettingsError, match=r"evaluate\.also: ") as error:
            assemble(settings(f"evaluate.also={word}"))
        assert message in str(error.value)


def folder_of(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


@pytest.mark.slow
def test_a_run_says_how_its_networks_fare_on_other_images_and_trains_the_same_networks(
    settings: Callable[..., Settings], result_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    plain = result_of()
    write_digits(assemble(settings()), tmp_path / "more")
    result = result_of("evaluate.corruptions=true", f"evaluate.also=[{tmp_path / 'more'}]", "trainer.profile=torch")
    digests = [hashlib.sha256((tmp_path / f"run{n}/student_last.safetensors").read_bytes()) for n in (0, 1)]
    assert digests[0].digest() == digests[1].digest()
    for stage in ("teacher", "baseline", "student"):
        assert plain[stage]["accuracy"] == result[stage]["accuracy"]
        assert plain[stage]["calibrated"] == result[stage]["calibrated"]
        assert len(result[stage]["corruptions"]["by_corruption"]) == 15
        assert result[stage]["also"][str(tmp_path / "more")]["images"] == 30
    assert result["baseline"]["corruptions"]["error_beside_baseline"] == pytest.approx(1)
    page = run_page(read_folder(tmp_path / "run1"))
    assert page.count("Under corruptions") == 1
    assert "gaussian noise" in page
    traces = sorted(path.name for path in (tmp_path / "run1/profile").iterdir())
    assert traces == ["student.pt.trace.json.gz", "student.txt"]  # the others came from the store

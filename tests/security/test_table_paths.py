"""A table of images that somebody else wrote: whatever leads out of its folder is refused, and no image is opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hostile import nothing_happens
from image_folders import write_image
from manifests import labelled_images, read, refused, write_manifest

from kd_runner.datasets.decoding.files import ImageFiles

PATHS = (
    "../private/x.png",
    "img/../../private/x.png",
    "{private}",
    "img/../{private}",
    "..\\private\\x.png",
    "link.png",
    "folder/x.png",
    "folder/../folder/x.png",
    "deep/link/x.png",
    "file://{private}",
    "FILE:/{private}",
    "https://example.org/x.png",
    "ftp://example.org/x.png",
    "data:image/png;base64,AAAA",
    "\\\\server\\share\\x.png",
    "C:\\x.png",
    "pipe",
    "img",
    ".",
    "..",
    "",
    "x\0.png",
)


ABSENT = ("pipe", "img", "img/../{private}", "data:image/png;base64,AAAA")  # names in the folder that are no images


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a table, with links that lead to a private image beside it."""
    tmp_path = tmp_path_factory.mktemp("tables")
    write_image(tmp_path / "private" / "x.png", 1)
    data = tmp_path / "data"
    labelled_images(data)
    (data / "deep").mkdir()
    (data / "link.png").symlink_to("../private/x.png")
    (data / "folder").symlink_to("../private")
    (data / "deep" / "link").symlink_to("../folder")
    os.mkfifo(data / "pipe")
    return data


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("options", [{}, {"on_bad_image": "skip"}])
def test_no_path_leads_out_and_nothing_is_opened(
    folder: Path, path: str, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    private = folder.parent / "private" / "x.png"
    opened: list[str] = []
    decode = ImageFiles.decode

    def noted(files: ImageFiles, index: int) -> object:
        opened.append(os.path.realpath(files.folder / files.paths[index]))
        return decode(files, index)

    monkeypatch.setattr(ImageFiles, "decode", noted)
    rows = [*((f"img/{number}.png", "ab"[number % 2]) for number in range(24)), (path.format(private=private), "a")]
    file = write_manifest(folder / "m.csv", rows)
    with nothing_happens(folder, (private, folder / "pipe")):
        if options and path in ABSENT:
            assert "cannot be read and are left out" in read(file, **options)[1][0]
        else:
            message = refused(file, **options)
            assert message.startswith(("path must ", "root must be a table in UTF-8, "))
            assert not opened
    assert str(private) not in opened


def test_a_person_may_allow_a_folder(folder: Path) -> None:
    rows = [(f"img/{number}.png", "ab"[number % 2]) for number in range(24)]
    file = write_manifest(folder / "m.csv", [*rows, ("link.png", "a"), ("../private/x.png", "a")])
    splits, _ = read(file, may_lead_to=[str(folder.parent / "private")])
    assert sum(len(part) for part in (splits.train, splits.val, splits.test)) == 26

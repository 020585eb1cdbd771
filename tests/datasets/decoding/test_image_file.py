"""Image files become what a viewer shows: restated in NumPy, over kinds of pixels, orientations and grounds."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_cases import CASES, color, exif, gray, luma, on_ground, oriented, palette, pixels, png, rgba, tagged, write
from PIL import Image, ImageFile, features

from kd_runner.datasets.decoding.image_file import HAS_HEIF, SUFFIXES, decode, facts

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as kd_runner does, and pytest undoes


steady = settings(deadline=None, derandomize=True, max_examples=40)


GROUNDS = ((255, 255, 255), (0, 0, 0), (200, 30, 90))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_every_kind_of_pixels_is_what_a_viewer_shows(kind, folder: Path) -> None:
    @steady
    @given(st.data())
    def check(data: st.DataObject) -> None:
        rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
        case = kind(rng, data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9)))
        ending = data.draw(st.sampled_from(case.files))
        orientation = data.draw(st.integers(1, 8)) if ending != "gif" else 1
        ground = data.draw(st.sampled_from(GROUNDS))
        path = write(case, folder, ending, orientation)
        wanted = on_ground(oriented(case.shown, orientation), ground)
        np.testing.assert_allclose(pixels(path, "rgb", ground), wanted, atol=1.01)
        np.testing.assert_allclose(pixels(path, "gray", ground), luma(wanted), atol=1.6)

    check()


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("hidden", [False, True])
def test_gray_of_any_depth_in_a_png(tmp_path: Path, bits: int, hidden: bool) -> None:
    values = np.random.default_rng(bits).integers(0, 2**bits, (6, 7))
    opaque = values != values[2, 3] if hidden else np.ones_like(values)
    chunks = [(b"tRNS", struct.pack(">H", values[2, 3]))] if hidden else []
    (path := tmp_path / "gray.png").write_bytes(png(values, bits, 0, *chunks))
    wanted = on_ground(gray(values / (2**bits - 1), opaque), (200, 30, 90))
    np.testing.assert_allclose(pixels(path, "rgb", (200, 30, 90)), wanted, atol=1)
    assert facts(path).bits == (bits if bits in (1, 16) else 8)


@pytest.mark.parametrize(("color_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_colors_and_alpha_of_16_bits_in_a_png(tmp_path: Path, color_type: int, channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (6, 7, channels))
    (path := tmp_path / "deep.png").write_bytes(png(values, 16, color_type, (b"eXIf", exif(6).tobytes()[6:])))
    bands = np.moveaxis(values / 65535, 2, 0)
    shown = rgba(*bands) if channels > 2 else gray(*bands)
    np.testing.assert_allclose(pixels(path), on_ground(oriented(shown, 6), (255, 255, 255)), atol=2)
    header = facts(path)
    assert (header.bits, header.alpha, header.orientation) == (16, channels in (2, 4), 6)
    assert header.channels == ("gray" if channels == 2 else "color")


def test_a_transparent_color_of_16_bits(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (6, 7, 3))
    key = values[1, 1]
    (path := tmp_path / "deep.png").write_bytes(png(values, 16, 2, (b"tRNS", struct.pack(">HHH", *key))))
    shown = rgba(*np.moveaxis(values / 65535, 2, 0), opacity=(values != key).any(axis=2))
    np.testing.assert_allclose(pixels(path), on_ground(shown, (255, 255, 255)), atol=1)


@pytest.mark.parametrize("ending", ["jpg", "webp", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned(tmp_path: Path, ending: str, orientation: int) -> None:
    if ending == "avif" and ".avif" not in SUFFIXES:
        pytest.skip("this Pillow has no AVIF")
    values = np.zeros((32, 48, 3), np.uint8)
    values[:16, :24], values[16:, :24], values[16:, 24:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    path = tmp_path / f"photo.{ending}"
    Image.fromarray(values).save(path, exif=exif(orientation), quality=95, subsampling="4:4:4")
    assert np.abs(pixels(path) - oriented(values, orientation)).mean() < 6
    assert facts(path).orientation == orientation


def test_cmyk_of_a_jpeg_is_not_a_negative(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=95)
    assert np.abs(pixels(tmp_path / "red.jpg") - (255, 0, 0)).max() < 6
    assert facts(tmp_path / "red.jpg").mode == "CMYK"


@pytest.mark.parametrize("largest", [1, 100, 255, 256, 1023, 4095, 65535])
@pytest.mark.parametrize("plain", [False, True])
def test_a_pgm_or_ppm_is_scaled_by_its_largest_value(tmp_path: Path, largest: int, plain: bool) -> None:
    rng = np.random.default_rng(largest)
    for magic, shape in ((b"P5", (4, 5)), (b"P6", (4, 5, 3))):
        values = rng.integers(0, largest + 1, shape)
        number = bytes([magic[1] - 3]) if plain else magic[1:]
        numbers = values.astype(">u2" if largest > 255 else np.uint8)
        body = " ".join(map(str, values.flatten())).encode() if plain else numbers.tobytes()
        (path := tmp_path / "picture.ppm").write_bytes(b"P" + number + b" 5 4 %d\n" % largest + body)
        wanted = np.broadcast_to((values * 255 / largest).reshape(4, 5, -1), (4, 5, 3))
        np.testing.assert_allclose(pixels(path), wanted, atol=1)
        assert facts(path).bits == (16 if largest > 255 else 8)


def test_a_tiff_in_which_0_is_white(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (4, 5)).astype(np.uint16)
    fractions = values.astype(np.float32) / 65535
    for numbers in (values, fractions, (values // 257).astype(np.uint8)):
        (path := tmp_path / "negative.tif").write_bytes(tagged(Image.fromarray(numbers), 262, 0))
        np.testing.assert_allclose(pixels(path, "gray"), 255 - values / 257, atol=1)


@pytest.mark.parametrize("name", ["int32.tif", "signed16.tif", "signed8.tif", "fractions.tif", "nan.tif", "hot.pfm"])
def test_numbers_without_a_white_are_refused_by_name(tmp_path: Path, name: str) -> None:
    path, ramp = tmp_path / name, np.arange(20, dtype=np.int32).reshape(4, 5)
    if name == "signed8.tif":
        path.write_bytes(tagged(Image.fromarray((ramp - 10).astype(np.uint8)), 339, 2))
    elif name == "signed16.tif":
        path.write_bytes(tagged(Image.fromarray((ramp - 10).astype(np.uint16)), 339, 2))
    elif name == "int32.tif":
        Image.fromarray(ramp).save(path)
    else:
        Image.fromarray(np.float32(ramp / 10 if name != "nan.tif" else np.full((4, 5), np.nan))).save(path)
    numbers, fractions = "whole numbers .* from (0|-10) to", "fractions .* from (0|nan) to (1.9|nan), and only 0 to 1"
    kind = numbers if "int" in name or "signed" in name else fractions
    with pytest.raises(ValueError, match=rf"^{path} cannot be read as an image: its pixels are {kind}.*: save it"):
        decode(path, "rgb")


def test_a_file_of_too_many_pixels_is_refused_by_its_header(tmp_path: Path) -> None:
    content = png(np.zeros((2, 2)), 8, 0)
    header = b"IHDR" + struct.pack(">IIBBBBB", 13000, 13000, 8, 0, 0, 0, 0)
    (path := tmp_path / "map.png").write_bytes(
        content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
    )
    reason = r"13000 x 13000 pixels are more than 100000000 in all \(dataset.max_pixels\)"
    with pytest.raises(ValueError, match=f"^{path} cannot be read as an image: {reason}$"):
        decode(path, "rgb")
    with pytest.raises(ValueError, match="truncated"):
        decode(path, "rgb", max_pixels=10**9)
    Image.new("L", (10, 10)).save(path)
    assert decode(path, "gray", max_pixels=100)[0].size == (10, 10)
    with pytest.raises(ValueError, match="10 x 10 pixels are more than 99 in all"):
        decode(path, "gray", max_pixels=99)


def test_nothing_of_pillows_reaches_the_terminal(tmp_path: Path) -> None:
    Image.new("1", (10000, 9500)).save(tmp_path / "map.png")  # for which Pillow itself would warn
    shaded = palette(np.random.default_rng(0), 8, 8)
    shaded.image.save(tmp_path / "p.png", transparency=bytes(range(16)))
    code = (
        "import sys; from pathlib import Path; from kd_runner.datasets.decoding.image_file import decode\n"
        "for name in ('map.png', 'p.png'): decode(Path(sys.argv[1]) / name, 'gray')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is PostScript"),
        (b"%PDF-1.7\n", "it is PDF"),
        (b"<!DOCTYPE html><html>404</html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS, whose file was not fetched"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "it is HEIF, which needs the package pillow-heif"),
        (b"\0" * 100, "it is broken at its start, or none of "),
        (bytes(range(256)), "it is broken at its start, or none of "),
        (b"\x89PNG\r\n\x1a\n", "it is broken at its start, or none of "),
    ],
)
def test_what_is_no_image_is_refused_by_name(tmp_path: Path, content: bytes, reason: str) -> None:
    (path := tmp_path / "picture.png").write_bytes(content)
    if HAS_HEIF and b"heic" in content:
        reason = ""
    for read in (facts, lambda path: decode(path, "rgb")):
        with pytest.raises(ValueError, match=f"^{path} cannot be read as an image: {reason}"):
            read(path)


def test_postscript_is_not_run(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(ValueError, match="it is PostScript"):
        decode(tmp_path / "a.png", "rgb")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{tmp_path}/a.png cannot be read as an image: .*No such file"):
        decode(tmp_path / "a.png", "rgb")


PLAIN = ("png", "jpg", "gif", "bmp", "dib", "ppm", "tif", "webp", "avif", "jp2", "tga", "pcx", "sgi", "qoi")


MANY = {"save_all": True}


FORMATS: dict[str, dict[str, Any]] = {
    **{ending: {} for ending in PLAIN},
    "lzw.tif": {"compression": "tiff_lzw"},
    "jpeg.tif": {"compression": "jpeg"},
    "apng": {"format": "PNG", **MANY},
    "mpo": MANY,
    "pages.tif": MANY,
    "frames.gif": MANY,
}


# What a reader may raise beside OSError and ValueError.
ERRORS = (
    *(struct.error, IndexError, OverflowError, MemoryError, AttributeError, ZeroDivisionError, KeyError, TypeError),
    *(RecursionError, AssertionError, NotImplementedError),
)


@pytest.mark.parametrize("ending", FORMATS)
def test_broken_files_of_every_format_end_in_one_line_that_names_them(ending: str, folder: Path, capfd) -> None:
    options = dict(FORMATS[ending])
    image = color(np.random.default_rng(0), 20, 30).image
    if "save_all" in options:
        options["append_images"] = [image.rotate(90), image.rotate(180)]
    path = folder / f"broken.{ending}"
    try:
        image.save(path, exif=exif(6), **options)
        Image.open(path).load()
    except (KeyError, OSError, ValueError):
        pytest.skip(f"this Pillow cannot write {ending}")
    valid = path.read_bytes()
    assert decode(path, "rgb")[0].size in ((20, 30), (30, 20))

    @settings(deadline=None, derandomize=True, max_examples=50)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        content = bytearray(valid[: data.draw(st.integers(0, len(valid)))] if data.draw(st.booleans()) else valid)
        places = st.integers(0, max(0, min(len(content), data.draw(st.sampled_from([64, 400, 10**6]))) - 1))
        for place in data.draw(st.lists(places, max_size=8)):
            if content:
                content[place] = data.draw(st.integers(0, 255))
        path.write_bytes(bytes(content))
        for read in (facts, lambda path: decode(path, "gray", max_pixels=10_000)):
            try:
                read(path)
            except ValueError as error:
                message = str(error)
                assert message.startswith(f"{path} cannot be read as an image: ")
                assert "\n" not in message
                assert len(message) > len(f"{path} cannot be read as an image: ")

    check()
    if "tif" not in ending:  # libtiff itself writes to the terminal, beside our line
        assert capfd.readouterr().err == ""


@steady
@given(st.binary(max_size=200), st.sampled_from(sorted(SUFFIXES)))
def test_random_bytes_end_in_one_line(folder: Path, content: bytes, suffix: str) -> None:
    path = folder / f"random{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{path} cannot be read as an image: .") as caught:
        decode(path, "rgb", max_pixels=10_000)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", ERRORS)
def test_whatever_a_reader_raises_becomes_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    Image.new("L", (4, 4)).save(path := tmp_path / "a.png")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(ValueError, match=f"^{path} cannot be read as an image: {error.__name__}$"):
        decode(path, "rgb")


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp", "tif"])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    color(np.random.default_rng(0), 64, 64).image.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"^{path} cannot be read as an image: "):
        decode(path, "rgb")


@pytest.mark.skipif(not HAS_HEIF, reason="needs pillow-heif")
def test_pictures_of_phones_in_heif(tmp_path: Path) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    values = np.zeros((32, 48, 3), np.uint8)
    values[:16] = 255
    for orientation in (1, 3, 6, 8):
        Image.fromarray(values).save(tmp_path / "a.heic", exif=exif(orientation).tobytes())
        assert np.abs(pixels(tmp_path / "a.heic") - oriented(values, orientation)).mean() < 3


def test_suffixes_are_those_that_can_be_read() -> None:
    assert {
        ".jpg",
        ".jpeg",
        ".png",
        ".ppm",
        ".bmp",
        ".pgm",
        ".tif",
        ".tiff",
        ".webp",
        ".gif",
        ".jfif",
        ".jpe",
    } <= SUFFIXES
    assert (".heic" in SUFFIXES) == HAS_HEIF
    assert (".avif" in SUFFIXES) == bool("avif" in features.modules and features.check("avif"))
    assert not {".eps", ".pdf", ".svg", ".txt", ".npy"} & SUFFIXES

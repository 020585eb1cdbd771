"""Image files made to start programs, to fill the memory or to take forever: each is refused or read within bounds."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from kd_runner.datasets.decoding import image_file
from kd_runner.datasets.decoding.image_file import FORMATS, FORMATS_BY_SUFFIX, decode, facts
from kd_runner.datasets.decoding.memory import SharedMemory
from kd_runner.datasets.decoding.tiff_directory import check_tags, has_sound_tags

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as kd_runner does, and pytest undoes

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
# Formats of Pillow that start a program, call the system or another plugin, or read other files.
DANGEROUS = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "FITS", "PDF", "PCD", "IPTC", "FPX", "MIC", "MPEG", "PSD", "SPIDER"}
PLAIN_TAGS = [(256, 3, 1, 4), (257, 3, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1)]


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(side: int, bits: int = 8, kind: int = 2, extra: bytes = b"") -> bytes:
    """A black picture in very few bytes."""
    channels = {0: 1, 2: 3, 3: 1, 6: 4}[kind]
    line = b"\0" * (1 + (side * channels * bits + 7) // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(line) for _ in range(side)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def tiff(tags: list[tuple[int, int, int, int]], content: bytes = b"", following: int = 0, order: str = "<") -> bytes:
    """A table of (tag, type, number of values, value or position), and what comes behind it, from `after(tags)` on."""
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    table = b"".join(struct.pack(f"{order}HHII", *tag) for tag in tags)
    return start + table + struct.pack(f"{order}I", following) + content


def after(tags: int) -> int:
    return 8 + 2 + 12 * tags + 4


def tags_on_the_same_bytes(tags: int, size: int, order: str = "<") -> bytes:
    """EXIF data or a TIFF in which each tag points to the same bytes."""
    return tiff([(40000 + tag, 7, size, after(tags)) for tag in range(tags)], b"\0" * size, order=order)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.eps.png", "a.gif", "a.tga", "a.pcx"])
def test_postscript_is_refused_whatever_it_is_called(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *words, **_: pytest.fail(f"{words} was started"))
    (tmp_path / name).write_bytes(EPS)
    for read in (facts, lambda path: decode(path, "rgb")):
        with pytest.raises(ValueError, match=f"{name} cannot be read as an image: ") as refused:
            read(tmp_path / name)
        assert "\n" not in str(refused.value)


def test_no_format_is_read_for_which_pillow_starts_a_program_or_reads_another_file() -> None:
    assert not DANGEROUS & {*FORMATS, *FORMATS_BY_SUFFIX.values()}
    assert not DANGEROUS & set(image_file.readable_formats())


def test_every_call_that_opens_an_image_names_its_formats() -> None:
    package = Path(image_file.__file__).parents[2]
    calls = [
        (path.relative_to(package).as_posix(), line.strip())
        for path in package.rglob("*.py")
        for line in path.read_text().splitlines()
        if "Image.open(" in line
    ]
    # Two open pictures that kd-runner has just drawn or written.
    assert sorted(file for file, _ in calls) == [
        "charts/png.py",
        "datasets/decoding/image_file.py",
        "evaluation/corruptions/digital.py",
    ]
    assert all("formats=" in line for file, line in calls if not file.startswith("charts"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bomb.png", png(13_000, bits=1, kind=3, extra=chunk(b"PLTE", b"\0" * 6))),
        ("bomb.gif", b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + b"\0" * 6 + b","
         + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\x00;"),
        ("bomb.bmp", b"BM" + struct.pack("<IHHI", 99, 0, 0, 54)
         + struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0) + b"\0" * 50),
        ("bomb.tga", bytes([0, 0, 2]) + b"\0" * 9 + struct.pack("<HH", 60_000, 60_000) + bytes([24, 0]) + b"\0" * 99),
        ("bomb.qoi", b"qoif" + struct.pack(">IIBB", 60_000, 60_000, 4, 0) + b"\xfd" * 99),
        ("bomb.ppm", b"P6 60000 60000 255\n" + b"\0" * 99),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_bomb_of_pixels_is_refused_by_its_header(name: str, content: bytes, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("it was decoded"))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} .* pixels are more than 100000000 in all \(dataset.max_pixels\)"):
        decode(tmp_path / name, "rgb")


def test_the_limit_of_pixels_is_exact(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(10))
    assert decode(tmp_path / "a.png", "rgb", max_pixels=100)[0].size == (10, 10)
    with pytest.raises(ValueError, match="10 x 10 pixels are more than 99 in all"):
        decode(tmp_path / "a.png", "rgb", max_pixels=99)


@pytest.mark.parametrize("order", "<>")
def test_tags_that_share_their_bytes_are_refused(order: str, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tags_on_the_same_bytes(1000, 100_000, order))
    with pytest.raises(ValueError, match=r"a\.tif .* its tags hold 100,000,000 bytes, in a file of 112,014"):
        facts(tmp_path / "a.tif")


def test_tags_of_later_pages_are_checked_too(tmp_path: Path) -> None:
    bomb = [(40000 + tag, 7, 50_000, 8) for tag in range(500)]
    table = struct.pack("<H", 500) + b"".join(struct.pack("<HHII", *tag) for tag in bomb) + b"\0" * 50_000
    (tmp_path / "a.tif").write_bytes(tiff(PLAIN_TAGS, table, following=after(len(PLAIN_TAGS))))
    with pytest.raises(ValueError, match="its tags hold 25,000,000 bytes"):
        facts(tmp_path / "a.tif")


@pytest.mark.parametrize(("tag", "kind"), [(273, 4), (279, 4), (282, 5)])
def test_a_million_strips_or_fractions_are_refused(tag: int, kind: int, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff([*PLAIN_TAGS, (tag, kind, 1_000_000, 200)], b"\0" * 8_000_000))
    with pytest.raises(ValueError, match=f"its tag {tag} has 1,000,000 numbers, more than 200,000"):
        facts(tmp_path / "a.tif")


def test_exif_data_that_would_fill_the_memory_is_passed_over(tmp_path: Path) -> None:
    bomb = tags_on_the_same_bytes(2000, 100_000)
    (tmp_path / "a.png").write_bytes(png(8, extra=chunk(b"eXIf", bomb)))
    started = time.monotonic()
    assert facts(tmp_path / "a.png").orientation == 1
    assert time.monotonic() - started < 0.3  # Pillow 10 takes 2 seconds and 200 MB
    assert not has_sound_tags(bomb)
    assert not has_sound_tags(b"Exif\0\0" + bomb)


def test_honest_tags_are_sound(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert has_sound_tags(exif.tobytes())
    for name in ("a.tif", "deflate.tif"):
        compression = {"compression": "tiff_adobe_deflate"} if "deflate" in name else {}
        Image.new("RGB", (600, 900)).save(tmp_path / name, exif=exif, **compression)
        with (tmp_path / name).open("rb") as file:
            check_tags(file)
        assert facts(tmp_path / name).orientation == 6


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_a_tiff_that_is_cut_off_is_an_error_of_one_line(cut: int, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(PLAIN_TAGS)[:cut])
    with pytest.raises(ValueError, match=r"a\.tif cannot be read as an image") as refused:
        facts(tmp_path / "a.tif")
    assert "\n" not in str(refused.value)


def test_a_circle_of_pages_ends(tmp_path: Path) -> None:
    tags = [*PLAIN_TAGS, (273, 4, 1, 200), (278, 3, 1, 4), (279, 4, 1, 16)]
    (tmp_path / "a.tif").write_bytes(tiff(tags, b"\0" * 200, following=8))
    assert facts(tmp_path / "a.tif").frames == 1


def test_of_a_tiff_of_thousands_of_pages_not_all_are_counted(tmp_path: Path) -> None:
    tags = [*PLAIN_TAGS, (273, 4, 1, 8), (278, 3, 1, 4), (279, 4, 1, 16)]
    size = 2 + 12 * len(tags) + 4
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    pages = b"".join(table + struct.pack("<I", 8 + (number + 1) * size) for number in range(3000))
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + pages)
    assert facts(tmp_path / "a.tif").frames == 100


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"iCCP", b"x\0\0" + zlib.compress(b"\0" * 50_000_000, 9)),
        chunk(b"zTXt", b"k\0\0" + zlib.compress(b"\0" * 50_000_000, 9)),
        b"".join(chunk(b"zTXt", b"k\0\0" + zlib.compress(b"\0" * 1_000_000, 9)) for _ in range(70)),
    ],
    ids=["profile", "text", "texts"],
)
def test_compressed_profiles_and_texts_that_grow_are_refused(extra: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(8, extra=extra))
    with pytest.raises(ValueError, match=r"a\.png cannot be read as an image: .*([Ll]arge|much memory)"):
        facts(tmp_path / "a.png")


def test_warnings_of_pillow_do_not_reach_the_terminal(tmp_path: Path) -> None:
    exif = b"Exif\0\0" + tiff([(0x0112, 3, 1, 6), (40000, 7, 900, 60)])
    Image.new("RGB", (9, 9)).save(tmp_path / "exif.jpg", exif=exif)
    Image.new("P", (9, 9)).save(tmp_path / "palette.png", transparency=b"\0\1")
    (tmp_path / "large.png").write_bytes(png(9_500, bits=1, kind=0))  # Pillow warns from 89 million pixels on
    code = (
        "import sys; from pathlib import Path; from kd_runner.datasets.decoding.image_file import facts\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()): facts(path)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_threads_share_the_memory_for_decoding() -> None:
    memory, most = SharedMemory(100), 0

    def decode_one(needed: int) -> None:
        nonlocal most
        with memory.reserve(needed):
            most = max(most, memory.used)
            time.sleep(0.002)

    threads = [threading.Thread(target=decode_one, args=(needed,)) for needed in (30, 60, 500, 10, 90, 100, 5) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert not any(thread.is_alive() for thread in threads)
    assert most == 100
    assert memory.used == 0


def test_an_image_that_fails_gives_its_memory_back(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(300)[:-300])
    for _ in range(3):
        with pytest.raises(ValueError, match="cannot be read"):
            decode(tmp_path / "a.png", "rgb")
    assert image_file.memory.used == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_does_not_wait_for_threads_that_it_does_not_have() -> None:
    with image_file.memory.reserve(image_file.memory.most):
        child = os.fork()
        if child == 0:
            with image_file.memory.reserve(image_file.memory.most):
                os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


PEAK = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from kd_runner.datasets.decoding.files import ImageFiles, PixelSettings
import torch
path = Path(sys.argv[1])
files = ImageFiles(path.parent, [path.name] * 6, torch.zeros(6, dtype=torch.int64), PixelSettings(8, "rgb"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ThreadPoolExecutor(6) as pool:
    sizes = list(pool.map(lambda index: len(files[index]), range(6)))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="sizes are in kB on Linux alone")
@pytest.mark.parametrize(
    ("bits", "kind", "extra"),
    [(8, 2, b""), (16, 6, b""), (16, 0, b""), (1, 3, chunk(b"PLTE", b"\0" * 6) + chunk(b"tRNS", b"\0"))],
    ids=["colour", "transparent", "16 bits", "palette"],
)
def test_six_threads_decode_large_files_in_the_memory_that_is_promised(bits, kind, extra, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(6_000, bits, kind, extra))
    done = subprocess.run([sys.executable, "-c", PEAK, tmp_path / "a.png"], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1024 + 200

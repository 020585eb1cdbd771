"""Pictures of every kind that Pillow can write, with what a viewer shows of them, restated in NumPy."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from kd_runner.datasets.decoding.image_file import decode, facts

Array = np.ndarray
LOSSLESS = ("png", "tif", "deflate.tif")


class Case(NamedTuple):
    """An image as Pillow has it, its red, green, blue and opacity from 0 to 1, and what saves it without loss."""

    image: Image.Image
    shown: Array
    files: tuple[str, ...] = LOSSLESS
    options: dict[str, Any] = {}  # noqa: RUF012


def rgba(red: Array, green: Array, blue: Array, opacity: Array | float = 1.0) -> Array:
    return np.stack([red, green, blue, np.broadcast_to(opacity, red.shape)], axis=-1).astype(np.float64)


def gray(values: Array, opacity: Array | float = 1.0) -> Array:
    return rgba(values, values, values, opacity)


def oriented(pixels: Array, orientation: int) -> Array:
    """The rows and columns as EXIF 2.32, 4.6.4, table of Orientation, says where row 0 and column 0 are shown."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    mirrored = {1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
    rows, columns = mirrored[orientation]
    return pixels[::rows, ::columns]


def on_ground(shown: Array, ground: tuple[int, int, int]) -> Array:
    """float [H, W, 3], 0 to 255."""
    return 255 * shown[..., :3] * shown[..., 3:] + np.array(ground) * (1 - shown[..., 3:])


def luma(pixels: Array) -> Array:
    """ITU-R BT.601's gray, float [H, W]."""
    return pixels @ np.array([0.299, 0.587, 0.114])


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def write(case: Case, folder: Path, ending: str, orientation: int) -> Path:
    path = folder / f"picture.{ending}"
    compression = {"compression": "tiff_deflate"} if ending.startswith("deflate") else {}
    case.image.save(path, exif=exif(orientation), **compression, **case.options)
    return path


def noise(rng: np.random.Generator, *shape: int, high: int = 256) -> Array:
    return rng.integers(0, high, shape).astype(np.uint8 if high <= 256 else np.uint16)


def one_bit(rng: np.random.Generator, h: int, w: int) -> Case:
    values = noise(rng, h, w, high=2)
    return Case(Image.fromarray(values * 255).convert("1"), gray(values))


def gray_8(rng: np.random.Generator, h: int, w: int) -> Case:
    values = noise(rng, h, w)
    return Case(Image.fromarray(values), gray(values / 255))


def gray_8_with_a_transparent_value(rng: np.random.Generator, h: int, w: int) -> Case:
    values = noise(rng, h, w)
    hidden = int(values[0, 0])
    return Case(Image.fromarray(values), gray(values / 255, values != hidden), ("png",), {"transparency": hidden})


def gray_16(rng: np.random.Generator, h: int, w: int) -> Case:
    values = noise(rng, h, w, high=65536)
    return Case(Image.fromarray(values), gray(values / 65535))


def gray_16_big_endian(rng: np.random.Generator, h: int, w: int) -> Case:
    values = noise(rng, h, w, high=65536)
    return Case(Image.fromarray(values.astype(">u2")), gray(values / 65535), ("tif",))


def gray_16_with_a_transparent_value(rng: np.random.Generator, h: int, w: int) -> Case:
    values = noise(rng, h, w, high=65536)
    hidden = int(values[0, 0])
    return Case(Image.fromarray(values), gray(values / 65535, values != hidden), ("png",), {"transparency": hidden})


def fractions(rng: np.random.Generator, h: int, w: int) -> Case:
    values = rng.random((h, w), dtype=np.float32)
    return Case(Image.fromarray(values), gray(values), ("tif", "deflate.tif"))


def gray_with_alpha(rng: np.random.Generator, h: int, w: int) -> Case:
    values = noise(rng, h, w, 2)
    image = Image.merge("LA", [Image.fromarray(np.ascontiguousarray(values[..., band])) for band in (0, 1)])
    return Case(image, gray(values[..., 0] / 255, values[..., 1] / 255))


def color(rng: np.random.Generator, h: int, w: int) -> Case:
    values = noise(rng, h, w, 3)
    return Case(Image.fromarray(values), rgba(*np.moveaxis(values / 255, 2, 0)))


def color_with_a_transparent_value(rng: np.random.Generator, h: int, w: int) -> Case:
    values = noise(rng, h, w, 3)
    hidden = tuple(map(int, values[0, 0]))
    opaque = (values != np.array(hidden)).any(axis=2)
    shown = rgba(*np.moveaxis(values / 255, 2, 0), opacity=opaque)
    return Case(Image.fromarray(values), shown, ("png",), {"transparency": hidden})


def color_with_alpha(rng: np.random.Generator, h: int, w: int) -> Case:
    values = noise(rng, h, w, 4)
    return Case(
        Image.fromarray(values), np.asarray(values / 255), (*LOSSLESS, "webp"), {"lossless": True, "exact": True}
    )


def palette(rng: np.random.Generator, h: int, w: int) -> Case:
    colors, indices = noise(rng, 16, 3), noise(rng, h, w, high=16)
    image = Image.fromarray(indices).convert("P")
    image.putdata(indices.flatten().tolist())
    image.putpalette(colors.flatten().tolist())
    return Case(image, rgba(*np.moveaxis(colors[indices] / 255, 2, 0)))


def palette_with_a_transparent_index(rng: np.random.Generator, h: int, w: int) -> Case:
    plain = palette(rng, h, w)
    hidden = int(np.asarray(plain.image)[0, 0])
    shown = plain.shown.copy()
    shown[..., 3] = np.asarray(plain.image) != hidden
    return Case(plain.image, shown, ("png", "gif"), {"transparency": hidden})


def palette_with_alpha(rng: np.random.Generator, h: int, w: int) -> Case:
    plain = palette(rng, h, w)
    opacity = noise(rng, 16)
    shown = plain.shown.copy()
    shown[..., 3] = opacity[np.asarray(plain.image)] / 255
    return Case(plain.image, shown, ("png",), {"transparency": opacity.tobytes()})


def palette_and_alpha(rng: np.random.Generator, h: int, w: int) -> Case:
    plain, opacity = palette(rng, h, w), noise(rng, h, w)
    image = plain.image.convert("PA")
    image.putalpha(Image.fromarray(opacity))
    shown = plain.shown.copy()
    shown[..., 3] = opacity / 255
    return Case(image, shown, ("tif",))


def cmyk(rng: np.random.Generator, h: int, w: int) -> Case:
    values = noise(rng, h, w, 4)
    cyan, magenta, yellow, black = np.moveaxis(values / 255, 2, 0)
    shown = rgba(*((1 - ink) * (1 - black) for ink in (cyan, magenta, yellow)))
    return Case(Image.fromarray(values, "CMYK"), shown, ("tif", "deflate.tif"))


def ycbcr(rng: np.random.Generator, h: int, w: int) -> Case:
    values = noise(rng, h, w, 3)
    luminance, blue, red = np.moveaxis(values.astype(np.float64), 2, 0)
    colors = (
        luminance + 1.402 * (red - 128),
        luminance - 0.344136 * (blue - 128) - 0.714136 * (red - 128),
        luminance + 1.772 * (blue - 128),
    )
    return Case(Image.fromarray(values, "YCbCr"), rgba(*(band.clip(0, 255) / 255 for band in colors)), ("tif",))


def reads_its_own(image: Image.Image, **options: Any) -> bool:
    """Whether this version of Pillow can read what it writes of `image`."""
    try:
        image.save(buffer := io.BytesIO(), **options)
        Image.open(buffer).load()
    except (KeyError, OSError, ValueError):
        return False
    return True


CASES: tuple[Callable[[np.random.Generator, int, int], Case], ...] = (
    *(one_bit, gray_8, gray_8_with_a_transparent_value, gray_16, gray_16_big_endian),
    *(gray_16_with_a_transparent_value, fractions, gray_with_alpha, color, color_with_a_transparent_value),
    *(color_with_alpha, palette, palette_with_a_transparent_index, palette_with_alpha, palette_and_alpha, cmyk),
    *([ycbcr] if reads_its_own(Image.new("YCbCr", (4, 4)), format="TIFF") else []),
)


def png(
    values: Array, bits: int, color_type: int, *chunks: tuple[bytes, bytes], last: tuple[bytes, bytes] | None = None
) -> bytes:
    """A PNG of numbers [H, W] or [H, W, C], for what Pillow cannot write.

    Args:
        chunks: Names and contents that stand before the pixels.
        last: Name and content of a chunk behind the pixels.
    """
    height, width = values.shape[:2]
    flat = values.reshape(height, -1)
    if bits < 8:
        per_byte = 8 // bits
        padded = np.pad(flat, ((0, 0), (0, -flat.shape[1] % per_byte))).reshape(height, -1, per_byte)
        shifts = np.arange(per_byte)[::-1] * bits
        rows = (padded.astype(np.uint8) << shifts).sum(axis=2).astype(np.uint8)
    else:
        rows = flat.astype(">u2" if bits == 16 else np.uint8)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    content = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(body)), *([last] if last else []), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in content
    )


def pixels(path: Path, color: str = "rgb", ground: tuple[int, int, int] = (255, 255, 255)) -> np.ndarray:
    image, header = decode(path, color, ground)  # type: ignore[arg-type]
    assert image.mode == ("RGB" if color == "rgb" else "L")
    assert (header.width, header.height) == image.size
    assert header == facts(path)
    return np.asarray(image).astype(np.float64)


def tagged(image: Image.Image, tag: int, value: int) -> bytes:
    """A TIFF in which `tag`, which Pillow sets by itself, has another value."""
    image.save(buffer := io.BytesIO(), format="TIFF", tiffinfo={339: 1} if tag == 339 else {})
    content = bytearray(buffer.getvalue())
    offset = struct.unpack_from("<I", content, 4)[0]
    for entry in range(struct.unpack_from("<H", content, offset)[0]):
        place = offset + 2 + 12 * entry
        if struct.unpack_from("<H", content, place)[0] == tag:
            struct.pack_into("<H", content, place + 8, value)
            return bytes(content)
    raise AssertionError(f"no tag {tag}")

"""Conversions of the images of a data set: counted, and noted in one line for each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from kd_runner.datasets.decoding.image_file import ImageFacts
from kd_runner.datasets.decoding.pixels import Ground, name_of_ground
from kd_runner.notes import note

# Keys of the counts, beside those of SENTENCES.
LOOKED_AT = "images"  # number of images that were counted
MEASURED = "measured"  # number of images with more than 8 bits that were decoded
BRIGHTEST = "brightest of "  # start of the keys of their largest values; the white value of the format follows
LONGEST = "longest of slivers"  # largest ratio of the sides of a sliver
MAXIMA = (BRIGHTEST, LONGEST)  # starts of the keys of maxima; all other numbers are sums

SLIVER = 4  # largest ratio of the sides; of a longer image, the middle square is less than a quarter
DARK = 128  # images with fewer than this many of 256 levels are dark for their format
DEPTHS = (8, 10, 12, 14, 16)  # bits of cameras and scanners

SENTENCES = {
    "alpha": "{images} with transparency {are} laid on {ground} (dataset.background)",
    "bits": "{images} with more than 8 bits a channel {are} scaled to 8",
    "orientation": "{images} {are} turned as the EXIF orientation says",
    "cmyk": "{images} in CMYK {are} turned into RGB without a colour profile",
    "frames": "of {images} with several frames or pages the first is taken",
}


def conversion_counts(facts: ImageFacts) -> Counter[str]:
    """The kinds of conversion that an image goes through, and the image itself, each counted once."""
    kinds = {
        LOOKED_AT: True,
        "alpha": facts.alpha,
        "bits": facts.bits > 8,
        "orientation": facts.orientation != 1,
        "cmyk": facts.mode == "CMYK",
        "frames": facts.frames > 1,
    }
    counts = Counter(kind for kind, applies in kinds.items() if applies)
    ratio = max(facts.width, facts.height) / max(1, min(facts.width, facts.height))
    if ratio > SLIVER:
        counts.update({"slivers": 1, LONGEST: ratio})
    return counts + brightness_counts(facts)


def brightness_counts(facts: ImageFacts) -> Counter[str]:
    """The largest value of a decoded image with more than 8 bits."""
    if facts.brightest is None:
        return Counter()
    key = f"{BRIGHTEST}{facts.white}{' in colour' if facts.channels == 'color' else ''}"
    return Counter({MEASURED: 1, key: facts.brightest})


def sum_of_counts(parts: Iterable[Counter[str]]) -> Counter[str]:
    """The counts of several images or splits in one: sums, and the largest of the largest values."""
    total: Counter[str] = Counter()
    for part in parts:
        for key, number in part.items():
            total[key] = max(total[key], number) if key.startswith(MAXIMA) else total[key] + number
    return total


def note_brightness(counts: Counter[str], white: float | None, prefix: str = "") -> None:
    """Notes of images with more than 8 bits that are dark for their format, and of values above `white`.

    Args:
        prefix: The beginning of each note; empty where the notes are about all images.
    """
    deep, measured = counts["bits"], counts[MEASURED]
    images = f"{measured:,} of {deep:,}" if measured < deep else f"{deep:,}"
    plural = "" if deep == 1 else "s"
    for key, brightest in counts.items():
        if not key.startswith(BRIGHTEST):
            continue
        format_white, _, colour = key.removeprefix(BRIGHTEST).partition(" ")
        limit = float(format_white) if white is None else white
        levels = round(min(brightest, limit) * 255 / limit) + 1 if limit else 256
        value = _number(brightest)
        finding = ""
        if white is not None and brightest > white:
            finding = f"{value}: values above {_number(white)} are white (dataset.white)"
        elif levels < DARK:
            remedy = "scale their files"
            if not colour:
                remedy = f"dataset.white={_likely_white(brightest, limit)} says what is white"
            finding = f"{value} of {_number(limit)}: {levels} of 256 levels are left; {remedy}"
        if finding:
            kind = f"image{plural} with more than 8 bits{colour and ' ' + colour}"
            note("data", f"{prefix}the brightest value of {images} {kind} is {finding}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _likely_white(brightest: float, limit: float) -> str:
    """The largest value of the camera whose bits hold `brightest`; for fractions, `brightest` itself."""
    if limit <= 1:
        return f"{brightest:.3g}"
    return str(next((2**depth - 1 for depth in DEPTHS if brightest < 2**depth), int(brightest)))


def note_conversions(
    counts: Counter[str], images: int, ground: Ground, white: float | None = None, folder: Path | None = None
) -> None:
    """Notes of the conversions in a data set.

    Args:
        counts: Counts of the images that were looked at, perhaps not all.
        images: Number of images in the data set.
        ground: The colour below transparent images.
        white: The setting `dataset.white`.
        folder: The folder of the images, for notes that stand beside those of the data set; None for these.
    """
    looked_at = counts[LOOKED_AT]
    prefix = "" if folder is None else f"under {folder}, "
    among = prefix + ("" if looked_at >= images else f"among {looked_at} of {images} images that were looked at, ")
    for kind, sentence in SENTENCES.items():
        if count := counts[kind]:
            amount, verb = (f"{count} images", "are") if count > 1 else ("1 image", "is")
            note("data", among + sentence.format(images=amount, are=verb, ground=name_of_ground(ground)))
    if slivers := counts["slivers"]:
        share = 100 / counts[LONGEST]
        note(
            "data",
            f"{among}of {slivers:,} long image{'s' * (slivers > 1)} less than a quarter is read, the middle square: "
            f"{share:.2g} % of the longest",
        )
    note_brightness(counts, white, prefix)

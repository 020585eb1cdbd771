"""What is converted in the images of a data set, counted and said in one line for each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from kd_runner.datasets.decoding import ImageFacts
from kd_runner.datasets.pixels import Ground, name_of_ground
from kd_runner.notes import note

LOOKED_AT = "images"  # the key of how many images the counts are of
MEASURED = "measured"  # the key of how many images with more than 8 bits were decoded
BRIGHTEST = "brightest of "  # how the keys of their largest values begin; what is white in the format stands behind
LONGEST = "longest of slivers"  # the key of the largest ratio of their sides
MAXIMA = (BRIGHTEST, LONGEST)  # how the keys begin whose numbers are not summed
SLIVER = 4  # times the shorter side: of what is longer, less than a quarter is in the middle square
DARK = 128  # levels of 256 below which images are dark for their format
DEPTHS = (8, 10, 12, 14, 16)  # of cameras and scanners, in bits

SENTENCES = {
    "alpha": "{images} with transparency {are} laid on {ground} (dataset.background)",
    "bits": "{images} with more than 8 bits a channel {are} scaled to 8",
    "orientation": "{images} {are} turned as their EXIF orientation says",
    "cmyk": "{images} in CMYK {are} turned into RGB without a colour profile",
    "frames": "of {images} with several frames or pages the first is taken",
}


def conversions(facts: ImageFacts) -> Counter[str]:
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
    return counts + brightness(facts)


def brightness(facts: ImageFacts) -> Counter[str]:
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


def note_brightness(counts: Counter[str], white: float | None) -> None:
    """Notes of images with more than 8 bits that are dark for their format, and of values above `white`."""
    deep, measured = counts["bits"], counts[MEASURED]
    images = f"{measured:,} of {deep:,}" if measured < deep else f"{deep:,}"
    for key, brightest in counts.items():
        if not key.startswith(BRIGHTEST):
            continue
        of_format, _, colour = key.removeprefix(BRIGHTEST).partition(" ")
        limit = float(of_format) if white is None else white
        start = (
            f"the brightest value of {images} image{'s' * (deep != 1)} with more than 8 bits{colour and ' ' + colour}"
        )
        levels = round(min(brightest, limit) * 255 / limit) + 1 if limit else 256
        if white is not None and brightest > white:
            note("data", f"{start} is {_number(brightest)}: values above {_number(white)} are white (dataset.white)")
        elif levels < DARK:
            remedy = (
                "scale their files" if colour else f"dataset.white={_likely_white(brightest, limit)} says what is white"
            )
            note(
                "data",
                f"{start} is {_number(brightest)} of {_number(limit)}: {levels} of 256 levels are left; {remedy}",
            )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _likely_white(brightest: float, limit: float) -> str:
    """The largest value of the camera's bits that hold `brightest`; of fractions, itself."""
    if limit <= 1:
        return f"{brightest:.3g}"
    return str(next((2**depth - 1 for depth in DEPTHS if brightest < 2**depth), int(brightest)))


def note_conversions(counts: Counter[str], images: int, ground: Ground, white: float | None = None) -> None:
    """Notes of what `counts` has of a data set of so many images, of which not all need have been looked at."""
    looked_at = counts[LOOKED_AT]
    among = "" if looked_at >= images else f"among {looked_at} of {images} images that were looked at, "
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
    note_brightness(counts, white)

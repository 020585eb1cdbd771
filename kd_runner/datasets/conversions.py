"""What is converted in the images of a data set, counted and said in one line for each kind."""

from __future__ import annotations

from collections import Counter

from kd_runner.datasets.decoding import ImageFacts
from kd_runner.datasets.pixels import Ground, name_of_ground
from kd_runner.notes import note

LOOKED_AT = "images"  # the key of how many images the counts are of

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
    return Counter(kind for kind, applies in kinds.items() if applies)


def note_conversions(counts: Counter[str], images: int, ground: Ground) -> None:
    """Notes of what `counts` has of a data set of so many images, of which not all need have been looked at."""
    looked_at = counts[LOOKED_AT]
    among = "" if looked_at >= images else f"among {looked_at} of {images} images that were looked at, "
    for kind, sentence in SENTENCES.items():
        if count := counts[kind]:
            amount, verb = (f"{count} images", "are") if count > 1 else ("1 image", "is")
            note("data", among + sentence.format(images=amount, are=verb, ground=name_of_ground(ground)))

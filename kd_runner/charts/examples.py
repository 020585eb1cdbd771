"""Charts of single images: those on which teacher and student differ most, and some soft targets of the teacher."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from kd_runner.charts.figure import Figure
from kd_runner.charts.svg import NORMAL, SMALL, Chart, add, add_image, add_text, chart, fit_text, text_width
from kd_runner.evaluation.analysis import class_names
from kd_runner.formats import short_percent

THUMBNAIL = 96.0
GUESS_WIDTH, GUESS_LINE = 166.0, 17.0
TARGET_WIDTH, TARGET_LINE, TARGET_LEFT = 330.0, 19.2, THUMBNAIL + 12


def disagreements(analysis: Mapping[str, Any]) -> Figure | None:
    """The images on which teacher and student differ most, with the prediction of each; None where there are none."""
    if not analysis["disagreements"]:
        return None
    caption = "The test images on which teacher and student differ most; a wrong prediction is red and underlined."
    names = class_names(analysis)
    return Figure([_disagreement(example, names) for example in analysis["disagreements"]], caption, columns=6)


def _disagreement(example: Mapping[str, Any], names: list[dict[str, str]]) -> Chart:
    label = example["label"]
    lines = [("label", names[label], "", "")]
    for role in ("teacher", "student"):
        guess = example[role]
        wrong = "wrong" if guess["class"] != label else ""
        lines.append((role, names[guess["class"]], f", {short_percent(guess['probability'])}", wrong))
    spoken = "; ".join(f"{who}: {name['full']}{share}" for who, name, share, _ in lines)
    figure = chart(GUESS_WIDTH, THUMBNAIL + 4 + 3 * GUESS_LINE, f"test image {example['index']}, {spoken}")
    add_image(figure.root, checked_thumbnail(example["image"]), 0, 0, THUMBNAIL, THUMBNAIL)
    for number, (who, name, share, style) in enumerate(lines):
        middle = THUMBNAIL + 4 + (number + 0.5) * GUESS_LINE
        text = add_text(figure.root, 0.0, middle, "", f"small {style}".strip(), f"{who}: {name['full']}{share}")
        room = GUESS_WIDTH - text_width(f"{who}: {share}", SMALL)
        add(text, "tspan", f"{who}: ")
        add(text, "tspan", fit_text(name["short"], room, SMALL), class_="name")
        if share:
            add(text, "tspan", share)
    return figure


def soft_targets(analysis: Mapping[str, Any]) -> Figure | None:
    """The teacher's most probable classes of some training images, at the temperature that it teaches with.

    None for a teacher without logits.
    """
    if analysis["soft_targets"] is None:
        return None
    targets, names = analysis["soft_targets"], class_names(analysis)
    made = bool(targets.get("made"))
    images, more = (
        ("training images", "; the label's bar is blue") if not made else ("images that were made from it", "")
    )
    caption = (
        f"What the student is taught: the most probable classes of {images} by the teacher, at temperature "
        f"{targets['temperature']:.3g}{more}."
    )
    kind = "image that was made" if made else "training image"
    return Figure([_soft_target(example, names, kind) for example in targets["examples"]], caption)


def _soft_target(example: Mapping[str, Any], names: list[dict[str, str]], kind: str) -> Chart:
    guesses = [
        (names[guess["class"]], guess["probability"], guess["class"] == example["label"]) for guess in example["top"]
    ]
    spoken = ", ".join(f"{name['full']} {short_percent(share)}" for name, share, _ in guesses)
    figure = chart(TARGET_WIDTH, THUMBNAIL, f"{kind} {example['index']}: {spoken}")
    add_image(figure.root, checked_thumbnail(example["image"]), 0, 0, THUMBNAIL, THUMBNAIL)
    width = TARGET_WIDTH - TARGET_LEFT
    for number, (name, share, is_label) in enumerate(guesses):
        top, style = number * TARGET_LINE, "guess label" if is_label else "guess"
        add(figure.root, "rect", x=TARGET_LEFT, y=top, width=width * share, height=TARGET_LINE - 2, class_=style)
        percent = short_percent(share)
        text = add_text(figure.root, TARGET_LEFT + 5, top + TARGET_LINE / 2 - 1, "", "", f"{name['full']} {percent}")
        add(text, "tspan", fit_text(name["short"], width - text_width(percent) - NORMAL), class_="name")
        add(text, "tspan", f" {percent}", class_="soft")
    return figure


def checked_thumbnail(image: str) -> str:
    """The image, a PNG file in base64, unchanged.

    Raises:
        ValueError: `image` is no PNG file in base64.
    """
    if not base64.b64decode(image, validate=True).startswith(b"\x89PNG"):
        raise ValueError("an image must be a PNG file in base64")
    return image

"""A chart is a piece of SVG with a size: its elements, and charts put beside each other.

Colours and sizes of text stand in style.css. Lengths are in CSS pixels.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from kd_runner.formats import cut_middle

Element = ElementTree.Element
TINY, SMALL, NORMAL = 9.5, 11.0, 12.5  # sizes of text, as in style.css
LETTER_WIDTH = 0.58  # mean width of a letter, as a share of the size of the text
GAP = 20.0  # between charts beside each other
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Chart:
    """A picture: its SVG element, and its width and height."""

    root: Element
    width: float
    height: float

    def __html__(self) -> str:
        """The SVG as it is, where a template names the chart."""
        return str(self)

    def __str__(self) -> str:
        return ElementTree.tostring(self.root, encoding="unicode")


def chart(width: float, height: float, label: str, role: str = "img") -> Chart:
    """An empty chart, shown at its size, or smaller where the page is narrower.

    Args:
        label: Text that a screen reader reads out for the chart.
        role: "img" for a chart that is read by its label alone, else the ARIA role of one that is read by its parts.
    """
    root = Element("svg", xmlns="http://www.w3.org/2000/svg")
    name = {"class": "chart", "role": role, "aria-label": label, "viewBox": f"0 0 {width:g} {height:g}"}
    root.attrib.update({key: xml_text(value) for key, value in name.items()})
    root.attrib.update({"width": f"{width:g}", "height": f"{height:g}"})
    return Chart(root, width, height)


def fluid_chart(height: float, label: str, style: str = "") -> Chart:
    """An empty chart that is as wide as its place: places across are in percent of 100, places down in pixels.

    Args:
        style: Classes of style.css.
    """
    root = Element("svg", xmlns="http://www.w3.org/2000/svg")
    root.attrib.update({"class": f"fluid {style}".strip(), "role": "img", "aria-label": xml_text(label)})
    root.attrib.update({"width": "100%", "height": f"{height:g}"})
    return Chart(root, 100.0, height)


def add(parent: Element, name: str, text: str = "", **attributes: str | float) -> Element:
    """Add an element and return it: `class_` is written class, `text_anchor` text-anchor; numbers have two digits."""
    element = ElementTree.SubElement(parent, name)
    for key, value in attributes.items():
        written = value if isinstance(value, str) else f"{round(value, 2):g}"
        element.set(key.rstrip("_").replace("_", "-"), xml_text(written))
    if text:
        element.text = xml_text(text)
    return element


def add_text(
    parent: Element,
    x: float | str,
    y: float | str,
    text: str,
    style: str = "",
    full: str = "",
    **attributes: str | float,
) -> Element:
    """Write a text whose middle is at the height `y`.

    Args:
        style: Classes of style.css: `small`, `soft`, `middle` and `end` (which part of the text is at `x`), …
        full: The text in full, for the pointer that rests on a shortened one.
    """
    if isinstance(y, str):
        attributes["dy"] = ".35em"
    else:  # resvg moves only the first letter of a text from right to left by dy
        classes = style.split()
        y += 0.35 * (TINY if "tiny" in classes else SMALL if "small" in classes else NORMAL)
    if style:
        attributes["class"] = style
    element = add(parent, "text", text, x=x, y=y, **attributes)
    if full and full != text:
        add(element, "title", full)
    return element


def add_image(parent: Element, png: str, x: float, y: float, width: float, height: float) -> None:
    """Show a PNG file, in base64, whose pixels are squares of one colour however large they are."""
    source = f"data:image/png;base64,{png}"
    add(parent, "image", href=source, x=x, y=y, width=width, height=height, class_="pixels")


def beside_each_other(charts: Sequence[Chart], columns: int, label: str) -> Chart:
    """One chart of several, in rows of up to `columns`, all as large as the largest."""
    columns = min(columns, len(charts))
    width, height = (max(sizes) for sizes in zip(*((part.width, part.height) for part in charts), strict=True))
    rows = -(-len(charts) // columns)
    sheet = chart(math.ceil(columns * (width + GAP) + GAP), math.ceil(rows * (height + GAP) + GAP), label)
    for number, part in enumerate(charts):
        row, column = divmod(number, columns)
        # A group, and not an <svg>, which would be clipped: slow to render.
        x, y = GAP + column * (width + GAP), GAP + row * (height + GAP)
        group = add(sheet.root, "g", transform=f"translate({x:g} {y:g})")
        group.extend(part.root)
    return sheet


def xml_text(text: str) -> str:
    """The text with a sign of its own for each character that XML cannot hold."""
    return NOT_IN_XML.sub("\ufffd", text)


def text_width(text: str, size: float = NORMAL) -> float:
    """About how wide a text is."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return size * (LETTER_WIDTH * (len(text) - wide) + wide)


def fit_text(text: str, width: float, size: float = NORMAL) -> str:
    """The text, with an ellipsis in its middle where it is wider than that."""
    length = len(text)
    while length > 3 and text_width(cut_middle(text, length), size) > width:
        length -= 1
    return cut_middle(text, length)

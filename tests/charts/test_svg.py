"""The elements of charts: what is written of texts and numbers, and where charts stand beside each other."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from kd_runner.charts.svg import add, add_text, beside_each_other, chart, fit_text, fluid_chart, text_width, xml_text


def test_elements_say_their_numbers_shortly_and_their_texts_safely() -> None:
    picture = chart(100, 50, 'a "label" <b>')
    add(picture.root, "rect", x=1 / 3, width=100.0, class_="more", fill_opacity=0.5)
    add_text(picture.root, 10.0, 20.0, "a & <b>", "small end", full="all of it")
    root = ElementTree.fromstring(str(picture))
    rect, text = root
    assert root.attrib["aria-label"] == 'a "label" <b>'
    assert root.attrib["viewBox"] == "0 0 100 50"
    assert dict(rect.attrib) == {"x": "0.33", "width": "100", "class": "more", "fill-opacity": "0.5"}
    assert (text.text, text.attrib["y"], text[0].text) == ("a & <b>", "23.85", "all of it")


def test_signs_that_xml_cannot_hold() -> None:
    assert xml_text("a\x00b\ud800c\ufffed\n🦊") == "a\ufffdb\ufffdc\ufffdd\n🦊"
    picture = fluid_chart(10, "\x1b[31m")
    add_text(picture.root, "5%", "50%", "\x00")
    assert ElementTree.fromstring(str(picture))[0].text == "\ufffd"


def test_charts_beside_each_other() -> None:
    charts = [chart(100, 50, "a"), chart(80, 60, "b"), chart(10, 10, "c")]
    for part in charts:
        add(part.root, "circle", r=1)
    sheet = beside_each_other(charts, 2, "all")
    assert (sheet.width, sheet.height) == (2 * 100 + 3 * 20, 2 * 60 + 3 * 20)
    assert [group.attrib["transform"] for group in sheet.root] == [
        "translate(20 20)",
        "translate(140 20)",
        "translate(20 100)",
    ]
    assert all(len(group) == 1 for group in sheet.root)
    assert beside_each_other(charts[:1], 3, "one").width == 140


@pytest.mark.parametrize(
    ("name", "width", "shown"),
    [
        ("cat", 100.0, "cat"),
        ("a name of many words", 80.0, "a name …rds"),
        ("猫の名前はとても", 50.0, "猫の…も"),
        ("abcd", 0.0, "a…d"),
    ],
)
def test_names_that_are_too_wide_are_cut(name: str, width: float, shown: str) -> None:
    assert fit_text(name, width) == shown
    assert text_width(shown) <= max(width, text_width("a…d"))

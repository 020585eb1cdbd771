"""Names in files, as messages show them."""

from __future__ import annotations

from kd_runner.networks.names_in_files import first_names, short_printable


def test_a_name_is_one_line_of_at_most_so_many_letters() -> None:
    assert short_printable("layer.\x1b[31m\nweight") == r"layer.\x1b[31m\nweight"
    assert short_printable("gewicht_ü") == "gewicht_ü"
    assert short_printable("a" * 100) == "a" * 100
    assert short_printable("a" * 101) == "a" * 99 + "…"


def test_the_remaining_names_are_counted() -> None:
    assert first_names(["a", "b"], 2) == "a, b"
    assert first_names(["a", "b\n", "c", "d"], 2) == r"a, b\n and 2 more"

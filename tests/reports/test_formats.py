"""Numbers as people read them."""

from kd_runner.reports.formats import clock, count, number_or_text, percent, points


def test_time_in_words() -> None:
    assert [clock(seconds) for seconds in (None, 0.5, 59.94, 200, 18_420)] == [
        "–",
        "0.5 s",
        "59.9 s",
        "3 min 20 s",
        "5 h 07 min",
    ]


def test_numbers_in_words() -> None:
    assert [percent(value) for value in (None, 0.5, 0.98765)] == ["–", "50.00 %", "98.77 %"]
    assert [points(value) for value in (None, 0.5, -0.00123)] == ["–", "+50.00", "-0.12"]
    assert [count(value) for value in (None, 12, 1234567.4)] == ["–", "12", "1,234,567"]


def test_values_of_settings_are_sorted_by_what_they_are_worth() -> None:
    assert sorted(["10", "soft", "2", "1e-3", "dkd"], key=number_or_text) == ["1e-3", "2", "10", "dkd", "soft"]

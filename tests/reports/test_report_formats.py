"""The order of a setting's values in a report."""

from kd_runner.reports.formats import number_or_text


def test_values_of_settings_are_sorted_by_what_they_are_worth() -> None:
    assert sorted(["10", "soft", "2", "1e-3", "dkd"], key=number_or_text) == ["1e-3", "2", "10", "dkd", "soft"]

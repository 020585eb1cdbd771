import pytest

from kd_runner import redaction
from kd_runner.redaction import hide_values


def test_secrets_are_hidden_below_their_keys() -> None:
    content = {"token": "a", "dataset": {"root": "b", "token": "c"}, "root": "d"}
    assert hide_values(content, ["token", "dataset.root"]) == {
        "token": "***",
        "dataset": {"root": "***", "token": "c"},
        "root": "d",
    }


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://u:SECRET@h/db", "postgresql://u:***@h/db"),
        ("postgresql://h/db?user=u&password=SECRET&x=1", "postgresql://h/db?user=u&password=***&x=1"),
        ("postgresql://u:/SE C\\,R@ET@${oc.env:HOST}/db", "postgresql://u:***@${oc.env:HOST}/db"),
        ("postgresql://u:${oc.env:PASSWORD}@h/db", "postgresql://u:${oc.env:PASSWORD}@h/db"),
        ("sqlite:////data/study.db", "sqlite:////data/study.db"),
    ],
)
def test_the_password_of_an_address_is_hidden_and_what_names_it_is_not(address: str, shown: str) -> None:
    assert redaction.without_password(address) == shown

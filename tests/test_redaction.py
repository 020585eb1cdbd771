import re
from collections.abc import Iterator

import pytest

from kd_runner import redaction
from kd_runner.config.conf_dir import CONF_DIR
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


@pytest.fixture
def nothing_hidden() -> Iterator[None]:
    redaction.forget()
    yield
    redaction.forget()


def test_the_variables_of_our_own_yaml_are_those_that_are_shown() -> None:
    texts = [path.read_text() for path in CONF_DIR.rglob("*.yaml")]
    assert {name for text in texts for name in re.findall(r"oc\.env:(\w+)", text)} == redaction.SHOWN


def test_the_folder_of_data_is_shown_and_what_else_stands_in_the_same_text_is_not(nothing_hidden: None) -> None:
    redaction.hide({"KD_RUNNER_DATA": "/big/data", "TOKEN": "s3cr3t-XYZ"}, ["dataset.root"])
    assert redaction.explain("no CIFAR100 under /big/data") == "no CIFAR100 under /big/data"
    assert redaction.mask("/big/data/s3cr3t-XYZ") == "/big/data/***"
    redaction.hide_made_of(["cats-and"], "${f:x}", ["KD_RUNNER_DATA", "TOKEN"])
    assert redaction.mask("cats-and") == "***"
    redaction.hide_made_of(["dogs-and"], "${f:x}", ["KD_RUNNER_DATA"])
    assert redaction.mask("dogs-and") == "dogs-and"
    redaction.hide_made_of("/big/data", "${oc.env:KD_RUNNER_DATA,'~/x'}", ["TOKEN", "KD_RUNNER_DATA"])  # of one job
    assert redaction.mask("/big/data") == "/big/data"


def test_a_secret_with_the_value_of_the_data_folder_is_hidden(nothing_hidden: None) -> None:
    redaction.hide({"KD_RUNNER_DATA": "/big/data", "TOKEN": "/big/data"})
    assert redaction.mask("under /big/data") == "under ***"

"""A mode takes its weight from the data set where that has one for it, and else the published one."""

from __future__ import annotations

import pytest
import yaml
from conftest import composed

from kd_runner.config.conf_dir import CONF_DIR

OF_DIGITS: dict[str, float] = yaml.safe_load((CONF_DIR / "dataset" / "digits.yaml").read_text())["default_weights"]


@pytest.mark.parametrize(
    ("words", "weight"),
    [
        (["dataset=digits"], OF_DIGITS["at"]),
        (["dataset=digits", "++dataset.default_weights=null"], 1000.0),
        (["dataset=digits", "distillation.weight=5"], 5.0),
        (["dataset=fashion_mnist"], 1000.0),
    ],
)
def test_the_weight_of_attention_transfer(words: list[str], weight: float) -> None:
    assert composed("distillation=at", *words)["distillation"]["weight"] == weight


def test_a_further_mode_has_the_same_weight() -> None:
    assert composed("+distillation@plus.at=at")["plus"]["at"]["weight"] == OF_DIGITS["at"] != 1000.0


@pytest.mark.parametrize("mode", sorted(OF_DIGITS))
def test_the_file_of_each_mode_reads_its_weight(mode: str) -> None:
    weight = yaml.safe_load((CONF_DIR / "distillation" / f"{mode}.yaml").read_text())["weight"]
    assert weight.startswith(f"${{oc.select:dataset.default_weights.{mode},")

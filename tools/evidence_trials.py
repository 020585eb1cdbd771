"""The settings that a search tries for each mode."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import yaml
from evidence_pairs import ALONE, LONGER, ROOT, Pair

# Three temperatures to try, for modes whose loss has one; the default of the mode is among them.
TEMPERATURES: dict[str, tuple[float, float, float]] = {
    **dict.fromkeys(("soft", "hybrid", "dkd", "dist", "mlkd", "wsld", "tf_kd_self"), (2.0, 4.0, 8.0)),
    **dict.fromkeys(("nkd", "ofa", "logit_standardization", "function_matching"), (1.0, 2.0, 4.0)),
    "tf_kd_reg": (10.0, 20.0, 40.0),
}
# What is tried in place of the weight, where a weight without labels beside it only scales the gradient.
INSTEAD_OF_WEIGHT: dict[str, tuple[str, tuple[Any, ...]]] = {
    "hybrid": ("soft_share", (0.6, 0.9)),
    "hard": ("label_weight", (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)),
    "label_smoothing": ("smoothing", (0.02, 0.05, 0.1, 0.2, 0.3, 0.4)),
    "simkd": ("reduction", (1, 2, 4)),
    "function_matching": ("label_weight", (0.0, 0.1)),
}
FACTORS_OF_WEIGHT = (0.03, 0.1, 0.3, 1, 3, 10)


def weight_of(mode: str) -> float:
    """The published weight of a mode's loss, which is its default where the data set has no other."""
    weight = yaml.safe_load((ROOT / "conf" / "distillation" / f"{mode}.yaml").read_text())["weight"]
    expression = re.fullmatch(r"\$\{oc\.select:dataset\.default_weights\.\w+,(.+)\}", str(weight))
    return float(expression[1] if expression else weight)


def default_weights(dataset: str) -> dict[str, float]:
    """The weights of modes that a data set has in place of the published ones, by the modes' names."""
    weights = yaml.safe_load((ROOT / "conf" / "dataset" / f"{dataset}.yaml").read_text()).get("default_weights")
    return weights or {}


def trials(mode: str, pair: Pair) -> list[dict[str, Any]]:
    """The settings that a search tries for a mode: twelve, or six, for every mode alike."""
    count = 12 if pair.full else 6
    low, high = pair.rates
    if not high:  # the weight alone
        return [{"distillation.weight": float(f"{weight_of(mode) * factor:.3g}")} for factor in FACTORS_OF_WEIGHT]
    if mode in ALONE:
        longer = {"student.epochs": pair.longer} if mode == LONGER else {}
        return [{"optimizer.lr": round(float(rate), 5), **longer} for rate in np.geomspace(low / 4, high * 4, count)]
    weight = weight_of(mode)
    temperatures = TEMPERATURES.get(mode, ())
    name, values = INSTEAD_OF_WEIGHT.get(mode, ("weight", ()))
    if not values:
        factors = (1, 4) if temperatures else FACTORS_OF_WEIGHT
        values = tuple(float(f"{weight * factor:.3g}") for factor in factors)
    grid: Iterable[Mapping[str, Any]]
    if temperatures:
        grid = (
            {f"distillation.{name}": value, "temperature.value": temperature}
            for value, temperature in itertools.product(values, temperatures)
        )
        rates: Sequence[float] = pair.rates if pair.full else pair.rates[1:]
    else:
        grid = ({f"distillation.{name}": value} for value in values)
        rates = pair.rates if pair.full else pair.rates[1:]
        if len(values) == 3:
            rates = (low / 2, low, high, high * 2) if pair.full else pair.rates
    chosen = [{**settings, "optimizer.lr": rate} for settings, rate in itertools.product(grid, rates)]
    assert len(chosen) == count, (mode, len(chosen))
    return chosen

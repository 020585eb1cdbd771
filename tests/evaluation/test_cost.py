"""The cost of a network with sizes that a person can count."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kd_runner.evaluation import cost as module
from kd_runner.evaluation.cost import cost, inference


def test_parameters_and_products_are_counted() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(2 * 4 * 4, 5))
    assert cost(network, torch.zeros(1, 1, 4, 4)) == {
        "parameters": 2 * 9 + 2 + 32 * 5 + 5,
        "macs": 16 * 2 * 9 + 32 * 5,
    }


def test_inference_has_times_of_one_and_of_many_memory_and_no_energy_where_nobody_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "energy_counter", lambda _: None)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    record, larger = inference([network, nn.Sequential(nn.Flatten(), nn.Linear(4, 30))], (1, 2, 2), torch.device("cpu"))
    assert (record["one"]["images"], record["many"]["images"]) == (1, 64)
    for name in ("one", "many"):
        assert 0 < record[name]["median"] <= record[name]["p95"] < 1
    weights = 4 * (4 * 3 + 3)
    assert record["peak_memory"] == {"one": weights + 4 * 7, "many": weights + 64 * 4 * 7}
    assert (record["energy"], record["energy_counter"]) == (None, None)
    assert record["threads"] == torch.get_num_threads()
    assert larger["peak_memory"]["one"] == 4 * (4 * 30 + 30) + 4 * 34
    assert inference([network], (1, 2, 2), torch.device("cpu"), most=20)[0]["many"]["images"] == 20

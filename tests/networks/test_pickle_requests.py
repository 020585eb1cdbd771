"""The classes and functions that a pickle asks for, listed without loading it."""

from __future__ import annotations

import fractions
import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from kd_runner.networks.pickle_requests import requested_globals


@pytest.mark.parametrize("protocol", [2, 4])
def test_requests_have_their_key_and_the_texts_around_them(protocol: int) -> None:
    content: dict[str, Any] = {"epoch": 3, "share": fractions.Fraction(1, 3), "again": fractions.Fraction(2, 3)}
    requests = requested_globals(io.BytesIO(pickle.dumps(content, protocol)))
    assert requests.names == ["fractions.Fraction"]
    assert requests.protocol == protocol
    assert not requests.alone
    assert requests.texts >= {"epoch", "share", "again"}
    assert requests.suspicious == ["fractions.Fraction"]
    assert requests.key == ("share" if protocol == 2 else "")


def test_one_object_stands_alone() -> None:
    requests = requested_globals(io.BytesIO(pickle.dumps(nn.ReLU(), 2)))
    assert requests.names[0] == "torch.nn.modules.activation.ReLU"
    assert requests.alone
    assert requests.suspicious == []


def test_plain_values_are_no_requests() -> None:
    content = {"accuracy": np.float64(0.5), "size": torch.Size([1]), "dtype": torch.float32}
    assert requested_globals(io.BytesIO(pickle.dumps(content, 2))).names == []


def test_python_2s_names_are_python_3s() -> None:
    assert requested_globals(io.BytesIO(b"c__builtin__\neval\n.")).names == ["builtins.eval"]


def test_a_broken_pickle_is_read_up_to_its_first_error() -> None:
    assert requested_globals(io.BytesIO(b"cos\nsystem\n\xff\xff")).names == ["os.system"]
    assert requested_globals(io.BytesIO(b"")).names == []


def test_the_second_pickle_is_read_where_it_is_asked_for() -> None:
    both = pickle.dumps(1, 2) + b"cos\nsystem\n."
    assert requested_globals(io.BytesIO(both)).names == []
    assert requested_globals(io.BytesIO(both), pickles=2).names == ["os.system"]

"""Rows of a batch, and sums and messages between processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from several_processes import in_processes

from kd_runner.errors import RunFailed
from kd_runner.process_group import SINGLE_PROCESS, ProcessGroup, Rows


@pytest.mark.parametrize(("count", "size"), [(8, 2), (7, 2), (2, 3), (37, 4), (1, 1)])
def test_each_image_is_of_one_process(count: int, size: int) -> None:
    rows = [ProcessGroup(rank, size).rows(count) for rank in range(size)]
    assert [number for part in rows for number in range(part.start, part.end)] == list(range(count))
    assert max(part.count for part in rows) - min(part.count for part in rows) <= 1
    assert sum(part.share for part in rows) == pytest.approx(1)
    assert all(part.count <= ProcessGroup(rank, size).rows(37 * size).count for rank, part in enumerate(rows))


def test_a_process_without_others_exchanges_nothing() -> None:
    values = torch.ones(3, requires_grad=True)
    SINGLE_PROCESS.broadcast({"nobody": "reads this"})
    SINGLE_PROCESS.sum_gradients([values])
    assert SINGLE_PROCESS.all_reduce_sum(values) is values
    assert not SINGLE_PROCESS.are_several


def _exchanged(process_group: ProcessGroup) -> dict[str, Any]:
    """What each of two processes gets: a message, a whole batch of 3 images, and the gradients of its own rows."""
    message = {"weights": torch.arange(3.0), "of": ["a", 1, None]}
    if process_group.rank == 0:
        process_group.broadcast(message)
    got = message if process_group.rank == 0 else process_group.receive_broadcast()
    rows = process_group.rows(3)
    own = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])[rows.start : rows.end].requires_grad_()
    whole = process_group.all_gather_rows(own, rows)
    (whole.prod(0).sum() * rows.share).backward()
    assert own.grad is not None
    weight = torch.zeros(2, 2, requires_grad=True)
    weight.grad = torch.full((2, 2), 1.0 + process_group.rank).t()
    idle = torch.zeros(2, requires_grad=True)
    process_group.sum_gradients([weight, idle])
    assert idle.grad is None
    return {"message": got, "whole": whole.detach(), "own": own.grad, "weight": weight.grad}


def test_what_two_processes_exchange(tmp_path: Path) -> None:
    answers = in_processes(2, tmp_path, _exchanged)
    for answer in answers:
        assert answer["message"]["of"] == ["a", 1, None]
        assert answer["message"]["weights"].tolist() == [0, 1, 2]
        assert answer["whole"].tolist() == [[1, 2], [3, 4], [5, 6]]
        assert answer["weight"].tolist() == [[3, 3], [3, 3]]
    # Of 1 · 3 · 5 + 2 · 4 · 6, whoever computed the loss.
    gradients = torch.cat([answer["own"] for answer in answers])
    torch.testing.assert_close(gradients, torch.tensor([[15.0, 24.0], [5.0, 12.0], [3.0, 8.0]]))


def test_an_error_is_explained_where_a_process_has_ended() -> None:
    broken, other = RuntimeError("[gloo/transport] Connection closed by peer"), RuntimeError("shapes differ")
    assert SINGLE_PROCESS.with_cause(broken) is broken
    process_group = ProcessGroup(0, 2, lambda: "process 1 of 2 has ended")
    assert process_group.with_cause(other) is other
    assert isinstance(process_group.with_cause(broken), RunFailed)
    assert str(process_group.with_cause(broken)) == "process 1 of 2 has ended"
    assert ProcessGroup(0, 2).with_cause(broken) is broken


def test_the_share_of_no_rows_is_nothing() -> None:
    assert Rows(2, 2, 2).count == 0
    assert Rows(2, 2, 2).share == 0

"""The processes that share one run, each with a device: what a batch is for each, and what they compute together.

Process 0 does everything that one process does, and alone writes files. The others only take their rows of each
batch while a stage trains, and get from process 0 what they need for it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from kd_runner.errors import RunFailed

PATIENCE = timedelta(days=30)  # for a message: process 0 may wait for another job that trains the teacher
LOST = ("gloo", "NCCL", "ncclUnhandled", "Connection closed", "Connection reset", "Broken pipe", "Socket", "TCPStore")


@dataclass(frozen=True)
class Rows:
    """The rows of a batch that one process computes: from `start` to before `end`, of `of` images.

    A process that has none computes the batch's first image, which then counts nowhere.
    """

    start: int
    end: int
    of: int

    @property
    def count(self) -> int:
        return self.end - self.start

    @property
    def share(self) -> float:
        """The share of the batch's images: the weight of a mean over them in the mean over the batch."""
        return self.count / self.of


class ProcessGroup:
    """The process group of a run, seen from one of its processes. With one process every operation returns its input.

    Args:
        rank: The number of this process, from 0.
        size: The number of processes.
        lost: Called after an error of communication: the reason, in words, where another process has ended.
    """

    def __init__(self, rank: int = 0, size: int = 1, lost: Callable[[], str | None] = lambda: None) -> None:
        self.rank, self.size, self.lost = rank, size, lost
        self.steps = 0  # steps whose gradients were summed: a sign of life
        self._messages: Any = None  # the group in which messages are sent, which may wait long

    @property
    def are_several(self) -> bool:
        return self.size > 1

    def join(self, store: torch.distributed.Store, on_gpu: bool) -> None:
        """Meet the other processes at `store`."""
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        torch.distributed.init_process_group(backend, store=store, rank=self.rank, world_size=self.size)
        self._messages = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)

    def leave(self) -> None:
        """Part from the other processes."""
        if self._messages is not None:
            self._messages = None
            torch.distributed.destroy_process_group()

    def broadcast(self, message: dict[str, Any] | None) -> None:
        """Send plain data and tensors from process 0 to all others; None tells them that the training is over.

        Raises:
            RunFailed: one of them has ended.
        """
        if self._messages is None:
            return
        content = io.BytesIO()
        torch.save(message, content)
        self._exchange(torch.frombuffer(bytearray(content.getvalue()), dtype=torch.uint8))

    def receive_broadcast(self) -> Any:
        """The next message of process 0."""
        return torch.load(io.BytesIO(self._exchange().numpy().tobytes()), weights_only=True)

    def _exchange(self, content: Tensor | None = None) -> Tensor:
        size = torch.tensor([0 if content is None else len(content)])
        try:
            torch.distributed.broadcast(size, src=0, group=self._messages)
            content = torch.empty(int(size), dtype=torch.uint8) if content is None else content
            torch.distributed.broadcast(content, src=0, group=self._messages)
        except RuntimeError as error:
            raise self.with_cause(error) from error
        return content

    def with_cause(self, error: RuntimeError) -> RuntimeError:
        """A RunFailed that names the process which has ended, where that is the reason of `error`; else `error`."""
        if not self.are_several or not any(sign in str(error) for sign in LOST):
            return error
        reason = self.lost()
        return error if reason is None else RunFailed(reason)

    def rows(self, count: int) -> Rows:
        """The rows that this process has of a batch of `count` images: as many as the others, or one more."""
        share, remainder = divmod(count, self.size)
        start = self.rank * share + min(self.rank, remainder)
        return Rows(start, start + share + (self.rank < remainder), count)

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """`values`, in place, summed over the processes; without a gradient."""
        if self.are_several:
            torch.distributed.all_reduce(values)
        return values

    def sum_with_gradient(self, values: Tensor) -> Tensor:
        """The sum of `values` over the processes; the gradient of each is the sum of the gradients of all sums."""
        summed: Tensor = _sum_with_gradient(values)
        return summed

    def all_gather_rows(self, values: Tensor, rows: Rows) -> Tensor:
        """The values [of, …] of all images of a batch, from each process's own [count, …], with gradient."""
        values_of_batch = values.new_zeros(rows.of, *values.shape[1:])
        values_of_batch[rows.start : rows.end] = values[: rows.count]
        return self.sum_with_gradient(values_of_batch)

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Sum the gradients of the parameters over the processes, in one exchange for each type of number."""
        if not self.are_several:
            return
        self.steps += 1
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is not None:
                by_type.setdefault(parameter.grad.dtype, []).append(parameter.grad)
        for gradients in by_type.values():
            summed = self.all_reduce_sum(torch.cat([gradient.reshape(-1) for gradient in gradients]))
            pieces = summed.split([gradient.numel() for gradient in gradients])
            for gradient, piece in zip(gradients, pieces, strict=True):
                gradient.copy_(piece.view(gradient.shape))


SINGLE_PROCESS = ProcessGroup()  # one process without others


class _SumWithGradient(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        summed = values.detach().clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        summed = gradient.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(summed)
        return summed


@torch.compiler.disable
def _sum_with_gradient(values: Tensor) -> Any:
    return _SumWithGradient.apply(values)

"""Whole training steps as CUDA graphs: the GPU is handed all kernels of a step at once.

A step of a small network takes a GPU less time than the CPU needs to start its kernels one by one. A graph of a step is
captured once and replayed for each batch, which is copied into the memory that the graph reads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from kd_runner.errors import one_line
from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.input_pipeline.device_copy import sent

log = logging.getLogger(__name__)

WARM_UP = (
    3  # steps of the same kind before one is captured: libraries choose their kernels, optimizers make their states
)
MOST = 8  # graphs of one training, each of which keeps the memory of a step

CAPTURABLE = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)

StepResult = tuple[dict[str, Tensor], Tensor]  # losses by name, and logits
Step = Callable[[Batch], StepResult]
Replay = Callable[[], StepResult]


@dataclass
class Captured:
    """A graph, and the batch whose memory it reads."""

    batch: Batch
    replay: Replay


class StepGraphs:
    """Takes steps through graphs where it can, and as they are where it cannot.

    Args:
        capture: Makes a replay of a function's kernels, without running them; raises RuntimeError where that cannot be.
        warm_up: Runs a function as capturing asks for.
    """

    def __init__(
        self,
        device: torch.device,
        capture: Callable[[Replay], Replay],
        warm_up: Callable[[Replay], StepResult] = lambda run: run(),
    ) -> None:
        self.device, self.capture, self.warm_up = device, capture, warm_up
        self.is_working = True
        self._graphs: dict[Hashable, Captured] = {}
        self._seen: tuple[Hashable, int] = (None, 0)  # the kind of the last steps, and how many they were

    def prepare(self, optimizer: torch.optim.Optimizer) -> None:
        """Put the learning rates and counters of the optimizer where a graph can read and change them.

        Optimizers other than PyTorch's own stay as they are, and their steps: they may keep what they know in other
        memory at each step, which a graph would not follow.
        """
        if type(optimizer) not in CAPTURABLE:
            self._give_up(f"{type(optimizer).__name__} is none of {', '.join(kind.__name__ for kind in CAPTURABLE)}")
            return
        for group in optimizer.param_groups:
            group.setdefault("base_lr", float(group["lr"]))
            group["lr"] = torch.tensor(float(group["lr"])).to(self.device)
            if "capturable" in group:
                group["capturable"] = self.device.type == "cuda"

    def take(self, step: Step, batch: Batch, numbers: Hashable) -> StepResult:
        """A step on the batch.

        Args:
            step: The step as it is. Its kernels depend on shapes, `numbers` and the tensors of the batch alone.
            numbers: All numbers of the CPU that the step depends on; None where the step cannot be captured.
        """
        if numbers is None or not self.is_working:
            return step(batch)
        kind = (numbers, _shapes(batch))
        captured = self._graphs.get(kind)
        if captured is None:
            if not self._is_worth_it(kind):
                return self.warm_up(lambda: step(batch))
            captured = self._capture_step(step, batch)
            if captured is None:
                return step(batch)
            self._graphs[kind] = captured
        _fill(captured.batch, batch, self.device)
        losses, logits = captured.replay()
        # The next replay writes over them.
        return {name: loss.clone() for name, loss in losses.items()}, logits.clone()

    def _is_worth_it(self, kind: Hashable) -> bool:
        """True for a step of the same kind as the steps before it: others come once, such as an epoch's last batch."""
        last, count = self._seen
        self._seen = (kind, count + 1 if kind == last else 1)
        return self._seen[1] > WARM_UP and len(self._graphs) < MOST

    def _capture_step(self, step: Step, batch: Batch) -> Captured | None:
        fixed = _copy_on(self.device, batch)
        try:
            return Captured(fixed, self.capture(lambda: step(fixed)))
        except RuntimeError as error:
            self._give_up(one_line(error))
            return None

    def _give_up(self, reason: str) -> None:
        self.is_working = False
        log.info("graph     off: steps cannot be captured as CUDA graphs (%s)", reason)


def _tensors(batch: Batch) -> dict[str, Tensor]:
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def _shapes(batch: Batch) -> Hashable:
    return tuple((name, value.shape, value.stride()) for name, value in _tensors(batch).items())


def _copy_on(device: torch.device, batch: Batch) -> Batch:
    """The batch in memory of its own on the device, its share of mixing too where images are mixed."""
    copies = {name: torch.empty_like(value, device=device) for name, value in _tensors(batch).items()}
    share = batch.share if batch.partners is None else torch.empty((), device=device)
    return replace(batch, **copies, share=share)  # type: ignore[arg-type]


def _fill(fixed: Batch, batch: Batch, device: torch.device) -> None:
    """Copy the batch into the memory that a graph reads."""
    for name, value in _tensors(batch).items():
        getattr(fixed, name).copy_(sent(value, device), non_blocking=True)
    if isinstance(fixed.share, Tensor):
        fixed.share.fill_(batch.share)


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set the learning rates to `factor` times those that the optimizer was made with."""
    for group in optimizer.param_groups:
        rate = group.setdefault("base_lr", group["lr"]) * factor
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def graphs_of(is_asked: bool, device: torch.device) -> StepGraphs | None:
    """Graphs of the steps on `device`, where they are asked for and it is a CUDA GPU."""
    return StepGraphs(device, _capture, _on_a_side_stream) if is_asked and device.type == "cuda" else None


def _capture(run: Replay) -> Replay:
    graph = torch.cuda.CUDAGraph()
    # PyTorch's own generator is registered with every graph, so that dropout draws on with each replay.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may load images meanwhile
        result = run()

    def replay() -> StepResult:
        graph.replay()
        return result

    return replay


def _on_a_side_stream(run: Replay) -> StepResult:
    stream, current = torch.cuda.Stream(), torch.cuda.current_stream()
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        result = run()
    current.wait_stream(stream)
    return result

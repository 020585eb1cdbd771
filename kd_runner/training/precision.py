"""Mixed precision: networks compute in 16 bits, losses and optimizers in 32."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from kd_runner.config.field_types import Precision
from kd_runner.config.sections import TrainerSettings
from kd_runner.input_pipeline.step_plan import WHOLE, PartOfStep
from kd_runner.process_group import SINGLE_PROCESS, ProcessGroup

DTYPES = {"32": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def slow_bfloat16(device: torch.device) -> bool:
    """True for a CPU without instructions for bfloat16, which converts to float32 and back at each operation."""
    if device.type != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return False
    is_supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return is_supported is not None and not is_supported()


def computes_with_fewer_bits(trainer: TrainerSettings) -> bool:
    """True where a student computes in its training, also on the validation images, with fewer bits than afterwards."""
    return trainer.quantize is not None or DTYPES[trainer.precision] is not None


def takes_each_gradient(optimizer: torch.optim.Optimizer) -> bool:
    """True for an optimizer that is shown the gradient of each loss by itself."""
    return hasattr(optimizer, "keep")


class Mixed:
    """Automatic mixed precision: networks run under `autocast`, and `step` scales the loss where float16 needs it.

    Where several processes share each batch, a step is along the sum of their gradients.

    Args:
        clip: The norm to which the gradient of a step is clipped; None for none.
    """

    def __init__(
        self,
        precision: Precision,
        device: torch.device,
        process_group: ProcessGroup = SINGLE_PROCESS,
        clip: float | None = None,
    ) -> None:
        self.dtype, self.device, self.process_group, self.clip = DTYPES[precision], device, process_group, clip
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "16-mixed")

    def autocast(self) -> AbstractContextManager[Any]:
        """A context for the networks. It must end before the optimizer steps, as it caches low-precision weights."""
        return nullcontext() if self.dtype is None else torch.autocast(self.device.type, self.dtype)

    def step(self, losses: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, part: PartOfStep = WHOLE) -> None:
        """A step along the gradient of the sum of `losses`; of a part of a step, its gradient, and the step at its end.

        An optimizer with a method `keep(name)` is shown the gradient of each loss by itself before it steps.
        """
        if not takes_each_gradient(optimizer):
            self._backward(functools.reduce(torch.add, losses.values()), optimizer, part=part)
        else:
            keep = optimizer.keep  # type: ignore[attr-defined]
            self._forget_gradients(optimizer)  # those of the last step, where no loss has one now
            for number, (name, loss) in enumerate(losses.items(), 1):
                if loss.requires_grad:
                    self._backward(loss, optimizer, retain_graph=number < len(losses))
                    keep(name)
        if not part.is_last:
            return
        if self.clip is not None:
            self.scaler.unscale_(optimizer)  # nothing where the loss is not scaled
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, self.clip)
        if self.scaler.is_enabled():
            self.scaler.step(optimizer)
            self.scaler.update()
        else:
            optimizer.step()

    def _forget_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        for group in optimizer.param_groups:  # as zero_grad does, without its profiling
            for parameter in group["params"]:
                parameter.grad = None

    def _backward(
        self, loss: Tensor, optimizer: torch.optim.Optimizer, retain_graph: bool = False, part: PartOfStep = WHOLE
    ) -> None:
        if part.is_first:
            self._forget_gradients(optimizer)
        self.scaler.scale(loss).backward(retain_graph=retain_graph)
        if part.is_last:
            self.process_group.sum_gradients(
                parameter for group in optimizer.param_groups for parameter in group["params"]
            )

"""A student's step is one graph for torch.compile: its forward pass, all losses, and the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mode_names import modes_of_any_student
from torch import Tensor

from kd_runner.config.settings import Settings
from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.outputs import Outputs
from kd_runner.runs.assembly import assemble

MODES = modes_of_any_student()
OWN = {
    "crd": ["distillation.negatives=50"],  # there are fewer digits than its negatives
    "catkd": ["teacher.hidden=[]"],  # class maps are those of a dense layer right behind the maps
    "sdd": ["teacher.hidden=[]"],
}
SMALL = ("teacher.channels=[4,6]", "teacher.hidden=[8]", "student.channels=[4,6]", "batch_size=32")


class Given:
    """A teacher whose outputs are there: they are an input of the student's step."""

    def __init__(self, outputs: Outputs) -> None:
        self.outputs = outputs

    def of_batch(self, batch: Batch) -> Outputs:
        return self.outputs


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
@pytest.mark.parametrize("mode", MODES)
def test_a_step_compiles_without_a_break(
    settings: Callable[..., Settings], mode: str, precision: str, tmp_path: Path
) -> None:
    words = [*SMALL, f"distillation={mode}", *OWN.get(mode, ()), f"trainer.precision={precision}"]
    parts = assemble(settings(*words))
    if parts.recipes["student"].attack is not None:
        pytest.skip("an attack takes gradients within the step, so that only the network is compiled")
    module = parts.distiller(parts.teacher_student_pair())
    module.to("cpu").on_fit_start()
    batches = module.batches.batches()
    module.losses(next(batches), 0.5)  # some losses set themselves by their first batch
    batch = next(batches)
    module.teacher = Given(module.teacher.of_batch(batch))  # type: ignore[assignment]
    state = {name: value.clone() for name, value in module.state_dict().items() if isinstance(value, Tensor)}

    def step(losses_of: Callable[..., tuple[dict[str, Tensor], Tensor]]) -> tuple[float, list[Tensor]]:
        module.load_state_dict(state, strict=False)  # running means and memories move with every step
        module.zero_grad()
        torch.manual_seed(0)
        loss = sum(losses_of(batch, 0.5)[0].values(), start=torch.zeros(()))
        loss.backward()
        return loss.item(), [p.grad.clone() for p in module.network.parameters() if p.grad is not None]

    torch._dynamo.reset()
    # Without the generator of code, so that the test needs no compiler: what cannot be traced breaks the graph here.
    compiled = torch.compile(module.losses, fullgraph=True, dynamic=False, backend="aot_eager")
    (loss, gradients), (compiled_loss, compiled_gradients) = step(module.losses), step(compiled)
    tolerance = 1e-4 if precision == "32" else 3e-2
    if mode not in ("crd", "mgd"):  # which draw negatives and masks, and a compiler draws other ones
        assert compiled_loss == pytest.approx(loss, rel=tolerance)
        torch.testing.assert_close(compiled_gradients, gradients, rtol=tolerance, atol=tolerance)
    assert len(compiled_gradients) == len(gradients) > 0

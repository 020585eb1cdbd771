"""Switches for the training of a stage; everything is off by default."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

ClassWeights = tuple[float, ...] | Literal["balanced"] | None


@dataclass(frozen=True)
class Switches:
    """The switches of a stage's training.

    Args:
        clip: The norm to which the gradient of a step is clipped, above 0; None for none.
        accumulate: The number of batches whose gradients make a step.
        freeze: Patterns of names of layers that do not train; batch norms among them keep their statistics.
        layer_decay: The learning rate of each layer over that of the next one, above 0 and at most 1.
        ema: The decay of an average of the weights, which is kept beside them, above 0 and below 1; None for none.
        class_weights: Weights of the classes in the label loss, 'balanced' for those that give all classes the same
            sum; None: all images count alike.
    """

    clip: float | None = None
    accumulate: int = 1
    freeze: tuple[str, ...] = ()
    layer_decay: float = 1.0
    ema: float | None = None
    class_weights: ClassWeights = None

    def changes(self) -> dict[str, Any]:
        """The differences from a training without any switch, as plain data; an average leaves the weights alone."""
        defaults = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in asdict(self).items() if name != "ema" and value != defaults[name]}


NO_SWITCHES = Switches()

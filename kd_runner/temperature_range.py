"""The range of a softmax temperature, known without torch."""

from __future__ import annotations

# Above this the soft targets are uniform to float32 precision and the loss is rounding noise times its square.
HIGHEST = 1000.0
# Below this only the largest logit counts, and logits divided by it may leave the range of floating-point numbers.
LOWEST = 0.001


def check_temperature(name: str, value: float) -> None:
    """Check that the setting `name` is a temperature.

    Raises:
        ValueError: `value` is not between 0.001 and 1000.
    """
    if not LOWEST <= value <= HIGHEST:
        raise ValueError(f"{name} must be at least {LOWEST:g} and at most {HIGHEST:g}, got {value:g}")

"""A figure: charts that belong together, and what they show in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kd_runner.charts.svg import Chart, beside_each_other


@dataclass(frozen=True)
class Figure:
    """Charts with one caption.

    Args:
        columns: Number of charts that stand beside each other where the width is fixed, as in TensorBoard.
    """

    charts: Sequence[Chart]
    caption: str
    columns: int = 3

    def as_one_chart(self) -> Chart:
        """All charts of the figure in one."""
        return beside_each_other(self.charts, self.columns, self.caption)


def isolate(name: str) -> str:
    """A name in a sentence, which may be written from right to left."""
    return f"\u2068{name}\u2069"

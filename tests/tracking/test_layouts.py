"""The layout of TensorBoard's charts: one for all jobs of a sweep."""

from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.util import tensor_util

from kd_runner.tracking import layouts


def layout_in(folder: Path) -> Layout:
    (event,) = EventAccumulator(str(folder)).Reload().Tensors("custom_scalars__config__")
    return Layout.FromString(tensor_util.make_ndarray(event.tensor_proto).item())


def test_a_run_has_its_own_and_a_sweep_has_one(tmp_path: Path) -> None:
    layouts.write_first(tmp_path / "run" / "tensorboard", is_of_a_sweep=False, several_labels=False)
    titles = [group.title for group in layout_in(tmp_path / "run" / "tensorboard").category]
    assert titles == ["Teacher, baseline, student", "Distillation", "Training"]
    for job in ("0_at", "1_dkd"):
        layouts.write_first(tmp_path / "sweep" / job, is_of_a_sweep=True, several_labels=True)
    assert [path.name for path in (tmp_path / "sweep").iterdir()] == ["leaderboard"]
    first = layout_in(tmp_path / "sweep" / "leaderboard").category[0].chart[0]
    assert first.title == "mAP, validation images"
    assert first.multiline.tag[0].endswith("/val_map$")


def test_groups_that_follow_are_folded() -> None:
    margin = {"Means": {"accuracy": ["Margin", ["mean", "low", "high"]]}}
    message = layouts.summary(margin, closed={"Runs": {"loss": ["Multiline", ["^loss$"]]}})
    layout = Layout.FromString(message.value[0].tensor.string_val[0])
    assert [(group.title, group.closed) for group in layout.category] == [("Means", False), ("Runs", True)]
    (series,) = layout.category[0].chart[0].margin.series
    assert (series.value, series.lower, series.upper) == ("mean", "low", "high")

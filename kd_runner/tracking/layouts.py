"""The layout of the charts in TensorBoard's tab Custom scalars: of a run by itself, and of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.custom_scalar import layout_pb2, metadata

from kd_runner.tracking import event_records

FILE = "events.out.tfevents.0.charts"  # TensorBoard reads files in their order: before that of a report
SUMMARY = "leaderboard"  # the run of a sweep that is of no job: it has the layout, and later the leaderboard's text
Layout = Mapping[str, Mapping[str, Any]]
NETWORKS = "(teacher|baseline|student|finetune|(assistants|generations|peers)[.].+)"
# The group of each chart, its title, and the tags of its curves as regular expressions.
LAYOUT = {
    "Teacher, baseline, student": {
        f"{measure}, {images} images": ["Multiline", [f"^{NETWORKS}/{split}_{measure}$"]]
        for measure in ("accuracy", "loss")
        for split, images in (("val", "validation"), ("train", "training"))
    },
    "Distillation": {
        "parts of the loss": ["Multiline", ["^student/(label_loss|distillation_loss|train_loss)$"]],
        "agreement with the teacher, validation images": ["Multiline", ["^student/val_agreement$"]],
        "KL(teacher || student), validation images": ["Multiline", ["^student/val_kl_to_teacher$"]],
        "agreement with the other peers, validation images": ["Multiline", [f"^{NETWORKS}/val_agreement_with_peers$"]],
        "temperature": ["Multiline", ["^student/temperature$"]],
    },
    "Training": {
        "learning rate": ["Multiline", [f"^{NETWORKS}/learning_rate$"]],
        "training images per second": ["Multiline", [f"^{NETWORKS}/images_per_second$"]],
    },
}
LAYOUT_OF_SEVERAL_LABELS = {
    **LAYOUT,
    "Teacher, baseline, student": {
        "mAP, validation images": ["Multiline", [f"^{NETWORKS}/val_map$"]],
        **{
            f"{name}, {images} images": ["Multiline", [f"^{NETWORKS}/{split}_{measure}$"]]
            for measure, name in (("label_accuracy", "share of labels right"), ("loss", "loss"))
            for split, images in (("val", "validation"), ("train", "training"))
        },
    },
}


def layout_of(several_labels: bool) -> Layout:
    """The charts of runs, by the titles of their groups.

    Args:
        several_labels: True where an image may have several labels, so that there is no accuracy, but mAP.
    """
    return LAYOUT_OF_SEVERAL_LABELS if several_labels else LAYOUT


def write_first(event_folder: Path, is_of_a_sweep: bool, several_labels: bool) -> None:
    """Write the layout of a run that begins; the jobs of a sweep have one in common, which a report replaces.

    Args:
        event_folder: The folder of the run's event files.
    """
    folder = event_folder.parent / SUMMARY if is_of_a_sweep else event_folder
    if is_of_a_sweep and (folder / FILE).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    event_records.write(folder / FILE, [Event(summary=summary(layout_of(several_labels)))])


def summary(layout: Layout, closed: Layout | None = None) -> Summary:
    """The message with a layout.

    Args:
        layout: The charts by the titles of groups and charts, as SummaryWriter.add_custom_scalars takes them.
        closed: Groups that follow, and are folded: TensorBoard reads their curves when they are opened.
    """
    groups = [(title, charts, False) for title, charts in layout.items()]
    groups += [(title, charts, True) for title, charts in (closed or {}).items()]
    categories = [
        layout_pb2.Category(title=title, chart=[_chart(*chart) for chart in charts.items()], closed=is_closed)
        for title, charts, is_closed in groups
    ]
    text = layout_pb2.Layout(category=categories).SerializeToString()
    tensor = TensorProto(dtype=DT_STRING, string_val=[text])
    about = metadata.create_summary_metadata()
    return Summary(value=[Summary.Value(tag=metadata.CONFIG_SUMMARY_TAG, tensor=tensor, metadata=about)])


def _chart(title: str, content: Any) -> layout_pb2.Chart:
    kind, tags = content
    if kind == "Margin":
        mean, low, high = tags
        series = layout_pb2.MarginChartContent.Series(value=mean, lower=low, upper=high)
        return layout_pb2.Chart(title=title, margin=layout_pb2.MarginChartContent(series=[series]))
    return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))

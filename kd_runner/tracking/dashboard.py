"""The parts of TensorBoard that are not curves: layout of charts, figures, texts, the graph and the projector."""

from __future__ import annotations

import logging
import shlex
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from kd_runner.charts.class_change import class_change
from kd_runner.charts.confusion import confusion
from kd_runner.charts.examples import disagreements, soft_targets
from kd_runner.charts.figure import Figure
from kd_runner.charts.png import png
from kd_runner.charts.reliability import reliability
from kd_runner.datasets.splits import Images
from kd_runner.errors import one_line
from kd_runner.evaluation import analysis
from kd_runner.evaluation.predictions import Predictions
from kd_runner.files.results import top5_says_nothing
from kd_runner.files.scores import has_map
from kd_runner.files.stages import STAGES
from kd_runner.formats import count, four_digits
from kd_runner.plain_text import markdown_code, markdown_text, printable
from kd_runner.tracking import layouts
from kd_runner.tracking.logger import RunLogger

log = logging.getLogger(__name__)

PROJECTED, LONGEST_SIDE = 500, 64  # images in the projector, and the pixels of their longer side
SHOWN = ("teacher", "student")  # networks by whose predictions the projector can colour its points
PROJECTOR = "projector_config.pbtxt"  # its file, to which TensorBoard's writer appends
CARD = 380  # width in pixels of a card in the tab Images, which shows a wider picture smaller
# The figures of the predictions, by their titles.
FIGURES: dict[str, Callable[[dict[str, Any]], Figure | None]] = {
    "Confusion matrices": confusion,
    "Per-class change against the baseline": class_change,
    "Reliability": reliability,
    "Disagreements": disagreements,
    "Soft targets": soft_targets,
}
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
WRITTEN_AT_END = ("images/", "precision_recall_", "run/", "custom_scalars", "final/", "_hparams_/")


def begin(
    logger: RunLogger, settings: Mapping[str, Any], overrides: Sequence[str], several_labels: bool = False
) -> None:
    """Write the layout of the shared charts, the command and the settings of a run.

    Args:
        settings: The run's settings as plain data, without secrets.
        several_labels: True where an image may have several labels, so that there is no accuracy, but mAP.
    """
    if not logger.has_events:
        return
    # A resumed run writes these again at its end.
    logger.remove_records(lambda tag, step: tag.startswith(WRITTEN_AT_END) or "/test_" in tag)
    (logger.event_folder / PROJECTOR).unlink(missing_ok=True)
    layouts.write_first(logger.event_folder, logger.is_of_a_sweep, several_labels)
    writer = logger.experiment
    writer.add_text("run/command", markdown_code(shlex.join(["kd-runner", *overrides])))
    content = yaml.dump(
        dict(settings), Dumper=DUMPER, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )
    writer.add_text("run/settings", markdown_code(content, "yaml"))
    writer.flush()


def draw(writer: SummaryWriter, seen: dict[str, Any]) -> None:
    """Show the figures, and the precision and recall of few classes; where an image may have several labels, a table.

    Args:
        seen: The result of `kd_runner.evaluation.analysis`, or of `multi_label_analysis`.
    """
    if "labels" in seen:
        writer.add_text("run/labels", table_of_labels(seen))
        return
    for title, figure_of in FIGURES.items():
        figure = figure_of(seen)
        if figure is not None:
            add_figure(writer, f"images/{title}", figure)
    for role, network in seen["networks"].items():
        curves = network["precision_recall"]
        if curves is not None:
            images = sum(seen["test_images"])
            for number, name in enumerate(analysis.class_names(seen)):
                add_curve(writer, f"precision_recall_{role}/{name['full']}", curves, number, images)


def add_figure(writer: SummaryWriter, tag: str, figure: Figure) -> None:
    """Add the charts of a figure as one picture, as wide as TensorBoard's cards, with the figure's caption."""
    widest = max(part.width for part in figure.charts)
    chart = replace(figure, columns=max(1, int(CARD // widest))).as_one_chart()
    value = Summary.Value(
        tag=tag,
        image=Summary.Image(
            height=int(chart.height), width=int(chart.width), colorspace=3, encoded_image_string=png(chart)
        ),
    )
    value.metadata.summary_description = figure.caption
    writer.file_writer.add_summary(Summary(value=[value]), 0)  # type: ignore[attr-defined]


def add_curve(writer: SummaryWriter, tag: str, curves: Mapping[str, Any], number: int, images: int) -> None:
    """Add the precision and recall of one class at the thresholds of `analysis.precision_recall`."""
    predicted, hits = (torch.tensor(curves[name][number]) for name in ("predicted", "hits"))
    of_class = hits[0]
    writer.add_pr_curve_raw(
        tag,
        hits,
        predicted - hits,
        images - of_class - (predicted - hits),
        of_class - hits,
        hits / predicted.clamp_min(1),
        hits / of_class.clamp_min(1),
        num_thresholds=len(hits),
    )


def log_result_table(writer: SummaryWriter, result: Mapping[str, Any]) -> None:
    """Log the result as a table in Markdown; all numbers but the sizes are of the test images."""
    numbers = [
        "accuracy",
        "balanced_accuracy",
        "top5_accuracy",
        "f1",
        "nll",
        "ece",
        "brier",
        "auroc",
        "average_precision",
    ]
    numbers += ["parameters", "macs", "agreement"]
    numbers = [name for name in numbers if any((result[role] or {}).get(name) is not None for role in STAGES)]
    if top5_says_nothing(result) and "top5_accuracy" in numbers:
        numbers.remove("top5_accuracy")
    if has_map(result):
        numbers = ["map", "f1", "micro_f1", "label_accuracy", "exact_match", "bce", "brier"]
        numbers += ["parameters", "macs", "agreement"]
    rows = [["", *(name.replace("_", " ") for name in numbers)], ["---"] * (len(numbers) + 1)]
    for role in STAGES:
        if result[role]:
            values = [result[role].get(name) for name in numbers]
            cells = [(count if isinstance(value, int) else four_digits)(value, "") for value in values]
            rows.append([role, *cells])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    writer.add_text("run/result", f"On the test images, after the last epoch:\n\n{table}")


def table_of_labels(seen: Mapping[str, Any]) -> str:
    """The average precision of each label on the test images, by network, as a table in Markdown."""
    roles = list(seen["labels"])
    rows = [["label", *roles], ["---"] * (len(roles) + 1)]
    for number, name in enumerate(analysis.class_names(seen)):
        values = [seen["labels"][role]["average_precision"][number] for role in roles]
        rows.append([markdown_text(name["full"]), *(four_digits(value, "") for value in values)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"Average precision of each label on the test images:\n\n{table}"


def add_graph(writer: SummaryWriter, network: nn.Module, image: Tensor) -> None:
    """Log the student's graph, traced with one `image` [1, C, H, W]; a network that cannot be traced is noted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            writer.add_graph(network, image)
        except Exception as error:  # a network may be anyone's; a graph is not worth a failed run
            log.info("note      tracking.graph: the student cannot be traced (%s)", one_line(error))


def project(logger: RunLogger, test: Predictions, images: Images, classes: Sequence[str]) -> None:
    """Log the student's logits of test images, with the images, for TensorBoard's projector.

    A run of peers, or under a teacher without a head, has no teacher's predictions to colour the points by.
    """
    roles = [role for role in SHOWN if role in test.logits]
    count = min(PROJECTED, len(images))
    indices = analysis.spread(len(images), count)
    pixels = images.subset(indices).sample(count).float() / 255
    if max(pixels.shape[2:]) > LONGEST_SIDE:
        pixels = F.interpolate(pixels, scale_factor=LONGEST_SIDE / max(pixels.shape[2:]), mode="area")
    if pixels.shape[1] != 3:
        pixels = pixels[:, :1].expand(-1, 3, -1, -1)
    rows = [
        [
            printable(classes[int(number)])
            for number in (test.labels[index], *(test.logits[role][index].argmax() for role in roles))
        ]
        for index in indices.tolist()
    ]
    shutil.rmtree(logger.event_folder / "00000", ignore_errors=True)
    logger.experiment.add_embedding(
        test.logits["student"][indices.to(test.labels.device)].cpu(),
        metadata=rows,
        label_img=pixels,
        global_step=0,
        tag="student_logits",
        metadata_header=["label", *roles],
    )

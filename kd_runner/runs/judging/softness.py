"""A teacher's soft targets at the run's temperature: they tell nothing where they are flat, or one-hot."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from kd_runner.config.field_types import Node
from kd_runner.config.settings import Settings
from kd_runner.distillation.logit_standardization import LogitStandardization
from kd_runner.distillation.normkd import NormKD
from kd_runner.evaluation.analysis import spread
from kd_runner.formats import percent
from kd_runner.input_pipeline.batches import PlainBatches
from kd_runner.input_pipeline.sources import source_of
from kd_runner.notes import note
from kd_runner.outputs import Outputs
from kd_runner.randomness import seeded_generator
from kd_runner.runs.companions import Companions
from kd_runner.runs.data import Data
from kd_runner.runs.judging.doubts import as_it_was
from kd_runner.tensors import standardize
from kd_runner.training.mode import Mode
from kd_runner.training.recipe import Schedule

SAMPLE = "some training images"  # their name among companions
IMAGES = 256  # the number of training images that are looked at
NEARLY_ALL = 0.99  # the share of images from which on soft targets count as flat, or as one-hot
FLAT = 1.1  # soft targets tell nothing where their largest probability is below 1/K times this
ONE_HOT = 0.999  # soft targets tell only a class where their largest probability is above this
GOOD = 0.5  # a teacher that is right on a larger share of images has learned, however small its logits are
USUAL = 4.0  # a temperature at which nothing is lost
VANISHED = 0.05  # a gradient has vanished below this share of that at the usual temperature
ALIKE = 0.1  # the relative difference of gradients below which two teachers teach the same
# The temperature divided by the spread of the logits, from which on the float32 value of a divergence times T² is
# rounding noise. Its gradient, measured against float64, is then right to 0.1 %, and to 1 % at ten times as much.
NOISE = 2000.0


@dataclass(frozen=True)
class SampleLogits:
    """The logits of teacher and student for some training images, on the CPU.

    Args:
        teacher, student: float32 [N, K].
        labels: int64 [N].
    """

    teacher: Tensor
    student: Tensor
    labels: Tensor


def note_soft_targets(
    modes: Sequence[Mode],
    networks: Mapping[str, nn.Module],
    teacher_node: Node,
    temperature: Schedule,
    settings: Settings,
    data: Data,
    companions: Companions,
) -> None:
    """Note where the run's temperature leaves nothing of what its teacher knows beside the label.

    Args:
        modes: The modes that compare the teacher's logits at the temperature.
        networks: The teacher with its final weights and the student with its first, by 'teacher' and 'student'.
        teacher_node: The node that builds the teacher, here and below.
        companions: The runs of this process, here and below; those with the same teacher share what it gives.
    """
    if not modes:
        return
    with torch.no_grad():
        temperatures = [float(temperature(progress)) for progress in (0.0, 1.0)]
    nodes = {"teacher": teacher_node, "student": settings.student.node}
    sample = logits_of_training_images(networks, nodes, data, companions)
    for mode in modes:
        text = temperature_fault(mode, sample, temperatures, temperature_settings(settings.temperature))
        if text is not None:
            note("settings", text)


def note_low_temperature(
    modes: Sequence[Mode], temperature: Schedule, settings: Settings, temperature_modes: Collection[str]
) -> None:
    """Note, before anything trains, where a temperature below 1 sharpens the targets.

    Args:
        temperature_modes: The keys of the modes whose loss depends on the temperature, as `rehearsal.rehearse` finds
            them.
    """
    with torch.no_grad():
        coolest = min(float(temperature(0.0)), float(temperature(1.0)))
    with_teacher = any(mode.key in temperature_modes and mode.needs.teacher_logits for mode in modes)
    if coolest < 1 and temperature_modes:
        subject = "the teacher's" if with_teacher else "the target"  # tf_kd_reg has no teacher
        note(
            "settings",
            f"a temperature below 1 ({coolest:g}) sharpens {subject} probabilities towards hard labels; distillation "
            f"usually softens them, with a temperature above 1 ({temperature_settings(settings.temperature)})",
        )


def logits_of_training_images(
    networks: Mapping[str, nn.Module], nodes: Mapping[str, Node], data: Data, companions: Companions
) -> SampleLogits:
    """The logits of both networks for some training images, unaugmented, before the student trains."""
    networks = {"teacher": networks["teacher"], "student": copy.deepcopy(networks["student"])}
    with as_it_was(networks["teacher"]):
        predictions = companions.predictions(SAMPLE, networks, nodes, data, partial(sample_batches, data))
    # Clones made out here are ordinary tensors, which a loss may differentiate.
    teacher_logits, student_logits = (predictions.logits[role].cpu().clone() for role in networks)
    return SampleLogits(teacher_logits, student_logits, predictions.labels.cpu().clone())


def sample_batches(data: Data) -> PlainBatches:
    """Some of the student's training images, unaugmented."""
    split = data.student_images
    source = source_of(split.subset(spread(len(split), IMAGES)), data.device, data.settings.residency)
    return PlainBatches(source, data.view, data.evaluation_batch)


def certainty(
    teacher: nn.Module, teacher_node: Node, temperature: Schedule, data: Data, companions: Companions
) -> dict[str, float]:
    """The accuracy and certainty of a teacher on some of the student's training images, unaugmented, for result.json.

    `accuracy` is the share of the images that it is right on, `largest_probability` the mean of its largest probability
    at `temperature`, the one at the end of the schedule.
    """
    networks, nodes = {"teacher": teacher}, {"teacher": teacher_node}
    with as_it_was(teacher), torch.no_grad():
        predictions = companions.predictions(SAMPLE, networks, nodes, data, partial(sample_batches, data))
        value = float(temperature(1.0))
    logits = predictions.logits["teacher"]
    return {
        "images": len(logits),
        "accuracy": float((logits.argmax(1) == predictions.labels).double().mean()),
        "largest_probability": float(_largest(logits, value).mean()),
        "temperature": value,
    }


def temperature_settings(temperature: Node) -> str:
    """The keys that set the temperature, for a message."""
    return ", ".join(f"temperature.{name}" for name in temperature if name != "_target_") or "temperature"


def temperature_fault(mode: Mode, sample: SampleLogits, temperatures: list[float], keys: str) -> str | None:
    """A sentence on what is wrong with a schedule of the temperature; None where nothing is.

    Args:
        temperatures: The temperatures at the beginning and at the end of the schedule.
        keys: The keys that set the temperature, for the message.
    """
    standardizes = mode.standardize or isinstance(mode.loss, LogitStandardization | NormKD)
    logits = standardize(sample.teacher) if standardizes else sample.teacher
    for temperature in dict.fromkeys(temperatures):
        if is_flat(logits, temperature):
            return _flatness_fault(mode, sample, logits, temperature, keys)
    highest = max(temperatures)
    if is_one_hot(logits, highest) and tells_only_a_class(mode, sample, highest):
        share = float((_largest(logits, highest) > ONE_HOT).double().mean())
        return (
            f"at temperature {highest:g} the teacher's largest probability is above {ONE_HOT} on {percent(share, 1)} "
            f"of {len(logits)} training images: {mode.key} says nothing but a class; raise the temperature "
            f"({keys}), to {_softening(logits):g} for example"
        )
    return None


def gradient(mode: Mode, sample: SampleLogits, teacher_logits: Tensor, temperature: float) -> Tensor | None:
    """The gradient [N, K] of the mode's loss by the student's logits; None where the loss needs more than logits."""
    leaf = sample.student.clone().requires_grad_()
    student, teacher = (
        Outputs(logits, indices=torch.arange(len(logits)), strong=Outputs(logits)) for logits in (leaf, teacher_logits)
    )
    try:
        with seeded_generator("temperature"):  # for modes that draw
            loss = copy.deepcopy(mode)(student, teacher, sample.labels, temperature)
        return torch.autograd.grad(loss, leaf)[0]
    except Exception:  # anyone's loss, which may want features or adapters
        return None


def is_flat(logits: Tensor, temperature: float) -> bool:
    """True where the largest probability of logits [N, K] is about 1/K on nearly all images."""
    return float((_largest(logits, temperature) * logits.shape[1] < FLAT).double().mean()) > NEARLY_ALL


def is_one_hot(logits: Tensor, temperature: float) -> bool:
    """True where the largest probability of logits [N, K] is about 1 on nearly all images."""
    return float((_largest(logits, temperature) > ONE_HOT).double().mean()) > NEARLY_ALL


def tells_only_a_class(mode: Mode, sample: SampleLogits, temperature: float) -> bool:
    """True where a teacher that tells its class and nothing else would teach the same by this mode."""
    logits = sample.teacher
    class_alone = torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 100 * temperature)
    soft, hard = (gradient(mode, sample, targets, temperature) for targets in (logits, class_alone))
    if soft is None or hard is None:
        return False
    return float((soft - hard).norm()) < ALIKE * float(hard.norm())


def _flatness_fault(mode: Mode, sample: SampleLogits, logits: Tensor, temperature: float, keys: str) -> str:
    """A sentence on soft targets that are flat, and why: too high a temperature, or logits that hardly differ."""
    largest, chance = float(_largest(logits, temperature).mean()), 1 / logits.shape[1]
    text = (
        f"at temperature {temperature:g} the teacher's largest probability is {largest:.4f} on average, chance is "
        f"{chance:.4g}: {_effect_of_flatness(mode, sample, temperature)}"
    )
    spread_of_logits = float(logits.std(1).mean())
    if temperature > NOISE * spread_of_logits:
        text += ", and the value of its loss is rounding noise"
    if temperature > USUAL:
        return f"{text}; lower the temperature ({keys})"
    text += f"; the teacher's logits differ by {spread_of_logits:.2g} only"
    right = float((sample.teacher.argmax(1) == sample.labels).double().mean())
    images = f"right on {percent(right, 1)} of {len(logits)} training images"
    if right > GOOD:
        return f"{text}, though it is {images}: lower the temperature ({keys})"
    return f"{text}, and it is {images}: has it learned?"


def _effect_of_flatness(mode: Mode, sample: SampleLogits, temperature: float) -> str:
    """A clause on what flat soft targets do to a mode."""
    here, usual = (gradient(mode, sample, sample.teacher, value) for value in (temperature, USUAL))
    if here is None or usual is None:
        return f"{mode.key} has next to nothing to learn from them"
    ratio = float(here.norm() / usual.norm())
    if temperature > USUAL and ratio < VANISHED:
        return f"the gradient of {mode.key} is {1 / ratio:,.0f} times smaller than at temperature {USUAL:g}"
    return f"{mode.key} compares logits in effect (as logits_l2 does), not soft targets"


def _softening(logits: Tensor) -> float:
    """The lowest of a few temperatures at which the largest probability is no longer about 1; the highest of them."""
    ladder = [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]
    return next((value for value in ladder if float(_largest(logits, value).median()) < 0.9), ladder[-1])


def _largest(logits: Tensor, temperature: float) -> Tensor:
    return (logits.double() / temperature).softmax(1).max(1).values

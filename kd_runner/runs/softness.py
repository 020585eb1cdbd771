"""What a teacher's soft targets still say at the run's temperature: nothing where they are flat, or one-hot."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from kd_runner.comparison.chance import percent
from kd_runner.distillation.logit_standardization import LogitStandardization
from kd_runner.evaluation.analysis import spread
from kd_runner.evaluation.predictions import predict
from kd_runner.input_pipeline.batches import PlainBatches
from kd_runner.input_pipeline.sources import source_of
from kd_runner.notes import note
from kd_runner.outputs import Outputs
from kd_runner.randomness import seeded_generator
from kd_runner.runs.doubts import as_it_was
from kd_runner.runs.parts import Parts
from kd_runner.tensors import standardize
from kd_runner.training.mode import Mode

IMAGES = 256  # of the training split that are looked at
NEARLY_ALL = 0.99
FLAT = 1.1  # times 1/K: the largest probability of soft targets that say nothing is below it
ONE_HOT = 0.999  # the largest probability of soft targets that say only a class is above it
GOOD = 0.5  # share of images: a teacher that is right on more of them has learned, however small its logits are
USUAL = 4.0  # a temperature that loses nothing
VANISHED = 0.05  # of the gradient at the usual temperature: what is left where the loss is not multiplied by T²
ALIKE = 0.1  # relative difference of gradients below which two teachers teach the same
# From this ratio of the temperature to the spread of the logits on, the float32 value of a divergence times T² is
# rounding noise. Its gradient, measured against float64, is then right to 0.1 %, and to 1 % at ten times the ratio.
NOISE = 2000.0


@dataclass(frozen=True)
class Seen:
    """What teacher and student say of some training images: logits float32 [N, K], and the labels [N], on the CPU."""

    teacher: Tensor
    student: Tensor
    labels: Tensor


def note_soft_targets(parts: Parts, tempered: Collection[str]) -> None:
    """Say where the run's temperature leaves nothing of what its teacher knows beside the label.

    Args:
        tempered: The keys of the modes whose loss depends on the temperature; see `kd_runner.runs.rehearsal.rehearse`.
    """
    modes = [mode for mode in parts.modes if mode.key in tempered and mode.needs.teacher_logits]
    if not modes:
        return
    with torch.no_grad():
        temperatures = [float(parts.temperature(progress)) for progress in (0.0, 1.0)]
    seen = look_at_training_images(parts)
    for mode in modes:
        text = temperature_fault(mode, seen, temperatures, temperature_settings(parts))
        if text is not None:
            note("settings", text)


def note_low_temperature(parts: Parts, tempered: Collection[str]) -> None:
    """Say, before anything trains, where a temperature below 1 sharpens what the teacher says; `tempered` as above."""
    with torch.no_grad():
        coolest = min(float(parts.temperature(0.0)), float(parts.temperature(1.0)))
    heard = [mode for mode in parts.modes if mode.key in tempered and mode.needs.teacher_logits]
    if coolest < 1 and tempered:
        whose = "the teacher's" if heard else "the target"  # tf_kd_reg has no teacher
        note(
            "settings",
            f"a temperature below 1 ({coolest:g}) sharpens {whose} probabilities towards hard labels; "
            f"distillation usually softens them, with a temperature above 1 ({temperature_settings(parts)})",
        )


def look_at_training_images(parts: Parts) -> Seen:
    """What the teacher and the student say of some training images, unaugmented, before the student trains."""
    split = parts.splits.train
    chosen = split.subset(spread(len(split), IMAGES))
    source = source_of(chosen, parts.device, parts.settings.dataset.residency)
    networks = {"teacher": parts.teacher, "student": copy.deepcopy(parts.student)}
    with as_it_was(networks["teacher"]):
        given = predict(networks, PlainBatches(source, parts.view, parts.evaluation_batch), parts.device)
    # Clones made out here are ordinary tensors, which a loss may differentiate.
    teacher, student = (given.logits[role].cpu().clone() for role in ("teacher", "student"))
    return Seen(teacher, student, given.labels.cpu().clone())


def temperature_settings(parts: Parts) -> str:
    """The keys that set the temperature, for a message."""
    return (
        ", ".join(f"temperature.{name}" for name in parts.settings.temperature if name != "_target_") or "temperature"
    )


def temperature_fault(mode: Mode, seen: Seen, temperatures: list[float], keys: str) -> str | None:
    """What is wrong with a schedule of the temperature from one to another, in a sentence; None where nothing is."""
    standardizes = mode.standardize or isinstance(mode.loss, LogitStandardization)
    logits = standardize(seen.teacher) if standardizes else seen.teacher
    for temperature in dict.fromkeys(temperatures):
        if is_flat(logits, temperature):
            return _flat_words(mode, seen, logits, temperature, keys)
    highest = max(temperatures)
    if is_one_hot(logits, highest) and says_only_a_class(mode, seen, highest):
        sure = float((_largest(logits, highest) > ONE_HOT).double().mean())
        return (
            f"at temperature {highest:g} the teacher's largest probability is above {ONE_HOT} on {percent(sure)} of "
            f"{len(logits)} training images: {mode.key} says nothing but a class; raise the temperature "
            f"({keys}), to {_softening(logits):g} for example"
        )
    return None


def gradient(mode: Mode, seen: Seen, teacher_logits: Tensor, temperature: float) -> Tensor | None:
    """The gradient [N, K] of the mode's loss by the student's logits; None where it cannot be had from logits alone."""
    leaf = seen.student.clone().requires_grad_()
    student, teacher = (
        Outputs(logits, indices=torch.arange(len(logits)), strong=Outputs(logits)) for logits in (leaf, teacher_logits)
    )
    try:
        with seeded_generator("temperature"):  # for modes that draw
            loss = copy.deepcopy(mode)(student, teacher, seen.labels, temperature)
        return torch.autograd.grad(loss, leaf)[0]
    except Exception:  # anyone's loss, which may want features or adapters
        return None


def is_flat(logits: Tensor, temperature: float) -> bool:
    """Whether the largest probability of logits [N, K] is about 1/K on nearly all images."""
    return float((_largest(logits, temperature) * logits.shape[1] < FLAT).double().mean()) > NEARLY_ALL


def is_one_hot(logits: Tensor, temperature: float) -> bool:
    """Whether the largest probability of logits [N, K] is about 1 on nearly all images."""
    return float((_largest(logits, temperature) > ONE_HOT).double().mean()) > NEARLY_ALL


def says_only_a_class(mode: Mode, seen: Seen, temperature: float) -> bool:
    """Whether a teacher that says its class and nothing else would teach the same by this mode."""
    logits = seen.teacher
    class_alone = torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 100 * temperature)
    soft, hard = (gradient(mode, seen, given, temperature) for given in (logits, class_alone))
    if soft is None or hard is None:
        return False
    return float((soft - hard).norm()) < ALIKE * float(hard.norm())


def _flat_words(mode: Mode, seen: Seen, logits: Tensor, temperature: float, keys: str) -> str:
    largest, chance = float(_largest(logits, temperature).mean()), 1 / logits.shape[1]
    said = f"at temperature {temperature:g} the teacher's largest probability is {largest:.4f} on average, chance is "
    said += f"{chance:.4g}: "
    here, usual = (gradient(mode, seen, seen.teacher, value) for value in (temperature, USUAL))
    left = float(here.norm() / usual.norm()) if here is not None and usual is not None else None
    if left is None:
        said += f"{mode.key} has next to nothing to learn from them"
    elif temperature > USUAL and left < VANISHED:
        said += f"the gradient of {mode.key} is {1 / left:,.0f} times smaller than at temperature {USUAL:g}"
    else:
        said += f"{mode.key} compares logits in effect (as logits_l2 does), not soft targets"
    spread_of_logits = float(logits.std(1).mean())
    if temperature > NOISE * spread_of_logits:
        said += ", and the value of its loss is rounding noise"
    if temperature > USUAL:
        return f"{said}; lower the temperature ({keys})"
    differ = f"the teacher's logits differ by {spread_of_logits:.2g} only"
    right = float((seen.teacher.argmax(1) == seen.labels).double().mean())
    if right > GOOD:
        return (
            f"{said}; {differ}, though it is right on {percent(right)} of {len(logits)} training images: lower the "
            f"temperature ({keys})"
        )
    return f"{said}; {differ}, and it is right on {percent(right)} of {len(logits)} training images: has it learned?"


def _softening(logits: Tensor) -> float:
    """The lowest of a few temperatures at which the largest probability is no longer about 1; the highest of them."""
    ladder = [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]
    return next((value for value in ladder if float(_largest(logits, value).median()) < 0.9), ladder[-1])


def _largest(logits: Tensor, temperature: float) -> Tensor:
    return (logits.double() / temperature).softmax(1).max(1).values

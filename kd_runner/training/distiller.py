"""The module that trains a student on labels and on its teacher."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.input_pipeline.device_copy import sent
from kd_runner.networks.observed import Observed
from kd_runner.outputs import Outputs
from kd_runner.randomness import generator_state, set_generator_state
from kd_runner.tensors import sum_of
from kd_runner.training.attack import divergences, entropies
from kd_runner.training.cached_teacher import CachedTeacher
from kd_runner.training.classifier import Classifier
from kd_runner.training.label_loss import LossWhereLabelled
from kd_runner.training.mixed_labels import label_loss_of, loss_over_labels
from kd_runner.training.mode import Mode, clean_view, has_adapters, learns_from_teacher
from kd_runner.training.precision import takes_each_gradient
from kd_runner.training.recipe import Recipe, Schedule
from kd_runner.training.teacher_outputs import OnlineTeacher, TeacherOutputs
from kd_runner.training.whole_batches import whole_outputs


class Distiller(Classifier):
    """Trains a student on labels and on its teacher's outputs for the same view of each image.

    label_weight · CE(student, labels) + Σ weight · loss(student, teacher, labels, temperature). Where a mode asks for
    a strong view, the label loss is that of both views. The teacher is held outside the module tree, so that it
    is neither saved with the student nor put into training mode. Losses and temperatures that are nn.Modules train
    along with the student and stay out of its weights. Where several processes share each batch, modes whose loss is
    no mean over losses of single images get the outputs for the whole batch.

    Args:
        teacher: The source of the teacher's outputs for each batch.
        stage: The stage that names the metrics.
        compares: False where the teacher has no logits to compare with on the validation images.
    """

    def __init__(
        self,
        student: Observed,
        teacher: TeacherOutputs,
        modes: Sequence[Mode],
        label_weight: float,
        temperature: Schedule,
        batches: TrainingBatches,
        recipe: Recipe,
        stage: str = "student",
        compares: bool = True,
    ) -> None:
        super().__init__(stage, student, batches, recipe)
        self.label_weight, self.temperature = label_weight, temperature
        self.modes = [mode for mode in modes if mode.weight > 0]
        modules = [mode.loss for mode in self.modes if isinstance(mode.loss, nn.Module)]
        self.loss_modules = nn.ModuleList(loss for loss in modules if has_adapters(loss))  # saved under their numbers
        self.other_loss_modules = nn.ModuleList(loss for loss in modules if not has_adapters(loss))
        self.teacher, self._compares = teacher, compares
        self.has_clean_view = clean_view(self.modes, label_weight)
        self._asked: tuple[Batch, Outputs] | None = None  # the teacher's outputs that the last attack asked for
        if batches.lacks_labels:
            self.label_loss = LossWhereLabelled(
                recipe.label_smoothing, recipe.switches.class_weights, lambda: batches.labels
            )
        self._takes_each_gradient = False  # True where the optimizer is shown the gradient of each loss by itself
        self._shared_generator: Tensor | None = None  # state of what modes of whole batches draw from, in all processes

    def training_state(self) -> dict[str, Any]:
        origin = self.teacher.origin if isinstance(self.teacher, CachedTeacher) else None
        return super().training_state() | ({} if origin is None else {"teacher_outputs": origin})

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        if isinstance(self.teacher, CachedTeacher):  # it loads nothing where no epoch is left
            self.teacher.origin = state.get("teacher_outputs")

    def prepare(self, device: torch.device) -> None:
        if isinstance(self.teacher, CachedTeacher):
            self.teacher.begin(self.batches, self.recipe, device, is_asked=bool(self.modes))

    def parameter_groups(self) -> list[dict[str, Any]]:
        groups = super().parameter_groups()
        for mode in self.modes:
            if isinstance(mode.loss, nn.Module):
                groups.append(_group(mode.loss, mode.adapter_weight_decay))
        if isinstance(self.temperature, nn.Module):
            groups.append(_group(self.temperature, 0.0))
        return [group for group in groups if group["params"]]

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.loss_modules.train()
        self.teacher.begin(self.batches, self.recipe, self.device, is_asked=bool(self.modes))

    def on_train_start(self) -> None:
        super().on_train_start()
        self._takes_each_gradient = takes_each_gradient(self._optimizer())

    def training_step(self, chunk: Iterator[Batch], chunk_index: int) -> None:
        if isinstance(self.teacher, CachedTeacher):
            chunk = map(self.teacher.with_logits, chunk)
        super().training_step(chunk, chunk_index)

    def modules_of_rows(self) -> list[nn.Module]:
        return [
            self.network,
            *(mode.loss for mode in self.modes if isinstance(mode.loss, nn.Module) and not mode.needs.whole_batch),
        ]

    def seed_dropout(self, seed: int) -> None:
        if self.process_group.are_several:
            torch.manual_seed(seed)
            self._shared_generator = generator_state(self.device)
        super().seed_dropout(seed)

    def losses(self, batch: Batch, progress: float) -> tuple[dict[str, Tensor], Tensor]:
        images = self.images_to_learn_from(batch)
        student = self.network_outputs(images)
        if batch.strong is not None:
            student = replace(student, strong=self.network_outputs(batch.strong))
        if self._attacker is not None and self._attacker.attack.changes_teacher_images:
            batch = replace(batch, images=images)
        elif self._attacker is not None and self.has_clean_view:
            student = replace(student, clean=self.network_outputs(batch.images))
        labelled = student if student.clean is None else student.clean
        # A mode that initialises the student does so alone.
        initialising = [mode for mode in self.modes if progress < mode.init_share]
        label_weight = 0.0 if initialising else self.label_weight
        label_loss = label_weight * label_loss_of(
            batch,
            lambda labels, *weights: sum_of(self.label_loss(view.logits, labels, *weights) for view in views(labelled)),
        )
        if label_weight == 0 and self._takes_each_gradient:  # zeros would count as the gradient of a second loss
            label_loss = label_loss.detach()
        losses = {"label_loss": label_loss}
        if self.modes:
            losses["distillation_loss"] = self._distillation_loss(batch, student, initialising or self.modes, progress)
        return losses, student.logits

    def images_to_learn_from(self, batch: Batch) -> Tensor:
        """The images of a batch that the student is shown, attacked where the recipe says so."""
        if self._attacker is None or self._attacker.attack.objective == "labels":
            return super().images_to_learn_from(batch)
        if self._attacker.attack.objective == "teacher":
            teacher_logits = self._teacher_outputs(batch).logits
            return self._attacker.images(
                batch,
                self.epoch,
                self.network,
                lambda images: divergences(self.network_outputs(images).logits, teacher_logits),
            )
        assert isinstance(self.teacher, OnlineTeacher)
        teacher = self.teacher
        network = teacher.teacher.network
        return self._attacker.images(
            batch, self.epoch, network, lambda images: entropies(teacher.logits_with_gradient(images))
        )

    def _teacher_outputs(self, batch: Batch) -> Outputs:
        """The teacher's outputs for a batch; those for an attack are those of its step."""
        if self._attacker is None or self._attacker.attack.objective != "teacher":
            return self.teacher.of_batch(batch)
        if self._asked is None or self._asked[0] is not batch:
            self._asked = batch, self.teacher.of_batch(batch)
        return self._asked[1]

    def numbers_at(self, progress: float) -> Hashable:
        numbers = super().numbers_at(progress)
        if numbers is None or isinstance(self.temperature, nn.Module) or any(m.needs.varies for m in self.modes):
            return None
        # Others may look up on the CPU which images are in the batch; cached logits come with it.
        if learns_from_teacher(self.modes) and not isinstance(self.teacher, (OnlineTeacher, CachedTeacher)):
            return None
        rests = [progress < mode.init_share for mode in self.modes]
        return (self.temperature(progress), *(mode.weight_at(progress) for mode in self.modes), *rests)

    def _distillation_loss(self, batch: Batch, student: Outputs, modes: Sequence[Mode], progress: float) -> Tensor:
        weights = [(mode, mode.weight_at(progress)) for mode in modes]
        active = [(mode, weight) for mode, weight in weights if weight]
        if not active:
            return student.logits.new_zeros(())
        asks_for_indices = any(mode.needs.indices for mode, _ in active)
        indices = sent(batch.indices, student.logits.device) if asks_for_indices else None
        student = replace(student, indices=indices, progress=progress)
        teacher = Outputs(student.logits.detach())  # for modes that do not look at it
        if any(mode.needs.uses_teacher for mode, _ in active):
            teacher = self._teacher_outputs(batch)
        teacher = replace(teacher, indices=indices, progress=progress)
        temperature = self.temperature(progress)
        comparing = [mode for mode, _ in active if mode.needs.whole_batch] if batch.rows is not None else []
        whole_batch = whole_outputs(self.process_group, batch, student, teacher, comparing) if comparing else None
        parts = []
        for mode, weight in active:
            if whole_batch is not None and mode.needs.whole_batch:
                with self._shared_randomness():
                    loss = _loss_of(mode, *whole_batch, temperature)
            else:
                loss = _loss_of(mode, batch, student, teacher, temperature)
            parts.append(weight * loss)
        return sum_of(parts)

    @contextmanager
    def _shared_randomness(self) -> Iterator[None]:
        """Have PyTorch's generator give the same numbers in all processes during a block."""
        assert self._shared_generator is not None
        own_state = generator_state(self.device)
        set_generator_state(self.device, self._shared_generator)
        yield
        self._shared_generator = generator_state(self.device)
        set_generator_state(self.device, own_state)

    def validation_metrics(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Agreement with the teacher, and KL(teacher || student) at temperature 1 in nats, where it has logits."""
        if not self._compares:
            return {}
        return self.label_kind.closeness(logits, self.teacher.of_validation(batch))

    def metrics_to_log(self) -> dict[str, float]:
        progress = self.plan.step_of(self.step - 1) / self.updates  # of the last batch
        with torch.no_grad():
            return {**super().metrics_to_log(), "temperature": float(self.temperature(progress))}


def _loss_of(mode: Mode, batch: Batch, student: Outputs, teacher: Outputs, temperature: float) -> Tensor:
    """The loss of a mode; of one that looks at labels, with those of both images where images are mixed."""
    if mode.needs.labels:
        return loss_over_labels(batch, functools.partial(mode, student, teacher, temperature=temperature))
    return mode(student, teacher, batch.labels, temperature)


def _group(module: nn.Module, weight_decay: float | None) -> dict[str, Any]:
    """A group for the optimizer; its weight decay is the optimizer's where `weight_decay` is None."""
    group: dict[str, Any] = {"params": [parameter for parameter in module.parameters() if parameter.requires_grad]}
    return group if weight_decay is None else {**group, "weight_decay": weight_decay}


def views(outputs: Outputs) -> list[Outputs]:
    """The outputs of a network for each view of the images."""
    return [outputs] if outputs.strong is None else [outputs, outputs.strong]

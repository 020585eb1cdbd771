"""The outputs of a run's teacher: from the teacher itself, or from its logits in the store."""

from __future__ import annotations

import hashlib
import logging
import platform
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from kd_runner import formats, redaction
from kd_runner.config.build import source_digest
from kd_runner.config.field_types import ONLINE
from kd_runner.config.fingerprint import digest
from kd_runner.config.settings import Settings
from kd_runner.environment import processor_name
from kd_runner.files.home import with_home
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.budget_in_steps import images_of_steps
from kd_runner.input_pipeline.step_plan import images_per_epoch
from kd_runner.notes import note
from kd_runner.runs.data import Data, step_budget, without_fetching
from kd_runner.runs.stages.teacher_student import Pairing
from kd_runner.store.logits import Computation, Shape, StoredLogits, computed_once
from kd_runner.training.cached_teacher import CachedTeacher, TeacherPass
from kd_runner.training.mode import learns_from_teacher
from kd_runner.training.recipe import Recipe
from kd_runner.training.teacher_outputs import OnlineTeacher, TeacherOutputs, ValidationLogits

log = logging.getLogger(__name__)


def teacher_outputs(
    online: TeacherOutputs, pairing: Pairing, settings: Settings, data: Data, validation_logits: ValidationLogits
) -> TeacherOutputs:
    """The source of the outputs of the teacher of `pairing`: `online`, where it runs, or its logits in the store.

    Args:
        validation_logits: The logits that a teacher which is read from the store gives for batches of validation
            images; others are added when they are computed.
    """
    if settings.teacher_outputs == ONLINE or not learns_from_teacher(pairing.modes):
        return online
    teacher = OnlineTeacher(pairing.teacher, validation_logits)
    in_store = LogitsInStore(pairing.teacher.network, settings, data)
    return CachedTeacher(teacher, in_store, in_store.origin)


class LogitsInStore:
    """Gives the logits of a teacher for all training images from the store, and remembers what the store had.

    Args:
        teacher: The network, with its final weights when it is called.
    """

    def __init__(self, teacher: nn.Module, settings: Settings, data: Data) -> None:
        self.teacher, self.settings, self.data = teacher, settings, data
        self.stored: StoredLogits | None = None

    def __call__(self, teacher_pass: TeacherPass, recipe: Recipe) -> Tensor:
        shape = shape_of(self.settings, self.data)
        made_of = ingredients(self.teacher, self.settings, self.data, recipe, teacher_pass.batches.largest)
        self.stored = computed_once(
            with_home(self.settings.store),
            made_of,
            shape,
            self.settings.teacher_outputs_dtype,
            Computation(teacher_pass.blocks, lambda: {"largest_difference": teacher_pass.difference()}),
            _mask_ingredients(made_of),
        )
        self._tell(shape)
        return self.stored.logits

    def origin(self) -> dict[str, Any]:
        """A record, after loading, of where the logits lie in the store and whether it had them, as plain data."""
        assert self.stored is not None
        return {
            "key": self.stored.path.parent.name,
            "reused": self.stored.reused,
            "bytes": self.stored.path.stat().st_size,
            "largest_difference": self.stored.record.get("largest_difference"),
        }

    def _tell(self, shape: Shape) -> None:
        """Log what was computed, and note where an online run would have other bits."""
        assert self.stored is not None
        views, images, _ = shape
        if not self.stored.reused:
            log.info(
                "logits    %s images x %d view%s computed in %.1f s, %s in %s",
                *(f"{images:,}", views, "s" if views > 1 else "", self.stored.record.get("seconds", 0.0)),
                *(formats.size(self.stored.path.stat().st_size), self.stored.path.parent),
            )
        difference = self.stored.record.get("largest_difference")
        if difference:
            note(
                "teacher",
                f"the teacher's kept logits differ by up to {difference:.1e} of the largest from those of an online "
                "run: this machine rounds the logits of an image by the batch that it is in (teacher_outputs)",
            )


def shape_of(settings: Settings, data: Data) -> Shape:
    """The number of views, of images and of classes for which logits are kept."""
    return settings.replayed_views or 1, len(data.taught_images), data.splits.num_classes


def ingredients(network: nn.Module, settings: Settings, data: Data, recipe: Recipe, batch: int) -> dict[str, Any]:
    """Everything that the bits of the logits depend on, as plain data.

    Args:
        network: The teacher, with its final weights.
        recipe: The recipe of the student.
        batch: The number of images in a pass of the teacher.
    """
    trainer = settings.trainer
    teachers = settings.all_teachers
    sources = {name: source_digest(teacher.node, name, settings.trust) for name, teacher in teachers.items()}
    augmentation = data.view.augmentation
    device = torch.cuda.get_device_name(data.device) if data.device.type == "cuda" else processor_name()
    return {
        "logits_of": [teacher.target for teacher in teachers.values()],
        "network": digest(
            [[without_fetching(teacher.node), teacher.weight, sources[name]] for name, teacher in teachers.items()]
        ),
        "weights": weights_digest(network),
        "data": data.splits.training_fingerprint,
        "images": data.taught_key,
        "image_shape": list(data.splits.image_shape),
        "num_classes": data.splits.num_classes,
        "mean": data.view.mean.tolist(),
        "std": data.view.std.tolist(),
        "augmentation": augmentation.record(),
        "augmentation_seed": recipe.batches_seed if is_augmented(augmentation) else None,
        "views": settings.replayed_views,
        "batch_size": batch,
        "precision": recipe.precision,
        "channels_last": trainer.channels_last,
        "compile": recipe.compile,
        "deterministic": trainer.deterministic,
        "device": data.device.type,
        "machine": [platform.machine(), device, torch.__version__, torch.get_num_threads()],
        "dtype": settings.teacher_outputs_dtype,
    }


def is_augmented(augmentation: Augmentation) -> bool:
    """True where training images are changed in any way."""
    magnitude = augmentation.rand_augment_magnitude  # which does nothing by itself
    return augmentation != replace(Augmentation(), rand_augment_magnitude=magnitude)


def weights_digest(network: nn.Module) -> str:
    """SHA-256 of the names, types, shapes and bytes of all parameters and buffers of a network."""
    content = hashlib.sha256()
    for name, tensor in sorted([*network.named_parameters(), *network.named_buffers()]):
        values = tensor.detach().cpu().contiguous()
        content.update(repr((name, values.dtype, list(values.shape))).encode())
        content.update(values.flatten().view(torch.uint8).numpy().tobytes())
    return content.hexdigest()


def _mask_ingredients(made_of: dict[str, Any]) -> dict[str, Any]:
    """The ingredients with hidden values replaced; each stands at one of some keys of the settings."""
    keys = {"logits_of": "teacher", "augmentation": "dataset", "mean": "dataset.mean", "std": "dataset.std"}
    keys |= {name: f"trainer.{name}" for name in ("precision", "channels_last", "compile", "deterministic")}
    keys |= {"dtype": "teacher_outputs_dtype"}
    return {name: redaction.masked_keys(value, keys.get(name, name)) for name, value in made_of.items()}


def outputs_record(outputs: TeacherOutputs, settings: Settings, data: Data, epochs: int) -> dict[str, Any]:
    """The source of the teacher's outputs for training images, and the passes that it saved, for the result.

    A pass counts one image that goes through the teacher.

    Args:
        epochs: The number of epochs that the student was trained for.
    """
    images = len(data.taught_images)
    budget = step_budget(settings)
    online = images_per_epoch(images, settings.batch_size) * epochs
    if budget is not None:
        online = images_of_steps(budget.before(epochs), images, settings.batch_size)
    origin = outputs.origin if isinstance(outputs, CachedTeacher) else None
    if origin is None:
        return {"source": ONLINE}
    computed = 0 if origin["reused"] else shape_of(settings, data)[0] * images
    return {
        "source": settings.teacher_outputs,
        "dtype": settings.teacher_outputs_dtype,
        **origin,
        "passes": computed,
        "passes_saved": online - computed,
    }

"""Training on attacked images: what each stage does to them, and against what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.config.sections import AttackSettings
from kd_runner.config.settings import Settings
from kd_runner.files.stages import BASELINE, STUDENT
from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.input_pipeline.device_copy import sent
from kd_runner.input_pipeline.view import View
from kd_runner.networks.attacks import PixelRange, pgd
from kd_runner.randomness import derived_seed, keyed_uniform
from kd_runner.tensors import evaluation_mode, kl_of_images

Objective = Literal["labels", "teacher", "teacher_entropy"]
STEPS_ACROSS = 4  # steps from the image to the edge of its range, where nobody says how long they are: 2/255 for 8/255


@dataclass(frozen=True)
class Attack:
    """The attack on the images of a stage, by projected gradient descent (`kd_runner.networks.attacks.pgd`).

    Args:
        eps: The largest change of a pixel of [0, 1], above 0.
        steps: The number of steps, 1 or more.
        step_size: The change of a pixel at each step.
        random_start: True to begin anywhere in the range around the image, False to begin at the image.
        objective: The quantity that grows: 'labels', the label loss of the network that trains; 'teacher', its
            KL(teacher || student) from the teacher's answer to the image as it is, at temperature 1;
            'teacher_entropy', the entropy of the teacher's answer, so that both networks are shown images of which the
            teacher is less sure.
    """

    eps: float
    steps: int
    step_size: float
    random_start: bool
    objective: Objective

    @classmethod
    def of(cls, settings: AttackSettings) -> Attack | None:
        """The attack that settings ask for; None for none."""
        step_size = settings.eps / STEPS_ACROSS if settings.step_size is None else settings.step_size
        attack = cls(settings.eps, settings.steps, step_size, settings.random_start, settings.objective)
        return attack if settings.eps else None

    @property
    def changes_teacher_images(self) -> bool:
        """True where the teacher is shown the attacked images, too."""
        return self.objective == "teacher_entropy"

    def without_teacher(self) -> Attack | None:
        """The attack in a stage that knows no teacher: on the label loss, and none in place of one on the teacher."""
        return None if self.changes_teacher_images else replace(self, objective="labels")


def attack_of(settings: Settings, stage: str) -> Attack | None:
    """The attack on the images of a stage: a teacher's name, 'baseline', 'student' or 'finetune'; None for none."""
    attack = Attack.of(settings.adversarial_of(STUDENT if stage == BASELINE else stage))
    return attack if attack is None or stage in (STUDENT, *settings.chain) else attack.without_teacher()


class Attacker:
    """Attacks the batches of a training.

    The attacked network is in evaluation mode meanwhile, as in the code of RSLAD and TRADES: its batch norms neither
    see nor remember the images on the way. That of ARD leaves it in training mode.

    Args:
        view: The view of the images, with the mean and the standard deviation that they are normalised with.
        seed: Seed of the random starts, which are a function of it, the epoch and the image alone.
    """

    def __init__(self, attack: Attack, view: View, seed: int, device: torch.device) -> None:
        self.attack, self.seed, self.device = attack, seed, device
        self._pixels = PixelRange.of(view.mean, view.std, device)

    def images(self, batch: Batch, epoch: int, network: nn.Module, losses: Callable[[Tensor], Tensor]) -> Tensor:
        """The attacked images of a batch [N, C, H, W].

        Args:
            network: The network that is attacked.
            losses: The losses [N] of images.
        """
        attack, start = self.attack, None
        if attack.random_start:
            shape = batch.images.shape
            draws = keyed_uniform(
                sent(batch.indices, self.device), derived_seed(self.seed, "attack", epoch), shape[1:].numel()
            )
            start = 2 * draws.t().reshape(shape) - 1
        with evaluation_mode(network):
            return pgd(batch.images, losses, self._pixels, attack.eps, attack.steps, attack.step_size, start)


def label_losses(logits: Tensor, batch: Batch) -> Tensor:
    """[N]: the label loss of each image of a batch; for mixed images, that of both labels by their shares."""
    losses = F.cross_entropy(logits, batch.labels, reduction="none")
    if batch.partners is None:
        return losses
    return batch.share * losses + (1 - batch.share) * F.cross_entropy(logits, batch.partners, reduction="none")


def divergences(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """[N]: KL(teacher || student) of each image at temperature 1, in nats; logits [N, K]."""
    return kl_of_images(logits.log_softmax(1), teacher_logits.log_softmax(1))


def entropies(logits: Tensor) -> Tensor:
    """[N]: the entropy of the softmax of each row of logits [N, K], in nats."""
    logs = logits.log_softmax(1)
    return -(logs.exp() * logs).sum(1)

"""Contrastive representation distillation: an image's two embeddings are distinguished from those of other images.

Tian, Krishnan and Isola 2020, "Contrastive Representation Distillation", arXiv:1910.10699.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Needs, Outputs, deepest
from kd_runner.tensors import unit, vectors

SMALL = 1e-7  # keeps a denominator above 0


class CRD(nn.Module):
    """Noise-contrastive loss between student and teacher embeddings, in both directions (equations 15 to 18).

    An embedding is a dense layer of the penultimate features [N, C], scaled to length 1. The student's embedding of an
    image must be recognised as the partner of the teacher's embedding of the same image.

    Args:
        form: `memory` holds embeddings of all training images; the partner is recognised among `negatives` images of
            other classes, drawn on the device. A mixed image (mixup, cutmix) has no place in it, and is refused.
            `in_batch` recognises it among the images of the batch, by cross-entropy (InfoNCE), and needs no memory.
        dimensions: Numbers in an embedding, 1 or more. The memory is 2 · images · dimensions numbers: 1.3 GB for
            ImageNet.
        negatives: Images drawn for each image and step, 1 or more; 16,384 in the paper.
        sharpness: Divisor of the similarities, above 0: τ of the paper, 0.07 there.
        momentum: Share of an embedding in the memory that stays when its image is seen, 0 or more and below 1.

    Raises:
        ValueError: a number outside its range.
    """

    needs = Needs(student="embedding", teacher="embedding", classes=True, indices=True, whole_batch=True)

    memory_student: Tensor
    memory_teacher: Tensor
    order: Tensor
    starts: Tensor
    counts: Tensor
    classes: Tensor

    def __init__(
        self,
        form: Literal["memory", "in_batch"] = "memory",
        dimensions: int = 128,
        negatives: int = 16384,
        sharpness: float = 0.07,
        momentum: float = 0.5,
    ) -> None:
        super().__init__()
        if dimensions < 1:
            raise ValueError(f"dimensions must be 1 or more, got {dimensions}")
        if negatives < 1:
            raise ValueError(f"negatives must be 1 or more, got {negatives}")
        if sharpness <= 0:
            raise ValueError(f"sharpness must be above 0, got {sharpness:g}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be 0 or more and below 1, got {momentum:g}")
        self.form, self.dimensions, self.negatives = form, dimensions, negatives
        if form == "in_batch":  # which looks no image up, and so can take mixed ones
            self.needs = replace(CRD.needs, classes=False, indices=False)
        self.sharpness, self.momentum = sharpness, momentum
        self._constants: dict[str, Tensor] = {}

    def get_extra_state(self) -> dict[str, float]:
        """The constants of normalisation: they belong to the memory, and are numbers, so no buffers hold them."""
        return {name: float(value) for name, value in self._constants.items()}

    def set_extra_state(self, state: dict[str, float]) -> None:
        self._constants = {name: torch.tensor(value) for name, value in state.items()}

    def adapt(self, example: AdapterExample) -> None:
        """Builds the embeddings, and a memory of random embeddings.

        Raises:
            ValueError: all images have one class, so that there are no negatives.
        """
        self.embed_student = nn.Linear(vectors(deepest(example.student)).shape[1], self.dimensions)
        self.embed_teacher = nn.Linear(vectors(deepest(example.teacher)).shape[1], self.dimensions)
        if self.form == "in_batch":
            return
        labels = example.labels.cpu()
        counts = torch.bincount(labels, minlength=example.student.logits.shape[1])
        if int(counts.max()) == len(labels):
            raise ValueError("must have images of two classes or more, the negatives are those of the others")
        self.register_buffer("classes", labels)
        # Sorted by class, so that the images of all other classes are two ranges: before and after the class.
        self.register_buffer("order", labels.argsort(stable=True))
        self.register_buffer("counts", counts)
        self.register_buffer("starts", counts.cumsum(0) - counts)
        bound = 1 / math.sqrt(self.dimensions / 3)
        for name in ("memory_student", "memory_teacher"):
            self.register_buffer(name, torch.empty(len(labels), self.dimensions).uniform_(-bound, bound))

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        student_embeddings = unit(self.embed_student(vectors(deepest(student))))
        teacher_embeddings = unit(self.embed_teacher(vectors(deepest(teacher))))
        if self.form == "in_batch":
            scores = student_embeddings @ teacher_embeddings.t() / self.sharpness
            partners = torch.arange(len(scores), device=scores.device)
            return F.cross_entropy(scores, partners) + F.cross_entropy(scores.t(), partners)
        indices = student.indices
        assert indices is not None
        candidates = torch.cat([indices.unsqueeze(1), self.draw_negatives(indices)], dim=1)
        loss = self._contrast("student", student_embeddings, self.memory_teacher, candidates)
        loss = loss + self._contrast("teacher", teacher_embeddings, self.memory_student, candidates)
        self._remember(self.memory_student, student_embeddings.detach(), indices)
        self._remember(self.memory_teacher, teacher_embeddings.detach(), indices)
        return loss

    def draw_negatives(self, indices: Tensor) -> Tensor:
        """int64 [N, negatives]: images of other classes than the images `indices` [N], all equally likely."""
        classes = self.classes[indices].unsqueeze(1)
        count, start = self.counts[classes], self.starts[classes]
        uniform = torch.rand(len(indices), self.negatives, device=indices.device, dtype=torch.float64)
        position = (uniform * (len(self.order) - count)).long()
        return self.order[torch.where(position >= start, position + count, position)]

    def _contrast(self, anchor: str, embeddings: Tensor, memory: Tensor, candidates: Tensor) -> Tensor:
        """The loss of one direction.

        Args:
            anchor: Name of the network whose embeddings look for their partners.
            embeddings: [N, dimensions] of the batch, by that network.
            memory: [images, dimensions] of all images, by the other network.
            candidates: int64 [N, 1 + negatives]: each image itself, then its negatives.
        """
        images = len(memory)
        if images <= 4 * self.negatives:
            # All products and a choice among them: less to read than a copy of every drawn embedding.
            products = (embeddings @ memory.clone().t()).gather(1, candidates)
        else:
            products = (memory[candidates] @ embeddings.unsqueeze(2)).squeeze(2)
        scores = torch.exp(products / self.sharpness)
        if anchor not in self._constants:  # Z of the paper, estimated once, from the first batch
            self._constants[anchor] = scores.detach().mean() * images
        scores = scores / self._constants[anchor]
        noise = self.negatives / images
        positive = (scores[:, 0] / (scores[:, 0] + noise + SMALL)).log()
        negative = (noise / (scores[:, 1:] + noise + SMALL)).log()
        return -(positive.sum() + negative.sum()) / len(scores)

    @torch.no_grad()
    def _remember(self, memory: Tensor, embeddings: Tensor, indices: Tensor) -> None:
        updates = self.momentum * memory[indices] + (1 - self.momentum) * embeddings
        memory.index_copy_(0, indices, unit(updates))

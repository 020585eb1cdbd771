"""Which modes have a gradient with two classes, batches of two, one channel or one pixel, and which parts have none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import composed
from mode_names import modes_of_any_student
from PIL import Image
from torch import Tensor, nn

from kd_runner.config.build import build
from kd_runner.config.settings import Settings
from kd_runner.distillation.class_maps import ClassMaps
from kd_runner.errors import SettingsError
from kd_runner.files.indifferent import DEFAULTS_OF_MODES
from kd_runner.notes import collected_notes
from kd_runner.outputs import AdapterExample, Needs, Outputs, needs_of
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.rehearsal import rehearse
from kd_runner.training.gradients import Attempt, effects
from kd_runner.training.mode import Mode


def attempt(images: int, classes: int, channels: int, side: int, progress: float, equal: bool) -> Attempt:
    """Two layers of maps, as a student and a teacher of twice its width, or its own, give them."""

    def given(seed: int, width: int) -> Outputs:
        generator = torch.Generator().manual_seed(seed)

        def noise(*shape: int) -> Tensor:
            return torch.randn(images, *shape, generator=generator)

        features = {"0": noise(width, side, side), "1": noise(width, side, side)}
        indices = torch.arange(images)
        strong = Outputs(noise(classes), {name: noise(*value.shape[1:]) for name, value in features.items()})
        return Outputs(noise(classes), features, indices, strong, progress)

    return Attempt(
        given(0, channels), given(1, channels if equal else 2 * channels), torch.arange(images) % classes, 4.0
    )


def having(name: str, images: int = 4, classes: int = 5, channels: int = 3, side: int = 4) -> tuple[bool, bool, Any]:
    """(logits, features, idle parts): what of a mode of its YAML has an effect."""
    torch.manual_seed(0)
    node = composed(f"distillation={name}", *(["distillation.negatives=4"] if name == "crd" else []))["distillation"]
    loss = build({key: node[key] for key in node if key in arguments(node)}, "distillation")
    needs = needs_of(loss)
    layers = {"student": needs.student, "teacher": needs.teacher}
    attempts = [attempt(images, classes, channels, side, progress, name == "simkd") for progress in (0.0, 1.0)]
    names = {role: () if need is None else ("1",) if need in ONE else ("0", "1") for role, need in layers.items()}
    mode = Mode("distillation", loss, 1.0, names["student"], names["teacher"])
    if name in OF_CLASS_MAPS:  # whose example would have to be that of a network
        loss.student_maps, loss.teacher_maps = (
            ClassMaps(nn.Linear(width * channels, classes), averaged=True) for width in (1, 2)
        )
    elif hasattr(loss, "adapt"):
        head = nn.Linear(2 * channels, classes)
        student, teacher = (getattr(attempts[0], role).of(names[role]) for role in ("student", "teacher"))
        loss.adapt(
            AdapterExample(student, teacher, nn.Identity(), nn.Identity(), head, None, torch.arange(20) % classes)
        )
    if name == "simkd":
        loss.averaged = True  # as `deployed` finds: the projector has given maps of the teacher's width
    seen = effects(mode, attempts)
    return "logits" in seen.inputs, bool(seen.inputs - {"logits"}), seen.idle


OF_CLASS_MAPS = ("catkd", "sdd")
ONE = ("map", "hint", "embedding", "map and embedding")


def arguments(node: dict[str, Any]) -> set[str]:
    settings = {"weight", "label_weight", "warmup", "init_share", "adapter_weight_decay", "student_layers"}
    defaults = set(DEFAULTS_OF_MODES)
    return set(node) - settings - defaults - {"teacher_layers", "standardize"}


TEACHERLESS = {"none"}  # whose weight is 0
OF_FEATURES = {
    "ab", "at", "catkd", "cc", "crd", "cwd", "fitnets", "fsp", "ft", "ickd", "kdsvd", "mgd", "nst", "ofa", "ofd", "pad",
    "pkt", "reviewkd", "rkd", "sdd", "semckd", "simkd", "sp", "srd", "srrl", "vid",
}  # fmt: skip
MODES = modes_of_any_student()
OF_LOGITS = set(MODES) - OF_FEATURES - TEACHERLESS | {"ofa"}
# (where, modes that have no gradient, modes of which a part has none, modes that refuse by themselves)
CASES: list[tuple[dict[str, int], set[str], dict[str, tuple[str, ...]], set[str]]] = [
    ({}, set(), {}, set()),
    (
        {"classes": 2},
        set(),
        {"dist": ("inter_weight",), "dkd": ("other_weight",), "nkd": ("other_weight",)},
        {"logit_standardization", "normkd"},
    ),
    ({"images": 2}, {"rkd"}, {"dist": ("intra_weight",)}, set()),
    ({"channels": 1}, {"cc", "kdsvd", "pkt"}, {"rkd": ("angle_weight",)}, set()),
    ({"side": 1}, {"catkd", "nst"}, {}, {"at", "cwd"}),
    (
        {"channels": 1, "side": 1},
        {"catkd", "cc", "ft", "kdsvd", "nst", "pkt"},
        {"rkd": ("angle_weight",)},
        {"at", "cwd"},
    ),
]


@pytest.mark.parametrize(("where", "dead", "idle", "refused"), CASES)
@pytest.mark.parametrize("name", MODES)
def test_what_of_a_mode_has_a_gradient(
    name: str, where: dict[str, int], dead: set[str], idle: dict[str, tuple[str, ...]], refused: set[str]
) -> None:
    if name in refused:
        with pytest.raises(ValueError, match="must have"):
            having(name, **where)
        return
    logits, features, parts = having(name, **where)
    assert logits == (name in OF_LOGITS - dead)
    assert features == (name in OF_FEATURES - dead)
    assert name in dead or parts == idle.get(name, ())


@pytest.mark.parametrize("name", sorted(OF_LOGITS - {"logit_standardization", "normkd"}))
def test_no_mode_learns_from_standardized_logits_of_two_classes(name: str) -> None:
    """Which is why `standardize` is refused: their float32 gradients of 1e-6 are rounding."""
    if not needs_of(loss_of(name)).teacher_logits:
        return
    two = [attempt(4, 2, 3, 4, progress, False) for progress in (0.0, 1.0)]
    mode = Mode("distillation", loss_of(name), 1.0, standardize=True)
    if name not in ("ofa", "logit_discriminator"):  # which have no adapters here
        assert not effects(mode, two).inputs


def loss_of(name: str) -> Any:
    node = composed(f"distillation={name}")["distillation"]
    return build({key: node[key] for key in node if key in arguments(node)}, "distillation")


class Rounded:
    """A loss of float32 alone, in which the student's logits cancel, or do not."""

    needs = Needs(teacher_logits=True)

    def __init__(self, share: float) -> None:
        self.share = share

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        assert student.logits.dtype == torch.float32
        shares = student.logits.softmax(1)
        return shares.sum(1).mean() + self.share * student.logits.mean()


@pytest.mark.parametrize(("share", "moves"), [(0.0, False), (1e-3, True)])
def test_a_loss_that_takes_no_float64_is_held_against_the_rounding_of_float32(share: float, moves: bool) -> None:
    attempts = [attempt(4, 5, 3, 4, 0.0, False)]
    assert bool(effects(Mode("distillation", Rounded(share), 1.0), attempts).inputs) == moves


class InPlace:
    """A loss that changes the logits that it is given, which training allows and leaves of autograd do not."""

    needs = Needs(teacher_logits=True)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        logits = student.logits
        logits -= teacher.logits
        return logits.square().mean()


def test_a_loss_that_cannot_be_asked_counts_as_one_that_depends_on_the_student() -> None:
    attempts = [attempt(4, 5, 3, 4, 0.0, False)]
    assert effects(Mode("distillation", InPlace(), 1.0, ("1",)), attempts).inputs == {"logits", "1"}


def test_a_loss_that_an_untrained_student_does_not_change_is_no_dead_one() -> None:
    node = composed("distillation=confidence_penalty", "distillation.threshold=0.2")["distillation"]
    loss = build({key: node[key] for key in node if key in arguments(node)}, "distillation")
    blank = [Attempt(Outputs(torch.zeros(4, 5)), Outputs(torch.zeros(4, 5)), torch.zeros(4), 4.0)]
    assert effects(Mode("distillation", loss, 1.0), blank).inputs == {"logits"}


def test_layers_and_parts_without_a_gradient_are_named(settings: Callable[..., Settings]) -> None:
    with collected_notes() as notes:
        rehearse(assemble(settings("distillation=sp", "student.layers=['3','7']", "teacher.layers=['3','7']")))
    assert any("distillation: the student's layer 3 (" in line and "does not change the loss" in line for line in notes)
    with collected_notes() as notes:
        rehearse(assemble(settings("distillation=dist", "batch_size=2")))
    expected = "distillation.intra_weight: the part of the loss that it weighs has no gradient with 10 classes and "
    assert any(line.startswith(expected + "batches of 2; only the other parts") for line in notes)
    with pytest.raises(SettingsError, match=r"distillation: must depend on .* and does not \(with 10 classes and bat"):
        rehearse(assemble(settings("distillation=rkd", "batch_size=2")))


@pytest.fixture
def two_classes(tmp_path: Path) -> tuple[str, ...]:
    """Words for a data set of two classes."""
    for split in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for number in range(12):
                pixels = np.random.default_rng(number).integers(0, 255, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / name / f"{number}.png")
    return ("dataset=image_folder", f"dataset.root={tmp_path / 'data'}", "dataset.image_size=8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["distillation=logit_standardization"],
            "distillation: must have three classes or more, got two, whose standardized logits are the same two",
        ),
        (
            ["distillation=soft", "distillation.standardize=true"],
            r"distillation\.standardize: must be false with two classes, whose standardized logits are the same two",
        ),
    ],
)
def test_standardized_logits_of_two_classes_are_refused(
    settings: Callable[..., Settings], two_classes: tuple[str, ...], words: list[str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        rehearse(assemble(settings(*two_classes, *words)))


def test_half_a_mode_is_said_of_two_classes(settings: Callable[..., Settings], two_classes: tuple[str, ...]) -> None:
    with collected_notes() as notes:
        rehearse(assemble(settings(*two_classes, "distillation=dkd")))
    expected = "distillation.other_weight: the part of the loss that it weighs has no gradient with 2 classes; only"
    assert any(line.startswith(expected) for line in notes)

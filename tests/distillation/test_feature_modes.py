"""The feature modes against NumPy restatements, golden values and properties."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Golden, softmax
from feature_cases import (
    CLASSES,
    EVERY,
    FS,
    FT_,
    LABELS,
    MAPS,
    MS,
    MT,
    Arrays,
    adapted,
    frozen_head,
    halved,
    loss_of,
    numpy_of,
    outputs,
)
from torch import Tensor, nn

from kd_runner.config.build import build
from kd_runner.distillation import rkd
from kd_runner.distillation.ab import AB, boundary_loss
from kd_runner.distillation.at import AT, attention
from kd_runner.distillation.cc import CC, correlations
from kd_runner.distillation.crd import CRD
from kd_runner.distillation.fitnets import FitNets
from kd_runner.distillation.fsp import FSP, flow
from kd_runner.distillation.ft import FT
from kd_runner.distillation.nst import NST
from kd_runner.distillation.ofa import OFA
from kd_runner.distillation.ofd import OFD, partial_distance
from kd_runner.distillation.pkt import PKT
from kd_runner.distillation.reviewkd import Fusion, ReviewKD, pyramid_distance
from kd_runner.distillation.rkd import RKD
from kd_runner.distillation.simkd import Reused, SimKD
from kd_runner.distillation.sp import SP
from kd_runner.distillation.srrl import SRRL
from kd_runner.distillation.vid import VID
from kd_runner.networks.observed import Observed
from kd_runner.outputs import AdapterExample, Outputs, needs_of


def unit(x: np.ndarray, axis: int = -1) -> np.ndarray:
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


def huber(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 1, x**2 / 2, np.abs(x) - 0.5)


def sp(fs: np.ndarray, ft: np.ndarray) -> float:
    similar = [unit(each.reshape(len(each), -1) @ each.reshape(len(each), -1).T) for each in (fs, ft)]
    return float(((similar[0] - similar[1]) ** 2).mean())


def rkd_distance(fs: np.ndarray, ft: np.ndarray) -> float:
    relative = []
    for f in (fs, ft):
        lengths = np.linalg.norm(f[:, None] - f[None], axis=2)
        relative.append(lengths / lengths[~np.eye(len(f), dtype=bool)].mean())
    return float(huber(relative[0] - relative[1]).mean())


def rkd_angle(fs: np.ndarray, ft: np.ndarray) -> float:
    count, total = len(fs), 0.0
    for i in range(count):
        for j in range(count):
            for k in range(count):
                angles = []
                for f in (fs, ft):
                    a, b = f[i] - f[j], f[k] - f[j]
                    long = np.linalg.norm(a) * np.linalg.norm(b)
                    angles.append(a @ b / long if long else 0.0)
                total += float(huber(np.array(angles[0] - angles[1])))
    return total / count**3


def pkt(fs: np.ndarray, ft: np.ndarray) -> float:
    near = [(unit(f) @ unit(f).T + 1) / 2 for f in (fs, ft)]
    q, p = (each / each.sum(1, keepdims=True) for each in near)
    return float((p * np.log(p / q)).mean())


def at(fs: np.ndarray, ft: np.ndarray, power: int) -> float:
    looks = [unit((np.abs(f) ** power).sum(1).reshape(len(f), -1)) for f in (fs, ft)]
    return float(((looks[0] - looks[1]) ** 2).mean())


@pytest.mark.parametrize(
    ("mode", "restated", "known"),
    [
        (SP(), sp, 0.103444),
        (RKD(1, 0), rkd_distance, 0.045079),
        (RKD(0, 1), rkd_angle, 0.094329),
        (PKT(), pkt, 0.034739),
    ],
    ids=["sp", "rkd_distance", "rkd_angle", "pkt"],
)
def test_of_vectors(mode: Any, restated: Callable[..., float], known: float) -> None:
    assert restated(FS, FT_) == pytest.approx(known, abs=1e-6)
    assert loss_of(mode, [FS], [FT_]) == pytest.approx(restated(FS, FT_), rel=2e-5)
    generator = np.random.default_rng(0)
    other = generator.normal(size=(5, 3)), generator.normal(size=(5, 7))
    assert loss_of(mode, other[:1], other[1:]) == pytest.approx(restated(*other), rel=2e-5)


def test_rkd_weighs_its_two_parts() -> None:
    restated = 25 * rkd_distance(FS, FT_) + 50 * rkd_angle(FS, FT_)
    assert loss_of(RKD(), [FS], [FT_]) == pytest.approx(restated, rel=1e-6)


def test_sp_flattens_maps_where_the_others_average_them() -> None:
    assert loss_of(SP(), [MS], [MT]) == pytest.approx(sp(MS, MT), rel=1e-6)
    for mode, restated in ((RKD(1, 0), rkd_distance), (PKT(), pkt)):
        assert loss_of(mode, [MS], [MT]) == pytest.approx(restated(MS.mean((2, 3)), MT.mean((2, 3))), rel=1e-4)


@pytest.mark.parametrize("at_once", [1, 40])
def test_rkd_some_corners_at_a_time(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    found = []
    for limit in (2**24, at_once):
        monkeypatch.setattr(rkd, "AT_ONCE", limit)
        student = torch.tensor(FS, requires_grad=True)
        loss = RKD()(outputs(student), outputs(FT_), LABELS, 4)
        loss.backward()
        found.append((loss, student.grad))
    torch.testing.assert_close(*(loss for loss, _ in found))
    torch.testing.assert_close(*(gradient for _, gradient in found))


@pytest.mark.parametrize("mode", [RKD(), SP(), PKT(), CC()], ids=["rkd", "sp", "pkt", "cc"])
def test_images_that_are_alike_leave_the_gradient_finite(mode: Any) -> None:
    """The square root of a distance of 0 has none."""
    student = torch.tensor(np.concatenate([FS, FS]), requires_grad=True)
    mode(outputs(student), outputs(np.concatenate([FT_, FT_])), LABELS, 4).backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert student.grad.abs().max() < 100


@pytest.mark.parametrize("power", [1, 2, 4])
def test_at(power: int) -> None:
    assert at(MS, MT, 2) == pytest.approx(0.001667, abs=1e-6)
    assert loss_of(AT(power), [MS], [MT]) == pytest.approx(at(MS, MT, power), rel=1e-6)
    # Several layers, one of the student's larger than the teacher's and one smaller.
    several = loss_of(AT(power), [MS, MS, halved(MS)], [MT, halved(MT), MT])
    restated = at(MS, MT, power) + at(halved(MS), halved(MT), power) * 2
    assert several == pytest.approx(restated, rel=1e-6)


def test_attention_is_of_length_one_for_each_image() -> None:
    looks = attention(torch.tensor(MT), 2)
    assert looks.shape == (4, 16)
    assert looks.norm(dim=1).tolist() == pytest.approx([1] * 4)
    torch.testing.assert_close(attention(-3 * torch.tensor(MT), 2), looks)
    with pytest.raises(ValueError, match="power must be 1 or more, got 0"):
        AT(0)


def test_at_refuses_maps_of_one_pixel_and_unequal_layers() -> None:
    with pytest.raises(ValueError, match="must have a layer whose maps have more than one pixel"):
        adapted(AT(), [MS, FS], [MT[:, :, :1, :1], FT_])
    for mode in (AT(), NST(), FitNets(), VID(), AB(), OFD(), FSP(), ReviewKD()):
        with pytest.raises(
            ValueError, match=r"as many student layers as teacher layers, got 2 \(layer0, layer1\) and 1 \("
        ):
            adapted(mode, [MS, MS], [MT])


def nst(fs: np.ndarray, ft: np.ndarray) -> float:
    a, b = (unit(f.reshape(*f.shape[:2], -1)) for f in (fs, ft))
    total = 0.0
    for s, t in zip(a, b, strict=True):
        kernels = [((x @ y.T) ** 2).mean() for x, y in ((s, s), (t, t), (s, t))]
        total += kernels[0] + kernels[1] - 2 * kernels[2]
    return total / len(fs)


def test_nst() -> None:
    assert loss_of(NST(), [MS], [MT]) == pytest.approx(nst(MS, MT), rel=1e-6)
    assert loss_of(NST(), [MS, MS], [MT, halved(MT)]) == pytest.approx(nst(MS, MT) + nst(halved(MS), halved(MT)))


@pytest.mark.parametrize(("gamma", "order"), [(0.4, 2), (1.0, 3)])
def test_cc(gamma: float, order: int) -> None:
    kernels = []
    for f in (FS, FT_):
        products = unit(f) @ unit(f).T
        series = sum((2 * gamma * products) ** p / math.factorial(p) for p in range(order + 1))
        kernels.append(np.exp(-2 * gamma) * series)
    restated = ((kernels[0] - kernels[1]) ** 2).mean()
    assert loss_of(CC(gamma, order), [FS], [FT_]) == pytest.approx(restated, rel=1e-6)


def test_ccs_series_tends_to_the_gaussian_kernel() -> None:
    unit_vectors = unit(FS)
    squared = ((unit_vectors[:, None] - unit_vectors[None]) ** 2).sum(2)
    np.testing.assert_allclose(correlations(torch.tensor(FS), 0.4, 15), np.exp(-0.4 * squared), rtol=1e-9)
    with pytest.raises(ValueError, match="gamma must be above 0 and order 1 or more, got 0 and 2"):
        CC(gamma=0)


def gram(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.einsum("nahw,nbhw->nab", first, second) / first[0, 0].size


def test_fsp_flow() -> None:
    np.testing.assert_allclose(flow(torch.tensor(MS), torch.tensor(MT)), gram(MS, MT), rtol=1e-9)
    pooled = MT.reshape(4, 6, 2, 2, 2, 2).max((3, 5))
    np.testing.assert_allclose(flow(torch.tensor(halved(MS)), torch.tensor(MT)), gram(halved(MS), pooled), rtol=1e-9)


def test_fsp() -> None:
    ours, theirs = [MS, MS[:, :2] ** 2, MS[:, 1:]], [-MS, MS[:, 1:], MT[:, :2]]
    restated = sum(
        ((gram(ours[i], ours[i + 1]) - gram(theirs[i], theirs[i + 1])) ** 2).mean() for i in range(len(ours) - 1)
    )
    assert loss_of(adapted(FSP(), ours, theirs), ours, theirs) == pytest.approx(restated, rel=1e-6)
    with pytest.raises(ValueError, match="must have 2 layers or more of each network, got 1"):
        adapted(FSP(), [MS], [MT])


def test_fsp_widens_a_layer_once_for_both_of_its_flows() -> None:
    ours, theirs = [MS, MS[:, :2], MS], [MS, MT, MS]
    mode = adapted(FSP(), ours, theirs)
    assert [isinstance(each, nn.Identity) for each in mode.adapters] == [True, False, True]
    wide = np.einsum("oi,nihw->nohw", numpy_of(mode.adapters[1].weight)[:, :, 0, 0], ours[1])
    restated = ((gram(MS, wide) - gram(MS, MT)) ** 2).mean() + ((gram(wide, MS) - gram(MT, MS)) ** 2).mean()
    assert loss_of(mode, ours, theirs) == pytest.approx(restated, rel=1e-6)


def boundary(s: np.ndarray, t: np.ndarray, margin: float) -> float:
    on = (t > 0) * np.maximum(0, margin - s) ** 2
    off = (t <= 0) * np.maximum(0, margin + s) ** 2
    return float((on + off).sum() / len(s))


def partial(s: np.ndarray, t: np.ndarray) -> float:
    return float(np.where((s <= t) & (t <= 0), 0, (s - t) ** 2).sum() / len(s))


def test_boundary_loss_and_partial_distance() -> None:
    s, t = MT[:, :3] * 1.5, MS.copy()
    t[0, 0] = 0  # on neither side
    for margin in (0.5, 1.0):
        loss = boundary_loss(torch.tensor(s), torch.tensor(t), margin).item()
        assert loss == pytest.approx(boundary(s, t, margin), rel=1e-9)
    assert partial_distance(torch.tensor(s), torch.tensor(t)).item() == pytest.approx(partial(s, t), rel=1e-9)
    cases = torch.tensor([[-3.0, -1.0, -1.0, 2.0, 0.0]]), torch.tensor([[-1.0, -3.0, 1.0, 1.0, 0.0]])
    assert partial_distance(*cases).item() == 0 + 4 + 4 + 1 + 0
    assert boundary_loss(*cases, margin=1).item() == 0 + 0 + 4 + 0 + 1
    with pytest.raises(ValueError, match="margin must be above 0, got 0"):
        AB(margin=0)


def connected(mode: Any, features: Arrays) -> list[np.ndarray]:
    return [numpy_of(connector(torch.tensor(each))) for connector, each in zip(mode.connectors, features, strict=True)]


def test_ab_halves_shallower_layers() -> None:
    ours, theirs = [MS, 2 * MS, halved(MS)], [MT, halved(MT), halved(MT)]
    mode = adapted(AB(margin=0.7), ours, theirs).eval()
    sizes = [MS, halved(2 * MS), halved(MS)]
    each = [boundary(s, t, 0.7) for s, t in zip(connected(mode, sizes), theirs, strict=True)]
    assert loss_of(mode, ours, theirs) == pytest.approx(each[0] / 4 + each[1] / 2 + each[2], rel=1e-6)


def test_ofd_measures_its_margins_over_all_batches_so_far() -> None:
    ours = [MS, halved(MS)]
    mode = adapted(OFD(), ours, [MT, halved(MT)]).eval()
    seen: list[np.ndarray] = []
    for teacher in (MT, MT[::-1] ** 3 - 0.2):
        seen.append(teacher)
        restated = 0.0
        for s, shrink in zip(connected(mode, ours), (lambda x: x, halved), strict=True):
            everything = np.concatenate([shrink(each) for each in seen])
            margins = np.array([c[c < 0].mean() if (c < 0).any() else 0 for c in everything.transpose(1, 0, 2, 3)])
            wanted = np.maximum(shrink(teacher), margins[None, :, None, None])
            restated = restated / 2 + partial(s, wanted)
        assert margins.min() < -0.1
        assert loss_of(mode, ours, [teacher, halved(teacher)]) == pytest.approx(restated, rel=1e-6)


@pytest.mark.parametrize("mode", [AB(), OFD()], ids=["ab", "ofd"])
def test_layers_behind_their_activation_are_refused(mode: Any) -> None:
    with pytest.raises(ValueError, match="in front of their activations, the teacher's layer0 is never negative"):
        adapted(mode, [MS], [np.abs(MT)])


@pytest.mark.parametrize("side", [8, 7, 4, 3, 2, 1])
def test_pyramid_distance(side: int) -> None:
    generator = np.random.default_rng(side)
    s, t = generator.normal(size=(2, 3, 2, side, side))

    def pooled(x: np.ndarray, level: int) -> np.ndarray:
        cuts = [(i * side // level, -(-(i + 1) * side // level)) for i in range(level)]
        return np.stack([np.stack([x[:, :, a:b, c:d].mean((2, 3)) for c, d in cuts]) for a, b in cuts])

    levels = [((s - t) ** 2).mean()]
    levels += [((pooled(s, level) - pooled(t, level)) ** 2).mean() for level in (4, 2, 1) if level < side]
    weights = 0.5 ** np.arange(len(levels))
    restated = (weights * levels).sum() / weights.sum()
    assert pyramid_distance(torch.tensor(s), torch.tensor(t)).item() == pytest.approx(restated, rel=1e-9)


def test_a_fusion_shares_each_place_between_a_layer_and_the_deeper_ones() -> None:
    torch.manual_seed(0)
    fusion = Fusion(3, 5, 6, fuses=True).double().eval()
    deeper = np.random.default_rng(0).normal(size=(4, 5, 2, 2))
    _, fused = fusion(torch.tensor(MS), torch.tensor(deeper), torch.Size((4, 4)))
    reduced = np.einsum("oi,nihw->nohw", numpy_of(fusion.reduce[0].weight)[:, :, 0, 0], MS) / np.sqrt(1 + 1e-5)
    larger = deeper.repeat(2, 2).repeat(2, 3)
    weight, bias = numpy_of(fusion.attention[0].weight)[:, :, 0, 0], numpy_of(fusion.attention[0].bias)
    scores = np.einsum("oi,nihw->nohw", weight, np.concatenate([reduced, larger], 1)) + bias[None, :, None, None]
    shares = 1 / (1 + np.exp(-scores))
    np.testing.assert_allclose(numpy_of(fused), reduced * shares[:, :1] + larger * shares[:, 1:], rtol=1e-9)


def test_a_fusion_passes_on_what_it_compares() -> None:
    """As published: where the student's maps have another size, the shallower layers see them resized."""
    fusion = adapted(ReviewKD(width=4), [MS, FS], [halved(MT), FT_]).fusions[0]
    fusion.out = nn.Identity()
    compared, passed = fusion(torch.tensor(MS), torch.tensor(FS)[:, :4, None, None], torch.Size((2, 2)))
    assert passed.shape == (4, 4, 2, 2)
    torch.testing.assert_close(compared, passed)


def test_reviewkd_reviews_deep_to_shallow() -> None:
    """A shallow layer's comparison depends on the deeper layers, never the reverse; maps and the embedding all fit."""
    ours, theirs = [MS, halved(MS), FS], [MT, halved(MT), FT_]
    mode = adapted(ReviewKD(width=4), ours, theirs)
    assert [fusion.attention is None for fusion in mode.fusions] == [False, False, True]
    tensors = [torch.tensor(each, requires_grad=True) for each in ours]
    deep, passed = mode.fusions[2](tensors[2][:, :, None, None], None, torch.Size((1, 1)))
    middle, passed = mode.fusions[1](tensors[1], passed, torch.Size((2, 2)))
    shallow, _ = mode.fusions[0](tensors[0], passed, torch.Size((4, 4)))
    compared = (shallow, middle, deep)
    reached = [[g is not None for g in torch.autograd.grad(c.sum(), tensors, retain_graph=True, allow_unused=True)]
               for c in compared]  # fmt: skip
    assert reached == [[True, True, True], [False, True, True], [False, False, True]]
    wanted = [torch.tensor(MT), torch.tensor(halved(MT)), torch.tensor(FT_)[:, :, None, None]]
    restated = sum(pyramid_distance(c, w).item() for c, w in zip(compared, wanted, strict=True))
    assert loss_of(mode, ours, theirs) == pytest.approx(restated, rel=1e-9)


def test_vid() -> None:
    ours, theirs = [MS, MS], [MT, halved(MT)]
    mode = adapted(VID(), ours, theirs)
    with torch.no_grad():
        for number, scale in enumerate(mode.scales):
            assert np.log1p(np.exp(numpy_of(scale))) + 1e-5 == pytest.approx(5.0)
            scale += torch.linspace(-1, 1, 6).view(1, -1, 1, 1) * (number + 1)
    restated = 0.0
    for mean, scale, s, t in zip(mode.means, mode.scales, [MS, halved(MS)], theirs, strict=True):
        x = s
        for number in (0, 2, 4):
            x = np.einsum("oi,nihw->nohw", numpy_of(mean[number].weight)[:, :, 0, 0], np.maximum(x, 0) if number else x)
        variance = np.log1p(np.exp(numpy_of(scale))) + 1e-5
        restated += (0.5 * ((x - t) ** 2 / variance + np.log(variance))).mean()
    assert loss_of(mode, ours, theirs) == pytest.approx(restated, rel=1e-6)


def test_vids_variances_are_trained() -> None:
    """In the plain list of published code they are no parameters."""
    mode = adapted(VID(), [MS, MS], [MT, MT])
    mode(outputs(MS, MS), outputs(MT, MT), LABELS, 4).backward()
    parameters = dict(mode.named_parameters())
    for number in range(2):
        scale = parameters[f"scales.{number}"]
        assert scale.shape == (1, 6, 1, 1)
        assert scale.grad is not None
        assert scale.grad.abs().min() > 0
    with pytest.raises(ValueError, match="initial_variance must be above 1e-05, got 0"):
        VID(initial_variance=0)


def embedded(layer: nn.Linear, features: np.ndarray) -> np.ndarray:
    return unit(features @ numpy_of(layer.weight).T + numpy_of(layer.bias))


def test_crd_in_batch_tells_each_image_from_the_rest_both_ways() -> None:
    mode = adapted(CRD("in_batch", dimensions=7, sharpness=0.2), [FS], [FT_])
    scores = embedded(mode.embed_student, FS) @ embedded(mode.embed_teacher, FT_).T / 0.2
    restated = -np.log(np.diag(softmax(scores))).mean() - np.log(np.diag(softmax(scores.T))).mean()
    assert loss_of(mode, [FS], [FT_]) == pytest.approx(restated, rel=1e-9)
    assert not list(mode.buffers())


@pytest.mark.parametrize("negatives", [4, 5], ids=["gather drawn", "gather all"])
def test_crd_with_a_memory(monkeypatch: pytest.MonkeyPatch, negatives: int) -> None:
    """Two steps: Z is estimated once, from the first; what is remembered counts in the second."""
    mode = adapted(CRD(dimensions=7, negatives=negatives, sharpness=0.3, momentum=0.8), [FS], [FT_])
    memory_s, memory_t = numpy_of(mode.memory_student).copy(), numpy_of(mode.memory_teacher).copy()
    assert memory_s.shape == memory_t.shape == (20, 7)
    assert (len(CLASSES) <= 4 * negatives) == (negatives == 5)
    generator = np.random.default_rng(0)
    z: dict[str, float] = {}
    for step in range(2):
        fs, ft = FS * (1 + step), FT_ + step
        indices = np.array([3, 11, 0, 19]) if step == 0 else np.array([11, 4, 3, 7])
        others = generator.integers(0, 20, (4, negatives))
        monkeypatch.setattr(mode, "draw_negatives", lambda _, others=others: torch.tensor(others))
        s, t = embedded(mode.embed_student, fs), embedded(mode.embed_teacher, ft)
        restated = 0.0
        for name, anchor, memory in (("s", s, memory_t), ("t", t, memory_s)):
            drawn = np.concatenate([indices[:, None], others], 1)
            likely = np.exp(np.einsum("nkd,nd->nk", memory[drawn], anchor) / 0.3)
            z.setdefault(name, likely.mean() * 20)
            likely = likely / z[name]
            noise = negatives / 20
            partner = likely / (likely + noise)  # h of the paper
            restated -= (np.log(partner[:, 0]) + np.log(1 - partner[:, 1:]).sum(1)).mean()
        student = Outputs(torch.zeros(4, 5), {"a": torch.tensor(fs, requires_grad=True)}, torch.tensor(indices))
        loss = mode(student, Outputs(torch.zeros(4, 5), {"b": torch.tensor(ft)}), LABELS, 4)
        loss.backward()
        assert loss.item() == pytest.approx(restated, rel=1e-5)
        assert student.features["a"].grad is not None
        for memory, seen, kept in ((memory_s, s, mode.memory_student), (memory_t, t, mode.memory_teacher)):
            memory[indices] = unit(0.8 * memory[indices] + 0.2 * seen)
            np.testing.assert_allclose(numpy_of(kept), memory, rtol=1e-9)


def test_crd_gathers_all_or_the_drawn_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = []
    for copies in (1, 2):  # of the images: with 40 of them only the drawn are gathered
        mode = CRD(dimensions=7, negatives=5)
        labels = CLASSES.repeat(copies)
        torch.manual_seed(0)
        mode.adapt(AdapterExample(outputs(FS), outputs(FT_), nn.Identity(), nn.Identity(), None, None, labels))
        torch.manual_seed(0)
        memory = torch.randn(20, 7)
        mode.memory_student, mode.memory_teacher = memory.repeat(copies, 1), memory.repeat(copies, 1)
        mode.double()
        monkeypatch.setattr(mode, "draw_negatives", lambda _: torch.arange(5).expand(4, 5) + 10)
        # Z grows with M as the noise, K/M, shrinks: h is the same.
        losses.append(loss_of(mode, [FS], [FT_]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_crds_negatives_are_all_images_of_other_classes_and_each_as_likely() -> None:
    mode = adapted(CRD(negatives=6000), [FS], [FT_])
    torch.manual_seed(3)
    for chunk in torch.arange(20).split(5):
        drawn = mode.draw_negatives(chunk)
        assert drawn.shape == (5, 6000)
        for index, row in zip(chunk.tolist(), drawn, strict=True):
            counts = np.bincount(row.numpy(), minlength=20)
            other = CLASSES.numpy() != int(CLASSES[index])
            assert counts[~other].sum() == 0
            expected = 6000 / other.sum()
            chi_square = ((counts[other] - expected) ** 2 / expected).sum()
            degrees = other.sum() - 1
            assert chi_square < degrees + 5 * math.sqrt(2 * degrees)


def test_crd_refuses_what_it_cannot_contrast() -> None:
    mode, same = CRD(), torch.ones(20, dtype=torch.int64)
    with pytest.raises(ValueError, match="must have images of two classes or more"):
        mode.adapt(AdapterExample(outputs(FS), outputs(FT_), nn.Identity(), nn.Identity(), None, None, same))
    with pytest.raises(ValueError, match="momentum must be 0 or more and below 1, got 1"):
        CRD(momentum=1)
    with pytest.raises(ValueError, match=r"sharpness .*above 0, got .*0$"):
        CRD(sharpness=0)


@pytest.mark.parametrize("positive", [False, True])
def test_srrl(golden: Golden, positive: bool) -> None:
    head, theirs = frozen_head(), np.abs(FT_) if positive else FT_
    mode = adapted(SRRL(classifier_weight=3), [MS], [theirs], head)
    maps = numpy_of(mode.connector(torch.tensor(MS)))
    assert (maps.min() >= 0) == positive
    ours = maps.mean((2, 3))
    logits = ours @ numpy_of(head.weight).T + numpy_of(head.bias)
    restated = ((ours - theirs) ** 2).mean() + 3 * ((logits - golden.zt) ** 2).mean()
    loss = mode(outputs(MS), outputs(theirs, logits=golden.zt), golden.labels, 4)
    assert loss.item() == pytest.approx(restated, rel=1e-9)


def test_srrl_neither_saves_nor_trains_the_teachers_classifier() -> None:
    head = frozen_head()
    mode = adapted(SRRL(), [MS], [FT_], head)
    assert not any(parameter is theirs for parameter in mode.parameters() for theirs in head.parameters())
    assert all(name.startswith("connector.") for name in mode.state_dict())
    mode(outputs(MS), outputs(FT_), LABELS, 4).backward()
    assert head.weight.grad is None
    with pytest.raises(ValueError, match="the teacher must end in a dense layer whose input"):
        adapted(SRRL(), [MS], [FT_])
    with pytest.raises(ValueError, match="last dense layer, 7 wide, for its layer, got 8"):
        adapted(SRRL(), [MS], [FT_], frozen_head(7))


@pytest.mark.parametrize(
    ("ours", "theirs", "kind", "kernel"),
    [
        ((8, 8), (4, 4), nn.Conv2d, (3, 3)),
        ((4, 4), (8, 8), nn.ConvTranspose2d, (4, 4)),
        ((4, 4), (4, 4), nn.Conv2d, (1, 1)),
        ((7, 7), (4, 4), nn.Conv2d, (4, 4)),
        ((8, 5), (4, 5), nn.Conv2d, (5, 1)),
        ((2, 2), (1, 1), nn.Conv2d, (3, 3)),
        ((4, 4), (6, 6), nn.Conv2d, (1, 1)),
        ((3, 3), (7, 7), nn.Conv2d, (1, 1)),
    ],
)
@pytest.mark.parametrize("positive", [False, True])
def test_fitnets_regressor(
    ours: tuple[int, int], theirs: tuple[int, int], kind: type, kernel: tuple[int, int], positive: bool
) -> None:
    generator = np.random.default_rng(0)
    s, t = generator.normal(size=(4, 3, *ours)), generator.normal(size=(4, 6, *theirs))
    t = np.abs(t) if positive else t
    mode = adapted(FitNets(), [s], [t])
    (regressor,) = mode.regressors
    assert isinstance(regressor[0], kind)
    assert regressor[0].kernel_size == kernel
    assert isinstance(regressor[-1], nn.ReLU) == positive
    met = regressor(torch.tensor(s))
    smaller = theirs if ours[0] >= theirs[0] or theirs[0] == 2 * ours[0] else ours
    assert met.shape[1:] == (6, *smaller)
    hint = nn.functional.adaptive_avg_pool2d(torch.tensor(t), smaller)
    assert loss_of(mode, [s], [t]) == pytest.approx(((met - hint) ** 2).mean().item(), rel=1e-9)
    assert isinstance(next(iter(mode.parameters())), nn.Parameter)


def gradients_of(mode: nn.Module, *parts: str) -> dict[str, bool]:
    return {
        part: any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in getattr(mode, part).parameters())
        for part in parts
    }


@pytest.mark.parametrize(("progress", "paraphrasing"), [(0.0, True), (0.124, True), (0.125, False), (1.0, False)])
def test_fts_two_phases(progress: float, paraphrasing: bool) -> None:
    mode = adapted(FT(), [MS], [MT])
    student = torch.tensor(MS, requires_grad=True)
    mode(outputs(student, progress=progress), outputs(MT), LABELS, 4).backward()
    assert gradients_of(mode, "encoder", "decoder", "translator") == {
        "encoder": paraphrasing,
        "decoder": paraphrasing,
        "translator": not paraphrasing,
    }
    assert student.grad is not None
    assert bool(student.grad.abs().sum() > 0) != paraphrasing


def test_ft() -> None:
    mode = adapted(FT(rate=0.5), [MS], [MT])
    factors = numpy_of(mode.encoder.eval()(torch.tensor(MT)))
    assert factors.shape == (4, 3, 4, 4)
    found = numpy_of(mode.translator.eval()(torch.tensor(MS)))
    restated = np.abs(unit(found.reshape(4, -1)) - unit(factors.reshape(4, -1))).mean()
    assert loss_of(mode, [MS], [MT], progress=0.5) == pytest.approx(restated, rel=1e-9)
    rebuilt = numpy_of(mode.decoder.eval()(torch.tensor(factors)))
    assert loss_of(mode, [MS], [MT], progress=0.1) == pytest.approx(((rebuilt - MT) ** 2).mean(), rel=1e-9)


def test_ft_freezes_the_paraphrasers_statistics_too() -> None:
    mode = adapted(FT(), [MS], [MT]).train()
    before = {name: value.clone() for name, value in mode.encoder.state_dict().items()}
    for _ in range(2):
        loss_of(mode, [MS], [MT], progress=0.5)
    for name, value in mode.encoder.state_dict().items():
        assert torch.equal(value, before[name]), name
    for settings in ({"rate": 0}, {"paraphraser_share": 1}, {"paraphraser_share": 0}):
        with pytest.raises(ValueError, match="rate must be above 0 and paraphraser_share between 0 and 1"):
            FT(**settings)


@pytest.mark.parametrize("temperature", [1, 3])
def test_ofa_adds_an_exit_behind_each_stage(golden: Golden, temperature: float) -> None:
    stages = [MS, halved(MS), FS]
    mode = adapted(OFA(epsilon=1.2, exit_epsilon=1.4), stages, [MT]).eval()
    assert len(mode.exits) == 3
    label = np.eye(5)[golden.y]

    def cross_entropy(logits: np.ndarray, epsilon: float) -> float:
        targets = (softmax(golden.zt, temperature) + label) ** epsilon - label
        return float(-(targets * np.log(softmax(logits, temperature))).sum(1).mean())

    restated = cross_entropy(golden.zs, 1.2)
    for leave, stage in zip(mode.exits, stages, strict=True):
        logits = numpy_of(leave(torch.tensor(stage if stage.ndim == 4 else stage[:, :, None, None])))
        assert logits.shape == (4, 5)
        restated += cross_entropy(logits, 1.4)
    student = [torch.tensor(stage, requires_grad=True) for stage in stages]
    arguments = outputs(*student, logits=golden.zs), outputs(MT, logits=golden.zt), golden.labels, temperature
    assert mode(*arguments).item() == pytest.approx(restated, rel=1e-5)
    mode.train()(*arguments).backward()
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in student)
    with pytest.raises(ValueError, match=r"epsilon and exit_epsilon must be above 0, got 1 and 0"):
        OFA(exit_epsilon=0)


def tiny_teacher(stride: int = 2) -> nn.Sequential:
    """Maps 4x4 of six channels, averaged, in front of a dense layer."""
    layers = (nn.Conv2d(1, 6, 3, stride, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))
    return nn.Sequential(*layers)


STUDENT = {"_target_": "kd_runner.models.plain_cnn.plain_cnn", "channels": [4]}
OFFERED = {"num_classes": 5, "image_shape": (1, 8, 8)}
IMAGES = torch.tensor(np.cos(0.9 * np.arange(256)).reshape(4, 1, 8, 8), dtype=torch.float32)


def heard(network: nn.Module, *layers: str) -> Outputs:
    with torch.no_grad():
        return Observed(network.eval(), layers)(IMAGES)


def reusing(mode: SimKD, teacher: nn.Sequential, last: str, head: str) -> tuple[Any, Outputs, nn.Module]:
    """(the deployed student, what the teacher gives, the student as it was)."""
    torch.manual_seed(0)
    student = build(STUDENT, "student", **OFFERED)
    theirs = heard(teacher, last, f"{head}.input")
    dense = teacher.get_submodule(head)
    assert isinstance(dense, nn.Linear)
    example = AdapterExample(heard(student, "1"), theirs, student, teacher, dense, "3", LABELS)
    return mode.deployed(example), theirs, student


def test_simkd_deploys_the_teachers_classifier_behind_a_projector() -> None:
    teacher = tiny_teacher()
    before = teacher[4].weight.detach().clone()
    deployed, theirs, _ = reusing(mode := SimKD(), teacher, "1", "4")
    network = deployed.network.eval()
    assert deployed.layers == ("projector",)
    assert mode.averaged
    assert torch.equal(network.head.weight, teacher[4].weight)
    assert not any(parameter.requires_grad for parameter in network.head.parameters())
    assert not any(name.startswith("student.3") for name in network.state_dict())
    with torch.no_grad():
        layer = nn.functional.relu(network.student[0](IMAGES))  # 8x8, and the teacher's 4x4
        projected = numpy_of(network.projector(torch.tensor(halved(layer.numpy()))))
        logits = numpy_of(network(IMAGES))
    assert projected.shape == (4, 6, 4, 4)
    restated = projected.mean((2, 3)) @ numpy_of(before).T + numpy_of(teacher[4].bias)
    np.testing.assert_allclose(logits, restated, rtol=1e-4, atol=1e-6)
    wanted = numpy_of(theirs.features["1"])
    loss = mode(heard(network, "projector"), theirs, LABELS, 4).item()
    assert loss == pytest.approx(((projected - wanted) ** 2).mean(), rel=1e-4)
    inner = [m.weight.shape for m in network.projector if isinstance(m, nn.Conv2d)]
    assert inner == [(3, 4, 1, 1), (3, 3, 3, 3), (6, 3, 1, 1)]


def test_simkds_student_is_built_again_from_its_node() -> None:
    deployed, _, _ = reusing(SimKD(), tiny_teacher(), "1", "4")
    built = build({**deployed.node, "student": STUDENT}, "student", **OFFERED)
    assert isinstance(built, Reused)
    built.load_state_dict(deployed.network.state_dict())
    with torch.no_grad():
        assert torch.equal(built.eval()(IMAGES), deployed.network.eval()(IMAGES))


def test_simkd_meets_an_embedding_that_is_no_average_of_maps() -> None:
    teacher = nn.Sequential(*tiny_teacher()[:2], nn.Flatten(), nn.Linear(96, 7), nn.Tanh(), nn.Linear(7, 5))
    deployed, theirs, _ = reusing(mode := SimKD(), teacher, "1", "5")
    assert not mode.averaged
    assert isinstance(deployed.network.projector[-1], nn.Identity)
    ours = heard(deployed.network, "projector")
    assert ours.features["projector"].shape == (4, 7, 1, 1)
    embedding = numpy_of(theirs.features["5.input"])
    restated = ((numpy_of(ours.features["projector"])[:, :, 0, 0] - embedding) ** 2).mean()
    assert mode(ours, theirs, LABELS, 4).item() == pytest.approx(restated, rel=1e-5)


def test_simkd_asks_for_a_dense_layer_and_nothing_of_labels() -> None:
    nothing = AdapterExample(
        heard(tiny_teacher(), "1"), outputs(MT, FT_), nn.Identity(), nn.Identity(), None, None, LABELS
    )
    with pytest.raises(ValueError, match="the teacher must end in a dense layer whose input"):
        SimKD().deployed(nothing)
    with pytest.raises(ValueError, match="reduction must be 1 or more, got 0"):
        SimKD(reduction=0)
    assert not SimKD.needs.labels
    assert not SimKD.needs.teacher_logits


VECTORS = [FS], [FT_]
ZERO_AT_EQUALITY = ["at", "cc", "nst", "pkt", "rkd", "sp"]
MAPS_ONLY = ["at", "nst"]


def ran(name: str, student: Arrays, teacher: Arrays, dtype: torch.dtype = torch.float32) -> tuple[Tensor, list[Tensor]]:
    """(the loss, the gradients of the student's features), from features of `dtype` made float32 as the runner does."""
    head = frozen_head().float()
    torch.manual_seed(0)
    mode = EVERY[name][0]()
    images = len(student[0])
    if hasattr(mode, "adapt"):
        example = outputs(*student).float(), outputs(*teacher).float()
        mode.adapt(AdapterExample(*example, nn.Identity(), nn.Identity(), head, None, CLASSES))
    ours = [torch.tensor(each, dtype=dtype, requires_grad=True) for each in student]
    theirs = [torch.tensor(each, dtype=dtype) for each in teacher]
    before = [each.detach().clone() for each in (*ours, *theirs)]
    logits = torch.zeros(images, 5, dtype=dtype, requires_grad=True)
    given = outputs(*ours, progress=0.5), outputs(*theirs)
    given = Outputs(logits, given[0].features, given[0].indices, progress=0.5).float(), given[1].float()
    loss = mode(*given, LABELS[:images], 4.0)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(torch.equal(each.detach(), old) for each, old in zip((*ours, *theirs), before, strict=True))
    assert all(each.grad is None for each in theirs)
    assert head.weight.grad is None
    return loss.detach(), [each.grad if each.grad is not None else torch.zeros_like(each) for each in ours]


def check(loss: Tensor, gradients: list[Tensor]) -> None:
    assert torch.isfinite(loss)
    assert all(torch.isfinite(each).all() for each in gradients)
    assert all(each.abs().sum() > 0 for each in gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", EVERY)
def test_a_gradient_for_every_layer_of_the_student_and_none_for_the_teacher(name: str, dtype: torch.dtype) -> None:
    check(*ran(name, *EVERY[name][1], dtype))


@pytest.mark.parametrize("name", EVERY)
def test_a_batch_of_two(name: str) -> None:
    student, teacher = EVERY[name][1]
    loss, gradients = ran(name, [each[:2] for each in student], [each[:2] for each in teacher])
    assert torch.isfinite(loss)
    assert all(torch.isfinite(each).all() for each in gradients)


@pytest.mark.parametrize("name", [name for name in EVERY if name not in MAPS_ONLY])
def test_vectors_are_features_too(name: str) -> None:
    student, teacher = ([FS, FS[:, :4]], [FT_, FT_[:, :5]]) if EVERY[name][1] is MAPS else VECTORS
    assert not needs_of(EVERY[name][0]()).maps
    check(*ran(name, student, teacher))


@pytest.mark.parametrize("name", [name for name in EVERY if name not in (*MAPS_ONLY, "srrl")])
def test_tokens_are_features_too(name: str) -> None:
    """[N, L, C], as transformers give them."""
    student, teacher = (each.reshape(*each.shape[:2], 16).transpose(0, 2, 1).copy() for each in (MS, MT))
    layers = len(EVERY[name][1][0])
    check(*ran(name, [student] * layers, [teacher] * layers))


@pytest.mark.parametrize("name", ZERO_AT_EQUALITY)
def test_zero_at_equality(name: str) -> None:
    mode, (_, teacher) = EVERY[name][0](), EVERY[name][1]
    assert loss_of(mode, teacher, teacher) == pytest.approx(0, abs=1e-12)
    assert loss_of(mode, EVERY[name][1][0], teacher) > 1e-6


@pytest.mark.parametrize("name", EVERY)
def test_layers_that_are_silent_leave_the_gradient_finite(name: str) -> None:
    student, teacher = EVERY[name][1]
    loss, gradients = ran(name, [np.zeros_like(each) for each in student], teacher)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(each).all() for each in gradients)


@pytest.mark.parametrize("name", MAPS_ONLY)
def test_modes_of_places_ask_for_maps(name: str) -> None:
    assert EVERY[name][0].needs.maps


def test_the_modes_ask_for_the_layers_of_their_papers() -> None:
    embeddings = {name for name, (mode, _) in EVERY.items() if needs_of(mode()).student == "embedding"}
    assert embeddings == {"cc", "crd", "crd_in_batch", "pkt", "rkd", "srd"}
    before_activations = {name for name, (mode, _) in EVERY.items() if needs_of(mode()).teacher == "preactivations"}
    assert before_activations == {"ab", "ofd"}
    assert needs_of(SP()).student == needs_of(FT()).student == needs_of(SRRL()).student == "map"
    assert {name for name, (mode, _) in EVERY.items() if needs_of(mode()).labels} == {"ofa"}


@pytest.mark.parametrize("mode", [SP(), CC(), PKT(), RKD()])
def test_a_silent_image_does_not_blow_up_the_gradient(mode: Callable[..., Tensor]) -> None:
    """Division by the length of a dead layer would make gradients of 1e9 and more out of losses that look normal."""
    features = torch.rand(4, 6)
    features[:2] = 0
    features.requires_grad_()
    teacher = Outputs(torch.zeros(4, 3), {"t": torch.rand(4, 8)})
    mode(Outputs(torch.zeros(4, 3), {"s": features}), teacher, torch.zeros(4, dtype=torch.long), 1.0).backward()
    assert features.grad is not None
    assert features.grad.abs().max() < 1e3

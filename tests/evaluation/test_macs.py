"""MACs of one image against counts by hand: every kind of layer is counted once, or named in a note."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from kd_runner.evaluation.cost import cost
from kd_runner.evaluation.macs import multiply_accumulates
from kd_runner.notes import collected_notes


class Function(nn.Module):
    """A network that is a function of its images; its layers are submodules."""

    def __init__(self, function: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.function(images, *self.layers)


def attention(queries: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(queries, queries[..., :3, :], queries[..., :3, :4])


def asked_for(backend: SDPBackend) -> Callable[[Tensor], Tensor]:
    def attend(queries: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(queries, queries[..., :3, :], queries[..., :3, :])

    return attend


def convolutions() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))


CONVOLUTIONS = 36 * 9 * 4 + 144 * 5
WEIGHT = torch.ones(6, 8)
RECURRENT = 5 * (8 * 6 + 6 * 6)  # of five steps, for each gate
ATTENTION = 2 * 5 * 3 * (8 + 4)  # heads · queries · keys · (widths of keys and of values)
COUNTED: dict[str, tuple[nn.Module, tuple[int, ...], int]] = {
    "lstm": (nn.LSTM(8, 6, batch_first=True), (1, 5, 8), 4 * RECURRENT),
    "both ways": (nn.LSTM(8, 6, batch_first=True, bidirectional=True), (1, 5, 8), 8 * RECURRENT),
    "gru": (nn.GRU(8, 6, batch_first=True), (1, 5, 8), 3 * RECURRENT),
    "rnn": (nn.RNN(8, 6, batch_first=True), (1, 5, 8), RECURRENT),
    "attention": (Function(attention), (1, 2, 5, 8), ATTENTION),
    "flash": (Function(asked_for(SDPBackend.FLASH_ATTENTION)), (1, 2, 5, 8), 2 * 5 * 3 * 16),
    "heads": (
        Function(lambda x, layer: layer(x, x, x)[0], nn.MultiheadAttention(8, 2, batch_first=True)),
        (1, 5, 8),
        4 * 5 * 8 * 8 + 2 * 5 * 5 * 8,
    ),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), (1, 4, 5, 5), 25 * 9 * 4 * 3),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), (1, 4, 5, 5), 9 * 9 * 6 * 2),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4), (1, 4, 5, 5), 9 * 9 * 4),
    "in time": (nn.Conv1d(4, 6, 3), (1, 4, 5), 3 * 3 * 4 * 6),
    "einsum": (Function(lambda x: torch.einsum("nc,kc->nk", x, WEIGHT)), (1, 8), 48),
    "a vector": (Function(lambda x: WEIGHT @ x[0]), (1, 8), 48),
    "a vector and a bias": (Function(lambda x: torch.addmv(torch.ones(6), WEIGHT, x[0])), (1, 8), 48),
    "a product": (Function(lambda x: torch.dot(x[0], x[0])), (1, 8), 8),
    "scripted": (torch.jit.script(convolutions()), (1, 1, 8, 8), CONVOLUTIONS),
    "traced": (torch.jit.trace(convolutions(), torch.zeros(1, 1, 8, 8)), (1, 1, 8, 8), CONVOLUTIONS),
    "compiled": (torch.compile(convolutions(), backend="eager"), (1, 1, 8, 8), CONVOLUTIONS),
    "nothing to multiply": (
        nn.Sequential(
            nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm(6), nn.InstanceNorm2d(4, affine=True), nn.PReLU(),
            nn.Upsample(scale_factor=2, mode="bilinear"), nn.MaxPool2d(2), nn.LocalResponseNorm(2), nn.GELU(),
            nn.PixelShuffle(2), nn.Softmax(1), nn.Dropout(), nn.ZeroPad2d(1),
        ),
        (1, 4, 6, 6),
        0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
def test_every_layer_is_counted_once(name: str) -> None:
    network, shape, expected = COUNTED[name]
    with collected_notes() as notes:
        assert multiply_accumulates(network, torch.zeros(shape)) == expected
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert multiply_accumulates(network, torch.zeros(shape)) == expected
    assert notes == []


def test_a_vision_transformer_of_timm() -> None:
    timm = pytest.importorskip("timm", reason="needs timm")
    network = timm.create_model("vit_tiny_patch16_224", num_classes=10)
    patches, blocks, classifier = 196 * 768 * 192, 12 * (12 * 197 * 192**2 + 2 * 197**2 * 192), 192 * 10
    assert patches + blocks + classifier == 1_253_493_120
    assert cost(network, torch.zeros(1, 3, 224, 224)) == {"parameters": 5_526_346, "macs": 1_253_493_120}


def test_what_the_counter_changes_is_put_back() -> None:
    def switches() -> list[bool]:
        backends = torch.backends
        return [
            backends.mkldnn.enabled, backends.cudnn.enabled, backends.mha.get_fastpath_enabled(),
            backends.cuda.flash_sdp_enabled(), backends.cuda.mem_efficient_sdp_enabled(),
        ]  # fmt: skip

    def fail(images: Tensor) -> Tensor:
        assert switches()[:3] == [False] * 3
        raise RuntimeError("not today")

    before = switches()
    with collected_notes() as notes:
        assert multiply_accumulates(Function(fail), torch.zeros(1, 1), "student") is None
    assert notes == ["student: its MACs could not be counted (not today); compare its latency instead"]
    assert switches() == before


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(context: object, images: Tensor) -> Tensor:
        return images @ WEIGHT.t()


def deformed(images: Tensor) -> Tensor:
    from torchvision.ops import deform_conv2d

    return deform_conv2d(images, torch.zeros(1, 18, 3, 3), torch.ones(6, 4, 3, 3))


def quantized() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(8, 3)), {nn.Linear}, dtype=torch.qint8)


UNCOUNTED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "aten._trilinear": (lambda: Function(lambda x, layer: layer(x, x), nn.Bilinear(8, 8, 3)), (1, 8)),
    "aten._cdist_forward": (lambda: Function(lambda x: torch.cdist(x, WEIGHT)), (1, 8)),
    "aten._fft_r2c": (lambda: Function(lambda x: torch.fft.rfft2(x).real), (1, 1, 8, 8)),
    "torchvision.deform_conv2d": (lambda: Function(deformed), (1, 4, 5, 5)),
    "quantized.linear_dynamic": (quantized, (1, 8)),
}


@pytest.mark.parametrize("name", UNCOUNTED)
def test_what_has_no_formula_is_named(name: str) -> None:
    make, shape = UNCOUNTED[name]
    with collected_notes() as notes:
        both = nn.Sequential(make()), nn.Linear(8, 3)
        assert multiply_accumulates(both[0], torch.zeros(shape), "student") == 0
        assert multiply_accumulates(both[1], torch.zeros(1, 8), "student") == 24
    expected = f"student: its MACs leave out {name}, for which there is no formula; compare its latency instead"
    assert notes == [expected]


def test_the_inside_of_a_function_with_its_own_gradient_is_counted() -> None:
    assert multiply_accumulates(Function(Scaled.apply), torch.zeros(1, 8)) == 48

"""Random numbers that depend on their purpose, never on what was drawn before.

A number for (seed, epoch, image) is the same whichever mode trains, whatever ran first, and after a resume.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def derived_seed(*parts: object) -> int:
    """A seed in [0, 2**63) for `parts`, for example (seed, "teacher", epoch)."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextmanager
def seeded_generator(*parts: object) -> Iterator[None]:
    """PyTorch's global generator is seeded by `parts` inside the block, and restored after it."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []):
        seed = torch.manual_seed if _has_devices() else torch.default_generator.manual_seed
        seed(derived_seed(*parts))
        yield


@functools.lru_cache(maxsize=1)
def _has_devices() -> bool:
    """True where there may be other devices than the CPU, whose generators PyTorch seeds, too, which takes a while."""
    return bool(torch.cuda.device_count()) or torch.backends.mps.is_available() or torch.xpu.is_available()


def generator_state(device: torch.device) -> Tensor:
    """The state of PyTorch's generator of random numbers on the device."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def set_generator_state(device: torch.device, state: Tensor) -> None:
    """Give PyTorch's generator on the device a state that `generator_state` gave."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


def keyed_uniform(indices: Tensor, seed: int, draws: int) -> Tensor:
    """Uniform numbers in [0, 1), float32 [draws, N], each a function of `seed`, its index and its row alone.

    A hash in integer arithmetic (the finaliser of MurmurHash3, Appleby 2011, twice): few operations for a whole batch,
    on the device of `indices`.

    Args:
        indices: int64 [N], for example the images' numbers in the data set.
        draws: Number of rows.
    """
    rows = torch.arange(1, draws + 1, device=indices.device).unsqueeze(1) * 0x9E3779B97F4A7C1
    state = _mix(indices.unsqueeze(0) + rows + seed % 2**62)
    state = _mix(state ^ (seed % 2**61))
    return ((state >> 40) & 0xFFFFFF).float() / 2**24


def _mix(state: Tensor) -> Tensor:
    # '& mask' makes the arithmetic shift of a signed integer a logical one; products wrap, as they must.
    state = state ^ ((state >> 33) & 0x7FFFFFFF)
    state = state * -0x00AE502812AA7333  # 0xFF51AFD7ED558CCD
    state = state ^ ((state >> 33) & 0x7FFFFFFF)
    state = state * -0x3B314601E57A13AD  # 0xC4CEB9FE1A85EC53
    return state ^ ((state >> 33) & 0x7FFFFFFF)

"""Random numbers that depend on what they are for alone."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from kd_runner.randomness import derived_seed, keyed_uniform, seeded_generator


def test_a_seed_is_the_first_63_bits_of_a_sha256() -> None:
    wanted = int.from_bytes(hashlib.sha256(b"(0, 'teacher', 3)").digest()[:8], "big") >> 1
    assert derived_seed(0, "teacher", 3) == wanted
    assert derived_seed(0, "teacher", 4) != wanted


def test_the_generator_is_seeded_inside_and_restored_outside() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with seeded_generator(7, "x"):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    with seeded_generator(7, "x"):
        assert torch.equal(torch.rand(3), first)
    with seeded_generator(8, "x"):
        assert not torch.equal(torch.rand(3), first)
    assert torch.equal(torch.get_rng_state(), before)


def mix(state: int) -> int:
    """MurmurHash3's finaliser in Python's own integers."""
    mask = 2**64 - 1
    state ^= state >> 33
    state = state * 0xFF51AFD7ED558CCD & mask
    state ^= state >> 33
    state = state * 0xC4CEB9FE1A85EC53 & mask
    return state ^ (state >> 33)


def test_each_number_is_a_hash_of_seed_row_and_index() -> None:
    indices, seed = [0, 5, 123_456], 2**62 + 9
    drawn = keyed_uniform(torch.tensor(indices), seed, draws=2)
    for row in range(2):
        for column, index in enumerate(indices):
            state = mix((index + (row + 1) * 0x9E3779B97F4A7C1 + seed % 2**62) % 2**64)
            state = mix(state ^ (seed % 2**61))
            assert drawn[row, column].item() == np.float32(((state >> 40) & 0xFFFFFF) / 2**24)


def test_numbers_are_uniform_and_do_not_depend_on_their_neighbours() -> None:
    drawn = keyed_uniform(torch.arange(100_000), 3, draws=2)
    assert drawn.dtype == torch.float32
    assert drawn.min() >= 0
    assert drawn.max() < 1
    torch.testing.assert_close(drawn.mean(1), torch.full((2,), 0.5), atol=0.005, rtol=0)
    torch.testing.assert_close(drawn.var(1), torch.full((2,), 1 / 12), atol=0.002, rtol=0)
    assert abs(torch.corrcoef(drawn)[0, 1]) < 0.01
    assert torch.equal(keyed_uniform(torch.tensor([77, 5]), 3, draws=1)[0], drawn[0, [77, 5]])

"""The jobs of a sweep in groups that run side by side in one process. Imports no torch: the driver needs none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

MOST = 32  # jobs of a pack, where nobody says how many: results come when the student of a pack has been trained
SHARE_OF_MEMORY = 0.5  # of what is free, for all packs of this machine

Pack = Literal["auto", "off"] | int


def _check_pack(pack: Any) -> Any:
    if pack in ("auto", "off") or (type(pack) is int and pack >= 2):
        return pack
    raise ValueError("must be auto, off or the largest number of jobs in a process, 2 or more")


PackSetting = Annotated[Pack, BeforeValidator(_check_pack)]


def groups_of(
    numbers: Sequence[int], work: Mapping[str, str], sizes: Mapping[str, int], pack: Pack, slots: int, room: int | None
) -> list[list[int]]:
    """The jobs in groups that are to run side by side in one process, those of one job included.

    Args:
        numbers: The jobs' numbers.
        work: The shared work of each job, from `kd_runner.sweeps.packs.needs.shared_work`.
        sizes: The bytes that each job takes.
        pack: The launcher's setting.
        slots: The number of processes that run at a time.
        room: The bytes for all processes together; None where nobody knows.
    """
    if pack == "off":
        return [[number] for number in numbers]
    largest = MOST if pack == "auto" else int(pack)
    if pack == "auto":  # no slot stays empty so that jobs can share
        largest = max(1, min(largest, -(-len(numbers) // slots)))
    by_work: dict[str, list[int]] = {}
    for number in numbers:
        by_work.setdefault(work.get(str(number), f"alone {number}"), []).append(number)
    groups = []
    for members in by_work.values():
        size = max(sizes.get(str(number), 0) for number in members)
        most = largest if room is None or not size else max(1, min(largest, int(room / slots / size)))
        count = -(-len(members) // most)
        groups += [members[len(members) * part // count : len(members) * (part + 1) // count] for part in range(count)]
    return sorted(groups)

"""Candidates for a network's weights: the parts of a file whose tensors have names of the network.

A tensor of a file has a name of all the keys that lead to it: 'state_dict.model.conv1.weight'. Wrappers and shared
prefixes are then the same thing, the keys in front of the network's own name, and need not be known beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from kd_runner.networks.weight_files import Entry, shared_start

# Parts that tools put into the names of a network that they wrap: DataParallel and DDP, torch.compile, FSDP, Lightning.
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
MOST_WRAPPERS = 32  # in one name
COUNTER = "num_batches_tracked"  # of a batch norm, which evaluation does not read; files before torch 0.4.1 have none
# thop's counts, AveragedModel's counter, a trainer's counters, and the losses that a Lightning module keeps.
_BOOKKEEPING = re.compile(
    r"(.*\.)?(total_ops|total_params)|n_averaged|epoch|(global_)?step|iteration|best_(acc|prec)1?"
    r"|((train|val|test)_)?(criterion|loss|loss_fn|loss_func|loss_function)(\..*)?"
)


@dataclass
class Candidate:
    """A part of a file whose tensors have names of the network.

    Args:
        keys: The keys in front of the network's names.
        tensors: The file's tensors by the network's names.
        altered: The number of names with a wrapper's part in their middle, which was taken out.
        extras: Tensors behind `keys`, in the same dictionaries, under names that the network does not have.
        outside: The other tensors in the same dictionaries.
    """

    keys: tuple[str, ...]
    tensors: dict[str, Entry] = field(default_factory=dict)
    altered: int = 0
    extras: dict[str, Entry] = field(default_factory=dict)
    outside: list[Entry] = field(default_factory=list)

    @property
    def name(self) -> str:
        """All keys, with dots; empty at the top of the file."""
        return ".".join(self.keys)

    @property
    def wrapper(self) -> str:
        """The keys that are dictionaries of the file."""
        dictionary = ".".join(next(iter(self.tensors.values())).path[:-1])
        return dictionary if not dictionary or f"{self.name}.".startswith(f"{dictionary}.") else self.name

    @property
    def prefix(self) -> str:
        """The keys that stand in the names of the tensors themselves."""
        prefix = self.name.removeprefix(self.wrapper).removeprefix(".")
        return f"{prefix}." if prefix else ""

    def fits(self, targets: Mapping[str, Tensor]) -> bool:
        """True if all names of the network are there, with their shapes; the counters of batch norms may be missing."""
        return all(
            same_shape(target, self.tensors[name].tensor) if name in self.tensors else name.endswith(COUNTER)
            for name, target in targets.items()
        )


def find_candidates(targets: Mapping[str, Tensor], entries: Sequence[Entry]) -> list[Candidate]:
    """Every part of a file with at least one of the network's names, in the file's order.

    Args:
        targets: The network's own state dict, for its names and shapes.
    """
    plain = {without_wrappers(name): name for name in targets}
    candidates: dict[tuple[str, ...], Candidate] = {}
    removed: dict[tuple[tuple[str, ...], str], int] = {}  # how many wrappers were taken out of a name
    longest = max((name.count(".") + 1 for name in targets), default=0) + MOST_WRAPPERS
    for entry in entries:
        parts = entry.name.split(".")
        for count in range(max(0, len(parts) - longest), len(parts)):
            ending = ".".join(parts[count:])
            name = ending if ending in targets else plain.get(without_wrappers(ending))
            wrappers = ending.count(".") - name.count(".") if name is not None else -1
            if name is None or wrappers < 0:
                continue
            keys = tuple(parts[:count])
            candidate = candidates.setdefault(keys, Candidate(keys))
            if name not in candidate.tensors or wrappers < removed[keys, name]:  # the plain name before a wrapped one
                candidate.tensors[name], removed[keys, name] = entry, wrappers
    for (keys, _), wrappers in removed.items():
        candidates[keys].altered += wrappers > 0
    return list(candidates.values())


def add_neighbours(candidate: Candidate, entries: Sequence[Entry]) -> None:
    """Fill in `extras` and `outside`: the other tensors in the candidate's dictionary.

    Where the candidate's tensors lie in several dictionaries, everything below the keys they share is a neighbour.
    """
    used = {id(entry) for entry in candidate.tensors.values()}
    dictionaries = {entry.path[:-1] for entry in candidate.tensors.values()}
    shared = shared_start([*dictionaries])
    start = f"{candidate.name}." if candidate.keys else ""
    candidate.extras, candidate.outside = {}, []
    for entry in entries:
        near = entry.path[:-1] == shared if len(dictionaries) == 1 else entry.path[: len(shared)] == shared
        if id(entry) in used or not near:
            continue
        if entry.name.startswith(start):
            candidate.extras[entry.name.removeprefix(start)] = entry
        else:
            candidate.outside.append(entry)


def without_wrappers(name: str) -> str:
    """The name without the parts that wrappers put into it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def is_bookkeeping(name: str) -> bool:
    """True for counters and losses that training tools keep beside weights."""
    return _BOOKKEEPING.fullmatch(without_wrappers(name)) is not None


def same_shape(target: Tensor, tensor: Tensor) -> bool:
    """True if the shapes are equal, or are [] and [1]."""
    return target.shape == tensor.shape or (target.dim() + tensor.dim() == 1 and target.numel() == tensor.numel() == 1)

"""The reason why a file of weights does not fit a network, in one line for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from kd_runner.networks.candidates import (
    COUNTER,
    Candidate,
    add_neighbours,
    find_candidates,
    is_bookkeeping,
    same_shape,
)
from kd_runner.networks.names_in_files import first_names, short_printable
from kd_runner.networks.weight_files import Entry

SHOWN = 3  # names of a kind that a message lists


def misfit(
    targets: Mapping[str, Tensor], candidates: Sequence[Candidate], entries: Sequence[Entry], source: str
) -> str:
    """The differences between the network and the closest candidate, and the names of both.

    Args:
        targets: The network's own state dict.
        candidates: The candidates to compare; where there are none, all of the file's.
        source: The file, for the message.
    """
    candidates = candidates or find_candidates(targets, entries)
    sides = (
        f"the file has {_count(entries)} ({first_names([entry.name for entry in entries], SHOWN)}), "
        f"the network {len(targets)} ({first_names([*targets], SHOWN)})"
    )
    if not candidates:
        first = next(iter(targets), "")
        return f"{source} does not fit the network: {first} is missing, and so is every other name; {sides}"
    closest = max(
        candidates, key=lambda candidate: (_matches(candidate, targets), len(candidate.tensors), -len(candidate.keys))
    )
    add_neighbours(closest, entries)
    reshaped = [name for name, entry in closest.tensors.items() if not same_shape(targets[name], entry.tensor)]
    missing = [name for name in targets if name not in closest.tensors and not name.endswith(COUNTER)]
    extras = [name for name in closest.extras if not is_bookkeeping(name)]
    classes = _numbers_of_classes(targets, closest, reshaped) if not missing and not extras else None
    if classes is not None:
        return (
            f"{source} has {classes[0]} classes, the data set has {classes[1]}: they must be equal, unless head=probe "
            "fits a new last layer or teacher.classes names the classes of the file"
        )
    if not (reshaped or missing or extras):
        # Two tensors among others, which any larger network has.
        neighbours = first_names([entry.name for entry in closest.outside], SHOWN)
        return (
            f"{source} fits the network at {closest.name!r} alone, and has {neighbours} beside it: "
            f"checkpoint_key={closest.name} takes it all the same"
        )
    cause = _likely_cause(targets, closest, reshaped, missing, extras)
    at = f"; closest at {closest.name!r}" if closest.keys else ""
    differences = _differences(targets, closest, reshaped, missing, extras)
    return f"{source} does not fit the network: {differences}{cause}{at}; {sides}"


def _differences(
    targets: Mapping[str, Tensor],
    candidate: Candidate,
    reshaped: Sequence[str],
    missing: Sequence[str],
    extras: Sequence[str],
) -> str:
    kinds = (
        [
            f"{name} must be {list(targets[name].shape)}, is {list(candidate.tensors[name].tensor.shape)}"
            for name in reshaped
        ],
        [f"{name} is missing" for name in missing],
        [f"{name} is unexpected" for name in extras],
    )
    return "; ".join(_first_two(differences) for differences in kinds if differences)


def _first_two(items: Sequence[str]) -> str:
    return "; ".join(short_printable(item) for item in items[:2]) + (
        f"; and {len(items) - 2} more" if len(items) > 2 else ""
    )


def _matches(candidate: Candidate, targets: Mapping[str, Tensor]) -> int:
    return sum(same_shape(targets[name], entry.tensor) for name, entry in candidate.tensors.items())


def _numbers_of_classes(
    targets: Mapping[str, Tensor], candidate: Candidate, reshaped: Sequence[str]
) -> tuple[int, int] | None:
    """The file's and the network's number of classes, where the shapes differ in nothing but the last layer's rows."""
    shapes = [(tuple(candidate.tensors[name].tensor.shape), tuple(targets[name].shape)) for name in reshaped]
    if not shapes or any(not shape or not target or shape[1:] != target[1:] for shape, target in shapes):
        return None
    sizes = {(shape[0], target[0]) for shape, target in shapes}
    last = [name for name in targets if targets[name].dim()][-1]
    return sizes.pop() if len(sizes) == 1 and last in reshaped else None


def _likely_cause(
    targets: Mapping[str, Tensor],
    candidate: Candidate,
    reshaped: Sequence[str],
    missing: Sequence[str],
    extras: Sequence[str],
) -> str:
    """The usual cause of such differences, in brackets; empty where none is plain."""
    network_norms = any(name.endswith("running_mean") for name in targets)
    in_file = (*candidate.tensors.values(), *candidate.extras.values())
    file_norms = any(entry.name.endswith("running_mean") for entry in in_file)
    if network_norms and not file_norms:
        return " (the file has no batch norm)"
    if file_norms and not network_norms:
        return " (the network has no batch norm, the file has)"
    if missing and extras:
        return ""
    if extras:
        return "" if reshaped else " (the file has more layers)"
    if missing:
        only_last = set(missing) <= set([*targets][-2:])
        return "" if reshaped else f" (the file has {'no last layer' if only_last else 'fewer layers'})"
    return _cause_of_shapes(targets, candidate, reshaped)


def _cause_of_shapes(targets: Mapping[str, Tensor], candidate: Candidate, reshaped: Sequence[str]) -> str:
    """The usual cause where the names are the same and the shapes are not."""
    first = next((name for name in targets if targets[name].dim() == 4), "")  # the first convolution
    if first in reshaped:
        shape, target = candidate.tensors[first].tensor.shape, targets[first].shape
        causes = []
        if len(shape) == 4 and shape[1] != target[1]:
            causes.append(f"its images have {shape[1]} channels, these {target[1]}: see input.channels")
        if len(shape) == 4 and shape[2:] != target[2:]:
            causes.append(f"its first convolution is {shape[2]}x{shape[3]}, for images of another size: see input.size")
        if causes:
            return f" ({'; '.join(causes)})"
    return " (the same layers of other widths)"


def _count(entries: Sequence[Entry]) -> str:
    return "1 tensor" if len(entries) == 1 else f"{len(entries)} tensors"

"""The weights of one network in a file that anyone may have written, whatever they are wrapped in.

A tensor of a file has a name of all the keys that lead to it: 'state_dict.model.conv1.weight'. Wrappers and shared
prefixes are then the same thing, what stands before the network's own name, and need not be known beforehand. A place
in the file fits where it has all of the network's names and shapes behind it, and nothing else that would matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from kd_runner.errors import SettingsError
from kd_runner.networks.weight_files import Entry, first_names, printable, shared_start

SHOWN = 3  # names of a kind that a message lists

# What tools put into the names of a network that they wrap: DataParallel and DDP, torch.compile, FSDP, Lightning.
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
MOST_WRAPPERS = 32  # in one name
COUNTER = "num_batches_tracked"  # of a batch norm, which evaluation does not read; files before torch 0.4.1 have none
# thop's counts, AveragedModel's counter, a trainer's counters, and the losses that a Lightning module keeps.
_BOOKKEEPING = re.compile(
    r"(.*\.)?(total_ops|total_params)|n_averaged|epoch|(global_)?step|iteration|best_(acc|prec)1?"
    r"|((train|val|test)_)?(criterion|loss|loss_fn|loss_func|loss_function)(\..*)?"
)
_AVERAGED = re.compile(r"(^|[._])(ema|swa|avg|averaged?|shadow)\d*([._]|$)")
_OF_OPTIMIZERS = re.compile(r"(^|[._])(optim|optimizers?|grads?|momentum|velocity|exp_avg(_sq)?|masks?)([._]|$)")


@dataclass
class Place:
    """A place in a file with tensors that have names of the network's.

    Args:
        keys: What stands before the network's names.
        tensors: By the network's names.
        altered: How many names have a wrapper's part in their middle, which was taken out.
        extras: Names behind `keys`, in the same dictionaries, that the network does not have.
        outside: Full names of what else is in the same dictionaries.
    """

    keys: tuple[str, ...]
    tensors: dict[str, Entry] = field(default_factory=dict)
    altered: int = 0
    extras: dict[str, Entry] = field(default_factory=dict)
    outside: list[Entry] = field(default_factory=list)

    @property
    def name(self) -> str:
        return ".".join(self.keys)

    @property
    def wrapper(self) -> str:
        """The keys of dictionaries among `keys`."""
        inside = ".".join(next(iter(self.tensors.values())).path[:-1])
        return inside if not inside or f"{self.name}.".startswith(f"{inside}.") else self.name

    @property
    def prefix(self) -> str:
        """The rest of `keys`, which stands in the names themselves."""
        rest = self.name.removeprefix(self.wrapper).removeprefix(".")
        return f"{rest}." if rest else ""


@dataclass(frozen=True)
class Weights:
    """A network's weights, as the network wants them, and sentences about what was done to get them."""

    state: dict[str, Tensor]
    notes: list[str]


def weights_of(
    network: nn.Module, entries: Sequence[Entry], key: str | None, setting: str, whose: str, bare: bool = False
) -> Weights:
    """The weights of `network` among the tensors of a file.

    Args:
        key: Names with dots that lead to the weights; None: wherever they are.
        setting: The key of the setting that gave the file, for messages, such as 'teacher.checkpoint'.
        whose: The file, for messages.
        bare: Whether the file is known to hold a network's state dict and nothing around it.

    Raises:
        SettingsError: the file has no such key, no weights that fit, or weights that cannot be of use.
    """
    wanted = {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}
    places = [place for place in _places(wanted, entries) if not (bare and place.keys)]
    everywhere = places
    if key is not None:
        places = _chosen(places, key) or _refuse_key(key, places, entries, wanted, setting, whose)
    fitting = [place for place in places if _fits(place, wanted)]
    for place in fitting:
        _add_neighbours(place, entries)
    fitting = [place for place in fitting if _is_explained(place, fitting)]
    likely = [place for place in fitting if key is not None or _is_no_accident(place)]
    if not likely:
        raise SettingsError(f"{setting}: {misfit(wanted, fitting or places, entries, whose)}")
    place, *others = _different(sorted(likely, key=_rank), wanted)
    state, converted = _convert_tensors(place, wanted, f"{setting}: {whose}")
    explained = {id(entry) for other in fitting for entry in other.tensors.values()}
    unchosen = {id(entry) for other in everywhere if _fits(other, wanted) for entry in other.tensors.values()}
    rest = [entry for entry in (*place.extras.values(), *place.outside) if id(entry) not in explained]
    fit_too = [entry.name for entry in rest if id(entry) in unchosen]
    names = [entry.name for entry in rest if id(entry) not in unchosen]
    notes = [
        *_unwrapping_sentence(place, others, f"{setting}_key"),
        *(
            [f"not chosen by {setting}_key={key}, though they fit, too: {first_names(fit_too, SHOWN)}"]
            if fit_too
            else []
        ),
        *([f"passed over, as it is not of the network: {first_names(names, SHOWN)}"] if names else []),
        *converted,
    ]
    return Weights(state, [f"{whose}: {text}" for text in notes])


def _places(wanted: Mapping[str, Tensor], entries: Sequence[Entry]) -> list[Place]:
    """Every place with at least one of the network's names behind it, in the file's order."""
    plain = {_plain(name): name for name in wanted}
    places: dict[tuple[str, ...], Place] = {}
    removed: dict[tuple[tuple[str, ...], str], int] = {}
    longest = max((name.count(".") + 1 for name in wanted), default=0) + MOST_WRAPPERS
    for entry in entries:
        parts = entry.name.split(".")
        for count in range(max(0, len(parts) - longest), len(parts)):
            rest = ".".join(parts[count:])
            name = rest if rest in wanted else plain.get(_plain(rest))
            more = rest.count(".") - name.count(".") if name is not None else -1
            if name is None or more < 0:
                continue
            keys = tuple(parts[:count])
            place = places.setdefault(keys, Place(keys))
            if name not in place.tensors or more < removed[keys, name]:  # the name itself before a wrapped one
                place.tensors[name], removed[keys, name] = entry, more
    for (keys, _), more in removed.items():
        places[keys].altered += more > 0
    return list(places.values())


def _plain(name: str) -> str:
    """A name without what wrappers put into it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _add_neighbours(place: Place, entries: Sequence[Entry]) -> None:
    """Fill in what else is in the dictionary of the place's tensors; below it, too, where they are in several."""
    used = {id(entry) for entry in place.tensors.values()}
    dictionaries = {entry.path[:-1] for entry in place.tensors.values()}
    shared = shared_start([*dictionaries])
    start = f"{place.name}." if place.keys else ""
    place.extras, place.outside = {}, []
    for entry in entries:
        near = entry.path[:-1] == shared if len(dictionaries) == 1 else entry.path[: len(shared)] == shared
        if id(entry) in used or not near:
            continue
        if entry.name.startswith(start):
            place.extras[entry.name.removeprefix(start)] = entry
        else:
            place.outside.append(entry)


def _fits(place: Place, wanted: Mapping[str, Tensor]) -> bool:
    """Whether all of the network's names are there, with their shapes; counters may be missing."""
    return all(
        _same_shape(wanted[name], place.tensors[name].tensor) if name in place.tensors else name.endswith(COUNTER)
        for name in wanted
    )


def _same_shape(wanted: Tensor, given: Tensor) -> bool:
    return wanted.shape == given.shape or (wanted.dim() + given.dim() == 1 and wanted.numel() == given.numel() == 1)


def _is_explained(place: Place, fitting: Iterable[Place]) -> bool:
    """Whether all extras are bookkeeping, or the weights of another place that fits."""
    others = {id(entry) for other in fitting for entry in other.tensors.values()}
    return all(id(entry) in others or _BOOKKEEPING.fullmatch(_plain(name)) for name, entry in place.extras.items())


def _is_no_accident(place: Place) -> bool:
    """Whether a place is more than one layer of a larger network: two names are found in any."""
    rest = [entry for entry in place.outside if not _BOOKKEEPING.fullmatch(_plain(entry.name))]
    return len(place.tensors) > 2 or not rest


def _rank(place: Place) -> tuple[bool, bool, bool, int, int]:
    """The usual weights first: no optimizer's, not averaged ones, no student's; then the plainest names."""
    name = place.name.lower()
    return (
        _OF_OPTIMIZERS.search(name) is not None,
        _AVERAGED.search(name) is not None,
        "student" in name,
        place.altered,
        len(place.keys),
    )


def _different(places: Sequence[Place], wanted: Mapping[str, Tensor]) -> list[Place]:
    """The first place, and those with other weights than the ones before."""
    kept: list[Place] = []
    for place in places:
        if not any(_equal(place, other, wanted) for other in kept):
            kept.append(place)
    return kept


def _equal(place: Place, other: Place, wanted: Mapping[str, Tensor]) -> bool:
    names = [name for name in wanted if not name.endswith(COUNTER)]
    pairs = [(place.tensors[name].tensor, other.tensors[name].tensor) for name in names]
    return all(
        a is b
        or (a.dtype == b.dtype and a.shape == b.shape and a.layout == b.layout == torch.strided and torch.equal(a, b))
        for a, b in pairs
    )


def _chosen(places: Sequence[Place], key: str) -> list[Place]:
    """The places at or below `key`, which may leave out what stands before it."""
    from_start = [place for place in places if f"{place.name}.".startswith(f"{key}.")]
    return from_start or [place for place in places if f".{key}." in f".{place.name}."]


def _refuse_key(
    key: str,
    places: Sequence[Place],
    entries: Sequence[Entry],
    wanted: Mapping[str, Tensor],
    setting: str,
    whose: str,
) -> list[Place]:
    """Raise: `key` is not in the file, or what is there has nothing of the network.

    Raises:
        SettingsError: with the keys that the file has.
    """
    below = [entry for entry in entries if f".{key}." in f".{'.'.join(entry.path[:-1])}." or key in entry.path[:-1]]
    if below:
        raise SettingsError(f"{setting}_key: {misfit(wanted, [], below, f'{key!r} of {whose}')}")
    fitting = [place.name for place in sorted(places, key=_rank) if place.keys and _fits(place, wanted)]
    keys = dict.fromkeys([*fitting, *(".".join(entry.path[:-1]) for entry in entries if len(entry.path) > 1)])
    has = first_names([*keys], 8) if keys else f"no keys above {first_names([entry.name for entry in entries], SHOWN)}"
    raise SettingsError(f"{setting}_key: {whose} has no {key!r}; it has {has}")


def _convert_tensors(place: Place, wanted: Mapping[str, Tensor], whose: str) -> tuple[dict[str, Tensor], list[str]]:
    """The place's tensors in the dtypes and shapes of the network, and what had to be done for that."""
    state: dict[str, Tensor] = {}
    notes: dict[str, list[str]] = {}
    for name, target in wanted.items():
        entry = place.tensors.get(name)
        if entry is None:
            state[name] = target
            notes.setdefault("counters of batch norms are not in the file and start at 0", []).append(name)
            continue
        given = entry.tensor
        _refuse_unusable(given, target, f"{whose}: {printable(entry.name)}")
        if entry.from_numpy:
            notes.setdefault("NumPy arrays are read as tensors", []).append(name)
        if given.dtype != target.dtype:
            text = f"{_dtype(given)} is read as {_dtype(target)}"
            notes.setdefault(text, []).append(name)
        if given.shape != target.shape:
            notes.setdefault(f"{list(given.shape)} is read as {list(target.shape)}", []).append(name)
        state[name] = given.detach().to(target.dtype).reshape(target.shape)
        _refuse_infinite(state[name], target, f"{whose}: {printable(entry.name)}")
    return state, [f"{text}: {first_names(names, 1)}" for text, names in notes.items()]


def _refuse_unusable(given: Tensor, target: Tensor, whose: str) -> None:
    kind = None
    if type(given) not in (Tensor, nn.Parameter):
        kind = f"of class {type(given).__name__}"
    elif given.is_meta:
        kind = "on the meta device, without values"
    elif given.is_quantized:
        kind = "quantized"
    elif given.layout != torch.strided:
        kind = "sparse"
    elif given.is_nested:
        kind = "nested"
    elif target.is_floating_point() != given.is_floating_point() and not whose.endswith(COUNTER):
        kind = f"of {_dtype(given)}"
    if kind is not None:
        raise SettingsError(f"{whose} must be a dense tensor of {_dtype(target)} or like it, is {kind}")


def _refuse_infinite(given: Tensor, target: Tensor, whose: str) -> None:
    if not given.is_floating_point() or torch.isfinite(given).all():
        return
    # A mask of a network's own may hold infinities; a weight may not.
    if torch.isnan(given).any() or torch.isfinite(target).all():
        count = int((~torch.isfinite(given)).sum())
        raise SettingsError(f"{whose} must be finite, has {count:,} values that are NaN or infinite")


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _unwrapping_sentence(place: Place, others: Sequence[Place], setting: str) -> list[str]:
    """One sentence: what was taken out of what, and what else fits; none where there is nothing to say."""
    parts = []
    if place.wrapper:
        parts.append(f"weights taken from {place.wrapper!r}")
    if place.prefix:
        parts.append(f"prefix {place.prefix!r} removed")
    if place.altered:
        parts.append(f"{' and '.join(map(repr, _inner_wrappers(place)))} removed from {place.altered} names")
    if others:
        start = "" if place.wrapper else "weights taken from the top, " if not parts else "weights "
        names = " and ".join(repr(other.name) for other in others)
        fit = "fits" if len(others) == 1 else "fit"
        parts.append(f"{start}not from {names}, which {fit}, too ({setting}={printable(others[0].name)} takes it)")
    return [", ".join(parts)] if parts else []


def _inner_wrappers(place: Place) -> list[str]:
    start = f"{place.name}." if place.keys else ""
    inside: dict[str, None] = {}
    for name, entry in place.tensors.items():
        given = entry.name.removeprefix(start).split(".")
        inside |= {part: None for part in given if part in WRAPPERS and given.count(part) > name.split(".").count(part)}
    return list(inside)


def misfit(wanted: Mapping[str, Tensor], places: Sequence[Place], entries: Sequence[Entry], whose: str) -> str:
    """Why no place in a file fits: how the closest one differs, and the file's names beside the network's."""
    places = places or _places(wanted, entries)
    held = f"the file has {_count(entries)} ({first_names([entry.name for entry in entries], SHOWN)})"
    network = f"the network {len(wanted)} ({first_names([*wanted], SHOWN)})"
    if not places:
        first = next(iter(wanted), "")
        return f"{whose} does not fit the network: {first} is missing, and so is every other name; {held}, {network}"
    place = max(places, key=lambda place: (_matches(place, wanted), len(place.tensors), -len(place.keys)))
    _add_neighbours(place, entries)
    reshaped = [name for name, entry in place.tensors.items() if not _same_shape(wanted[name], entry.tensor)]
    missing = [name for name in wanted if name not in place.tensors and not name.endswith(COUNTER)]
    extras = [name for name in place.extras if not _BOOKKEEPING.fullmatch(_plain(name))]
    classes = _other_classes(wanted, place, reshaped) if not missing and not extras else None
    if classes is not None:
        return f"{whose} has {classes[0]} classes, the data set has {classes[1]}: they must be equal"
    if not (reshaped or missing or extras):
        # Two tensors among others, which any larger network has.
        beside = first_names([entry.name for entry in place.outside], SHOWN)
        return (
            f"{whose} fits the network at {place.name!r} alone, and has {beside} beside it: "
            f"checkpoint_key={place.name} takes it all the same"
        )
    shapes = [f"{n} must be {list(wanted[n].shape)}, is {list(place.tensors[n].tensor.shape)}" for n in reshaped]
    differences = [
        *([_first(shapes)] if shapes else []),
        *([_first([f"{name} is missing" for name in missing])] if missing else []),
        *([_first([f"{name} is unexpected" for name in extras])] if extras else []),
    ]
    guess = _guess(wanted, place, reshaped, missing, extras)
    at = f"; closest at {place.name!r}" if place.keys else ""
    return f"{whose} does not fit the network: {'; '.join(differences)}{guess}{at}; {held}, {network}"


def _first(items: Sequence[str]) -> str:
    return "; ".join(printable(item) for item in items[:2]) + (f"; and {len(items) - 2} more" if len(items) > 2 else "")


def _matches(place: Place, wanted: Mapping[str, Tensor]) -> int:
    return sum(_same_shape(wanted[name], entry.tensor) for name, entry in place.tensors.items())


def _other_classes(wanted: Mapping[str, Tensor], place: Place, reshaped: Sequence[str]) -> tuple[int, int] | None:
    """The two numbers of classes, where the shapes differ in nothing but those of the last layer."""
    shapes = [(tuple(place.tensors[name].tensor.shape), tuple(wanted[name].shape)) for name in reshaped]
    if not shapes or any(not given or not target or given[1:] != target[1:] for given, target in shapes):
        return None
    sizes = {(given[0], target[0]) for given, target in shapes}
    last = [name for name in wanted if wanted[name].dim()][-1]
    return sizes.pop() if len(sizes) == 1 and last in reshaped else None


def _guess(
    wanted: Mapping[str, Tensor], place: Place, reshaped: Sequence[str], missing: Sequence[str], extras: Sequence[str]
) -> str:
    """What usually makes such a difference; empty where that is not plain."""
    norms = [name for name in wanted if name.endswith("running_mean")]
    file_norms = any(entry.name.endswith("running_mean") for entry in (*place.tensors.values(), *place.extras.values()))
    if norms and not file_norms:
        return " (the file has no batch norm)"
    if file_norms and not norms:
        return " (the network has no batch norm, the file has)"
    first = next((name for name in wanted if wanted[name].dim() == 4), "")
    if first in reshaped and not missing and not extras:
        given, target = place.tensors[first].tensor.shape, wanted[first].shape
        if len(given) == 4 and given[1] != target[1]:
            return f" (its images have {given[1]} channels, these {target[1]})"
        if len(given) == 4 and given[2:] != target[2:]:
            return f" (its first convolution is {given[2]}x{given[3]}, that of a network for images of another size)"
    if not missing and not extras:
        return " (the same layers of other widths)"
    if reshaped or (missing and extras):
        return ""
    if extras:
        return " (the file has more layers)"
    only_last = set(missing) <= set([*wanted][-2:])
    return " (the file has no last layer)" if only_last else " (the file has fewer layers)"


def _count(entries: Sequence[Entry]) -> str:
    return "1 tensor" if len(entries) == 1 else f"{len(entries)} tensors"

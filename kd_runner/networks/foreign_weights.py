"""The weights of one network in a file of another project, under whatever names that project gives them.

A candidate is a group of tensors in the file. It fits if it has a tensor of the right shape for each name of the
network, and is chosen only if its other tensors are bookkeeping or belong to another candidate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kd_runner.errors import SettingsError
from kd_runner.networks.candidates import (
    COUNTER,
    WRAPPERS,
    Candidate,
    add_neighbours,
    find_candidates,
    is_bookkeeping,
)
from kd_runner.networks.misfit import SHOWN, misfit
from kd_runner.networks.names_in_files import first_names, short_printable
from kd_runner.networks.weight_conversion import convert_tensors
from kd_runner.networks.weight_files import Entry

_AVERAGED = re.compile(r"(^|[._])(ema|swa|avg|averaged?|shadow)\d*([._]|$)")
_OF_OPTIMIZERS = re.compile(r"(^|[._])(optim|optimizers?|grads?|momentum|velocity|exp_avg(_sq)?|masks?)([._]|$)")


@dataclass(frozen=True)
class Weights:
    """A network's state dict, and sentences about how it was made from the file: wrappers, prefixes, conversions."""

    state: dict[str, Tensor]
    notes: list[str]


def weights_of(
    network: nn.Module, entries: Sequence[Entry], key: str | None, setting: str, source: str, bare: bool = False
) -> Weights:
    """The weights of `network` among the tensors of a file.

    Args:
        key: Names with dots that lead to the weights in the file; None to search the whole file.
        setting: The key of the setting that gave the file, for messages, such as 'teacher.checkpoint'.
        source: The file, for messages.
        bare: True if the file is known to hold a network's state dict and nothing around it.

    Raises:
        SettingsError: the file has no such key, no weights that fit, or weights that cannot be converted.
    """
    targets = {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}
    in_file = [candidate for candidate in find_candidates(targets, entries) if not (bare and candidate.keys)]
    candidates = in_file
    if key is not None:
        candidates = _at_key(in_file, key)
        if not candidates:
            raise _wrong_key(key, in_file, entries, targets, setting, source)
    fitting = [candidate for candidate in candidates if candidate.fits(targets)]
    for candidate in fitting:
        add_neighbours(candidate, entries)
    fitting = [candidate for candidate in fitting if _is_explained(candidate, fitting)]
    likely = [candidate for candidate in fitting if key is not None or _is_whole_network(candidate)]
    if not likely:
        raise SettingsError(f"{setting}: {misfit(targets, fitting or candidates, entries, source)}")
    chosen, *alternatives = _with_different_weights(sorted(likely, key=_rank), targets)
    state, conversions = convert_tensors(chosen, targets, f"{setting}: {source}")
    notes = [
        *_unwrapping_sentence(chosen, alternatives, f"{setting}_key"),
        *_unused_sentences(
            chosen, fitting, [candidate for candidate in in_file if candidate.fits(targets)], f"{setting}_key={key}"
        ),
        *conversions,
    ]
    return Weights(state, [f"{source}: {text}" for text in notes])


def _is_explained(candidate: Candidate, fitting: Iterable[Candidate]) -> bool:
    """True if all extras are bookkeeping, or the weights of another candidate that fits."""
    explained = _ids(fitting)
    return all(id(entry) in explained or is_bookkeeping(name) for name, entry in candidate.extras.items())


def _is_whole_network(candidate: Candidate) -> bool:
    """True if a candidate is not just one layer of a larger network, whose weight and bias happen to fit."""
    return len(candidate.tensors) > 2 or all(is_bookkeeping(entry.name) for entry in candidate.outside)


def _ids(candidates: Iterable[Candidate]) -> set[int]:
    """The identities of the candidates' tensors."""
    return {id(entry) for candidate in candidates for entry in candidate.tensors.values()}


def _rank(candidate: Candidate) -> tuple[bool, bool, bool, int, int]:
    """The sort key of a candidate: plain weights come before those of optimizers, averages and students."""
    name = candidate.name.lower()
    return (
        _OF_OPTIMIZERS.search(name) is not None,
        _AVERAGED.search(name) is not None,
        "student" in name,
        candidate.altered,
        len(candidate.keys),
    )


def _with_different_weights(candidates: Sequence[Candidate], targets: Mapping[str, Tensor]) -> list[Candidate]:
    """The candidates without those whose weights equal those of an earlier candidate."""
    distinct: list[Candidate] = []
    for candidate in candidates:
        if not any(_same_weights(candidate, reference, targets) for reference in distinct):
            distinct.append(candidate)
    return distinct


def _same_weights(candidate: Candidate, reference: Candidate, targets: Mapping[str, Tensor]) -> bool:
    names = [name for name in targets if not name.endswith(COUNTER)]
    pairs = [(candidate.tensors[name].tensor, reference.tensors[name].tensor) for name in names]
    return all(
        a is b
        or (a.dtype == b.dtype and a.shape == b.shape and a.layout == b.layout == torch.strided and torch.equal(a, b))
        for a, b in pairs
    )


def _at_key(candidates: Sequence[Candidate], key: str) -> list[Candidate]:
    """The candidates at or below `key`, which may leave out the first names that lead there."""
    from_start = [candidate for candidate in candidates if f"{candidate.name}.".startswith(f"{key}.")]
    return from_start or [candidate for candidate in candidates if f".{key}." in f".{candidate.name}."]


def _wrong_key(
    key: str,
    candidates: Sequence[Candidate],
    entries: Sequence[Entry],
    targets: Mapping[str, Tensor],
    setting: str,
    source: str,
) -> SettingsError:
    """The error about a key that the file does not have, or that holds no weights of the network."""
    below = [entry for entry in entries if f".{key}." in f".{'.'.join(entry.path[:-1])}." or key in entry.path[:-1]]
    if below:
        return SettingsError(f"{setting}_key: {misfit(targets, [], below, f'{key!r} of {source}')}")
    fitting = [candidate for candidate in sorted(candidates, key=_rank) if candidate.keys and candidate.fits(targets)]
    dictionaries = (".".join(entry.path[:-1]) for entry in entries if len(entry.path) > 1)
    keys = list(dict.fromkeys([*(candidate.name for candidate in fitting), *dictionaries]))
    has = first_names(keys, 8) if keys else f"no keys above {first_names([entry.name for entry in entries], SHOWN)}"
    return SettingsError(f"{setting}_key: {source} has no {key!r}; it has {has}")


def _unwrapping_sentence(chosen: Candidate, alternatives: Sequence[Candidate], setting: str) -> list[str]:
    """A sentence about the wrapper, the prefix and other weights that fit; empty where there are none."""
    parts = []
    if chosen.wrapper:
        parts.append(f"weights taken from {chosen.wrapper!r}")
    if chosen.prefix:
        parts.append(f"prefix {chosen.prefix!r} removed")
    if chosen.altered:
        parts.append(f"{' and '.join(map(repr, _inner_wrappers(chosen)))} removed from {chosen.altered} names")
    if alternatives:
        start = "" if chosen.wrapper else "weights taken from the top, " if not parts else "weights "
        names = " and ".join(repr(candidate.name) for candidate in alternatives)
        fit = "fits" if len(alternatives) == 1 else "fit"
        parts.append(
            f"{start}not from {names}, which {fit}, too ({setting}={short_printable(alternatives[0].name)} takes it)"
        )
    return [", ".join(parts)] if parts else []


def _inner_wrappers(candidate: Candidate) -> list[str]:
    """The wrappers in the middle of the candidate's names."""
    start = f"{candidate.name}." if candidate.keys else ""
    wrappers: dict[str, None] = {}
    for name, entry in candidate.tensors.items():
        parts = entry.name.removeprefix(start).split(".")
        wrappers |= {
            part: None for part in parts if part in WRAPPERS and parts.count(part) > name.split(".").count(part)
        }
    return list(wrappers)


def _unused_sentences(
    chosen: Candidate, fitting: Sequence[Candidate], fitting_without_key: Sequence[Candidate], choice: str
) -> list[str]:
    """Sentences about the tensors beside the chosen ones: other weights that fit, and tensors that are not used.

    Args:
        fitting: The candidates at the key, which the sentence about the choice names.
        choice: The setting and the key, for the message.
    """
    explained, without_key = _ids(fitting), _ids(fitting_without_key)
    neighbours = [entry for entry in (*chosen.extras.values(), *chosen.outside) if id(entry) not in explained]
    of_network = [entry.name for entry in neighbours if id(entry) in without_key]
    of_no_network = [entry.name for entry in neighbours if id(entry) not in without_key]
    sentences = []
    if of_network:
        sentences.append(f"not chosen by {choice}, though they fit, too: {first_names(of_network, SHOWN)}")
    if of_no_network:
        sentences.append(f"passed over, as it is not of the network: {first_names(of_no_network, SHOWN)}")
    return sentences

"""Sentences about students that learned from one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kd_runner.formats import percent, points

PEERS_COUNT_TOO = (
    "The images and the compute of its peers' training are counted as the student's: they are the price of it."
)


def peers_in(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The records of the peers beside the student; none where a run has none."""
    return list((result.get("peers") or {}).get("networks") or [])


def gain_with_peers(result: Mapping[str, Any]) -> str:
    """A sentence on the student's gain from its peers; empty without a baseline."""
    peers, baseline = peers_in(result), result.get("baseline")
    if not peers or not baseline:
        return ""
    gain = points(result["student"]["accuracy"] - baseline["accuracy"])
    return f"Learning with {_number_of(peers)} gave {gain} points over the baseline, which is the same student alone."


def peer_sentences(result: Mapping[str, Any]) -> list[str]:
    """A sentence on the peers, and one on what all students are right on together."""
    peers = peers_in(result)
    if not peers:
        return []
    named = [f"{peer['stage']} ({percent(peer['accuracy'])})" for peer in peers]
    student = f"the student ({percent(result['student']['accuracy'])})"
    ensemble = result["peers"].get("ensemble")
    sentences = [f"On the test images, {student} stands beside {_list_in_words(named)}."]
    if ensemble:
        count = ensemble["networks"]
        which = f"The mean of the predictions of {'both' if count == 2 else f'all {count}'} students"
        sentences.append(f"{which} is right on {percent(ensemble['accuracy'])}.")
    return sentences


def _number_of(peers: Sequence[Any]) -> str:
    return f"{len(peers)} peer{'s' if len(peers) > 1 else ''}"


def _list_in_words(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))

"""Sentences about students that learned from one another."""

from __future__ import annotations

from typing import Any

from kd_runner.reports.peer_sentences import gain_with_peers, peer_sentences, peers_in


def result(*accuracies: float) -> dict[str, Any]:
    networks = [{"stage": f"peers.{number}", "accuracy": accuracy} for number, accuracy in enumerate(accuracies, 2)]
    ensemble = {"networks": len(networks) + 1, "accuracy": 0.95}
    return {
        "student": {"accuracy": 0.92},
        "baseline": {"accuracy": 0.9},
        "peers": {"networks": networks, "ensemble": ensemble},
    }


def test_one_peer_and_several() -> None:
    assert gain_with_peers(result(0.91)) == (
        "Learning with 1 peer gave +2.00 points over the baseline, which is the same student alone."
    )
    assert peer_sentences(result(0.91)) == [
        "On the test images, the student (92.00 %) stands beside peers.2 (91.00 %).",
        "The mean of the predictions of both students is right on 95.00 %.",
    ]
    three = peer_sentences(result(0.91, 0.9, 0.89))
    assert three[0].endswith("stands beside peers.2 (91.00 %), peers.3 (90.00 %) and peers.4 (89.00 %).")
    assert three[1] == "The mean of the predictions of all 4 students is right on 95.00 %."


def test_without_peers_a_baseline_or_an_ensemble_less_is_said() -> None:
    alone = {"student": {"accuracy": 0.92}, "baseline": {"accuracy": 0.9}, "peers": None}
    assert peers_in(alone) == peer_sentences(alone) == []
    assert gain_with_peers(alone) == ""
    assert gain_with_peers(result(0.91) | {"baseline": None}) == ""
    content = result(0.91)
    del content["peers"]["ensemble"]
    assert len(peer_sentences(content)) == 1

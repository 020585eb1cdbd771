"""Students that learn from one another: how they are tried, trained and saved in a run."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kd_runner.files.run_folder import weights_file
from kd_runner.files.stages import STUDENT
from kd_runner.networks import checkpoints
from kd_runner.networks.records import validation_record
from kd_runner.randomness import derived_seed
from kd_runner.runs.data import Data
from kd_runner.runs.parts import Link, Parts
from kd_runner.runs.stages.chain import Taught, last_link, parts_of_link, untrained_parts
from kd_runner.runs.stages.teacher_student import Pairing
from kd_runner.training.peers import Peer, PeerStudents

log = logging.getLogger(__name__)


def parts_of_peers(parts: Parts) -> Iterator[Parts]:
    """The parts of each peer and, last, of the student: a student beside a copy of another one in a teacher's place."""
    alone = replace(parts, settings=parts.settings.model_copy(update={"peers": {}}), peers=())
    links = [*parts.peers, last_link(parts)]
    for link, teaching in zip(links, links[1:] + links[:1], strict=True):
        yield parts_of_link(alone, link, copy.deepcopy(teaching.network), teaching.section.node, ())


def students_of(parts: Parts) -> Iterator[Parts]:
    """The parts of each student of a run, for rehearsals: its chain's links, or its peers, and the student last."""
    yield from parts_of_peers(parts) if parts.peers else untrained_parts(parts)


def training_of_peers(parts: Parts) -> tuple[Pairing, PeerStudents]:
    """The student with its modes, and the module that trains it and its peers."""
    settings, recipe = parts.settings, replace(parts.recipes[STUDENT], graph=False)  # which would hold one student
    own_views = settings.peer_views == "own"
    shared = parts.data.training_batches(STUDENT, recipe, taught=True)
    label_weight = settings.distillation.label_weight
    *of_peers, of_student = parts_of_peers(parts)
    peers = []
    for its in of_peers:
        view_seed = derived_seed(recipe.batches_seed, its.stage)
        batches = parts.data.training_batches(STUDENT, recipe, taught=True, view_seed=view_seed)
        pairing = its.teacher_student_pair()
        its_batches, its_recipe = (
            (batches if own_views else shared),
            replace(its.recipes[STUDENT], graph=False, stopping=None),
        )
        peers.append(
            Peer(pairing.student, pairing.modes, label_weight, its.temperature, its_batches, its_recipe, its.stage)
        )
    pairing = of_student.teacher_student_pair()
    module = PeerStudents(
        *(pairing.student, pairing.modes, label_weight, of_student.temperature, shared, recipe),
        peers=peers,
        in_turn=settings.peer_updates == "in_turn",
        own_views=own_views,
    )
    return pairing, module


def save_peers(links: Sequence[Link], module: PeerStudents, data: Data, folder: Path) -> list[Taught]:
    """Save the peers beside the student after their last epoch; returns them."""
    saved = []
    for link, peer in zip(links, module.peers, strict=True):
        path, node = folder / weights_file(link.stage), link.section.node
        path.unlink(missing_ok=True)
        info = data.record(node) | validation_record(peer.history, len(data.splits.val))
        checkpoints.save(path, peer.network.state_dict(), info)
        log.info("%-9s val accuracy %.4f", link.stage, peer.metrics["val_accuracy"])
        saved.append(Taught(link.stage, peer.network, node, path, peer.history, 0.0, reused=False))
    return saved

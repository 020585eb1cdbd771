"""Entries of the store that are broken are moved away, and made again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from kd_runner.files.file_digest import file_digest
from kd_runner.networks.checkpoints import read_checkpoint
from kd_runner.store import entries
from kd_runner.store.entries import Entry, Stored, key_of, trained_once
from kd_runner.training.resume_state import ResumeState


def truncate(entry: Path) -> None:
    (entry / entries.NETWORK).write_bytes((entry / entries.NETWORK).read_bytes()[:-100])


def flip_a_bit(entry: Path) -> None:
    content = bytearray((entry / entries.NETWORK).read_bytes())
    content[-5] ^= 1
    (entry / entries.NETWORK).write_bytes(content)


def remove_manifest(entry: Path) -> None:
    (entry / entries.MANIFEST).unlink()


def empty_manifest(entry: Path) -> None:
    (entry / entries.MANIFEST).write_text("{}")


def other_origin(entry: Path) -> None:
    """A sound entry, of another network."""
    (entry / entries.MADE_OF).write_text("{}")
    manifest = json.loads((entry / entries.MANIFEST).read_text())
    manifest["files"][entries.MADE_OF] = {"size": 2, "sha256": file_digest(entry / entries.MADE_OF)}
    (entry / entries.MANIFEST).write_text(json.dumps(manifest))


def train(_resume_state: ResumeState) -> tuple[nn.Module, list[dict[str, float]]]:
    network = nn.Linear(8, 4)
    nn.init.constant_(network.weight, 0.5)
    return network, [{"val_accuracy": 0.25}, {"val_accuracy": 0.75}]


def teacher_in(root: Path, **ingredients: int) -> Stored:
    return trained_once(root, "teacher", ingredients, {"val_images": 8}, train)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, remove_manifest, empty_manifest, other_origin])
def test_a_broken_entry_is_moved_away_and_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    first = teacher_in(tmp_path, seed=1)
    entry = first.path.parent
    damage(entry)
    again = teacher_in(tmp_path, seed=1)
    assert not again.reused
    assert torch.equal(again.state["weight"], torch.full((4, 8), 0.5))
    assert "in the store is broken" in caplog.text
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[0] == entry.name
    assert names[1].startswith(f"{entry.name}.corrupt.")
    assert Entry(tmp_path, entry.name).fault() is None


def test_a_network_is_trained_once_and_found_with_its_epochs(tmp_path: Path) -> None:
    first, again, other = (teacher_in(tmp_path, seed=seed) for seed in (1, 1, 2))
    assert [stored.reused for stored in (first, again, other)] == [False, True, False]
    assert again.path == first.path == tmp_path / key_of({"seed": 1}) / entries.NETWORK
    assert again.epochs == first.epochs == [{"val_accuracy": 0.25}, {"val_accuracy": 0.75}]
    assert len(list(tmp_path.iterdir())) == 2  # nothing is left of the trainings


@pytest.mark.parametrize(
    ("wanted", "difference"),
    [
        (nn.Linear(8, 5), "weight must be [5, 8], is [4, 8]"),
        (nn.Linear(8, 4, bias=False), "bias is in one of them alone"),
        (nn.Sequential(nn.Linear(8, 4)), "0.weight is in one of them alone"),
    ],
)
def test_weights_that_do_not_fit_the_network_are_moved_away_and_it_is_trained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, wanted: nn.Module, difference: str
) -> None:
    def stored(network: nn.Module) -> Stored:
        return trained_once(tmp_path, "teacher", {"seed": 1}, {}, lambda _: (network, []), network=network)

    stored(nn.Linear(8, 4))
    assert stored(nn.Linear(8, 4)).reused
    assert "broken" not in caplog.text
    assert not stored(wanted).reused
    assert f"in the store is broken (network.safetensors is of another network: {difference}): moved to" in caplog.text
    assert stored(wanted).reused


def test_an_entry_of_another_job_that_was_faster_stands(tmp_path: Path) -> None:
    entry = Entry(tmp_path, "0123456789abcdef")
    entry.publish({"weight": torch.ones(2)}, {"seed": 1}, {}, [])
    entry.publish({"weight": torch.zeros(2)}, {"seed": 1}, {}, [])
    assert torch.equal(read_checkpoint(entry.folder / entries.NETWORK)[0]["weight"], torch.ones(2))
    assert [path.name for path in tmp_path.iterdir()] == [entry.key]


HOLDER = """
import os, sys
from kd_runner.store.entries import LEASE, SoftFileLease
lease = SoftFileLease(sys.argv[1], lease_duration=LEASE)
lease.acquire()
print("held", flush=True)
sys.stdin.read()
os._exit(0)  # as a job that is killed: the lease stays
"""


def test_what_a_job_left_that_was_killed_after_it_had_published_goes_with_the_next_use(tmp_path: Path) -> None:
    entry = Entry(tmp_path, teacher_in(tmp_path, seed=1).path.parent.name)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(entry.lease)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    ResumeState(entry.work, entry.key).save({"seconds": 1.0}, 4, 4)
    entry.sign()
    assert teacher_in(tmp_path, seed=1).reused
    assert entry.lease.exists()  # its holder lives
    assert (entry.work / "state.pt").exists()
    holder.communicate("")
    assert entry.lease.exists()
    assert teacher_in(tmp_path, seed=1).reused
    assert [path.name for path in tmp_path.iterdir()] == [entry.key]
    entry.work.mkdir()  # killed between the last file and the folder, and its lease was taken by another job since
    assert teacher_in(tmp_path, seed=1).reused
    assert [path.name for path in tmp_path.iterdir()] == [entry.key]


def test_a_key_changes_with_every_ingredient() -> None:
    assert key_of({"seed": 1, "epochs": 2}) == key_of({"epochs": 2, "seed": 1})
    assert len({key_of({"seed": 1}), key_of({"seed": 2}), key_of({"seed": 1, "epochs": 2})}) == 3

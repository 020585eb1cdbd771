"""A store that others can write to: nothing of theirs is used, and nothing of theirs is deleted."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from kd_runner.errors import RunFailed, SettingsError
from kd_runner.files import ownership
from kd_runner.files.file_digest import file_digest
from kd_runner.networks import checkpoints
from kd_runner.runs.stages.labels_only import take_weights
from kd_runner.store import entries, signing
from kd_runner.store.entries import Entry, Stored, entry_in, is_stored, key_of, trained_once
from kd_runner.training.resume_state import ResumeState

INFO = {"network": {"_target_": "torch.nn.Linear", "in_features": 8}, "num_classes": 4, "image_shape": [8]}
INGREDIENTS = {"seed": 1}
KEY = key_of(INGREDIENTS)
needs_owners = pytest.mark.skipif(not ownership.HAS_OWNERS, reason="files have no owners here")


@pytest.fixture(autouse=True)
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a key that is not there, in place of the one in the home folder."""
    path = tmp_path / "home" / "store.key"
    monkeypatch.setattr(signing, "key_file", lambda: path)
    monkeypatch.delenv(signing.VARIABLE, raising=False)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def give_away(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """A function after which a path, and all below it, belongs to somebody else."""
    given: list[Path] = []

    def status_of(path: Path) -> os.stat_result:
        status = path.lstat()
        if not any(path == folder or folder in path.parents for folder in given):
            return status
        return os.stat_result((*status[:4], os.geteuid() + 7777, *status[5:10]))

    monkeypatch.setattr(ownership, "status_of", status_of)
    return given.append


def train(_resume_state: ResumeState) -> tuple[nn.Module, list[dict[str, float]]]:
    network = nn.Linear(8, 4)
    nn.init.constant_(network.weight, 0.5)
    return network, [{"val_accuracy": 0.75}]


def never(_resume_state: ResumeState) -> tuple[nn.Module, list[dict[str, float]]]:
    raise AssertionError("it should have been there")


def stored_in(root: Path, train: Callable[..., object] = train) -> Stored:
    return trained_once(root, "teacher", INGREDIENTS, INFO, train)  # type: ignore[arg-type]


def swap_weights(entry: Path) -> None:
    """Put other weights into an entry, whose manifest then fits them."""
    checkpoints.save(entry / entries.NETWORK, {"weight": torch.zeros(4, 8), "bias": torch.zeros(4)}, INFO)
    manifest = json.loads((entry / entries.MANIFEST).read_text())
    path = entry / entries.NETWORK
    manifest["files"][entries.NETWORK] = {"size": path.stat().st_size, "sha256": file_digest(path)}
    (entry / entries.MANIFEST).write_text(json.dumps(manifest))
    assert Entry(entry.parent, entry.name).fault() is None


def is_trained(stored: Stored) -> bool:
    return torch.equal(stored.state["weight"], torch.full((4, 8), 0.5))


@needs_owners
def test_swapped_weights_of_somebody_else_are_passed_over(
    root: Path, give_away: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    entry = stored_in(root).path.parent
    swap_weights(entry)
    give_away(entry)
    assert not is_stored(root, KEY)
    again = stored_in(root)
    assert is_trained(again)
    assert not again.reused
    assert again.path == root / f"of-{os.geteuid()}" / KEY / entries.NETWORK
    assert f"{KEY} in the store {root} is passed over: {KEY} belongs to user" in caplog.text
    assert Entry(root, KEY).fault() is None  # what somebody else has put there stays as it is
    assert stored_in(root, never).reused
    assert is_stored(root, KEY)


@needs_owners
@pytest.mark.parametrize("name", entries.FILES)
def test_one_file_of_somebody_else_is_enough(root: Path, give_away: Callable[[Path], None], name: str) -> None:
    entry = stored_in(root).path.parent
    give_away(entry / name)
    assert not stored_in(root).reused


@needs_owners
@pytest.mark.parametrize("name", [".", *entries.FILES])
@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_what_others_may_write_is_passed_over(
    root: Path, name: str, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    entry = stored_in(root).path.parent
    swap_weights(entry)
    (entry / name).chmod(mode)
    assert is_trained(stored_in(root))
    assert "may be written by others" in caplog.text
    (entry / name).chmod(0o755)  # the word of its owner, who now answers for it
    assert stored_in(root, never).path.parent == entry


@needs_owners
def test_a_group_of_one_user_is_no_other(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = stored_in(root).path.parent
    for path in (entry, *entry.iterdir()):
        path.chmod(0o775)
    monkeypatch.setattr(ownership, "_is_private_group", lambda group, owner: True)
    assert stored_in(root, never).reused
    monkeypatch.setattr(ownership, "_is_private_group", lambda group, owner: False)
    assert not stored_in(root).reused


@needs_owners
def test_new_entries_cannot_be_written_by_others_whatever_the_umask(root: Path) -> None:
    before = os.umask(0)
    try:
        entry = stored_in(root).path.parent
        Entry(root, KEY).sign()
    finally:
        os.umask(before)
    assert not [path for path in (entry, *entry.iterdir()) if path.stat().st_mode & 0o022]
    assert Entry(root, KEY).work.stat().st_mode & 0o777 == 0o700
    assert stored_in(root, never).reused


@pytest.mark.parametrize("name", [".", *entries.FILES])
def test_links_in_the_place_of_an_entry_are_passed_over(root: Path, tmp_path: Path, name: str) -> None:
    entry = stored_in(root).path.parent
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(entry, elsewhere)
    if name == ".":
        shutil.rmtree(entry)
        entry.symlink_to(elsewhere)
    else:
        (entry / name).unlink()
        (entry / name).symlink_to(elsewhere / name)
    again = stored_in(root)
    assert is_trained(again)
    assert not again.reused
    assert (elsewhere / entries.NETWORK).is_file()


@needs_owners
def test_a_training_of_somebody_else_is_not_gone_on_with(root: Path, give_away: Callable[[Path], None]) -> None:
    entry = Entry(root, KEY)
    entry.sign()
    give_away(entry.work)

    def train_anew(resume_state: ResumeState) -> tuple[nn.Module, list[dict[str, float]]]:
        assert resume_state.folder.parent == root / f"of-{os.geteuid()}"
        return train(resume_state)

    assert is_trained(stored_in(root, train_anew))
    assert (entry.work / entries.HOLDER).is_file()


@needs_owners
def test_a_lock_of_somebody_else_keeps_nobody_waiting(root: Path, give_away: Callable[[Path], None]) -> None:
    root.mkdir()
    entry = Entry(root, KEY)
    entry.lease.write_text("mine")
    give_away(entry.lease)
    started = time.monotonic()
    assert is_trained(stored_in(root))
    assert time.monotonic() - started < 5


@needs_owners
def test_a_store_without_a_place_for_this_user_is_refused_in_one_line(
    root: Path, give_away: Callable[[Path], None]
) -> None:
    give_away(stored_in(root).path.parent)
    stored_in(root)
    give_away(root / f"of-{os.geteuid()}")
    with pytest.raises(
        SettingsError, match=r"^store: .* cannot be used: of-\d+ belongs to .*; choose a folder of your"
    ):
        stored_in(root)


@needs_owners
def test_a_signed_entry_may_belong_to_anybody(root: Path, key_file: Path, give_away: Callable[[Path], None]) -> None:
    key_file.parent.mkdir()
    key_file.write_text("k" * 32)
    key_file.chmod(0o600)
    entry = stored_in(root).path.parent
    give_away(entry)
    assert stored_in(root, never).path.parent == entry
    swap_weights(entry)
    assert is_trained(stored_in(root))
    shutil.copytree(entry, root / "0123456789abcdef")  # a signature is of one entry
    assert Entry(root, KEY).foreign_reason() is not None


@needs_owners
def test_a_file_system_without_owners_is_served_by_signatures(
    root: Path, key_file: Path, give_away: Callable[[Path], None]
) -> None:
    give_away(root)  # whatever is made there belongs to somebody else
    entry = stored_in(root).path.parent
    assert entry.parent == root
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert stored_in(root, never).path.parent == entry
    shutil.rmtree(entry)
    Entry(root, KEY).sign()  # an interrupted training goes on
    assert entry_in(root, KEY) == (Entry(root, KEY), None)
    assert stored_in(root).path.parent == entry
    swap_weights(entry)
    assert is_trained(stored_in(root))
    assert is_trained(stored_in(root, never))


@needs_owners
@pytest.mark.parametrize(
    ("key", "mode", "message"), [("k" * 32, 0o644, "chmod 600"), ("short", 0o600, "16 characters")]
)
def test_a_key_that_keeps_nobody_out_is_refused(root: Path, key_file: Path, key: str, mode: int, message: str) -> None:
    key_file.parent.mkdir()
    key_file.write_text(key)
    key_file.chmod(mode)
    with pytest.raises(SettingsError, match=message):
        stored_in(root, never)


def test_no_key_is_made_where_owners_tell(root: Path, key_file: Path) -> None:
    stored_in(root)
    assert not key_file.exists()


def test_entries_made_before_are_used(root: Path) -> None:
    """The files of an entry as they were before there were signatures, epochs, and modes of their own."""
    folder = root / KEY
    folder.mkdir(parents=True)
    old_info = {**INFO, "network": {**INFO["network"], "pretrained": True}}  # type: ignore[dict-item]
    checkpoints.save(folder / entries.NETWORK, train(ResumeState(root, ""))[0].state_dict(), old_info)
    (folder / entries.MADE_OF).write_text(json.dumps({**INGREDIENTS, "semantics": entries.SEMANTICS}))
    names = (entries.NETWORK, entries.MADE_OF)
    files = {n: {"size": (folder / n).stat().st_size, "sha256": file_digest(folder / n)} for n in names}
    (folder / entries.MANIFEST).write_text(json.dumps({"files": files}))
    assert is_trained(stored_in(root, never))


@pytest.mark.parametrize(
    "change", [{"network": {"_target_": "os.system", "command": "x"}}, {"num_classes": 5}, {"image_shape": [9]}]
)
def test_an_entry_that_names_another_network_is_moved_away(root: Path, change: dict[str, object]) -> None:
    entry = stored_in(root).path.parent
    checkpoints.save(
        entry / entries.NETWORK, checkpoints.read_checkpoint(entry / entries.NETWORK)[0], {**INFO, **change}
    )
    manifest = json.loads((entry / entries.MANIFEST).read_text())
    path = entry / entries.NETWORK
    manifest["files"][entries.NETWORK] = {"size": path.stat().st_size, "sha256": file_digest(path)}
    (entry / entries.MANIFEST).write_text(json.dumps(manifest))
    assert not stored_in(root).reused
    assert len(list(root.glob(f"{KEY}.corrupt.*"))) == 1


@pytest.mark.parametrize("text", ["[" * 100_000, '{"files": {"../../x": {}}}', '{"files": []}', "[]", '{"files": {}}'])
def test_a_hostile_manifest_is_a_fault(root: Path, text: str) -> None:
    entry = stored_in(root).path.parent
    (entry / entries.MANIFEST).write_text(text)
    assert Entry(root, KEY).fault() is not None
    assert is_trained(stored_in(root))


def test_weights_that_change_after_they_were_checked_are_not_used(root: Path, tmp_path: Path) -> None:
    stored = stored_in(root)
    swap_weights(stored.path.parent)
    with pytest.raises(RunFailed, match="was changed while it was read"):
        take_weights(stored, tmp_path / "teacher.safetensors")
    assert not (tmp_path / "teacher.safetensors").exists()


@needs_owners
def test_a_run_has_a_copy_of_what_others_could_change(
    root: Path, tmp_path: Path, give_away: Callable[[Path], None]
) -> None:
    stored = stored_in(root)
    assert take_weights(stored, tmp_path / "a").samefile(stored.path)
    give_away(stored.path)
    assert not take_weights(stored, tmp_path / "b").samefile(stored.path)


def test_the_link_of_a_person_to_the_store_is_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    root.symlink_to(tmp_path / "disk")
    assert not stored_in(root).reused
    assert stored_in(root, never).reused
    assert [path.name for path in (tmp_path / "disk").iterdir()] == [KEY]


@needs_owners
@pytest.mark.skipif(ownership.HAS_OWNERS and os.geteuid() != 0, reason="only root may give files away")
def test_files_of_another_account(root: Path) -> None:
    entry = stored_in(root).path.parent
    for path in (entry, *entry.iterdir()):
        os.chown(path, 12345, 12345)
    again = stored_in(root)
    assert is_trained(again)
    assert again.path.parent.parent == root / f"of-{os.geteuid()}"

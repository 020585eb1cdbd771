"""Requests to stop jobs: each is found once, and what lies there and is none does nothing but a line."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from kd_runner.errors import SettingsError
from kd_runner.files.run_folder import STOP
from kd_runner.notes import recorded_notes
from kd_runner.sweeps.stop_requests import MOST_BYTES, OLD, RequestReader, answer, ask, take_answer, take_back


def test_a_request_is_found_once_answered_and_leaves_nothing(tmp_path: Path) -> None:
    reader = RequestReader(tmp_path)
    assert list(reader.new_requests()) == []
    some, whole = ask(tmp_path, [3, 1, 3]), ask(tmp_path, None)
    requests = {request.path: request for request in reader.new_requests()}
    assert {path: request.jobs for path, request in requests.items()} == {some: (3, 1), whole: None}
    assert list(reader.new_requests()) == []
    assert take_answer(some) is None
    for request in requests.values():
        answer(request, {"ended": [3]})
    assert take_answer(some) == take_answer(whole) == {"ended": [3]}
    assert not (tmp_path / STOP).exists()


def test_an_earlier_sweeps_request_is_deleted_and_one_that_was_taken_back_is_none(tmp_path: Path) -> None:
    old, new = ask(tmp_path, [1]), ask(tmp_path, [2])
    os.utime(old, (time.time() - 2 * OLD,) * 2)
    reader = RequestReader(tmp_path)
    assert not old.exists()
    take_back(new)
    assert list(reader.new_requests()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"jobs": "some"}',
        b'{"jobs": []}',
        b'{"jobs": [1, "2"]}',
        b'{"jobs": [true]}',
        b'{"jobs": {"1": 1}}',
        b"[" * 100_000,
        b'{"jobs": [' + b"1," * MOST_BYTES + b"1]}",
    ],
)
def test_a_file_that_is_no_request_is_ignored_with_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STOP).mkdir()
    (tmp_path / STOP / f"{'0' * 32}.json").write_bytes(content)
    reader = RequestReader(tmp_path)
    with recorded_notes() as notes:
        assert [*reader.new_requests(), *reader.new_requests()] == []
    assert [text.split(" is no request")[0] for _, text in notes] == [str(tmp_path / STOP / f"{'0' * 32}.json")]


def test_links_pipes_folders_and_other_names_are_ignored(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    request = ask(elsewhere, None)
    stop = tmp_path / "sweep" / STOP
    stop.mkdir(parents=True)
    (stop / f"{'1' * 32}.json").symlink_to(request)
    (stop / f"{'2' * 32}.json").mkdir()
    os.mkfifo(stop / f"{'3' * 32}.json")
    (stop / "all.json").write_text(json.dumps({"jobs": "all"}))
    for number in range(200):
        (stop / f"x{number}").touch()
    with recorded_notes() as notes:
        reader = RequestReader(stop.parent)
        for _ in range(5):
            assert list(reader.new_requests()) == []
    assert 0 < len(notes) <= 10
    assert request.exists()


def test_a_folder_of_requests_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = ask(tmp_path, None).parent
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / STOP).symlink_to(elsewhere)
    with recorded_notes() as notes:
        assert list(RequestReader(sweep).new_requests()) == []
    assert len(notes) == 1
    with pytest.raises(SettingsError, match="must be no link"):
        ask(sweep, None)
    assert len(list(elsewhere.iterdir())) == 1

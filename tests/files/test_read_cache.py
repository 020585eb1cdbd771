"""What files said is remembered as long as they are the same files, and never longer."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from kd_runner.files import read_cache
from kd_runner.files.read_cache import ReadCache, ValueAndLine
from kd_runner.files.results import all_runs, latest_runs


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with five files, in which a file is remembered at once, and a cache of few files is written."""
    monkeypatch.setattr(read_cache, "SETTLED", 0.0)
    monkeypatch.setattr(read_cache, "FEWEST", 1)
    for number in range(5):
        (tmp_path / f"{number}.json").write_text(json.dumps({"x": number}))
    return tmp_path


def read_all(place: Path) -> tuple[list[Any], list[int], ReadCache]:
    """The content of the files through a cache, the numbers of those that were read, and the cache."""
    opened: list[int] = []

    def content(path: Path) -> Any:
        opened.append(int(path.stem))
        return json.loads(path.read_text())

    cache = ReadCache(place / ".report_cache")
    values = [cache.value("json", place / f"{number}.json", content)["x"] for number in range(5)]
    cache.save()
    return values, opened, cache


def test_a_file_is_read_again_when_it_has_changed_and_not_before(place: Path) -> None:
    values, opened, cache = read_all(place)
    assert (values, opened, cache.is_unchanged) == ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4], False)
    values, opened, cache = read_all(place)
    assert (values, opened, cache.is_unchanged) == ([0, 1, 2, 3, 4], [], True)
    changed = place / "3.json"
    before = changed.stat()
    changed.write_text('{"x": 7}')  # of the same size, and made to look as old
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (changed.stat().st_size, changed.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    values, opened, cache = read_all(place)
    assert (values, opened, cache.is_unchanged) == ([0, 1, 2, 7, 4], [3], False)


def test_a_copied_folder_speaks_of_other_files(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A cache that came with a folder, and says something else than its files, is not believed."""
    read_all(place)
    cache = place / ".report_cache"
    lies = cache.read_bytes().replace(b'{"x":3}', b'{"x":9}')
    cache.write_bytes(
        lies.replace(b"%08x" % read_cache.zlib.crc32(b'{"x":3}'), b"%08x" % read_cache.zlib.crc32(b'{"x":9}'))
    )
    assert read_all(place)[0] == [0, 1, 2, 9, 4]  # the checksum is right: where it was written, it counts
    cache.write_bytes(lies)
    copy = shutil.copytree(place, tmp_path_factory.mktemp("copy") / "place")  # with the times of the content
    values, opened, _ = read_all(Path(copy))
    assert (values, opened) == ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])


@pytest.mark.parametrize("harm", ["cut", "garbage", "version", "checksum", "link", "others may write", "folder"])
def test_a_cache_that_cannot_be_trusted_is_not_used(place: Path, harm: str) -> None:
    read_all(place)
    cache = place / ".report_cache"
    raw = cache.read_bytes()
    if harm == "cut":
        cache.write_bytes(raw[:-3])
    elif harm == "garbage":
        cache.write_bytes(raw.replace(b"{", b"["))
    elif harm == "version":
        cache.write_bytes(raw.replace(b"\n", b" of another version\n", 1))
    elif harm == "checksum":
        cache.write_bytes(raw.replace(b'{"x":4}', b'{"x":5}'))
    elif harm == "link":
        shutil.move(cache, place / "elsewhere")
        cache.symlink_to(place / "elsewhere")
    elif harm == "others may write":
        cache.chmod(0o666)
    else:
        cache.unlink()
        cache.mkdir()
    values, opened, _ = read_all(place)
    assert values == [0, 1, 2, 3, 4]
    assert opened
    if harm in ("link", "folder"):  # what is not ours is not replaced
        assert cache.is_symlink() or cache.is_dir()


def test_a_file_of_somebody_else_is_not_replaced(place: Path) -> None:
    (place / ".report_cache").write_text("mine")
    assert read_all(place)[0] == [0, 1, 2, 3, 4]
    assert (place / ".report_cache").read_text() == "mine"


def test_what_has_just_changed_and_what_is_no_file_is_not_remembered(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_cache, "SETTLED", 60.0)
    assert read_cache.state_of(place / "0.json") is None
    monkeypatch.setattr(read_cache, "SETTLED", 0.0)
    assert read_cache.state_of(place / "0.json") is not None
    assert read_cache.state_of(place) is None
    assert read_cache.state_of(place / "nothing") is None
    (place / "link").symlink_to(place / "0.json")
    assert read_cache.state_of(place / "link") is None


def test_runs_from_the_cache_are_those_of_the_files(place: Path) -> None:
    result = {
        "status": "completed",
        "overrides": ["a=1", "seed=2"],
        "student": {"accuracy": 0.1 + 0.2, "odd": [1e300, "\u2028\t\n"]},
    }
    for name, changes in (
        ("good", {}),
        ("failed", {"status": "failed", "error": "x\ty"}),
        ("odd", {"seconds": ["no"]}),
    ):
        (place / name).mkdir()
        (place / name / "result.json").write_text(json.dumps(result | changes))
    for name, indent in (("indented", 2), ("compact", None), ("tabs", "\t")):
        (place / name).mkdir()
        plain = result | {"student": {"accuracy": 0.1 + 0.2, "more": {"x": [1e300, -0.0, "a,  b", {}]}}, "seed": name}
        (place / name / "result.json").write_text(json.dumps(plain, indent=indent))
    several = {"status": "completed", "metric": "map", "student": {"map": 0.25, "val_maps": [0.5]}}
    (place / "several").mkdir()
    (place / "several" / "result.json").write_text(json.dumps(several, indent=2))
    cache = ReadCache(place / ".report_cache")
    first = all_runs([place], cache=cache)
    cache.save()
    again = ReadCache(place / ".report_cache")
    assert all_runs([place], cache=again) == first == all_runs([place])
    assert again.is_unchanged
    assert next(run.left_out for run in first[0] if run.folder.name == "odd").endswith("seconds")
    accuracies = {run.folder.name: run.result["student"]["accuracy"] for run in latest_runs(first[0])}
    assert accuracies == dict.fromkeys(("odd", "indented", "compact", "tabs"), 0.1 + 0.2) | {"several": 0.25}


def test_a_file_has_the_same_name_from_whatever_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_all(place)
    (place / "below").mkdir()
    (place / "below" / "0.json").write_text('{"x": 10}')
    for start, way in ((place, Path()), (place.parent, Path(place.name)), (place / "below", Path(".."))):
        monkeypatch.chdir(start)
        values, opened, _ = read_all(way)
        assert (values, opened) == ([0, 1, 2, 3, 4], [])
    monkeypatch.chdir(place)
    cache = ReadCache(Path(".report_cache"))
    assert cache.value("json", place / "4.json", lambda _: None) == {"x": 4}
    assert cache.value("json", Path("below/0.json"), lambda path: json.loads(path.read_text())) == {"x": 10}


def test_a_line_that_a_reader_has_at_hand_stands_for_the_value(place: Path) -> None:
    def with_line(_: Path) -> ValueAndLine:
        return ValueAndLine({"x": 1}, b'{ "x":  1}')

    cache = ReadCache(place / ".report_cache")
    assert cache.value("json", place / "0.json", with_line) == {"x": 1}
    assert cache.value("json", place / "1.json", lambda _: ValueAndLine({"x": 2})) == {"x": 2}
    assert cache.line("text", place / "2.json", lambda _: b"any text") == b"any text"
    assert cache.line("text", place / "3.json", lambda _: b"") == b""  # nothing to remember
    cache.save()
    assert b'\t{ "x":  1}\n' in (place / ".report_cache").read_bytes()
    again = ReadCache(place / ".report_cache")
    assert [again.value("json", place / f"{number}.json", pytest.fail) for number in (0, 1)] == [{"x": 1}, {"x": 2}]
    assert again.line("text", place / "2.json", pytest.fail) == b"any text"
    assert again.is_unchanged
    assert again.line("text", place / "3.json", lambda _: b"now") == b"now"
    assert not again.is_unchanged

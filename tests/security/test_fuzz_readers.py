"""Readers of what anyone may have written, given bytes and data changed by chance: a right value or a named error.

Never another exception, a hang or much memory. The draws are the same each time; `tools/fuzz.py` draws others.
"""

from __future__ import annotations

# ruff: noqa: PT017
import io
import json
import pickle
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hostile import bounded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_runs import class_names, made_run
from PIL import Image
from safetensors.torch import save
from torch import nn

from kd_runner.command_line.composition import composed_by
from kd_runner.command_line.messages import one_line_message
from kd_runner.command_line.overrides import expand_modes, split
from kd_runner.command_line.resume import command_of_folder
from kd_runner.command_line.typed_words import idle_hydra_words, parse_overrides, repeated_words, typed_settings
from kd_runner.command_line.yaml_files import bounded_files
from kd_runner.datasets.decoding.image_file import decode, facts
from kd_runner.datasets.folders.archives import unpack
from kd_runner.errors import SettingsError
from kd_runner.files.plain_files import read_yaml
from kd_runner.files.results import find_runs
from kd_runner.networks import pickle_requests, weight_files
from kd_runner.networks.foreign_weights import weights_of
from kd_runner.networks.records import record_of

pytestmark = pytest.mark.slow


def fuzz(examples: int) -> Any:
    return settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )


changes = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=8), st.integers(0, 8)), max_size=6)
ends = st.just(1.0) | st.floats(0, 1)


def mutated(content: bytes, edits: list[tuple[float, bytes, int]], end: float) -> bytes:
    """The content with some bytes in place of others, and without its end."""
    for share, new, gone in edits:
        at = int(share * (len(content) + 1))
        content = content[:at] + new + content[at + gone :]
    return content[: round(end * len(content))]


NETWORK = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
STATE = {name: value.clone() for name, value in NETWORK.state_dict().items()}


def of_torch(content: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


WEIGHTS = [
    of_torch(STATE),
    of_torch({"model": STATE, "epoch": 3, "args": {"lr": 0.1}}),
    of_torch(STATE, _use_new_zipfile_serialization=False),
    save(STATE, {"kd_runner": '{"val_accuracy": 0.5}'}),
    pickle.dumps({"a": [1, "b"]}),
]


@fuzz(150)
@given(st.sampled_from(WEIGHTS), changes, ends)
def test_files_of_weights(tmp_path_factory: Any, whole: bytes, edits: Any, end: float) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.pth"
    path.write_bytes(mutated(whole, edits, end))
    with bounded(10):
        record_of(path)
        try:
            entries, _ = weight_files.read_tensors(path)
            weights_of(NETWORK, entries, None, "teacher.checkpoint", path.name)
        except SettingsError as error:
            assert str(error).isprintable()


@fuzz(150)
@given(st.binary(max_size=200) | st.sampled_from([pickle.dumps({"a": print}, n) for n in range(6)]), changes, ends)
def test_pickles(whole: bytes, edits: Any, end: float) -> None:
    requests = pickle_requests.requested_globals(io.BytesIO(mutated(whole, edits, end)), 4)
    assert all(isinstance(name, str) for name in (*requests.names, *requests.suspicious))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = made_run(tmp_path_factory.mktemp("runs") / "runs" / "run", class_names(4))
    (folder.parent / "sweep.json").write_text('{"jobs": ["a=1"], "folders": ["0"], "names": ["0"]}')
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "overrides.yaml").write_text("- seed=1\n- teacher=mlp\n")
    return folder


@fuzz(80)
@given(st.sampled_from(["result.json", "../sweep.json", ".hydra/overrides.yaml", "settings.json"]), changes, ends)
def test_folders_of_runs(run: Path, name: str, edits: Any, end: float) -> None:
    path = run / name
    whole = path.read_bytes()
    path.write_bytes(mutated(whole, edits, end))
    try:
        with bounded(10):
            find_runs([run.parent])
    finally:
        path.write_bytes(whole)


@fuzz(80)
@given(st.lists(st.text(max_size=20)) | VALUES, changes)
def test_recorded_words(run: Path, content: Any, edits: Any) -> None:
    path = run / ".hydra" / "overrides.yaml"
    path.write_bytes(mutated(yaml.safe_dump(content).encode("utf-8", "replace"), edits, 1.0))
    with bounded(10):
        try:
            assert all(isinstance(word, str) for word in command_of_folder([f"resume={run}"]))
        except SettingsError as error:
            assert str(error).startswith("resume: ")


@fuzz(100)
@given(st.binary(max_size=100) | VALUES.map(lambda value: json.dumps(value).encode()), changes)
def test_yaml(tmp_path_factory: Any, content: bytes, edits: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_bytes(mutated(content, edits, 1.0))
    with bounded(10):
        try:
            read_yaml(path)
        except ValueError as error:
            assert str(error)


def image(kind: str, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (5, 4), 1).save(file, kind)
    return file.getvalue()


PICTURES = [image(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")]
PICTURES += [image("PNG", "P"), image("TIFF", "I;16"), image("PNG", "LA")]


@fuzz(200)
@given(st.sampled_from(PICTURES), changes, ends)
@pytest.mark.filterwarnings("ignore")
def test_images(tmp_path_factory: Any, whole: bytes, edits: Any, end: float) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.png"
    path.write_bytes(mutated(whole, edits, end))
    for reader in (facts, lambda path: decode(path, "rgb", max_pixels=10**6)):
        with bounded(10):
            try:
                reader(path)
            except ValueError as error:
                assert str(path) in str(error) or "max_pixels" in str(error)


def archive(kind: str) -> bytes:
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
            for name in ("a/1.png", "b/2.png"):
                opened.writestr(name, b"content" * 9)
    else:
        with tarfile.open(fileobj=file, mode=f"w:{kind}") as opened:  # type: ignore[call-overload]
            for name in ("a/1.png", "b/2.png"):
                member = tarfile.TarInfo(name)
                member.size = 63
                opened.addfile(member, io.BytesIO(b"content" * 9))
    return file.getvalue()


@fuzz(100)
@given(st.sampled_from([("zip", ""), ("tar", ""), ("tar.gz", "gz"), ("tar.xz", "xz")]), changes, ends)
def test_archives(tmp_path_factory: Any, kind: tuple[str, str], edits: Any, end: float) -> None:
    folder = tmp_path_factory.mktemp("archive")
    path = folder / f"a.{kind[0]}"
    path.write_bytes(mutated(archive("zip" if kind[0] == "zip" else kind[1]), edits, end))
    with bounded(10):
        try:
            assert unpack(path, folder / "cache").is_relative_to(folder / "cache")
        except ValueError as error:
            assert str(error).startswith(str(path))
            assert str(error).isprintable()
    assert {entry.name for entry in folder.iterdir()} == {path.name, "cache"}
    shutil.rmtree(folder)


WORDS = st.text(max_size=30) | st.from_regex(r"[+~]{0,2}[a-z./@]{1,12}=[\[\]{}a-z0-9,:'\"$()]{0,15}", fullmatch=True)


@fuzz(150)
@given(st.lists(WORDS, max_size=4))
def test_typed_words(words: list[str]) -> None:
    with bounded(10):
        list(parse_overrides(words))
        typed_settings(words)
        list(repeated_words(words))
        list(idle_hydra_words(words, sweep=bool(words)))
        assert " ".join(split(" ".join(words))) == " ".join(words)
        for word in words:
            try:
                expand_modes(word)
            except SettingsError as error:
                assert str(error).startswith("distillation")


@fuzz(15)
@given(VALUES.map(lambda value: json.dumps({"teacher": value, "x": value}).encode()) | st.binary(max_size=60), changes)
def test_options_of_a_stranger(tmp_path_factory: Any, content: bytes, edits: Any) -> None:
    from hydra import compose, initialize_config_dir

    from kd_runner.config.conf_dir import CONF_DIR

    top = tmp_path_factory.getbasetemp() / "options"
    (top / "teacher").mkdir(parents=True, exist_ok=True)
    (top / "teacher" / "fuzzed.yaml").write_bytes(mutated(content, edits, 1.0))
    with bounded(20), bounded_files(), initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        words = ["teacher=fuzzed", f"hydra.searchpath=[{top}]"]
        try:
            composed_by(lambda: compose("config", overrides=words))
        except Exception as error:  # which the command line says in one line, as `kd_runner.cli.main` does
            assert "\n" not in one_line_message(error)


@fuzz(80)
@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=3), st.integers(-8, 8), st.binary(max_size=16))
def test_headers_of_safetensors(tmp_path_factory: Any, header: dict[str, Any], off: int, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.safetensors"
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", max(0, len(raw) + off)) + raw + data)
    with bounded(10):
        try:
            weight_files.read_tensors(path)
        except SettingsError as error:
            assert str(error).isprintable()

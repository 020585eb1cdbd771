"""The files of a person's own code: a change of what a module imports is seen, one of anything else is not."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from kd_runner.config.build import source_digest
from kd_runner.config.own_files import imported_files, is_own, own_digest

FILES = {
    "mine/__init__.py": "",
    "mine/nets.py": "import timm\nfrom .parts import blocks\nfrom mine.sizes import WIDTH\nimport alone\n",
    "mine/parts/__init__.py": "",
    "mine/parts/blocks.py": "from ..deep import *\nimport mine.nets\n",
    "mine/deep.py": "def late():\n    from mine import later\n",
    "mine/sizes.py": "WIDTH = 8\n",
    "mine/later.py": "",
    "mine/other.py": "",
    "alone.py": "import json\nimport beside\n",
    "beside.py": "",
    "timm/__init__.py": "",
}
IMPORTED = [
    "alone.py", "beside.py", "mine/__init__.py", "mine/deep.py", "mine/later.py", "mine/parts/__init__.py",
    "mine/parts/blocks.py", "mine/sizes.py",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def test_the_files_are_those_that_are_imported_beside_the_package(folder: Path) -> None:
    file = folder / "mine/nets.py"
    files = imported_files(file.read_bytes(), "mine.nets", file)
    assert [path.relative_to(folder).as_posix() for path in files] == IMPORTED


@pytest.mark.parametrize("name", FILES)
def test_the_digest_follows_them_and_nothing_else(folder: Path, name: str) -> None:
    before = own_digest("mine.nets", folder / "mine/nets.py")
    with (folder / name).open("a") as file:
        file.write("# more\n")
    is_seen = own_digest("mine.nets", folder / "mine/nets.py") != before
    assert is_seen == (name in (*IMPORTED, "mine/nets.py"))


def test_one_file_has_its_own_digest_and_names_of_folders_do_not_count(folder: Path, tmp_path: Path) -> None:
    file = folder / "mine/sizes.py"  # as earlier versions had it: its networks are found again
    assert own_digest("mine.sizes", file) == hashlib.sha256(file.read_bytes()).hexdigest()
    digest = own_digest("mine.nets", folder / "mine/nets.py")
    moved = tmp_path.with_name(f"{tmp_path.name}_moved")
    tmp_path.rename(moved)
    assert own_digest("mine.nets", moved / "mine/nets.py") == digest


def test_of_an_installed_package_its_file_alone_counts(folder: Path) -> None:
    place = folder / "site-packages" / "mine"
    place.parent.mkdir()
    (folder / "mine").rename(place)
    file = place / "nets.py"
    assert own_digest("mine.nets", file) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_persons_own_modules(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("json", "builtins", "numpy.linalg", "torch.nn", "kd_runner.models.mlp", "pytest", "numpy")
    assert not any(map(is_own, names))
    assert is_own("a_notebook")
    for place, expected in ((folder, True), (folder / "site-packages", False)):
        module = ModuleType("mine")
        module.__file__ = str(place / "mine" / "__init__.py")
        monkeypatch.setitem(sys.modules, "mine", module)
        assert is_own("mine") == expected


def test_files_that_are_no_source_have_no_imports(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_bytes(b"\x7fELF\0\xff")
    (tmp_path / "wrong.py").write_text("import mine\nthis is no Python")
    for name in ("mine", "wrong"):
        content = (tmp_path / f"{name}.py").read_bytes()
        assert own_digest(name, tmp_path / f"{name}.py") == hashlib.sha256(content).hexdigest()


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a package `mynets_of_test`, which is trusted, and gives the digest of its network."""
    monkeypatch.syspath_prepend(tmp_path)
    place = tmp_path / "mynets_of_test"
    place.mkdir()
    (place / "blocks.py").write_text("")
    (place / "nets.py").write_text(
        "import functools\nfrom mynets_of_test import blocks\n"
        "class Net:\n    def __call__(self):\n        pass\n"
        "@functools.lru_cache\ndef net():\n    pass\n"
        "READY = Net()\n"
    )

    def make(name: str, helper: str) -> str | None:
        (place / "blocks.py").write_text(helper)
        return source_digest({"_target_": f"mynets_of_test.nets.{name}"}, "student", ["mynets_of_test"])

    yield make
    for name in [name for name in sys.modules if name.startswith("mynets_of_test")]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["Net", "net", "READY"])
def test_a_helper_of_a_target_counts(nets: Callable[[str, str], str | None], name: str) -> None:
    first, other, again = (nets(name, helper) for helper in ("SCALE = 1", "SCALE = 5", "SCALE = 1"))
    assert first == again
    assert first != other
    assert len(first or "") == 64

"""The files of a person's own code: a module's, and those of the modules beside it that it imports."""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from importlib.machinery import all_suffixes
from pathlib import Path

# Their versions say what their files hold.
LIBRARIES = frozenset({"kd_runner", "torch", "torchvision", "timm", "numpy"})
INSTALLED = frozenset({"site-packages", "dist-packages"})


def is_own(module: str) -> bool:
    """True for the name of a module that is neither Python's own, nor installed, nor one of kd-runner's."""
    top = module.partition(".")[0]
    if top in LIBRARIES:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return top not in sys.stdlib_module_names if file is None else not is_installed(Path(file))


def is_installed(file: Path) -> bool:
    """True for a file of an installed package, or of Python itself."""
    if INSTALLED & set(file.parts):
        return True
    return any(file.is_relative_to(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))


def own_digest(module: str, file: Path) -> str:
    """SHA-256 of the file of a module and of its person's own files that it imports, directly or through one another.

    Where there is but one file, it is the SHA-256 of that. Which files count, `imported_files` says.

    Args:
        module: The module's name.
    """
    content = file.read_bytes()
    return _files_digest([file, *imported_files(content, module, file)], _place(module, file)[0])


def imports_digest(source: str, module: str, file: Path) -> str:
    """SHA-256 of the `imported_files` of a part of a module's source; empty where there are none."""
    files = imported_files(source.encode(), module, file)
    return _files_digest(files, _place(module, file)[0]) if files else ""


def _files_digest(files: Sequence[Path], root: Path) -> str:
    """SHA-256 of files, and of their names in the folder `root` where they are several; of one, that of the file."""
    digests = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = sorted(f"{file.relative_to(root).as_posix()} {digest}" for file, digest in digests.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def imported_files(content: bytes, module: str, file: Path) -> list[Path]:
    """The files that `import` statements of a source lead to, directly or through one another.

    They are files in the folder where the top-level package of the module lies, or the module itself if it is of none:
    what lies elsewhere is installed. What an import does not name, such as a module of a name that is computed, is not
    found. Nothing is imported, so it does not matter what is loaded yet.

    Args:
        content: The source, or a part of it.
        module: The module that the source is of.
        file: The module's file, which need not be there.
    """
    if is_installed(file):
        return []
    root, name = _place(module, file)
    files: dict[Path, None] = {}
    waiting = list(_imports(content, name if file.stem == "__init__" else name.rpartition(".")[0]))
    while waiting:
        imported = waiting.pop()
        path = None if imported.partition(".")[0] in LIBRARIES else _file_of(imported, root)
        if path is not None and path not in files and path != file:
            files[path] = None
            package = imported if path.name.startswith("__init__.") else imported.rpartition(".")[0]
            waiting += _imports(path.read_bytes(), package)
    return sorted(files)


def _place(module: str, file: Path) -> tuple[Path, str]:
    """The folder in which the module's top-level package lies, or itself, and its name as seen from there."""
    parts, here = module.split("."), [*file.parent.parts, file.name.partition(".")[0]]
    if here[-1] == "__init__":
        here.pop()
    if here[-len(parts) :] == parts:
        return Path(*here[: -len(parts)]), module
    return file.parent, file.name.partition(".")[0]  # a script, or a module that was loaded by its path


def _file_of(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    paths = [path for suffix in all_suffixes() for path in (base / f"__init__{suffix}", Path(f"{base}{suffix}"))]
    return next((path for path in paths if path.is_file()), None)


@functools.lru_cache(maxsize=1000)  # the jobs of a sweep ask again
def _imports(content: bytes, package: str) -> tuple[str, ...]:
    """The names of modules that a source imports, or may import: of `from a import b`, `a` and `a.b`."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # a compiled module, or a piece of a line
        return ()
    return tuple(dict.fromkeys(name for node in ast.walk(tree) for name in _imports_of(node, package)))


def _imports_of(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            parts = alias.name.split(".")
            yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
        base = ".".join(part for part in (*above, node.module) if part)
        yield from ((base,) if base else ())
        yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names if alias.name != "*")

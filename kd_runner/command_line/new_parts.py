"""`kd-runner new mode|network|dataset NAME`: a working pair of files, Python and YAML, with a test."""

from __future__ import annotations

import argparse
import keyword
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import NoReturn

from kd_runner.command_line.option_files import options_of
from kd_runner.errors import Answer, SettingsError
from kd_runner.plain_text import lines

NEW = "new"
TEMPLATES = Path(__file__).parent / "parts_to_copy"
GROUPS = {"mode": ["distillation"], "network": ["student", "teacher"], "dataset": ["dataset"]}
USAGE = """kd-runner new mode|network|dataset NAME [--package my_package] [--config-dir my_conf]

Write a mode, a network or a data set of your own into the current folder: a Python file, a YAML file and a test that
work as they are. What stands there already is not replaced. docs/extending.md says more."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{NEW}: {message}; as in kd-runner new mode mine")


def new_part(words: Sequence[str], here: Path | None = None) -> Answer:
    """Write the files of a part; returns what is said about it.

    Args:
        words: The words behind `new`.
        here: The folder to write into; None for the current one.

    Raises:
        SettingsError: a kind, a name or a package that cannot be, or a file that is there already.
    """
    if not words or {"--help", "-h"} & set(words):
        return Answer(lines(USAGE.split("\n")))
    parser = _Parser(prog="kd-runner new", add_help=False, allow_abbrev=False)
    parser.add_argument("kind")
    parser.add_argument("name")
    parser.add_argument("--package", default="my_package")
    parser.add_argument("--config-dir", default="my_conf")
    typed = parser.parse_args(list(words))
    kind, name, package = typed.kind, typed.name, typed.package
    _refuse_wrong_names(kind, name, package)
    here = here or Path.cwd()
    files = _files(kind, name, package, typed.config_dir)
    for file in files:
        if (here / file).exists():
            raise SettingsError(f"{NEW}: {file} is there already, and is not replaced: choose another name than {name}")
    for file, text in {**files, **_missing_init(here, package)}.items():
        path = here / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Answer(lines(_instructions(kind, name, package, typed.config_dir, list(files))))


def _refuse_wrong_names(kind: str, name: str, package: str) -> None:
    if kind not in GROUPS:
        raise SettingsError(f"{NEW}: must be mode, network or dataset, got {kind}")
    for argument, word in (("NAME", name), ("--package", package)):
        if keyword.iskeyword(word):
            raise SettingsError(f"{NEW}: {argument} must be no word of Python's own, such as my_{word}, got {word}")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", word):
            raise SettingsError(
                f"{NEW}: {argument} must be of small letters, digits and _, such as my_{kind}, got {word}"
            )
    taken = [group for group in GROUPS[kind] if name in options_of(group)]
    if taken:
        raise SettingsError(f"{NEW}: {taken[0]}={name} is an option of kd-runner: choose another name")


def _files(kind: str, name: str, package: str, folder: str) -> dict[str, str]:
    """The texts of the files by their paths."""
    names = {"name": name, "package": package, "Class": "".join(part.capitalize() for part in name.split("_"))}

    def fill(template: str) -> str:
        return Template((TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")).substitute(names)

    files = {f"{package}/{name}.py": fill(f"{kind}.py"), f"{package}/test_{name}.py": fill(f"test_{kind}.py")}
    return files | {f"{folder}/{group}/{name}.yaml": fill(f"{kind}.yaml") for group in GROUPS[kind]}


def _missing_init(here: Path, package: str) -> dict[str, str]:
    """The file that makes a folder a package, where it is not there."""
    path = f"{package}/__init__.py"
    return {} if (here / path).exists() else {path: ""}


def _instructions(kind: str, name: str, package: str, folder: str, files: Sequence[str]) -> list[str]:
    word = f"{GROUPS[kind][0]}={name}"
    run = shlex.join(["kd-runner", "--config-dir", folder, word, f"trust=[{package}]"])
    return [
        *(f"wrote     {file}" for file in files),
        f"test it   python -m pytest {package}/test_{name}.py",
        f"run it    {run}",
        f"remove it rm {shlex.join(files)}",
    ]

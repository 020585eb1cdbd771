"""The folder in which a run or a sweep that goes on was begun: its relative paths count from there."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.types import ChoiceSweep, QuotedString

from kd_runner.command_line.option_files import option_settings
from kd_runner.command_line.quoted_values import quoted_text
from kd_runner.command_line.typed_words import parse_overrides
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.config.fingerprint import names_a_place
from kd_runner.files.plain_files import read_plain, read_yaml
from kd_runner.files.recorded_words import without_plus
from kd_runner.files.run_folder import GRID, HYDRA, MULTIRUN, SETTINGS
from kd_runner.redaction import MASK

STORE = "store"


class Begun(NamedTuple):
    """The folder where a run or a sweep was begun, as far as it is known.

    Args:
        folder: The folder that was the current one; None where no record says it.
        is_there: True where the folder is there, and the run or sweep lies where it was made.
    """

    folder: Path | None
    is_there: bool


def place_words(words: Sequence[str], folder: Path, typed_keys: Iterable[str]) -> list[str]:
    """The words of the command that goes on in `folder`, with relative paths as those of the folder where it was begun.

    Where that is the current folder, or is not known, the words stay as they are. What is typed now counts from the
    current folder.

    Args:
        words: The words that the folder recorded, and those that were typed.
        typed_keys: The keys of the words that were typed.
    """
    begun, here, typed = _begun_elsewhere(folder), Path.cwd().resolve(), set(typed_keys)
    if begun is None:
        return list(words)
    placed = [placed_word(word, here if _key(word) in typed else begun) for word in words]
    store = _recorded_store(folder)
    if STORE not in map(_key, words) and _may_be_placed(store):
        placed.append(f"{STORE}={_quoted_path(store, begun)}")
    return placed


def place_recorded(words: Sequence[str], folder: Path) -> list[str]:
    """The words that the run in `folder` recorded, for a new run in the current folder; relative paths as above."""
    begun = _begun_elsewhere(folder)
    return list(words) if begun is None else [placed_word(word, begun) for word in words]


def place_settings(section: Mapping[str, Any], name: str, folder: Path) -> dict[str, Any]:
    """A section of the settings that the run in `folder` recorded; relative paths as above."""
    begun = _begun_elsewhere(folder)
    if begun is None:
        return dict(section)
    return {
        key: _placed_value(value, begun) if names_a_place(f"{name}.{key}") else value for key, value in section.items()
    }


def _placed_value(value: Any, begun: Path) -> Any:
    """A path below `begun`, or each path of a list; anything else as it is."""
    if isinstance(value, list):
        return [_placed_value(path, begun) for path in value]
    return str(begun / value) if _may_be_placed(value) else value


def _begun_elsewhere(folder: Path) -> Path | None:
    """The folder where a run was begun, from which its relative paths count; None for the current one, or not known."""
    begun = begun_in(folder)
    return None if not begun.is_there or begun.folder == Path.cwd().resolve() else begun.folder


def place_remark(folder: Path, typed_keys: Iterable[str]) -> str | None:
    """A line where relative paths of a run that goes on may not be those that it was begun with; else None."""
    begun, store = begun_in(folder), _recorded_store(folder)
    is_known = begun.folder is not None and (begun.is_there or begun.folder == Path.cwd().resolve())
    if is_known or STORE in typed_keys or not _may_be_placed(store) or Path(store).is_absolute():
        return None
    kind = "sweep" if (folder / MULTIRUN).is_file() else "run"
    reason = f"it is not known where the {kind} was begun"
    if begun.folder is not None:
        reason = f"the {kind} was begun in {begun.folder}, and its folder lies elsewhere now"
    return f"store: {store} is that of the current folder, {Path.cwd()}: {reason}; store=… names another"


def begun_in(folder: Path) -> Begun:
    """The folder where the run or the sweep in `folder` was begun, as Hydra recorded it."""
    record, place = _record(folder)
    try:
        hydra = read_yaml(record)["hydra"]
        current, kind = hydra["runtime"]["cwd"], "sweep" if record.name == MULTIRUN else "run"
        made_in, expression, _ = str(hydra[kind]["dir"]).partition("${")
        begun = Path(current)
        if "${" in current or not begun.is_absolute():
            return Begun(None, False)
        made = (begun / made_in).resolve()
        above = made if made_in.endswith("/") else made.parent  # of a name that ends in an expression
        lies_there = place.resolve().is_relative_to(above) if expression else place.resolve() == made
        return Begun(begun.resolve(), lies_there and begun.is_dir())
    except (OSError, ValueError, LookupError, TypeError, RuntimeError):  # whatever is in the file
        return Begun(None, False)


def _record(folder: Path) -> tuple[Path, Path]:
    """The file in which Hydra recorded the command of a run or sweep, and the folder that the command made."""
    if (folder / MULTIRUN).is_file():
        return folder / MULTIRUN, folder
    above = next((path for path in folder.absolute().parents if (path / GRID).is_file()), None)
    if above is not None and not (folder / HYDRA).exists():  # the job of a sweep
        return above / MULTIRUN, above
    return folder / HYDRA / "hydra.yaml", folder


def _key(word: str) -> str:
    return without_plus(word).lstrip("+").partition("=")[0]


def placed_word(word: str, begun: Path, is_compared: bool = False) -> str:
    """The word with each relative path that it gives to a setting as one below `begun`.

    Args:
        is_compared: True for a word that is compared with others: absolute paths are in quotes then, as placed ones.
    """
    key, _, _ = word.partition("=")
    override = next(parse_overrides([word]), None) if names_a_place(_key(word)) else None
    if override is None or "${" in word:
        return word
    value = override._value
    choices = value.list if isinstance(value, ChoiceSweep) else value
    paths = choices if isinstance(choices, list) else [choices]
    texts = [path.text if isinstance(path, QuotedString) else path for path in paths]
    texts = [str(text) if type(text) is int else text for text in texts]  # a folder of a year's pictures
    if not all(text is None or isinstance(text, str) for text in texts):
        return word
    placed = [
        _quoted_path(text, begun) if _may_be_placed(text) and (is_compared or not Path(text).is_absolute()) else written
        for text, written in _written(texts, paths)
    ]
    return f"{key}=[{','.join(placed)}]" if isinstance(value, list) else f"{key}={','.join(placed)}"


def _written(texts: Sequence[Any], paths: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Each path beside the word that stands for it."""
    for text, path in zip(texts, paths, strict=True):
        yield text, path.with_quotes() if isinstance(path, QuotedString) else "null" if path is None else str(path)


def _may_be_placed(path: Any) -> bool:
    """True for a path that is known and does not begin in a home folder."""
    return isinstance(path, str) and bool(path) and not path.startswith("~") and MASK not in path and "${" not in path


def _quoted_path(path: str, begun: Path) -> str:
    """The path below `begun`, in quotes for Hydra."""
    return quoted_text(str(begun / path))


def _recorded_store(folder: Path) -> Any:
    """The store that the settings of a run, or of the first job of a sweep that has begun, name; else our default."""
    for file in [folder / SETTINGS, *sorted(folder.glob(f"*/{SETTINGS}"))]:
        with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
            return json.loads(read_plain(file))[STORE]
    return _default_store()


@functools.cache
def _default_store() -> Any:
    return option_settings(CONF_DIR / "config.yaml").get(STORE)

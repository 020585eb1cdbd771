"""The title of a report: data set, networks and mode of its runs, by which one finds its tab among others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kd_runner.formats import cut_end
from kd_runner.plain_text import printable

LONGEST = 110  # letters of a title
MOST_NAMES = 3  # of one kind in a title
UNSAID = ("_classifier", "_set")  # ends of the names of our own modules that wrap a library's
DETAILS = ("depth", "name", "dataset")  # settings that say which network or data set of a kind it is


def title_of(runs: Sequence[tuple[Sequence[str], Mapping[str, str]]], fallback: str) -> str:
    """The data set, the networks and the mode of runs, such as 'digits: cnn → mlp · dkd'.

    Args:
        runs: The overrides and the settings, by their keys with dots, of each run.
        fallback: The title where these do not say so.
    """
    typed = [dict(word.lstrip("+").partition("=")[::2] for word in words) for words, _ in runs]
    pairs = [(overrides, settings) for overrides, (_, settings) in zip(typed, runs, strict=True)]
    dataset, teacher, student = (
        _list_names((name_of(section, *pair) for pair in pairs), f"{section}s".replace("datasets", "data sets"))
        for section in ("dataset", "teacher", "student")
    )
    mode = _list_names((_mode(*pair) for pair in pairs), "modes")
    networks = " → ".join(filter(None, [teacher, student]))
    about = " · ".join(filter(None, [networks, mode]))
    return cut_end(printable(": ".join(filter(None, [dataset, about])) or fallback), LONGEST)


def name_of(section: str, typed: Mapping[str, str], settings: Mapping[str, str]) -> str:
    """The name of what a section of the settings builds: its option as it was typed, else its module; and its kind."""
    name = typed.get(section, "")
    if not name.replace("_", "").isalnum():
        name = settings.get(f"{section}._target_", "").rpartition(".")[0].rpartition(".")[2]
    wraps = name.endswith(UNSAID)
    detail = next(
        (settings[key] for key in (f"{section}.{last}" for last in DETAILS) if settings.get(key, "null") != "null"), ""
    )
    if wraps:
        return detail
    is_enough = not detail or detail.lower().replace("-", "") == name.replace("_", "") or len(detail) > 40
    return name if is_enough else f"{name} {detail}".strip()


def _mode(typed: Mapping[str, str], settings: Mapping[str, str]) -> str:
    """The modes of a run, those beside the first with a plus."""
    plus = {key.split(".")[1] for key in settings if key.startswith("plus.")} if "plus" not in settings else ()
    sections = ["distillation", *sorted(plus)]  # `plus` itself is a key where it is empty
    names = [
        name_of(section if section == "distillation" else f"plus.{section}", typed, settings) for section in sections
    ]
    return "no distillation" if names == ["none"] else " + ".join(filter(None, names))


def _list_names(names: Iterable[str], things: str) -> str:
    """The different names; of many their number."""
    different = list(dict.fromkeys(filter(None, names)))
    return f"{len(different)} {things}" if len(different) > MOST_NAMES else ", ".join(different)

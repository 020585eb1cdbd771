"""Overrides as people type them: sums of modes, lists of values, keys without effect."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kd_runner.command_line.key_names import UNKNOWN, default_of, groups, has_callables, is_shared_key
from kd_runner.errors import SettingsError
from kd_runner.files.indifferent import WORDS_OUTSIDE_A_JOB
from kd_runner.files.recorded_words import without_plus

EARLIER_DEFAULTS = ("++dataset.default_fraction=1.0", "++dataset.default_lr=0.001")  # those of runs without a fraction
PUBLISHED_WEIGHTS = "++dataset.default_weights=null"  # those of runs before a data set had some of its own
# Overrides that do not say what is run.
UNDECISIVE = (*WORDS_OUTSIDE_A_JOB, *EARLIER_DEFAULTS, PUBLISHED_WEIGHTS)

# A setting of a stage's own optimizer or scheduler.
OF_A_STAGE = re.compile(r"((?:teacher|student|finetune)\.(?:optimizer|scheduler))\.\w[\w.]*=")


def is_undecisive(word: str) -> bool:
    """True for an override that does not say what is run."""
    return word.startswith(UNDECISIVE) or without_plus(word).startswith(UNDECISIVE)


def split(text: str) -> list[str]:
    """The overrides in a text that joins them with spaces; their values may hold spaces, too."""
    return re.split(r" (?=[+~]*[\w./@]+=)", text)


def expand_modes(word: str) -> list[str]:
    """`distillation=[a,b]` as Hydra says it: the mode a, and b under its own name in `plus`. Other words as they are.

    Raises:
        SettingsError: no mode, or the same mode twice.
    """
    listed = re.fullmatch(r"distillation=\[([\w\s,]*)\]", word)
    if listed is None:
        return [word]
    modes = [name.strip() for name in listed[1].split(",") if name.strip()]
    if not modes or len(set(modes)) < len(modes):
        raise SettingsError(f"distillation: must name one mode or more, each once, got {word.partition('=')[2]}")
    return [f"distillation={modes[0]}", *(f"+distillation@plus.{name}={name}" for name in modes[1:])]


def group_of_target(word: str) -> str | None:
    """The section for which a word names a callable: `student._target_=…`, or `student={_target_: …}`; else None."""
    match = re.match(r"\+{0,2}(\w+)(?:\._target_=|=\{(.*))", word, re.DOTALL)
    if match is None or match[2] is None:
        return match and match[1]
    content, inner = match[2], None
    while content != inner:  # what stands in braces inside is of a key of the section
        inner, content = content, re.sub(r"\{[^{}]*\}", "", content)
    return match[1] if re.search(r"(?<!\w)_target_\s*:", content) else None


def is_settings_of_group(word: str) -> bool:
    """True for settings of a group in braces without a callable, `student={epochs: 2}`: its option stays as it is."""
    key, _, value = word.lstrip("+").partition("=")
    return value.lstrip().startswith("{") and key in groups() and group_of_target(word) is None


def refuse_mixed_values(word: str) -> None:
    """Refuse options of a group and callables in braces among the values of one sweep: Hydra composes no such jobs.

    Raises:
        SettingsError: names the group, and what to type.
    """
    key, _, value = word.lstrip("+").partition("=")
    if "{" not in value or "," not in value or key not in groups() or not has_callables(key):
        return
    rest, inner = re.sub(r"'[^']*'|\"[^\"]*\"", "", value), None
    while rest != inner:
        inner, rest = rest, re.sub(r"\{[^{}]*\}", "", rest)
    values = [name.strip() for name in re.sub(r"^choice\((.*)\)$", r"\1", rest).split(",")]
    if any(values) and not all(values):
        raise SettingsError(
            f"{key}: must be options alone, or {{…}} alone, among the values of a sweep, got {value}; make two sweeps, "
            f"or give what stands in {{…}} a file {key}/NAME.yaml in a folder of your own (--config-dir)"
        )


def replace_options(words: Sequence[str]) -> list[str]:
    """The words where a `_target_` that is typed for a group stands in place of the option that nobody typed.

    Without that option, the words for its group are all that the callable gets, beside the settings that all options
    share. Where an option is typed, too, the callable gets the option's arguments, as Hydra has it.
    """
    named = {group for group in map(group_of_target, words) if group}
    if not named:
        return list(words)
    chosen = {word.lstrip("+~").partition("=")[0] for word in words if not re.match(r"[+\w.]+=\{", word)}
    has_recipe = any(without_plus(word).startswith("experiment=") for word in words)
    replaced = sorted(group for group in named & groups() - chosen if has_callables(group))
    if not replaced:
        return list(words)
    of_a_callable = re.compile(rf"([+~]*)((?:{'|'.join(replaced)})(?:\.\w[\w.]*)?)(=|$)")
    remaining = []
    for word in words:
        match = of_a_callable.match(word)
        if match is None or is_shared_key(match[2]):
            remaining.append(word)
        elif match[1] != "~":
            remaining.append(f"++{word.lstrip('+')}")
        elif has_recipe or default_of(match[2]) is UNKNOWN:  # else an argument of the option that is gone
            remaining.append(word)
    return [*remaining, *(f"~{group}" for group in replaced)]


def without_replaced_targets(recorded: Sequence[str], typed: Sequence[str]) -> list[str]:
    """The recorded words of a run, less those for a callable of which another one, or an option, is typed in its place.

    `student=mlp` replaces a recorded `student._target_=…` and its arguments, and `~student` leaves them out. The
    settings that all options share stay, such as `student.epochs=5`; settings in braces replace no callable.
    """
    typed_keys = {word.lstrip("+~").partition("=")[0] for word in typed if not is_settings_of_group(word)}
    replaced = {group for group in map(group_of_target, recorded) if group in typed_keys & groups()}

    def is_replaced(word: str) -> bool:
        key = word.lstrip("+~").partition("=")[0]
        group, _, name = key.partition(".")
        # A stage's own optimizer is shared, and null: of its settings conf knows nothing.
        return group in replaced and not is_shared_key(f"{group}.{name.partition('.')[0]}")

    return [word for word in recorded if not is_replaced(word)]


def expand(words: Sequence[str]) -> list[str]:
    """The words as Hydra takes them: `expand_modes` of each, `replace_options`, and `student.optimizer.lr=0.1` with ++.

    A stage's own optimizer and scheduler are null until it has some settings, so that there is nothing to change. Where
    a word chooses an option for it, there is.

    Raises:
        SettingsError: as in `expand_modes` and `refuse_mixed_values`.
    """
    for word in words:
        refuse_mixed_values(word)
    chosen = {word.partition("=")[0].partition("@")[2] for word in words}
    expanded = replace_options([part for word in words for part in expand_modes(word)])
    parts = [OF_A_STAGE.match(word) for word in expanded]
    return [f"++{word}" if part and part[1] not in chosen else word for word, part in zip(expanded, parts, strict=True)]


def check_overrides(overrides: Sequence[str]) -> None:
    """Refuse a setting that would be ignored.

    Raises:
        SettingsError: a label weight of a further mode; there is one for all modes.
    """
    for word in overrides:
        key = word.lstrip("+~").partition("=")[0]
        if re.fullmatch(r"plus\.[^.]+\.label_weight", key):
            raise SettingsError(f"{key}: has no effect; the labels' weight is distillation.label_weight, got {word}")

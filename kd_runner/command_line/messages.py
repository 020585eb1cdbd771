"""Hydra's messages of several lines in one line each, and the help."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kd_runner import redaction
from kd_runner.command_line.key_names import default_of, groups, is_key
from kd_runner.command_line.option_files import (
    PUBLISHED,
    nested_options,
    option_settings,
    options_of,
    published_options,
)
from kd_runner.command_line.overrides import group_of_target
from kd_runner.command_line.own_folder import config_dirs
from kd_runner.command_line.quoted_values import quoted_text, quoted_word
from kd_runner.command_line.sweep_words import NOT_SWEPT, meant_sweep, not_swept, sweep_inside
from kd_runner.config.conf_dir import CONF_DIR, NAMED
from kd_runner.files.home import with_home
from kd_runner.foreign_words import answer_for, number_for, option_for
from kd_runner.plain_text import printable
from kd_runner.suggestions import did_you_mean, number_meant

UNREADABLE = (
    r"Error parsing override|no viable alternative|mismatched input|extraneous input|missing EQUAL|LexerNoViableAlt"
)
_words: ContextVar[tuple[str, ...] | None] = ContextVar("words", default=None)
NUMBER_BY_DEFAULT = re.compile(r"\$\{oc\.select:[\w.]+,(-?\d+(?:\.\d+)?)\}")  # a number, where no other is
SWEEPS = (
    "must be a value, or a sweep such as choice(1,2,4), range(1,4), interval(1,8) or tag(log,interval(1,8)), in quotes"
)
NEARLY = 0.85  # how alike a misspelt key is to the one that was meant, from 0 to 1
LONGEST_LIST = 200  # letters of a list that stands beside the name which was meant


def say(message: str) -> None:
    """Print a message for the person who typed the command, each line with the program's name."""
    for line in printable(message).split("\n"):
        print(f"kd-runner: {redaction.explain(line)}", file=sys.stderr)


def with_origin(message: str, overrides: list[str]) -> str:
    """`message`, and how to take a setting back that an experiment, or an option, made for another callable."""
    key, _, reason = message.partition(": ")
    group = key.partition(".")[0]
    experiments = [word.lstrip("+") for word in overrides if word.startswith(("experiment=", "+experiment="))]
    if not reason.startswith("no such setting") or any(key in word for word in overrides):
        return message
    options = [word for word in overrides if word.startswith(f"{group}=") and not word.startswith(f"{group}={{")]
    if options and group in map(group_of_target, overrides):
        return f"{message}; {options[0]} sets it: leave that out, as {group}._target_ needs no option beside it"
    if experiments and not options and _only_names_target(experiments[0], key):
        remedy = f"defaults: [override /{group}: null]"
        return f"{message}; to have no option below {experiments[0]}, its file needs {remedy}"
    return f"{message}; {experiments[0]} sets it: add ~{key} to take it back" if experiments else message


def _only_names_target(experiment: str, key: str) -> bool:
    """True where the file of an experiment names a `_target_` in the section of `key`, and does not set that key."""
    group, _, name = key.partition(".")
    folders = [*map(Path, config_dirs(_typed_words())), CONF_DIR]
    files = [with_home(folder) / f"{experiment.replace('=', '/', 1)}.yaml" for folder in folders]
    file = next((file for file in files if file.is_file()), None)
    section = option_settings(file, folders).get(group) if file is not None else None
    return isinstance(section, dict) and "_target_" in section and name.partition(".")[0] not in section


def help_text() -> str:
    """The help, which fits a screen. Hydra builds it from the same file, and takes a second."""
    text = OmegaConf.load(CONF_DIR / "hydra" / "help" / "kd_runner.yaml")
    return str(OmegaConf.create({"hydra": {"help": text}}).hydra.help.template).rstrip()


@contextmanager
def messages_about(words: Sequence[str]) -> Iterator[None]:
    """Have messages speak of these words in this block, and not of the command line: a Python program gave them."""
    token = _words.set(tuple(words))
    try:
        yield
    finally:
        _words.reset(token)


def _typed_words() -> list[str]:
    words = _words.get()
    return sys.argv[1:] if words is None else list(words)


def one_line_message(error: Exception) -> str:
    """Hydra's message of several lines in one line, with a suggestion where a key was misspelt."""
    text = re.sub(r"\s*See https://\S+ for details", "", str(error)) or type(error).__name__
    if re.search(UNREADABLE, text):
        text = _unreadable_word(_typed_words()) or text
    if re.match(NOT_SWEPT, text) and (line := not_swept(_typed_words())):
        return line
    if re.search(r"\w+Sweep\b", f"{text} {error.__cause__}") and (line := sweep_inside(_typed_words())):
        return line
    several = re.match(r"Ambiguous value for argument '([^=]+)=(.*?)'\n", text, re.DOTALL)
    if several:
        return _several_values(*several.groups())
    unknown = re.match(r"Could not override '(\S+)'", text)
    if unknown:
        inside = re.search(rf"full_key: ({re.escape(unknown[1])}\.\S+)", f"{text} {error.__cause__}")
        key = inside[1] if inside else unknown[1]  # of a dictionary, the key in it
        return f"{key}: {_unknown_key(key)}"
    if idle := _nothing_left_out(text):
        return idle
    if composed := _composition_fault(f"{text} {error.__cause__}"):
        return composed
    if text.startswith("Config group override must be"):  # Hydra does not say which
        pairs = [word.partition("=")[::2] for word in _typed_words() if "=" in word]
        for group, value in pairs:
            if (CONF_DIR / group).is_dir() and not re.search("[a-z]", value.replace("null", "").replace("true", "")):
                hint = _behind(number_for(group, value))
                return f"{group}: must be one of {', '.join(options_of(group))}, got {value}{hint}"
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return f"hydra.run.dir: the run's folder cannot be made ({error})"
    missing = re.search(r"Could not (?:find|load) '(\S+)/([^/\s]*)'", text)
    options = re.search(r"Available options in '\S+':\s+(.*?)(?:\n\S|\Z)", text, re.DOTALL)
    group, option = missing.groups() if missing else ("", "")
    if missing and (options or (CONF_DIR / group).is_dir()):
        if "/" in group:  # the folder of options below a group's
            group, _, folder = group.partition("/")
            option = f"{folder}/{option}"
        published = published_options(group)
        if f"published/{option}" in published:
            return f"{group}: {option} is among the published recipes, type {group}=published/{option}"
        choices = [*options[1].split(), *nested_options(group)] if options else options_of(group)
        meant = _meant_option(group, option, choices)
        listed = _list_of_choices(group, choices, meant)
        is_long = len(listed) > LONGEST_LIST and "kd-runner help" not in listed
        remedy = f"; kd-runner help {group} says what each is" if is_long else ""
        return f"{_typed_key(group, option)}: must be one of {listed}, got {option or 'nothing'}{meant}{remedy}"
    cause = f" ({error.__cause__})" if isinstance(error.__cause__, OmegaConfBaseException) else ""
    return " ".join(f"{text}{cause}".split())


def _several_values(key: str, values: str) -> str:
    """A line about several values of a key where one must stand: a number with a decimal comma is two."""
    default = _default(key)
    may_be_fraction = isinstance(default, float) or (default is None and values.startswith("0,"))
    number = number_meant(values) if may_be_fraction else None
    remedies = ["a sweep over them takes kd-runner -m"]
    if number:
        remedies.append(f"with a decimal point it is {key}={number}")
    if not _is_number(default):
        listed = f"{key}=[{values}]"
        listed = listed if re.fullmatch(r"[\w.,/+-]*", values, re.ASCII) else shlex.quote(listed)
        remedies += [f"a list is {listed}", f"a text {shlex.quote(f'{key}={quoted_text(values)}')}"]
    return f"{key}: must be one value, got {values}; {', '.join(remedies)}"


def _default(key: str) -> Any:
    """The default of a setting; a number also where that stands for one that another setting may give."""
    default = default_of(key.lstrip("+"))
    if isinstance(default, str) and (match := NUMBER_BY_DEFAULT.fullmatch(default)):
        return float(match[1]) if "." in match[1] else int(match[1])
    return default


def _is_number(default: Any) -> bool:
    return isinstance(default, int | float) and not isinstance(default, bool)


def _nothing_left_out(text: str) -> str | None:
    """A line for what Hydra says of a `~KEY` that leaves out nothing; None for another text."""
    absent = re.match(r"Could not delete from config\. '(\S+)' does not exist", text)
    if absent:
        known = [name for name in _known_keys(absent[1]) if not name.endswith("_target_")]
        # A value of null does not exist for Hydra, either.
        is_null = absent[1] in known
        reason = "it is null" if is_null else f"there is no such setting{_nearest_keys(absent[1], known)}"
        return f"~{absent[1]}: leaves out nothing, as {reason}"
    other = re.match(r"Could not delete from config\. The value of '(\S+)' is (.*) and not (.*)\.$", text, re.DOTALL)
    if other:
        key, value, got = other.groups()
        return f"~{key}: must be typed without a value, or with {value}, which is there, got {got}"
    unchosen = re.match(r"Could not delete '([^'=]+)(?:=(.*))?'\. No match", text)
    if unchosen and unchosen[2]:
        key, option = unchosen.groups()
        if_any = ", if any" if "@" in key else ""  # each other group has one
        return f"~{key}: must be typed without an option, or with the one that is chosen{if_any}, got {option}"
    return f"~{unchosen[1]}: leaves out nothing, as no option is chosen for it" if unchosen else None


def _composition_fault(text: str) -> str | None:
    """A line for what Hydra says of a word that names what is there already, or gives a section a list; else None."""
    twice = re.match(r"Could not append to config. An item is already at '(\S+)'", text)
    chosen = re.match(r"Multiple values for (\S+)\. To override a value use 'override \S+ (.*)'", text, re.DOTALL)
    if twice or chosen:
        key = twice[1] if twice else chosen[1] if chosen else ""
        value = _typed_value(key)
        remedy = _adding(key, "NAME", value) if key in NAMED else f"{key}={value}"
        return f"{key}: is there already; {'one more' if key in NAMED else 'another value'} is {remedy}"
    lists = re.search(r"Cannot merge DictConfig with ListConfig.*full_key: (\S+)", text, re.DOTALL)
    if lists:
        remedy = f"; write {_adding(lists[1], 'NAME', '')}" if lists[1] in NAMED else ""
        return f"{lists[1]}: must be settings by their keys, got {_typed_value(lists[1])}{remedy}"
    folder = re.match(r"Additional config directory '(.*)' not found", text)
    return f"--config-dir: must be a folder with options, no folder {folder[1]}" if folder else None


def _typed_key(group: str, option: str) -> str:
    """The key of a group's option as it was typed, such as distillation@plus.at."""
    keys = [word.lstrip("+").partition("=")[0] for word in _typed_words() if word.partition("=")[2] == option]
    return next((key for key in keys if key.startswith(f"{group}@")), group)


def _list_of_choices(group: str, choices: list[str], meant: str) -> str:
    """The choices, in words: all; where they are many and the one that was meant is said, the command that has them."""
    if meant and len(", ".join(choices)) > LONGEST_LIST:
        return f"the {len(choices)} that kd-runner help {group} lists"
    published = [name for name in choices if name.startswith(f"{PUBLISHED}/")]
    if len(", ".join(published)) <= LONGEST_LIST:
        return ", ".join(choices)
    unpublished = [name for name in choices if name not in published]
    return f"{', '.join(unpublished)}, or one of the {len(published)} {PUBLISHED}/ that kd-runner help {group} lists"


def _behind(remedy: str | None) -> str:
    return f"; {remedy}" if remedy else ""


def _meant_option(group: str, option: str, choices: list[str]) -> str:
    """The end of a message about an unknown option: its name here, else the nearest name."""
    if group == "dataset" and re.search(r"[/.~]", option):
        form = (
            "an .npz is dataset=medmnist" if option.endswith(".npz") else "a folder of images is dataset=image_folder"
        )
        return f"; {form} dataset.root={option}"
    meant = option_for(group, option)
    if meant is not None and meant.split()[0] in choices:
        return f" (did you mean {group}={meant}?)" if " " in meant else f" (did you mean {meant}?)"
    return did_you_mean(option.lower(), choices)


def _typed_value(key: str) -> str:
    """The value that the command line gives to a key; empty where it gives none."""
    values = [word.partition("=")[2] for word in _typed_words() if word.lstrip("+").partition("=")[0] == key]
    return values[-1] if values else ""


def _unknown_key(key: str) -> str:
    """The remedy for a key that the settings do not have.

    It is, in this order: how to add the key, its name here where other tools have it, the option that has it, or the
    nearest keys.
    """
    part = re.fullmatch(r"(\w+\.(?:optimizer|scheduler))\.(\w+)", key)
    if part:  # a stage's own settings are null until it has some
        return f"write '{part[1]}={{{part[2]}: …}}', or choose one with +{part[1].split('.')[1]}@{part[1]}=…"
    teacher = re.fullmatch(
        r"((?:teacher|assistant)s\.\w+)\.(checkpoint\w*|epochs|weight|optimizer|scheduler|input(\.\w+)?)", key
    ) or re.fullmatch(r"(peers\.[a-z]\w*)\.(optimizer|scheduler|input(\.\w+)?)", key)
    if teacher:  # the settings of a second teacher are added one by one
        added = any(f"@{teacher[1]}=" in word for word in _typed_words())
        group = "teacher" if key.startswith("teachers.") else "student"
        return f"write '+{key}=…'" + ("" if added else f", beside +{group}@{teacher[1]}=…, which adds it")
    value = _typed_value(key)
    if answer := answer_for(key, value, exact=True):
        return f"no such setting; {answer}"
    if options := _options_with(key):
        return options
    if "@" in key and (CONF_DIR / key.partition("@")[0]).is_dir():
        return f"is added with +: +{key}={value or 'OPTION'}"
    known = [name for name in _known_keys(key) if not name.endswith("_target_")]
    named = re.fullmatch(rf"({'|'.join(NAMED)})\.([\w-]+)(\..+)?", key)
    if named and not any(name.startswith(f"{named[1]}.{named[2]}.") for name in known):
        return f"no such setting; {_adding(named[1], named[2], '' if named[3] else value)} adds {named[2]}"
    answer = answer_for(key, value)
    if answer and not difflib.get_close_matches(key, _siblings(key, known), n=1, cutoff=NEARLY):
        return f"no such setting; {answer}"
    return f"no such setting{_nearest_keys(key, known)}"


def _siblings(key: str, known: Sequence[str]) -> list[str]:
    """The known keys in the section of a key."""
    return [name for name in known if name.rpartition(".")[0] == key.rpartition(".")[0]]


def _nearest_keys(key: str, known: Sequence[str] | None = None) -> str:
    """The end of a message about a key that is not there: the key that was meant, and what its section has."""
    known = [name for name in _known_keys(key) if not name.endswith("_target_")] if known is None else known
    section, siblings = key.rpartition(".")[0], _siblings(key, known)
    listing = f"; {section or 'the top level'} has {', '.join(siblings)}" if siblings else ""
    meant = did_you_mean(key, [name for name in known if name != section])
    is_here = bool(did_you_mean(key.rpartition(".")[2], [name.rpartition(".")[2] for name in siblings]))
    return f"{meant}{'' if is_here and len(listing) > LONGEST_LIST else listing}"


def _adding(section: str, name: str, option: str) -> str:
    """The word that adds a thing of that name to a section: of the option that was typed, or that the name is."""
    options = options_of(NAMED[section])
    return f"+{NAMED[section]}@{section}.{name}={option or (name if name in options else 'OPTION')}"


def _options_with(key: str) -> str | None:
    """A line that names the options of a group which have the key that the chosen one lacks; None where none has it."""
    group, _, name = key.partition(".")
    files = sorted((CONF_DIR / group).glob("*.yaml")) if name else []
    options = [file.stem for file in files if name in option_settings(file)]
    if not options:
        return None
    values = [word.partition("=")[2] for word in _typed_words() if word.startswith(f"{group}=")]
    chosen = [value for value in values if not value.startswith("{")]
    if not chosen:
        defaults = OmegaConf.load(CONF_DIR / "config.yaml").defaults
        chosen = [str(entry[group]) for entry in defaults if isinstance(entry, DictConfig) and group in entry]
    return f"{group}={chosen[-1] if chosen else '…'} has no {name}; {group}={' or '.join(options)} has"


def _unreadable_word(words: list[str]) -> str | None:
    """A line about the first word that Hydra cannot read; None where it can read all."""
    parser = OverridesParser.create()
    for number, word in enumerate(words):
        try:
            if not word.startswith("-"):
                parser.parse_override(word)
        except HydraException as error:
            reason = str(error).strip().splitlines()[0]
            if joined := _without_spaces(words, number):
                return f"{joined.partition('=')[0]}: must be typed without spaces around =: {joined}"
            if quoted := _path_with_spaces(words, number):
                return f"{quoted.partition('=')[0]}: a value with a space stands in quotes: {shlex.quote(quoted)}"
            if assigned := _without_assignment(word, words[number + 1 :]):
                return assigned
            if option := _word_of_option(word):
                return f"{word}: must be KEY=VALUE, such as {option}"
            if meant := meant_sweep(word):
                return f"{word.partition('=')[0]}: must be typed as {meant}, got {word.partition('=')[2]}"
            if typed := _word_in_quotes(word):
                return f"{word.partition('=')[0]}: must stand in quotes, {typed}, got {word.partition('=')[2]}"
            called = re.match(r"\w+ while evaluating '.*?': (.*)", reason)
            if called:
                return f"{word.partition('=')[0]}: {SWEEPS}, got {word.partition('=')[2]} ({called[1]})"
            if word.startswith(("/", "./", "../", "~/")):
                return f"{word}: must be KEY=VALUE, such as dataset.root={word}"
            if "=~" in word:
                return f"{word}: must have no ~, which is not read here: type $HOME"
            if re.fullmatch(r"[\w.-]+", word):
                meant = did_you_mean(word, _known_keys(word))
                return f"{word}: must be KEY=VALUE{meant}; kd-runner help lists settings, kd-runner --help commands"
            return f"{word}: must be KEY=VALUE, with signs such as , = [ {{ in quotes: 'KEY=\"VALUE\"' ({reason})"
    return None


def _word_in_quotes(word: str) -> str | None:
    """The word to type in a shell, with the value in quotes for Hydra; None where the setting is no text."""
    typed = None if _is_number(_default(word.partition("=")[0])) else quoted_word(word)
    return None if typed is None else shlex.quote(typed)


def _path_with_spaces(words: list[str], number: int) -> str | None:
    """The word that was meant where the one of this number goes on with a path, which the shell cut at its spaces."""
    before = words[number - 1] if number else ""
    key, equals, start = before.partition("=")
    for end in range(number + 1, len(words) + 1):
        path = " ".join([start, *words[number:end]])
        if equals and start and os.path.exists(os.path.expanduser(path)):  # noqa: PTH110, PTH111 (no error for odd names)
            return f"{key}={path}"
    return None


def _without_spaces(words: list[str], number: int) -> str | None:
    """The word that was meant where the one of this number is part of 'KEY = VALUE', 'KEY= VALUE' or 'KEY =VALUE'."""
    word, following = words[number], words[number + 1 : number + 3]
    before = words[number - 1] if number else ""
    if following[:1] == ["="] and len(following) == 2:
        joined = f"{word}={following[1]}"
    elif following and following[0].startswith("=") and len(following[0]) > 1:
        joined = f"{word}{following[0]}"
    elif before.endswith("=") and "=" not in word:
        joined = f"{before}{word}"
    else:
        joined = re.sub(r"^(\S+?)\s*=\s*", r"\1=", word) if re.match(r"\S+(\s+=|=\s)", word) else ""
    return joined if re.match(r"[+~\w][\w./@+-]*=[^=\s]", joined) else None


def _without_assignment(word: str, following: Sequence[str]) -> str | None:
    """A line about a word that is a key without =, as in `student.epochs 3`; None for others."""
    value = following[0] if following and "=" not in following[0] and not following[0].startswith("-") else ""
    if is_key(word):
        if value:
            return f"{word}: must be typed with = and without a space: {shlex.quote(f'{word}={value}')}"
        return f"{word}: must have a value, as in {word}=…; kd-runner help {word} says what it takes"
    answer = answer_for(word, value) if value else None
    return f"{word}: no such setting; {answer}" if answer else None


def _word_of_option(word: str) -> str | None:
    """The words that choose the option of this name, of each group that has one: teacher=mlp or student=mlp."""
    return " or ".join(f"{group}={word}" for group in sorted(groups()) if word in options_of(group)) or None


def _known_keys(misspelt: str) -> Iterator[str]:
    """Every key of the settings as this command line composes them, without the misspelt override."""
    GlobalHydra.instance().clear()
    words = [
        word for word in _typed_words() if "=" in word and not word.lstrip("+").startswith(("-", "~", f"{misspelt}="))
    ]
    words = [word if re.search(r"[\[{(]", word) else word.split(",")[0] for word in words]  # a sweep's first value
    folders = [f"file://{with_home(folder).absolute()}" for folder in config_dirs(_typed_words())]
    search_path = [f"hydra.searchpath={folders}"] if folders else []
    for overrides in ([*search_path, *words], search_path, []):
        try:
            with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
                config = compose("config", overrides=overrides)
            yield from _keys_with_dots(OmegaConf.to_container(config), "")
            return
        except (HydraException, OmegaConfBaseException):
            continue


def _keys_with_dots(node: Any, prefix: str) -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _keys_with_dots(value, f"{prefix}{key}.")

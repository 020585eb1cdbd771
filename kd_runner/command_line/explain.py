"""`kd-runner help KEY`: what a setting, a group or an option is, from the comments of the YAML files.

Nothing here imports torch: the kinds of arguments are read from the source of what a `_target_` names.
"""

from __future__ import annotations

import ast
import functools
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from kd_runner.command_line.command_help import COMMANDS, about_command
from kd_runner.command_line.messages import one_line_message
from kd_runner.command_line.option_files import option_settings, options_of
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.config.fingerprint import flat_keys
from kd_runner.config.written_signature import source_of
from kd_runner.errors import SettingsError
from kd_runner.foreign_words import answer_for
from kd_runner.suggestions import did_you_mean

HELP = "help"
WIDTH = 100  # columns of a text that is folded
FAR = 12  # columns by which a comment alone on its line is further right than a key: it goes on with the line above
KEY_LINE = re.compile(r"^( *)([\w-]+):(?:\s|$)")
COMMENT = re.compile(r"(?:^|\s)#\s?(.*)$")
# A value that a setting of another key, such as one of the data set, replaces where that is there.
OTHER_DEFAULT = re.compile(r"\$\{oc\.select:([\w.]+),([^${}]*)\}")
FILES = {"hydra.launcher": "hydra/launcher/pool", "hydra.sweeper": "hydra/sweeper/optuna"}
ABOUT = {
    "dataset": "the images, how they are split, augmented and normalised",
    "teacher": "the large network",
    "student": "the small network",
    "distillation": "what the student learns from the teacher",
    "temperature": "how soft the teacher's targets are, over time",
    "optimizer": "how both are trained",
    "scheduler": "the learning rate over time",
    "data_free": "images made from the teacher",
    "trainer": "device and precision",
    "experiment": "complete recipes",
}


def explanation(words: Sequence[str]) -> str:
    """The text that `kd-runner help` prints.

    Args:
        words: The words behind `help`: keys, groups or options, and settings to show them with, as in teacher=resnet.

    Raises:
        SettingsError: nothing has such a name.
    """
    options = [word for word in words if "=" in word]
    asked = [word for word in words if "=" not in word] or options
    if not asked:
        return _overview()
    content = _compose_settings(tuple(word for word in options if word not in asked))
    return "\n\n".join(_explain(word, content) for word in asked)


def _explain(word: str, content: Mapping[str, Any]) -> str:
    command = about_command(word)
    if command is None:
        return _explained_setting(word, content)
    try:  # a setting may have the same name
        return f"{command}\n\n{_explained_setting(word, content)}"
    except SettingsError:
        return command


def _explained_setting(word: str, content: Mapping[str, Any]) -> str:
    group, is_option, option = word.partition("=")
    if is_option:
        return _option_text(group, option)
    values = dict(_all_keys(content))
    if word in ABOUT:
        return _group_text(word, content)
    if word in values:
        return _setting_text(word, values[word], content)
    if _options_with(word):
        return _text_of_other_options(word)
    groups = [group for group in ABOUT if word in options_of(group)]
    if groups:
        return "\n\n".join(_option_text(group, word) for group in groups)
    answer = answer_for(word)
    same_name = [key for key in values if key.rpartition(".")[2] == word and not key.startswith("plus.")]
    if same_name:
        return "\n\n".join(_setting_text(key, values[key], content) for key in same_name[:4])
    if answer:
        return f"{word}: no such setting; {answer}"
    known = [*values, *ABOUT, *(option for group in ABOUT for option in options_of(group)), *COMMANDS]
    raise SettingsError(
        f"help: {word} is no setting, group, option or command{did_you_mean(word, known)}; kd-runner help lists them"
    )


@functools.cache
def _compose_settings(overrides: tuple[str, ...]) -> Mapping[str, Any]:
    """The settings as plain data, with what Hydra's launcher and sweepers have."""
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            config = compose("config", overrides=list(overrides))
        content: Any = OmegaConf.to_container(config, resolve=True)
    except Exception as error:
        raise SettingsError(one_line_message(error)) from error
    return {str(name): value for name, value in content.items()}


def _all_keys(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each key, with dots, of sections and settings, and its value."""
    for section, value in content.items():
        yield section, value
        if isinstance(value, dict):
            yield from ((f"{section}.{key}", inner) for key, inner in _all_keys(value) if key != "_target_")
    if "dataset" in content:  # once, at the top
        for section, file in FILES.items():
            for key, value in option_settings(CONF_DIR / f"{file}.yaml").items():
                if key != "_target_":
                    yield f"{section}.{key}", value


def _overview() -> str:
    content = _compose_settings(())
    lines = ["Groups: choose one option each, as in teacher=resnet; kd-runner help teacher=resnet explains one", ""]
    for group, about in ABOUT.items():
        lines += _wrap(f"  {group:13}", f"{about}: {', '.join(options_of(group))}", 15)
    lines += ["", "Settings: override any, as in student.epochs=50; kd-runner help student.epochs explains one", ""]
    comments = comments_of(CONF_DIR / "config.yaml")
    for key, value in content.items():
        if key in ABOUT:
            names = [name for name in (content[key] or {}) if name != "_target_"]
            lines += _wrap(f"  {key + '.':24}", ", ".join(names), 26) if names else []
        elif isinstance(value, dict) and value:
            lines += _wrap(f"  {key + '.':24}", ", ".join(value), 26)
        else:
            comment = comments.get(key, "")
            lines += _wrap(f"  {key + '=' + _shown(value):24}", comment, 26) if key != "hydra" else []
    for section, file in FILES.items():
        names = [name for name in option_settings(CONF_DIR / f"{file}.yaml") if name != "_target_"]
        lines += _wrap(
            f"  {section + '.':24}",
            f"{', '.join(names)} ({file.replace('launcher/', 'launcher=').replace('sweeper/', 'sweeper=')})",
            26,
        )
    return "\n".join(lines)


def _group_text(group: str, content: Mapping[str, Any]) -> str:
    """A group: its options, and the settings that it has with the chosen option."""
    lines = [f"{group}: {ABOUT[group]}", "", f"Options, as in {group}={(options_of(group) or ['NAME'])[0]}", ""]
    for option in options_of(group):
        lines += _wrap(f"  {option:22}", description_of(CONF_DIR / group / f"{option}.yaml"), 24)
    section = content.get(group)
    if section:
        lines += ["", "Settings with their present values", ""]
        lines += [line for key, value in section.items() for line in _line_of(f"{group}.{key}", value, content)]
    return "\n".join(lines)


def _option_text(group: str, option: str) -> str:
    """An option: its description and its settings, each with its comment."""
    file = CONF_DIR / group / f"{option}.yaml"
    if not (CONF_DIR / group).is_dir() or not file.is_file():
        choices = options_of(group) if (CONF_DIR / group).is_dir() else list(ABOUT)
        raise SettingsError(
            f"help: {group}={option} is no option{did_you_mean(option, choices)}; there is {', '.join(choices)}"
        )
    lines = [f"{group}={option}", *_wrap("  ", description_of(file), 2), ""]
    settings = option_settings(file, (CONF_DIR,))
    if group == "experiment":
        lines += [f"  {key}={_shown(value)}" for key, value in flat_keys(settings)]
        return "\n".join(lines)
    described = {group: settings}
    for key, value in settings.items():
        lines += _line_of(f"{group}.{key}", value, described, file)
    return "\n".join(line for line in lines)


def _line_of(key: str, value: Any, content: Mapping[str, Any], file: Path | None = None) -> list[str]:
    """The lines about one setting in a list."""
    if key.endswith("._target_"):
        return []
    comment = comment_of(key, content, file) or _argument(key, content)[1]
    return _wrap(f"  {key + '=' + _shown(value):38} ", comment, 41)


def _setting_text(key: str, value: Any, content: Mapping[str, Any]) -> str:
    """A setting: its comment, its range, its default and how it is typed; a section: its settings."""
    comment = comment_of(key, content)
    annotation, described = _argument(key, content)
    lines = [key, *_wrap("  ", comment or described, 2)]
    if isinstance(value, dict) and value and "_target_" not in value:
        lines += [""] + [line for name, inner in value.items() for line in _line_of(f"{key}.{name}", inner, content)]
        return "\n".join(lines)
    kind = kind_of(key) or annotation
    lines += [f"  takes    {kind}"] if kind not in ("", "text") else []
    lines += [f"  default  {_shown(value)}"]
    example = (
        f"{key}=…" if value in (None, {}) or (isinstance(value, str) and "${" in value) else f"{key}={_shown(value)}"
    )
    lines += [f"  type     kd-runner {_quote(example)}"]
    return "\n".join(lines)


def _text_of_other_options(key: str) -> str:
    """A setting that the chosen option does not have, and others of its group have."""
    group, _, name = key.partition(".")
    lines = [f"{key}: a setting of these options of {group}", ""]
    for option in _options_with(key):
        file = CONF_DIR / group / f"{option}.yaml"
        settings = option_settings(file)
        about = comment_of(key, {group: settings}, file) or _argument(key, {group: settings})[1]
        lines += _wrap(f"  {group}={option} {key}={_shown(settings[name])}".ljust(46) + " ", about, 48)
    return "\n".join(lines)


def _options_with(key: str) -> list[str]:
    group, _, name = key.partition(".")
    if group not in ABOUT or not name:
        return []
    return [option for option in options_of(group) if name in option_settings(CONF_DIR / group / f"{option}.yaml")]


def _quote(word: str) -> str:
    return f"'{word}'" if re.search(r"[\s\[\]{}()*?!$&;|<>\"]", word) else word


def _shown(value: Any) -> str:
    """A value as it is typed."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_shown, value))}]"
    if isinstance(value, str) and (match := OTHER_DEFAULT.fullmatch(value)):
        return f"{match[2]} ({_others(match[1]) or f'or {match[1]}'})"
    return (
        str(value)
        if not isinstance(value, dict)
        else "{" + ", ".join(f"{k}: {_shown(v)}" for k, v in value.items()) + "}"
    )


@functools.cache
def _others(key: str) -> str:
    """The values that options give a key, such as 'dataset=digits: 30.0'; empty where more than three options do so."""
    group, *names = key.split(".")
    defaults = []
    for option in options_of(group):
        value: Any = option_settings(CONF_DIR / group / f"{option}.yaml")
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            defaults.append(f"{group}={option}: {_shown(value)}")
    return ", ".join(defaults) if len(defaults) <= 3 else ""


def _wrap(begin: str, text: str, indent: int) -> list[str]:
    """`text` behind `begin`, in lines that are not too long."""
    begin = begin if text else begin.rstrip()
    if len(begin) > indent:  # the comment has lines of its own
        return [begin.rstrip(), *_wrap(" " * indent, text, indent)] if text else [begin]
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=begin,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
        break_long_words=False,
    ) or ([begin.rstrip()] if begin.strip() else [])


def comment_of(key: str, content: Mapping[str, Any], file: Path | None = None) -> str:
    """The comment of a setting in the YAML file that has it; empty without one.

    Args:
        content: The composed settings, whose `_target_`s say which option a group has.
        file: The option's file, where it is known.
    """
    group, _, name = key.partition(".")
    of_launcher = next((path for section, path in FILES.items() if key.startswith(f"{section}.")), None)
    if of_launcher:
        return comments_of(CONF_DIR / f"{of_launcher}.yaml").get(key.rpartition(".")[2], "")
    general_comment = comments_of(CONF_DIR / "config.yaml").get(key, "")
    if file is None and group in ABOUT and isinstance(content.get(group), dict):
        file = _file_of(group, content[group])
    for path in _with_inherited(file) if file is not None else ():
        if comment := comments_of(path).get(name):
            return comment
    if not general_comment and group in ("student", "finetune"):  # what teachers have, too, is commented there
        general_comment = comments_of(CONF_DIR / "config.yaml").get(f"teacher.{name}", "")
    return general_comment


def _file_of(group: str, section: Mapping[str, Any]) -> Path | None:
    """The file of the option that a section was made of: of its `_target_`, the one with the most in common."""
    files = [
        path for path in sorted((CONF_DIR / group).glob("*.yaml")) if option_settings(path).keys() <= section.keys()
    ]
    files = [path for path in files if option_settings(path).get("_target_") == section.get("_target_")]
    return max(files, key=lambda path: sum(section[k] == v for k, v in option_settings(path).items()), default=None)


def _with_inherited(file: Path) -> Iterator[Path]:
    """A file, and those that it takes settings over from."""
    yield file
    for path in re.findall(r"[\[\s-](/?[\w/]+)@_here_", file.read_text(encoding="utf-8")):
        inherited = CONF_DIR / f"{path[1:] if path.startswith('/') else f'{file.parent.name}/{path}'}.yaml"
        if inherited.is_file():
            yield from _with_inherited(inherited)


@functools.cache
def comments_of(file: Path) -> Mapping[str, str]:
    """The comment of each key, with dots: behind its value, on the lines above it, or going on below it."""
    comments: dict[str, str] = {}
    above: list[str] = []
    path: list[tuple[int, str]] = []  # the keys around a line, with their indentation
    last = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        key_match, comment = KEY_LINE.match(line), COMMENT.search(line)
        if key_match:
            indent = len(key_match[1])
            path = [(depth, name) for depth, name in path if depth < indent] + [(indent, key_match[2])]
            last = ".".join(name for _, name in path)
            text = [*above, comment[1]] if comment else above
            comments[last] = " ".join(text).strip()
            above = []
        elif comment and last and len(line) - len(line.lstrip()) > path[-1][0] + FAR:
            comments[last] = f"{comments[last]} {comment[1]}".strip()
        elif comment:
            above.append(comment[1])
        else:
            above = []
    return comments


def description_of(file: Path) -> str:
    """A description of an option: the comment at the top of its file, else the first sentence on what it builds."""
    lines = file.read_text(encoding="utf-8").splitlines()
    comments = []
    for line in lines:
        if not line.startswith("#"):
            break
        comments += [line.lstrip("# ")] if "@package" not in line else []
    target = option_settings(file).get("_target_", "")
    described = ast.get_docstring(node) if (node := source_of(target)) else None
    sentence = " ".join((described or "").split("\n\n")[0].split())
    return " ".join(comments) or sentence


def _argument(key: str, content: Mapping[str, Any]) -> tuple[str, str]:
    """The annotation and the description of an argument of what a group's `_target_` names; empty where unknown."""
    group, _, name = key.partition(".")
    section = content.get(group)
    node = source_of(str(section.get("_target_", ""))) if isinstance(section, dict) else None
    if node is None or not name:
        return "", ""
    functions = (
        [node]
        if isinstance(node, ast.FunctionDef)
        else [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
    )
    arguments = [argument for function in functions for argument in [*function.args.args, *function.args.kwonlyargs]]
    annotations = [argument.annotation for argument in arguments if argument.arg == name]
    annotation = ast.unparse(annotations[0]) if annotations and annotations[0] else ""
    texts = [ast.get_docstring(part) or "" for part in (node, *functions)]
    pattern = rf"^\s*{re.escape(name)}: (.*?)(?=^\s*\w[\w, ]*: |^\s*$|\Z)"
    described = next((match[1] for text in texts if (match := re.search(pattern, text, re.M | re.S))), "")
    return annotation, " ".join(described.split())


def kind_of(key: str) -> str:
    """The kind of value that a setting takes, with its range, as in 'whole number, 1 or more'; empty where unknown."""
    from kd_runner.config.settings import Settings

    schema = _schema(Settings)
    node: Any = schema
    for part in key.split("."):
        node = _follow_reference(node, schema)
        inner = [_follow_reference(option, schema) for option in node.get("anyOf", [node])]
        child = next((option["properties"][part] for option in inner if part in option.get("properties", {})), None)
        if child is None:
            return ""
        node = child
    return _kind(node, schema)


@functools.cache
def _schema(kind: Any) -> dict[str, Any]:
    schema: dict[str, Any] = kind.model_json_schema()
    return schema


def _follow_reference(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = node.get("$ref", "")
    resolved: Mapping[str, Any] = schema["$defs"][reference.rpartition("/")[2]] if reference else node
    return resolved


def _kind(node: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    node = _follow_reference(node, schema)
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(_kind(option, schema) for option in node["anyOf"]))
    if "enum" in node or "const" in node:
        values = node.get("enum", [node.get("const")])
        return (f"one of {', '.join(map(_shown, values))}") if len(values) > 1 else _shown(values[0])
    names = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}
    kind = node.get("type", "")
    if kind == "array":
        inner = _kind(node.get("items", {}), schema)
        return f"list of {inner}" if inner else "list"
    if kind == "null":
        return "null"
    if kind == "object":
        return "settings in braces"
    return ", ".join([names.get(kind, kind), *_range(node)]) if kind else ""


def _range(node: Mapping[str, Any]) -> Iterator[str]:
    low, high = node.get("minimum"), node.get("maximum")
    above, below = node.get("exclusiveMinimum"), node.get("exclusiveMaximum")
    if low is not None and high is not None:
        yield f"{low:g} to {high:g}"
        return
    begin = f"{low:g} or more" if low is not None else f"above {above:g}" if above is not None else ""
    end = f"at most {high:g}" if high is not None else f"below {below:g}" if below is not None and below < 2**60 else ""
    yield from filter(None, [" and ".join(filter(None, [begin, end]))])

"""The door that every `_target_` goes through: what a file may name that a stranger wrote.

YAML files, the metadata of saved networks and entries of a store name callables. Without a `trust=` that a person
typed, a name leads to one of four kinds of things, whatever package it lies in:

- an option of kd-runner: what a YAML file of kd-runner's own conf names, or a network that runs make of others;
- a class of networks, layers or losses (`torch.nn.Module`), or of optimizers, of the libraries in LIBRARIES;
- a function that torchvision or timm registers as the builder of a classifier;
- `torchvision.models.get_model` and `timm.create_model`, with the name of such a builder.

The last three are called with plain arguments: numbers, words, and lists of them, but no files, addresses and
downloads.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.config.given import given, is_name_of_given
from kd_runner.errors import SettingsError, one_line
from kd_runner.suggestions import QUESTION, help_on, number_meant

# The packages of kd_runner that hold options. The others read and write files, so no setting may name them.
OPTIONS = ("models", "datasets", "distillation", "temperature", "schedule", "optimizer")
PACKAGES = (*(f"kd_runner.{part}" for part in OPTIONS), "torch.nn", "torch.optim", "torchvision.models", "timm")
# Networks that runs make of others, and that the metadata of their files name.
MADE_BY_RUNS = (
    "kd_runner.distillation.simkd.Reused",
    "kd_runner.models.ensemble.Ensemble",
    "kd_runner.models.narrowed.narrowed",
    "kd_runner.models.own_input.OwnInput",
)
# timm's other packages read and write files: data, utils, task.
LIBRARIES = (
    "torch.nn", "torch.optim", "torchvision.models", "timm.models", "timm.layers", "timm.optim", "timm.loss",
)  # fmt: skip
# Functions that take the name of a builder, and the parameter that it is given in.
BY_NAME = {"timm.create_model": "model_name", "torchvision.models.get_model": "name"}

DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
WORD = re.compile(r"[\w.+-]*(:\d+)?")  # bilinear, ds_r1_k3_s1_e1_c16, cuda:0; no path and no address
# Arguments that fetch or read weights, or take functions.
FETCHING = re.compile(
    r"(pretrained|weights|weights_backbone|pretrained_(cfg|cfg_overlay|strict|filter_fn|model_args)|checkpoint_path"
    r"|cache_dir|kwargs_filter|feature_(cfg|cls)|features_only|model_cfg|pruned)"
)
FILE_LIKE = re.compile(r"(.*_)?(path|file|filename|dir|folder|root|url|uri|hub|hub_id|ckpt|checkpoint|resume|source)")


def find_target(name: Any, key: str, trust: Sequence[str] = (), groups: Sequence[str] = OPTIONS) -> Callable[..., Any]:
    """The callable that `name` leads to, where the door lets it through.

    Args:
        name: The value of a `_target_`.
        key: The key of its node; messages start with it.
        trust: Packages that a person vouched for on the command line; any callable of theirs is let through.
        groups: Groups of kd-runner whose options may be named.

    Raises:
        SettingsError: it is no name, leads nowhere, or to something of another kind.
    """
    if not isinstance(name, str) or not DOTTED.fullmatch(name):
        raise SettingsError(f"{key}._target_: must name a callable, got {name!r}")
    if is_name_of_given(name):
        return _given_target(name, key)
    if not lies_in(name, (*PACKAGES, *trust)):
        raise SettingsError(_foreign(key, name, trust))
    module_name, _, attribute = name.rpartition(".")
    is_vouched_for = lies_in(name, trust)
    if lies_in(name, ("timm",)) and not is_vouched_for and not lies_in(name, LIBRARIES) and name not in BY_NAME:
        raise SettingsError(_wrong_kind(key, name))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever a module does where it does not fit the machine
        raise SettingsError(f"{key}._target_: cannot import {module_name}: {one_line(error)}{_place(error)}") from error
    target = getattr(module, attribute, None)
    if target is None:
        raise SettingsError(f"{key}._target_: {module_name} has no {attribute}")
    if not callable(target):
        raise SettingsError(f"{key}._target_: must name a callable, got {name}")
    # A module may import anything, so what counts is where the code was written.
    if is_vouched_for and is_of(target, trust):
        return target
    if kind_of(target, groups) is None:
        origin = f"{getattr(target, '__module__', None)}.{attribute}"
        shown = name if origin == name else f"{name}, which is {origin}"
        raise SettingsError(_wrong_kind(key, shown) if is_of(target, PACKAGES) else _foreign(key, shown, trust))
    return target


def _given_target(name: str, key: str) -> Callable[..., Any]:
    target = given(name)
    if target is None:
        raise SettingsError(
            f"{key}._target_: {name} was an object of a Python program, which this process does not have: give it to "
            "kd_runner.run there, or make it an option of its own (kd-runner new)"
        )
    return target


def _place(error: Exception) -> str:
    """The places where a missing package was looked for, as the end of a message; empty for another error."""
    is_missing = isinstance(error, ModuleNotFoundError)
    return f"; it is looked for in {Path.cwd()} and among the installed packages" if is_missing else ""


def kind_of(target: Callable[..., Any], groups: Sequence[str] = OPTIONS) -> str | None:
    """The kind by which the door lets a callable through: option, class, builder or by name; None where it does not."""
    origin = f"{getattr(target, '__module__', None)}.{getattr(target, '__qualname__', None)}"
    if origin in MADE_BY_RUNS:
        return "option"
    if is_of(target, [f"kd_runner.{group}" for group in groups]):
        return "option" if origin in option_names() else None
    if not is_of(target, LIBRARIES):
        return None
    if inspect.isclass(target):
        return "class" if _is_network_or_optimizer(target) else None
    if any(target is _attribute(name) for name in BY_NAME if is_of(target, (name.partition(".")[0],))):
        return "by name"
    return "builder" if _is_builder(target) else None


@functools.cache
def option_names() -> frozenset[str]:
    """The names of kd-runner's own options: those that its YAML files give as a `_target_`."""
    pattern = re.compile(r"^ *_target_: *(kd_runner\.[\w.]+)", re.MULTILINE)
    names = {name for file in CONF_DIR.rglob("*.yaml") for name in pattern.findall(file.read_text(encoding="utf-8"))}
    return frozenset(name for name in names if lies_in(name, PACKAGES))


def lies_in(name: str, packages: Sequence[str]) -> bool:
    """True where a name with dots lies in one of the packages."""
    return any(name.startswith(f"{package}.") for package in packages)


def is_of(target: Callable[..., Any], packages: Sequence[str]) -> bool:
    """True where the code of a callable was written in one of the packages."""
    return lies_in(f"{getattr(target, '__module__', None)}.", packages)


def check_arguments(target: Callable[..., Any], node: Mapping[str, Any], key: str, trust: Sequence[str] = ()) -> None:
    """Refuse arguments of a library's callable that are not plain. Nodes among them go through the door themselves.

    Raises:
        SettingsError: an argument that could name a file or an address, or fetch weights.
    """
    kind = None if is_of(target, trust) else kind_of(target)
    if kind is None or kind == "option":  # options check their arguments themselves
        return
    if kind == "by name":
        _check_builder_name(target, node, key)
    check_plain_values(node, key)


def check_plain_values(node: Mapping[str, Any], key: str) -> None:
    """Refuse arguments of a library's callable that are not plain.

    Raises:
        SettingsError: as in `check_arguments`.
    """
    for name, value in node.items():
        if name != "_target_" and not _holds_nodes(value):
            _check_plain(name, value, f"{key}.{name}", node["_target_"])
        elif name != "_target_" and "_target_" not in value:
            _check_names(value, f"{key}.{name}")


def _is_network_or_optimizer(target: type[Any]) -> bool:
    # Names, not imports: the command line answers without torch, which this module is a part of.
    torch = importlib.import_module("torch")
    kinds, compiled = (torch.nn.Module, torch.optim.Optimizer), (torch.fx.GraphModule, torch.jit.ScriptModule)
    return issubclass(target, kinds) and not issubclass(target, compiled)


def _is_builder(target: Callable[..., Any]) -> bool:
    """True for a function that torchvision or timm has registered as the builder of a classifier."""
    name = getattr(target, "__name__", "")
    library = importlib.import_module(str(target.__module__).partition(".")[0])
    if library.__name__ == "torchvision":
        models = library.models
        return name in models.list_models(module=models) and models.get_model_builder(name) is target
    return library.__name__ == "timm" and library.is_model(name) and library.model_entrypoint(name) is target


def _attribute(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _check_builder_name(target: Callable[..., Any], node: Mapping[str, Any], key: str) -> None:
    """Refuse a name that its library has no builder for: others are folders and addresses to load from."""
    parameter = next(parameter for name, parameter in BY_NAME.items() if is_of(target, (name.partition(".")[0],)))
    name = node.get(parameter)
    known = False
    if isinstance(name, str) and WORD.fullmatch(name):
        library = importlib.import_module(str(target.__module__).partition(".")[0])
        if library.__name__ == "timm":
            known = library.is_model(name.partition(".")[0])
        else:
            known = name in library.models.list_models(module=library.models)
    if not known:
        raise SettingsError(f"{key}.{parameter}: must be the name of a classifier in {node['_target_']}, got {name!r}")


def _holds_nodes(value: Any) -> bool:
    """True for a node, and for several nodes with names: `kd_runner.config.build` builds them, by this door."""
    if not isinstance(value, dict) or not value:
        return False
    return "_target_" in value or all(isinstance(node, dict) and "_target_" in node for node in value.values())


def _check_names(nodes: Mapping[Any, Any], key: str) -> None:
    """Refuse names of layers that are no words: torch.fx writes them into code, which it then runs."""
    for name in nodes:
        if not isinstance(name, str) or not re.fullmatch(r"\w+", name):
            raise SettingsError(f"{key}: names must be words of letters, digits and '_', got {_shown(name)}")


def _check_plain(name: str, value: Any, key: str, target: str) -> None:
    if FETCHING.fullmatch(name) and value not in (None, False):
        hint = "teacher=torchvision or teacher=timm has pretrained=true"
        raise SettingsError(f"{key}: must be left out of {target}, got {_shown(value)}; for published weights, {hint}")
    for text in _texts(value):
        if not WORD.fullmatch(text) or FILE_LIKE.fullmatch(name):
            if meant := number_meant(text):
                raise SettingsError(f"{key}: must be a number such as {meant}, got {_shown(text)}")
            if value == QUESTION:
                raise SettingsError(f"{key}: must be a value, got {_shown(text)}{help_on(key, value)}")
            raise SettingsError(f"{key}: must be numbers or plain words, {target} reads no files, got {_shown(text)}")


def _texts(value: Any) -> Iterator[str]:
    """All texts in plain data, keys among them; a `_target_` that nothing would build counts as a path."""
    if isinstance(value, Mapping):
        for name, child in value.items():
            yield "/_target_" if name == "_target_" else str(name)
            yield from _texts(child)
    elif isinstance(value, (list, tuple)):
        for child in value:
            yield from _texts(child)
    elif isinstance(value, str):
        yield value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _foreign(key: str, name: str, trust: Sequence[str]) -> str:
    packages = ", ".join((*PACKAGES, *trust))
    return f"{key}._target_: must come from {packages}, got {name}; to run code of your own, {_remedy(name)}"


def _wrong_kind(key: str, name: str) -> str:
    return (
        f"{key}._target_: must name an option of kd-runner, a class of networks, layers, losses or optimizers, or a "
        f"builder that torchvision or timm registers, got {name}; to run it all the same, {_remedy(name)}"
    )


def _remedy(name: str) -> str:
    return f"add its package on the command line: trust=[{name.split('.')[0]}]"

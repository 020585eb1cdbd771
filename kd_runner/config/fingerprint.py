"""The settings that decide a result, and their digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kd_runner.files.indifferent import HOW_FAST, INDIFFERENT, INDIFFERENT_IN, PLACES, WHERE

WHERE_OF_TEACHERS = re.compile(r"teachers\.[^.]+\.checkpoint")
# Settings that older versions did not write to settings.json, with their defaults.
ADDED_TO_NETWORKS = {"dropout": None}
ADDED_TO_STAGES = {"early_stopping": None, "adversarial": None}
OWN_INPUT = {"mean": None, "std": None, "size": None, "channels": None}
ADDED: dict[str, Any] = {
    **ADDED_TO_STAGES,
    "checkpoint_key": None,
    "classes": None,
    "dataset": None,
    "seed": None,
    **ADDED_TO_NETWORKS,
    "background": "white",
    "max_pixels": 100_000_000,
    "white": None,
    "label_noise": 0.0,
    "input": OWN_INPUT,
    "head": "trained",
    "class_weights": None,
    "balanced_sampling": False,
    "random_resized_crop": 0.0,
    "resize_size": None,
    "freeze": [],
}
OF_PEERS, OF_TEACHERS = ("peer_views", "peer_updates"), ("teacher", "teachers")  # a run has no more than one of them
EVALUATE: dict[str, Any] = {"corruptions": False}
ADDED_TO_TRAINERS = {
    "graph": "off",
    "quantize": None,
    "gradient_clip_val": None,
    "accumulate_grad_batches": 1,
}
WITHOUT_WARM_UP = ("kd_runner.schedule.Constant", "kd_runner.schedule.Steps")  # in older versions
EARLY_STOPPING = {"metric": None, "patience": 5, "min_delta": 0.0, "target": None}
ADDED_TO_RUNS: dict[str, Any] = {
    "teacher_outputs": "online",
    "teacher_outputs_dtype": "float32",
    "order_seed": None,
    "adversarial": {},
    "assistants": {},
    "generations": 1,
    "data_free": None,
    "peers": {},
    "folds": None,
    "fold": None,
}
# What runs of one row of a leaderboard may differ in, beside their seeds and their fold: where and how fast they ran.
OF_A_MACHINE = ("trainer.accelerator", "trainer.channels_last", "trainer.compile", "trainer.graph")
SEED = re.compile(r"fold|(.+\.)?(\w+_)?seed")
ADDED_TO_STUDENTS: dict[str, Any] = {
    "fraction": 1,
    "without_classes": [],
    "shots_per_class": None,
    "steps": None,
    "unlabelled_fraction": 0.0,
    "init": "random",
    "input": OWN_INPUT,
    "label_smoothing": 0.0,
    "ema": None,
    "freeze": [],
    **ADDED_TO_STAGES,
    **ADDED_TO_NETWORKS,
}


def names_a_place(key: str) -> bool:
    """True for a setting, by its key, whose value is a file or a folder of the machine that the run was made on."""
    return key in PLACES or bool(WHERE_OF_TEACHERS.fullmatch(key))


def changes_no_result(key: str) -> bool:
    """True for a setting, by its key, that may be typed beside the folder of a run that goes on."""
    return key in (*HOW_FAST, *WHERE) or bool(WHERE_OF_TEACHERS.fullmatch(key))


def decisive(content: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, as plain data, that can change the result: no paths, and nothing about where or how fast it runs.

    Settings that older versions did not write are left out at their defaults, so that a run of such a version can be
    resumed.
    """
    content = {name: value for name, value in content.items() if name not in INDIFFERENT}
    content = {"evaluate": EVALUATE, **content}
    for name, keys in INDIFFERENT_IN.items():
        content[name] = _without(content[name], keys)
    # The key stays, with the only value that older versions had.
    content["trainer"] = {**_without(content["trainer"], ("nodes",)), "devices": 1}
    for name, kind in (("teachers", "teacher"), ("plus", "distillation")):
        content[name] = {key: _without(section, INDIFFERENT_IN[kind]) for key, section in content[name].items()}
    content["trainer"] = without_defaults(content["trainer"], ADDED_TO_TRAINERS)
    for name in ("dataset", "teacher"):
        content[name] = without_defaults(content[name], ADDED)
    content["teachers"] = {key: without_defaults(section, ADDED) for key, section in content["teachers"].items()}
    content["student"] = without_defaults(content["student"], ADDED_TO_STUDENTS)
    stages = {name: content[name] for name in ("teacher", "student", "finetune") if name in content}
    content |= {name: _with_older_nodes(section) for name, section in stages.items()}
    content["teachers"] = {key: _with_older_nodes(section) for key, section in content["teachers"].items()}
    content = _with_older_nodes(content)
    if not content["student"].get("pruning", {}).get("amount"):  # its other settings change nothing then
        content["student"].pop("pruning", None)
    if "finetune" in content:
        content["finetune"] = without_defaults(content["finetune"], ADDED_TO_STAGES)
    if content.get("early_stopping") == EARLY_STOPPING:
        content.pop("early_stopping")
    if "adversarial" in content:
        content["adversarial"] = _decisive_attacks(content)
    unused = OF_TEACHERS if content.get("peers") else OF_PEERS
    return _without(without_defaults(content, {**ADDED_TO_RUNS, "evaluate": EVALUATE}), unused)


def decisive_of_row(content: Mapping[str, Any]) -> dict[str, Any]:
    """The decisive settings, by their keys with dots, in which the runs of one row of a leaderboard are equal.

    No seed, no fold, nothing of the machine, and nothing that is only evaluated is among them.
    """
    settings = decisive({name: section for name, section in content.items() if name != "evaluate"})
    return {key: value for key, value in flat_keys(settings) if key not in OF_A_MACHINE and not SEED.fullmatch(key)}


def digest_of_row(content: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that runs of one row of a leaderboard have in common."""
    return digest(decisive_of_row(content))[:16]


def _with_older_nodes(section: Mapping[str, Any]) -> dict[str, Any]:
    """A section whose optimizer and scheduler lack what older versions did not write, where it is off."""
    older = {name: older_node(section[name]) for name in ("optimizer", "scheduler") if section.get(name)}
    return {**section, **older}


def older_node(node: Mapping[str, Any]) -> dict[str, Any]:
    """The node of an optimizer or a scheduler without what older versions did not write, where it is off."""
    node = without_defaults(node, {"layer_decay": 1.0})
    if node.get("warmup") == 0:
        node.pop("warmup_start", None)
        if node.get("_target_") in WITHOUT_WARM_UP:
            node.pop("warmup")
    return node


def _decisive_attacks(content: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of attacks that change something: those of training where a stage may attack its images."""
    shared = content["adversarial"]
    stages = [content["teacher"], *content["teachers"].values(), content["student"], content.get("finetune", {})]
    tested = {"test_eps": shared["test_eps"]} if shared.get("test_eps") else {}
    is_attacked = shared["eps"] or any((stage.get("adversarial") or {}).get("eps") for stage in stages)
    return (
        {name: value for name, value in shared.items() if name != "test_eps" or value is not None}
        if is_attacked
        else tested
    )


def without_defaults(section: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The section without those of its keys that are at these defaults."""
    absent = object()
    return {key: value for key, value in section.items() if defaults.get(key, absent) != value}


def flat_keys(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested data: the key of each, with dots, and its value."""
    for name, value in content.items():
        if isinstance(value, dict) and value:
            yield from flat_keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _without(section: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if name not in keys}


def digest(content: Any) -> str:
    """SHA-256 of plain data, independent of the order of keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()

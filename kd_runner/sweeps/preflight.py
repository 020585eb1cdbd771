"""Before a sweep: every job is built and tried, and what several jobs need is trained once, before they start."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from kd_runner.command_line.unused_in_sweep import OVERRIDES
from kd_runner.config.fingerprint import digest
from kd_runner.config.settings import Settings, check
from kd_runner.datasets.splits import Splits
from kd_runner.errors import Answer, SettingsError, one_line
from kd_runner.files import atomic
from kd_runner.runs.assembly import assemble
from kd_runner.runs.labels_only import ingredients, train_or_load
from kd_runner.runs.parts import Parts
from kd_runner.runs.rehearsal import Rehearsal, rehearse
from kd_runner.runs.thread_count import choose_threads
from kd_runner.runs.unused_settings import OF_THE_DEVICE, unused_settings
from kd_runner.store.entries import Entry, key_of
from kd_runner.tracking.logger import RunLogger

# What cannot make a job impossible that is possible without: such jobs are tried once.
HARMLESS = ("seed", "tracking", "store", "resume")


def examine(words: Sequence[str]) -> int:
    """Try the jobs whose settings are in the file `words[0]`, and write what was found to `words[1]`.

    The first is {job: settings}, the second {"errors": {job: message}, "networks": {key: {"stage": …, "jobs": […]}},
    "unused": {job: {key: reason}}}: of the networks that are trained on labels alone, those that the store does not
    have, and the keys that have no effect, of those that OVERRIDES beside the first file says were typed. With a third
    word, the jobs will run on another machine, whose devices this one may lack.
    """
    logging.getLogger("kd_runner").setLevel(logging.ERROR)
    jobs = json.loads(Path(words[0]).read_text())
    typed = atomic.read_json(Path(words[0]).with_name(OVERRIDES))
    errors: dict[str, str] = {}
    unused: dict[str, dict[str, str]] = {}
    tried: dict[str, Rehearsal | str] = {}
    read: dict[str, Splits] = {}
    networks: dict[str, dict[str, Any]] = {}
    for job, content in jobs.items():
        try:
            settings = check(_for_this_machine(content) if words[2:] else content)
            if settings.trust and str(Path.cwd()) not in sys.path:
                sys.path.insert(0, str(Path.cwd()))
            data = digest([content["dataset"], settings.data_seed])
            parts = assemble(settings, read.get(data))
            read[data] = parts.data.splits
            like = digest({name: value for name, value in content.items() if name not in HARMLESS})
            if like not in tried:
                tried[like] = _rehearse(parts)
            rehearsed = tried[like]
            if isinstance(rehearsed, str):
                errors[job] = rehearsed
                continue
            unused[job] = unused_settings(typed.get(job, []), parts, rehearsed.tempered)
            for key in OF_THE_DEVICE if words[2:] else ():
                unused[job].pop(key, None)
            for stage in stages(settings):
                key = key_of(ingredients(parts.labels_only(stage), settings, parts.data))
                if not Entry(Path(settings.store).expanduser(), key).folder.is_dir():
                    networks.setdefault(key, {"stage": stage, "jobs": []})["jobs"].append(job)
        except Exception as error:  # of anyone's code, in one of the jobs
            errors[job] = one_line(error)
    atomic.write_json(Path(words[1]), {"errors": errors, "networks": networks, "unused": unused})
    return 0


def _for_this_machine(content: dict[str, Any]) -> dict[str, Any]:
    """The settings of a job with a device that there is here."""
    if torch.cuda.is_available():
        return content
    return {**content, "trainer": {**content["trainer"], "accelerator": "cpu", "precision": "32", "compile": False}}


def _rehearse(parts: Parts) -> Rehearsal | str:
    """What a rehearsal found out, or what is wrong."""
    try:
        return rehearse(parts)
    except (SettingsError, Answer) as error:
        return str(error)


def stages(settings: Settings) -> list[str]:
    """The networks of a job that are trained on labels alone."""
    teachers = [name for name, own in settings.all_teachers.items() if own.checkpoint is None]
    return [*teachers, *(["baseline"] if settings.baseline else [])]


def prepare(words: Sequence[str]) -> int:
    """Train a network into the store: that of the stage `words[2]` of the job `words[1]` in the file `words[0]`.

    `words[3]` is the folder for its log and curves.
    """
    file, job, stage, folder = words
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    settings = check(json.loads(Path(file).read_text())[job])
    if settings.trust:
        sys.path.insert(0, str(Path.cwd()))
    parts = assemble(settings)
    choose_threads(settings, parts.data, parts.networks)
    train_or_load(parts.labels_only(stage), settings, parts.data, RunLogger(Path(folder)), Path(folder))
    return 0

"""Before a sweep: every job is built and tried, and a network that several jobs need is trained once."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from kd_runner import redaction
from kd_runner.command_line.messages import say
from kd_runner.command_line.unused_in_sweep import OVERRIDES
from kd_runner.config.fingerprint import digest
from kd_runner.config.settings import Settings, check
from kd_runner.datasets.splits import Splits
from kd_runner.errors import COMPLETED, FAILED, Answer, RunFailed, SettingsError, exit_code_of, one_line
from kd_runner.files import atomic
from kd_runner.files.home import with_home
from kd_runner.files.run_folder import PROGRESS
from kd_runner.formats import network_and_seed
from kd_runner.log_handlers import Console
from kd_runner.plain_text import PlainFormatter
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.rehearsal import Rehearsal, rehearse
from kd_runner.runs.checks.unused_settings import OF_THE_DEVICE, unused_settings
from kd_runner.runs.data import fold_of_settings, read_whole
from kd_runner.runs.parts import Parts
from kd_runner.runs.processes.thread_count import choose_threads
from kd_runner.runs.stages.labels_only import ingredients, processes_that_draw, shared_network, train_or_load
from kd_runner.store.entries import is_stored, key_of
from kd_runner.sweeps.check_progress import ProgressFile
from kd_runner.sweeps.job_file import read_jobs
from kd_runner.sweeps.packs.needs import bytes_of_job, free_bytes, shared_work
from kd_runner.tracking.logger import TENSORBOARD, RunLogger
from kd_runner.tracking.shared_networks import event_folder_of

# Settings that decide nothing about whether a job is possible: of jobs that differ in these alone, one is rehearsed.
# Optimizers are tried for each job when they are built.
HARMLESS = ("seed", "tracking", "store", "resume", "name", "notes", "tags", "optimizer", "scheduler")
STAGES_WITH_RECIPES = ("teacher", "student", "finetune")


def examine(words: Sequence[str]) -> int:
    """Try the jobs whose settings are in the file `words[0]`, and write a report to the file `words[1]`.

    The first file holds {job: settings}; the file OVERRIDES beside it holds the overrides of each job. With a third
    word, the jobs will run on another machine, whose devices this one may lack. The report is `Examination.report`.
    """
    logging.getLogger("kd_runner").setLevel(logging.ERROR)
    settings_file, report_file = Path(words[0]), Path(words[1])
    overrides = atomic.read_json(settings_file.with_name(OVERRIDES))
    examination = Examination(is_remote=len(words) > 2)
    jobs = read_jobs(settings_file)
    with made_folders({str(content.get("store")) for content in jobs.values()}):
        progress = ProgressFile(settings_file.with_name(PROGRESS))
        for number, (job, content) in enumerate(jobs.items()):
            progress.write(number)
            examination.try_job(job, content, overrides.get(job, []))
    atomic.write_json(report_file, redaction.masked_data(examination.report))
    return 0


@contextmanager
def made_folders(stores: Iterable[str]) -> Iterator[None]:
    """Make the folders of stores in this block where that is possible, so that not each job has to try; then delete
    those that are empty."""
    made = []
    for store in stores:
        with suppress(OSError, RuntimeError):  # the jobs say it
            root = with_home(store).absolute()
            made += [folder for folder in (root, *root.parents) if not folder.exists()]
            root.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()


class Examination:
    """Tries jobs one after the other. It reads each data set once, and rehearses jobs once that are alike.

    Attributes:
        report: {"errors": {job: message}, "networks": {key: {"stage": …, "name": …, "jobs": […]}}, "unused": {job:
            {setting: reason}}, "shared_work": {job: digits}, "bytes": {job: number}, "free_bytes": number or None}.
            The networks are those trained on labels alone that the store does not have. The unused settings have no
            effect. Jobs with the same shared work can run side by side (`kd_runner.sweeps.packs.needs`).
    """

    def __init__(self, is_remote: bool) -> None:
        self.is_remote = is_remote
        self.report: dict[str, Any] = {"errors": {}, "networks": {}, "unused": {}, "shared_work": {}, "bytes": {}}
        self.report["free_bytes"] = None
        self._splits: dict[str, Splits] = {}
        self._fold_splits: dict[str, Splits] = {}
        self._rehearsals: dict[str, Rehearsal | str] = {}

    def try_job(self, job: str, content: dict[str, Any], overrides: Sequence[str]) -> None:
        """Add a job to the report."""
        try:
            parts = self._assemble(content)
            rehearsal = self._rehearse(content, parts)
            if isinstance(rehearsal, str):
                self.report["errors"][job] = rehearsal
                return
            unused = unused_settings(overrides, parts, rehearsal.temperature_modes)
            ignored = OF_THE_DEVICE if self.is_remote else ()
            self.report["unused"][job] = {key: reason for key, reason in unused.items() if key not in ignored}
            self.report["bytes"][job] = bytes_of_job(parts)
            # Other jobs have their processes for themselves: several of them, one whose compiler or profiler knows one
            # job, or students that teach others or one another, so that each has another teacher.
            trainer = parts.settings.trainer
            is_alone = trainer.process_count > 1 or trainer.compile or trainer.profile is not None
            if not is_alone and not parts.chain and not parts.peers:
                self.report["shared_work"][job] = shared_work(parts)
            if not self.is_remote:
                self.report["free_bytes"] = free_bytes(parts.data.device.type == "cpu")
            for key, stage in missing_networks(parts).items():
                network = {"stage": stage, "name": name_of(stage, parts), "jobs": []}
                self.report["networks"].setdefault(key, network)["jobs"].append(job)
        except Exception as error:  # of anyone's code, in one of the jobs
            self.report["errors"][job] = one_line(error)

    def _assemble(self, content: dict[str, Any]) -> Parts:
        settings = check(_for_this_machine(content) if self.is_remote else content)
        if settings.trust and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        data = digest([content["dataset"], settings.data_seed])
        if settings.folds is not None:
            return assemble(settings, self._fold(settings, data))
        parts = assemble(settings, self._splits.get(data))
        self._splits[data] = parts.data.splits
        return parts

    def _fold(self, settings: Settings, data: str) -> Splits:
        """The splits of a job's fold: the data set is read once, and the last fold is kept, of which jobs follow."""
        fold = digest([data, settings.folds, settings.fold])
        if fold not in self._fold_splits:
            data_key = digest([data, "whole"])
            if data_key not in self._splits:
                self._splits[data_key] = read_whole(settings)
            self._fold_splits = {fold: fold_of_settings(settings, self._splits[data_key])}
        return self._fold_splits[fold]

    def _rehearse(self, content: dict[str, Any], parts: Parts) -> Rehearsal | str:
        """The findings of a rehearsal, or the reason why the job cannot work."""
        kind = digest(_decisive(content))
        if kind not in self._rehearsals:
            try:
                self._rehearsals[kind] = rehearse(parts)
            except (SettingsError, Answer) as error:
                self._rehearsals[kind] = str(error)
        return self._rehearsals[kind]


def _decisive(content: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide whether a job is possible, those of each stage included."""
    sections = {stage: _without_harmless(content[stage]) for stage in STAGES_WITH_RECIPES if stage in content}
    return {**_without_harmless(content), **sections}


def _without_harmless(section: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if name not in HARMLESS}


def _for_this_machine(content: dict[str, Any]) -> dict[str, Any]:
    """The settings of a job, with devices that this machine has."""
    if torch.cuda.is_available():
        devices = min(content["trainer"]["devices"], torch.cuda.device_count())
        return {**content, "trainer": {**content["trainer"], "devices": devices}}
    return {**content, "trainer": {**content["trainer"], "accelerator": "cpu", "precision": "32", "compile": False}}


def missing_networks(parts: Parts) -> dict[str, str]:
    """The stages of the networks that the store does not have and that are trained on labels alone, by their keys.

    Those that are others on several devices are left to the jobs: what is trained for several jobs is trained on one.
    """
    store = with_home(parts.settings.store)
    stages = {}
    for stage in stages_on_labels(parts.settings):
        trainee = parts.labels_only(stage, to_train=False)
        if not processes_that_draw([trainee.network], parts.settings, parts.data):
            stages[key_of(ingredients(trainee, parts.settings, parts.data))] = stage
    return {key: stage for key, stage in stages.items() if not is_stored(store, key)}


def name_of(stage: str, parts: Parts) -> str:
    """The network of a stage and its seed, in words."""
    trainee = parts.labels_only(stage, to_train=False)
    return network_and_seed(trainee.section(parts.settings).node, parts.settings.seed_of(trainee.role))


def stages_on_labels(settings: Settings) -> list[str]:
    """The networks of a job that are trained on labels alone, and need no other network for that."""
    teachers = [name for name, teacher in settings.all_teachers.items() if teacher.is_trained]
    # A baseline that begins with its teacher's weights comes after it, in the job itself.
    return [*teachers, *(["baseline"] if settings.baseline and settings.student.init == "random" else [])]


def prepare(words: Sequence[str]) -> int:
    """Train the network of the stage `words[2]` of the job `words[1]`, whose settings are in the file `words[0]`.

    The network goes to the store, its log and curves to the folder `words[3]`. Returns the exit code.
    """
    try:
        _train_for_several(words)
    except (SettingsError, RunFailed) as error:
        say(str(error))
        return exit_code_of(error) or FAILED
    return COMPLETED


def _train_for_several(words: Sequence[str]) -> None:
    """Train a network as `prepare` is told.

    Raises:
        SettingsError, RunFailed: it cannot be trained.
    """
    settings_file, job, stage, folder = words
    logging.basicConfig(level=logging.INFO, handlers=[Console(sys.stdout)])
    for handler in logging.getLogger().handlers:
        handler.setFormatter(PlainFormatter("%(message)s"))
    settings = check(read_jobs(Path(settings_file))[job])
    if settings.trust:
        sys.path.insert(0, str(Path.cwd()))
    parts = assemble(settings)
    choose_threads(settings, parts.data, parts.networks)
    trainee, key = parts.labels_only(stage), Path(folder).name.rpartition("_")[2]
    event_folder = event_folder_of(Path(folder), shared_network(trainee, settings, key))
    logger = RunLogger(Path(folder), event_folder, has_events=TENSORBOARD in settings.tracking.loggers)
    train_or_load(trainee, settings, parts.data, logger, Path(folder))

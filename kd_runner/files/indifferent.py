"""The settings that change no result. What each part of kd-runner passes over is built from the lists here.

There is more than one list, since there is more than one question: what leaves a result as it is, with what an
interrupted run may go on, what makes a job of a sweep another job, and what puts runs into another row of a report.
"""

from __future__ import annotations

WHOLE_SECTIONS = ("tracking",)
OF_THE_COMMAND = ("store", "resume", "trust")
DESCRIPTIONS = ("name", "notes", "tags")
# What no result depends on, wherever it stands.
INDIFFERENT = (*WHOLE_SECTIONS, *OF_THE_COMMAND, *DESCRIPTIONS)

# How fast a run is and what its log says. Each of these changes at most the last bits, as another machine does.
SPEED_OF_TRAINER = ("threads", "keep_memory", "log_every", "profile")
SPEED_OF_DATASET = ("residency", "workers", "cache")
# However many devices share a batch, it is the same batch. `fingerprint.decisive` keeps the key `trainer.devices`, with
# the value 1, as older versions had it: these two are therefore not in `INDIFFERENT_IN`.
DEVICES = ("trainer.devices", "trainer.nodes")
# With what a run may go on at another value, or without.
HOW_FAST = (
    *DEVICES,
    *(f"trainer.{name}" for name in SPEED_OF_TRAINER),
    *(f"dataset.{name}" for name in SPEED_OF_DATASET),
)
# Where the same images and weights are now. A run may go on with others of these, too.
WHERE = ("dataset.root", "dataset.image_root", "teacher.checkpoint")
# What names a file or a folder. A run does not go on with another `unlabelled` or `also`, which may hold other images.
PLACES = (*WHERE, "dataset.cache", "dataset.unlabelled", "evaluate.also", "store")

DEFAULTS_OF_MODES = (  # of other settings, which are read there
    *("default_temperature", "default_eps", "default_objective"),
    *("default_peers", "default_peer_views", "default_peer_updates"),
)
# Settings of sections that are not in the digest of a run's settings. The images and the weights that files hold are in
# a digest of their own.
INDIFFERENT_IN: dict[str, tuple[str, ...]] = {
    "dataset": (
        *("root", "image_root", "may_lead_to", "unlabelled"),
        *SPEED_OF_DATASET,
        *("default_fraction", "default_lr", "default_weights"),
    ),
    "teacher": ("checkpoint", "checkpoint_format"),
    "distillation": DEFAULTS_OF_MODES,
    "trainer": SPEED_OF_TRAINER,
    "evaluate": ("also",),
}


def beginnings(keys: tuple[str, ...], sections: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The beginnings of the overrides of keys, such as 'store=', and of all keys of sections, such as 'tracking.'."""
    return (*(f"{key}=" for key in keys), *(f"{section}." for section in sections))


INDIFFERENT_WORDS = beginnings((*OF_THE_COMMAND, *DESCRIPTIONS), (*WHOLE_SECTIONS, "hydra"))
# A job of a sweep may differ from another in its speed alone (`trainer.threads=1,2`): that word says what is run.
WORDS_OUTSIDE_A_JOB = (*INDIFFERENT_WORDS, "hydra/")
# Runs that differ in nothing but the cache, the threads, the log or the evaluation are in one row of a report. Hydra
# records the words that begin with 'hydra/' elsewhere. The other settings of speed and place stay in a row's name.
WORDS_OUTSIDE_A_ROW = (
    *INDIFFERENT_WORDS,
    *beginnings(("dataset.cache", "trainer.threads", "trainer.log_every", "trainer.profile"), ("evaluate",)),
)
# `kd-runner again` expects the numbers of the first run where no other words than these are typed.
WORDS_OF_THE_SAME_NUMBERS = (*WORDS_OUTSIDE_A_JOB, *beginnings(("trainer.threads",)))

"""The file of all jobs' settings that a sweep's check reads, without the values that came from the environment."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd_runner import redaction
from kd_runner.command_line.composition import with_values
from kd_runner.files import atomic
from kd_runner.sweeps.jobs import Job

ORIGINS = "environment.json"  # beside that file: how each job's hidden values are found again


def write_jobs(path: Path, jobs: Sequence[Job]) -> None:
    """Write the settings of the jobs to `path`, and what their hidden values come from beside it."""
    atomic.write_json(path, {job.number: redaction.hide_values(job.settings, list(job.expressions)) for job in jobs})
    origins = {job.number: {"variables": sorted(job.variables), "expressions": dict(job.expressions)} for job in jobs}
    atomic.write_json(path.with_name(ORIGINS), origins)


def read_jobs(path: Path) -> dict[str, dict[str, Any]]:
    """The settings of the jobs in a file of `write_jobs`, with the values that this process has in its environment.

    Raises:
        SettingsError: a variable is not set here.
    """
    origins = atomic.read_json(path.with_name(ORIGINS))
    jobs = {}
    for number, content in json.loads(path.read_text()).items():
        origin = origins.get(number, {"variables": [], "expressions": {}})
        variables = {name: os.environ[name] for name in origin["variables"] if name in os.environ}
        redaction.hide(variables, origin["expressions"])
        jobs[number] = with_values(content, origin["expressions"])
        for key, expression in origin["expressions"].items():
            value = functools.reduce(lambda section, name: section[name], key.split("."), jobs[number])
            redaction.hide_made_of(value, expression, variables)
    return jobs

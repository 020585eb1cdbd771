"""The name of a job in a cluster's queue: which mode, which student, which seed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kd_runner.sweeps.jobs import Job

LONGEST = 60


def queue_name(job: Job, settings: Mapping[str, Any] | None = None) -> str:
    """The name of a job in a queue, such as kd-3_dkd_tiny_mlp_s0.

    Args:
        settings: Settings that say what the job's own do not, of a job of the same sweep.
    """
    typed = dict(override.lstrip("+~").partition("=")[::2] for override in job.overrides)
    known = job.settings or settings or {}
    mode, student = (typed.get(key) or _module(known.get(key)) for key in ("distillation", "student"))
    seed = typed.get("seed", str(known.get("seed", "")))
    parts = [f"kd-{job.number}", mode, student, f"s{seed}" if seed else ""]
    return re.sub(r"[^\w.+=-]+", "-", "_".join(filter(None, parts)))[:LONGEST].rstrip("-._")


def _module(section: Any) -> str:
    """The last name of the module of what a section of the settings builds: soft, tiny_mlp."""
    target = section.get("_target_") if isinstance(section, Mapping) else None
    parts = target.split(".") if isinstance(target, str) else []
    return parts[-2] if len(parts) > 1 else ""

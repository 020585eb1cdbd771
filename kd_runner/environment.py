"""The versions, the device and the commit that a result was made with."""

from __future__ import annotations

import functools
import platform
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_runner import __version__

if TYPE_CHECKING:
    import torch


def environment(device: torch.device) -> dict[str, Any]:
    """The versions, the names of device and processor, the number of CPU threads and the commit, for the result."""
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": name,
        "processor": processor_name(),
        "threads": torch.get_num_threads(),
        "kd_runner": __version__,
        "git": _commit(),
    }


def processor_name() -> str:
    """The processor's name, where the system says it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


@functools.cache
def _commit() -> str | None:
    """The commit of the checkout that this package runs from; None for an installed one."""
    package = Path(__file__).parent
    try:
        top, commit = subprocess.run(
            ["git", "rev-parse", "--show-toplevel", "HEAD"],
            cwd=package,
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        ).stdout.split("\n")[:2]
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return commit if Path(top) == package.parent else None

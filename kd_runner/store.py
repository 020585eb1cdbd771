"""Networks trained on labels alone, each trained once and found again by what made it."""

from __future__ import annotations

import json
import logging
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kd_runner import checkpoints
from kd_runner.config import digest

log = logging.getLogger(__name__)

# Raise by one when training itself changes: entries made before are then no longer reused.
SEMANTICS = 2


@dataclass(frozen=True)
class Stored:
    """A network's weights in the store, and whether they were there already."""

    path: Path
    state: dict[str, Tensor]
    reused: bool


def trained_once(
    root: Path, stage: str, made_of: dict[str, Any], info: dict[str, Any], train: Callable[[], nn.Module]
) -> Stored:
    """The weights that `made_of` leads to: from the store, or trained now and put there.

    Args:
        root: The store's folder.
        stage: Whose weights they are, for the log.
        made_of: Plain data: everything that the weights depend on.
        info: What `checkpoints.save` keeps beside the weights.
        train: Trains the network; called only when the store does not have it.
    """
    content = {**made_of, "semantics": SEMANTICS}
    key = digest(content)[:16]
    entry = root / key
    path = entry / "network.safetensors"
    if path.is_file():
        log.info("%-9s %s reused from %s", stage, key, entry)
        return Stored(path, checkpoints.read(path)[0], reused=True)
    network = train()
    unfinished = root / f".{key}.{uuid.uuid4().hex}"
    unfinished.mkdir(parents=True)
    checkpoints.save(unfinished / path.name, network.state_dict(), info)
    (unfinished / "made_of.json").write_text(json.dumps(content, indent=2, sort_keys=True))
    try:
        unfinished.rename(entry)  # whole or not at all
    except OSError:  # another run was faster
        shutil.rmtree(unfinished)
    return Stored(path, checkpoints.read(path)[0], reused=False)

"""A run that goes on, or that stands as it is, must have the settings that it was begun with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd_runner import redaction
from kd_runner.command_line.typed_words import typed_settings
from kd_runner.config.fingerprint import decisive, flat_keys
from kd_runner.errors import SettingsError, one_line
from kd_runner.files.plain_files import read_plain
from kd_runner.files.run_folder import SETTINGS

SHOWN = 5  # differences in a message


def refuse_other_settings(folder: Path, content: dict[str, Any], overrides: Sequence[str] = ()) -> None:
    """Raise SettingsError where the run in `folder` had settings that led to another result.

    Args:
        overrides: The overrides that were typed: where they make a difference, the message names no other.
    """
    try:
        before = dict(flat_keys(decisive(redaction.masked_data(json.loads(read_plain(folder / SETTINGS))))))
    except FileNotFoundError:  # it was stopped before it had begun
        return
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise SettingsError(f"resume: {folder / SETTINGS} cannot be read ({one_line(error)})") from error
    after = dict(flat_keys(decisive(content)))
    absent = object()
    keys = [key for key in {**after, **before} if before.get(key, absent) != after.get(key, absent)]
    typed_keys = typed_settings(overrides)
    typed = [key for key in keys if any(f"{key}.".startswith(f"{above}.") for above in typed_keys)]
    different = [
        f"{key} was {json.dumps(before[key]) if key in before else 'not set'}, "
        f"is {json.dumps(after[key]) if key in after else 'not set'}"
        for key in typed or keys
    ]
    if different:
        more = f"; and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
        raise SettingsError(f"resume: {folder} has other settings: {'; '.join(different[:SHOWN])}{more}")

"""The command line: Hydra composes the settings, one line answers what cannot work, a run does the rest.

Nothing here imports torch before a run starts: `--help`, `--cfg job` and shell completion answer at once.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

_PACKAGE = Path(__file__).resolve().parent
# Inside the package in a wheel, beside it in a checkout.
CONF_DIR = next(folder for folder in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if folder.is_dir())

log = logging.getLogger(__name__)

COMPLETED, FAILED, BAD_SETTINGS, INTERRUPTED = 0, 1, 2, 130

_exit_code = COMPLETED


def main() -> int:
    """Run the command line; returns the exit code.

    0: completed. 1: a run failed. 2: a setting, file or data set cannot work. 130: Ctrl-C. 143: terminated.
    """
    # Hydra then raises what it would otherwise print over several lines, so that we can say it in one.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        _hydra_main()
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except (HydraException, OmegaConfBaseException) as error:
        _say(_explained(error))
        return BAD_SETTINGS
    except Exception as error:
        code = _expected(error)
        if code is None:
            raise
        return code
    return _exit_code


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")
def _hydra_main(config: DictConfig) -> None:
    """One job: a run of its own, or one of a sweep."""
    from kd_runner.config import check

    global _exit_code
    job = HydraConfig.get()
    try:
        settings = check(_plain(config))
        from kd_runner.run import run

        run(settings, Path(job.runtime.output_dir), list(job.overrides.task))
    except Exception as error:
        code = _expected(error)
        if code is None:
            raise
        log.error("%s", error)
        if job.mode == RunMode.MULTIRUN:
            raise  # Hydra goes on with the other jobs and ends with this error
        _exit_code = code


def _plain(config: DictConfig) -> dict[str, Any]:
    content = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _expected(error: BaseException) -> int | None:
    """The exit code for an error that is the user's to mend, None for one that is ours."""
    from kd_runner.config import RunFailed, SettingsError

    if isinstance(error, SettingsError):
        return BAD_SETTINGS
    return FAILED if isinstance(error, RunFailed) else None


def _say(line: str) -> None:
    print(f"kd-runner: {line}", file=sys.stderr)


def _explained(error: Exception) -> str:
    """What Hydra says over several lines, in one, with a suggestion where a key was misspelt."""
    text = str(error)
    unknown = re.match(r"Could not override '(\S+)'", text)
    if unknown:
        key = unknown[1]
        known = list(_known_keys(key))
        close = difflib.get_close_matches(key, known, n=1)
        section = key.rpartition(".")[0]
        siblings = [name for name in known if name.rpartition(".")[0] == section]
        hint = f"; did you mean {close[0]}?" if close else ""
        return f"{key}: no such setting{hint} {section or 'the top level'} has {', '.join(siblings) or 'no settings'}"
    missing = re.search(r"Could not (?:find|load) '(\S+)/([^/\s]+)'", text)
    options = re.search(r"Available options in '\S+':\s+(.*?)(?:\n\S|\Z)", text, re.DOTALL)
    if missing and options:
        choices = options[1].split()
        close = difflib.get_close_matches(missing[2], choices, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        return f"{missing[1]}: must be one of {', '.join(choices)}, got {missing[2]}{hint}"
    cause = f" ({error.__cause__})" if isinstance(error.__cause__, OmegaConfBaseException) else ""
    return " ".join(f"{text}{cause}".split())


def _known_keys(misspelt: str) -> Iterator[str]:
    """Every key of the settings as this command line composes them, without the misspelt override."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    words = [word for word in sys.argv[1:] if "=" in word and not word.startswith(("-", f"{misspelt}="))]
    for overrides in (words, []):
        try:
            with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
                config = compose("config", overrides=overrides)
            yield from _dotted(OmegaConf.to_container(config), "")
            return
        except (HydraException, OmegaConfBaseException):
            continue


def _dotted(node: Any, prefix: str) -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")

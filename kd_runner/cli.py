"""The command line: Hydra composes the settings, one line answers what cannot work, a run does the rest.

Nothing here imports torch before a run starts: `--help`, `--cfg job` and shell completion answer at once.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from string import Template
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from omegaconf.resolvers import oc

from kd_runner.hints import UNDECISIVE, did_you_mean
from kd_runner.threads import settle_threads

_PACKAGE = Path(__file__).resolve().parent
# Inside the package in a wheel, beside it in a checkout.
CONF_DIR = next(folder for folder in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if folder.is_dir())

COMPLETED, FAILED, BAD_SETTINGS, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143

# Hydra's flags, and whether a value follows.
FLAGS = {
    **dict.fromkeys(("--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r"), False),
    **dict.fromkeys(("--multirun", "-m", "--shell-completion", "-sc", "--info", "-i"), False),
    **dict.fromkeys(("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"), True),
    **dict.fromkeys(("--config-dir", "-cd", "--experimental-rerun"), True),
}
OF_LAUNCHING = ("hydra.sweep.subdir", "hydra.launcher", "hydra/launcher", "hydra.sweeper", "hydra/sweeper")
WITHOUT_LOG = f"hydra.job_logging.handlers.file.filename={os.devnull}"

_exit_code: int | None = None  # of the last job; None until one starts
flags: list[str] = []  # of this command line, for the jobs of a sweep
asks_for_data = False  # whether the command line has `dataset=?`: what would be read, in place of a run
typed: list[str] = []  # its settings as a person typed them, before `resume=` adds those of the folder
resume_hint = ""  # how to go on after an interruption, once there is something to go on with


def command(words: Sequence[str]) -> int:
    """`main` with these words for the command line's."""
    sys.argv = ["kd-runner", *words]
    return main()


def main() -> int:
    """Run the command line; returns the exit code.

    0: completed. 1: a run failed. 2: a setting, file or data set cannot work. 130: Ctrl-C. 143: terminated.
    """
    # Hydra then raises what it would otherwise print over several lines, so that we can say it in one.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    settle_threads()
    words = sys.argv[1:]
    if words[:1] == ["store"]:
        from kd_runner.store_command import main as store

        return store(words[1:])
    signal.signal(signal.SIGTERM, _terminate)
    try:
        typed[:] = [word for word in words if not _is_question(word)]
        given, settings = _flags_apart(_without_question(_resumed(words)))
        flags[:] = [flag for flag in given if flag not in ("-m", "--multirun")]
        sys.argv[1:] = [*given, *settings]
        sys.argv[1:] = [each for word in sys.argv[1:] for each in _summed(word)]
        if {"--help", "-h"} & set(words) and not any(word.startswith(("--config", "-c")) for word in words):
            print(_help([word for word in words if not word.startswith("-")]))
            return COMPLETED
        _hydra_main()
    except KeyboardInterrupt:
        _say(f"interrupted{resume_hint}")
        return INTERRUPTED
    except SystemExit as ended:
        if ended.code != TERMINATED:  # --version, say
            raise
        _say(f"terminated{resume_hint}")
        return TERMINATED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if _exit_code is None:  # no job in this process: composing the settings, or a sweep
            code = _expected(error)
            if code is None and resume_hint:  # the sweep had begun
                raise
            _say(str(error) if code else _explained(error))
            return code or BAD_SETTINGS
        if _expected(error) is None:
            raise
    return _exit_code or COMPLETED


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")
def _hydra_main(config: DictConfig) -> None:
    """One job: a run of its own, or one of a sweep."""
    global _exit_code, resume_hint
    _exit_code = _exit_code or COMPLETED
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    place = Path(job.sweep.dir) if job.mode == RunMode.MULTIRUN else folder
    resume_hint = f"; to go on: kd-runner {resuming(place)}"
    words = OmegaConf.to_container(job.overrides.task, resolve=False)  # an override may hold ${…}
    assert isinstance(words, list)
    overrides = [str(word) for word in words if not str(word).startswith("resume=")]
    from kd_runner.atomic import write_json
    from kd_runner.config import Answer, check
    from kd_runner.notes import collected_notes

    try:
        with collected_notes() as remarks:
            settings = check(settings_of(config, overrides))
            note_idle_words(sweep=job.mode == RunMode.MULTIRUN, read=variables_of(config))
        if settings.trust:
            sys.path.insert(0, str(Path.cwd()))  # one's own package is often in the folder one stands in
        if asks_for_data:
            from kd_runner.dataset_answer import dataset_answer

            raise Answer(dataset_answer(settings, folder))
        from kd_runner.run import run

        run(settings, folder, overrides, list(_from_environment(config)), remarks)
    except Answer as answer:
        if job.output_subdir is not None and not (folder / "settings.json").exists():  # nothing ran
            shutil.rmtree(folder / job.output_subdir, ignore_errors=True)
        print(answer)
    except (KeyboardInterrupt, SystemExit):
        if not (folder / "result.json").exists():  # before the run could say so itself
            write_json(folder / "result.json", {"status": "interrupted", "overrides": overrides})
        raise
    except Exception as error:
        code = _expected(error)
        if code is None:
            _exit_code = FAILED
            raise
        _exit_code = code
        ran = (folder / "settings.json").exists()  # before this command; else there is nothing to look up
        if code == BAD_SETTINGS and job.output_subdir is not None and not ran:
            shutil.rmtree(folder / job.output_subdir, ignore_errors=True)
        if asks_for_data:
            with suppress(OSError):  # it may hold a run
                folder.rmdir()
        message = _with_origin(str(error), overrides)
        _say(message)
        logging.getLogger("kd_runner.problems").error("%s", message)
        if job.mode == RunMode.MULTIRUN:
            raise  # Hydra goes on with the other jobs and ends with this error


def _flags_apart(words: list[str]) -> tuple[list[str], list[str]]:
    """Flags and settings apart: Hydra wants the flags first, people put them anywhere."""
    from kd_runner.config import SettingsError

    found: list[str] = []
    settings: list[str] = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            settings.append(word)
            continue
        name = word.partition("=")[0]
        if name not in FLAGS:
            raise SettingsError(f"{name}: no such option{did_you_mean(name, FLAGS)}; see kd-runner --help")
        found.append(word)
        if FLAGS[name] and name == word:
            found += itertools.islice(rest, 1)  # its value
    return found, settings


def _is_question(word: str) -> bool:
    """Whether the word is `dataset=?`, which is no setting."""
    return re.fullmatch(r"dataset=(['\"]?)\\?\?\1", word) is not None


def _without_question(words: list[str]) -> list[str]:
    """The words without `dataset=?`, which asks for what would be read; the run's folder then gets no log."""
    global asks_for_data
    rest = [word for word in words if not _is_question(word)]
    asks_for_data = len(rest) < len(words)
    if not asks_for_data:
        return words
    if {"-m", "--multirun"} & set(words):
        from kd_runner.config import SettingsError

        raise SettingsError("dataset: ? asks about the data of one run, leave -m out")
    return [*rest, "hydra.output_subdir=null", WITHOUT_LOG]


def _resumed(words: list[str]) -> list[str]:
    """A command line with `resume=FOLDER`, in Hydra's words: the same command, in the folder that it had.

    Without any other setting, the command is the one that made the folder.

    Raises:
        SettingsError: there is no run and no sweep in the folder.
    """
    from kd_runner.atomic import holds_a_run
    from kd_runner.config import SettingsError

    given = [word.partition("=")[2].strip("'\"") for word in words if word.startswith("resume=")]
    if not given or given[-1] in ("", "null"):
        return words
    folder = Path(given[-1]).expanduser()
    _refuse_other_folders(words, folder)
    if not folder.is_dir():
        raise SettingsError(
            f"resume: must be the folder of a run or a sweep, got {given[-1]}: no folder {folder.resolve()}"
        )
    sweep = (folder / "multirun.yaml").is_file()
    if not sweep and not holds_a_run(folder):
        raise SettingsError(f"resume: must be the folder of a run or a sweep, {given[-1]} holds neither")
    several = bool({"-m", "--multirun"} & set(words))
    if not any("=" in word and not word.startswith(("-", *UNDECISIVE)) for word in words):
        recorded = _recorded(folder, sweep)
        if any(word.startswith("hydra/launcher=") for word in words):  # another one has other settings
            recorded = [word for word in recorded if not word.startswith(("hydra/launcher", "hydra.launcher"))]
        words = [*_config_dir(folder, sweep, words), *recorded, *words]
        words = ["-m", *words] if sweep and not several else words
    elif several != sweep:
        what, remedy = ("sweep", "add -m") if sweep else ("run", "leave -m out")
        raise SettingsError(f"resume: {given[-1]} is the folder of a {what}: {remedy}")
    if set('"\\') & set(str(folder)):
        raise SettingsError(f"resume: must be a folder without quotes and backslashes in its name, got {given[-1]}")
    words = [f'resume="{folder}"' if word.startswith("resume=") else word for word in words]
    return [*words, f'hydra.{"sweep" if sweep else "run"}.dir="{folder}"', "hydra.output_subdir=null"]


def _refuse_other_folders(words: Sequence[str], folder: Path) -> None:
    """Raise SettingsError where the command names another folder than the one that it should go on in."""
    from kd_runner.config import SettingsError

    for word in words:
        key, _, value = word.partition("=")
        if key in ("resume", "hydra.run.dir", "hydra.sweep.dir"):
            other = Path(value.strip("'\"")).expanduser()
            if other.absolute() != folder.absolute():
                raise SettingsError(f"{key}: must be left out or the same beside resume={folder}, got {value}")


def resuming(folder: Path) -> str:
    """The word for a shell that goes on with what is in `folder`."""
    return shlex.quote(f"resume={folder}")


def _recorded(folder: Path, sweep: bool) -> list[str]:
    """The settings that a run or sweep was started with, as Hydra kept them."""
    from kd_runner.config import SettingsError

    path = folder / ("multirun.yaml" if sweep else ".hydra/overrides.yaml")
    try:
        content = OmegaConf.load(path)
        kept: Any = OmegaConf.to_container(content.hydra.overrides if sweep else content, resolve=False)
        found = kept["task"] if sweep else kept or []
        if sweep:  # how many threads a job has shows in its last bits
            found += [word for word in kept["hydra"] if word.startswith(OF_LAUNCHING)]
        return [str(word) for word in found if not str(word).startswith("resume=")]
    except Exception:  # whatever is in the file
        raise SettingsError(
            f"resume: {folder} does not say how it was started ({path.name} is missing or broken); "
            "type the command's other settings, too"
        ) from None


def _config_dir(folder: Path, sweep: bool, words: list[str]) -> list[str]:
    """The flag for a folder of options of one's own that a run or sweep was started with, unless there is one."""
    if any(word.startswith(("--config-dir", "-cd")) for word in words):
        return []
    try:
        content = OmegaConf.load(folder / ("multirun.yaml" if sweep else ".hydra/hydra.yaml"))
        sources = [each.path for each in content.hydra.runtime.config_sources if each.provider == "command-line"]
    except Exception:  # whatever is in the file
        sources = []
    return ["--config-dir", sources[0]] if sources else []


def _terminate(number: int, frame: object) -> None:
    raise SystemExit(TERMINATED)


def _summed(word: str) -> list[str]:
    """`distillation=[a,b]` as Hydra says it: the mode a, and b under its own name in `plus`."""
    several = re.fullmatch(r"distillation=\[([\w\s,]*)\]", word)
    if several is None:
        return [word]
    modes = [name.strip() for name in several[1].split(",") if name.strip()]
    if not modes or len(set(modes)) < len(modes):
        from kd_runner.config import SettingsError

        raise SettingsError(f"distillation: must name one mode or more, each once, got {word.partition('=')[2]}")
    return [f"distillation={modes[0]}", *(f"+distillation@plus.{name}={name}" for name in modes[1:])]


def _check_overrides(overrides: Sequence[str]) -> None:
    """A setting that would be ignored is an error."""
    from kd_runner.config import SettingsError

    for word in overrides:
        key = word.lstrip("+~").partition("=")[0]
        if re.fullmatch(r"plus\.[^.]+\.label_weight", key):
            raise SettingsError(f"{key}: has no effect; the labels' weight is distillation.label_weight, got {word}")


def note_idle_words(sweep: bool, read: Iterable[str] = ()) -> None:
    """Say which words of the command line, and which environment variables, count for nothing.

    Args:
        read: The names of the variables that the settings read.
    """
    from kd_runner.notes import note
    from kd_runner.typed_words import idle_hydra_words, repeated_words, unknown_variables

    lines = [*repeated_words(typed), *idle_hydra_words(typed, sweep)]
    for line in lines if sweep else [*lines, *unknown_variables(os.environ, read)]:
        note("settings", line)


def _with_origin(message: str, overrides: list[str]) -> str:
    """`message`, and how to take a setting back that an experiment made for another option of its group."""
    key, _, rest = message.partition(": ")
    experiments = [word for word in overrides if word.startswith(("experiment=", "+experiment="))]
    if experiments and rest.startswith("no such setting") and not any(key in word for word in overrides):
        return f"{message}; {experiments[0].lstrip('+')} sets it: add ~{key} to take it back"
    return message


def composed_by(load: Callable[[], DictConfig]) -> DictConfig:
    """What `load` composes.

    Raises:
        SettingsError: it cannot be composed.
    """
    from kd_runner.config import SettingsError

    try:
        return load()
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(_explained(error)) from error


def settings_of(config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """Composed settings as plain data, with Hydra's own left out.

    Raises:
        SettingsError: they lack a value, or are of the wrong kind.
    """
    from kd_runner.config import check
    from kd_runner.notes import note
    from kd_runner.typed_words import overridden_options

    content = _plain(_less_hydra(config))
    _check_overrides(overrides)
    check(content)
    runtime = config.hydra.runtime if "hydra" in config else HydraConfig.get().runtime
    folders = [Path(source.path) for source in runtime.config_sources if source.schema == "file"]
    for line in overridden_options(config, overrides, folders):
        note("settings", line)
    return content


def _less_hydra(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _plain(config: DictConfig) -> dict[str, Any]:
    from kd_runner.config import SettingsError

    try:
        content = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise SettingsError(f"{error.full_key}: must be given") from None
    except OmegaConfBaseException as error:
        raise SettingsError(" ".join(str(error).split())) from None
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _from_environment(config: DictConfig) -> Iterator[str]:
    """The keys, with dots, whose values depend on environment variables that are set."""
    return (key for key, _ in _read_variables(config))


def variables_of(config: DictConfig) -> dict[str, str]:
    """The environment variables that the settings in `config` depend on."""
    return {name: os.environ[name] for _, names in _read_variables(_less_hydra(config)) for name in names}


def _read_variables(config: DictConfig) -> Iterator[tuple[str, list[str]]]:
    """Each key, with dots, whose value depends on environment variables that are set, and those."""
    read: list[str] = []

    def noting(name: str, *default: Any) -> Any:
        if name in os.environ:
            read.append(name)
        return oc.env(name, *default)

    def keys(node: DictConfig, prefix: str) -> Iterator[tuple[str, list[str]]]:
        for key in node:
            read.clear()
            value = node[key]
            if isinstance(value, ListConfig):
                OmegaConf.to_container(value, resolve=True)
            if read:
                yield f"{prefix}{key!s}", list(read)
            elif isinstance(value, DictConfig):
                yield from keys(value, f"{prefix}{key!s}.")

    OmegaConf.register_new_resolver("oc.env", noting, replace=True)
    try:
        yield from keys(config, "")
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)


def _expected(error: BaseException) -> int | None:
    """The exit code for an error that is the user's to mend, None for one that is ours."""
    from kd_runner.config import RunFailed, SettingsError

    if isinstance(error, SettingsError):
        return BAD_SETTINGS
    return FAILED if isinstance(error, RunFailed) else None


def _help(overrides: list[str]) -> str:
    """Hydra's help from our template. Hydra builds it too, and takes a second to list the groups twice."""
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("config", overrides=overrides)
    text = OmegaConf.load(CONF_DIR / "hydra" / "help" / "kd_runner.yaml")
    folders = sorted(path for path in CONF_DIR.iterdir() if path.is_dir() and path.name != "hydra")
    groups = [f"{folder.name}: {', '.join(sorted(file.stem for file in folder.glob('*.yaml')))}" for folder in folders]
    template = OmegaConf.create({"hydra": {"help": text}}).hydra.help.template
    return Template(template).substitute(APP_CONFIG_GROUPS="\n".join(groups) + "\n", CONFIG=OmegaConf.to_yaml(config))


def _say(message: str) -> None:
    for line in message.splitlines():
        print(f"kd-runner: {line}", file=sys.stderr)


def _explained(error: Exception) -> str:
    """What Hydra says over several lines, in one, with a suggestion where a key was misspelt."""
    text = re.sub(r"\s*See https://\S+ for details", "", str(error)) or type(error).__name__
    if re.search(r"Error parsing override|no viable alternative|mismatched input|extraneous input|missing EQUAL", text):
        text = _unreadable(sys.argv[1:]) or text
    unknown = re.match(r"Could not override '(\S+)'", text)
    if unknown:
        key = unknown[1]
        part = re.fullmatch(r"(\w+\.(?:optimizer|scheduler))\.(\w+)", key)
        if part:  # a stage's own settings are null until it has some
            return f"{key}: write '{part[1]}={{{part[2]}: …}}', or choose one with +{part[1].split('.')[1]}@{part[1]}=…"
        further = re.fullmatch(r"(teachers\.\w+)\.(checkpoint\w*|epochs|weight|optimizer|scheduler)", key)
        if further:  # what a further teacher has is added
            added = any(f"@{further[1]}=" in word for word in sys.argv[1:])
            return f"{key}: write '+{key}=…'" + ("" if added else f", beside +teacher@{further[1]}=…, which adds it")
        if elsewhere := _of_another_option(key):
            return f"{key}: {elsewhere}"
        known = [name for name in _known_keys(key) if not name.endswith("_target_")]
        section = key.rpartition(".")[0]
        siblings = [name for name in known if name.rpartition(".")[0] == section and not name.endswith("_target_")]
        there = f"; {section or 'the top level'} has {', '.join(siblings)}" if siblings else ""
        return f"{key}: no such setting{did_you_mean(key, known)}{there}"
    if text.startswith("Config group override must be"):  # Hydra does not say which
        pairs = [word.partition("=")[::2] for word in sys.argv[1:] if "=" in word]
        for group, value in pairs:
            if (CONF_DIR / group).is_dir() and not re.search("[a-z]", value.replace("null", "").replace("true", "")):
                return f"{group}: must be one of its options (see --help), got {value}"
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return f"hydra.run.dir: the run's folder cannot be made ({error})"
    missing = re.search(r"Could not (?:find|load) '(\S+)/([^/\s]+)'", text)
    options = re.search(r"Available options in '\S+':\s+(.*?)(?:\n\S|\Z)", text, re.DOTALL)
    if missing and options:
        choices = options[1].split()
        hint = did_you_mean(missing[2], choices)
        return f"{missing[1]}: must be one of {', '.join(choices)}, got {missing[2]}{hint}"
    cause = f" ({error.__cause__})" if isinstance(error.__cause__, OmegaConfBaseException) else ""
    return " ".join(f"{text}{cause}".split())


def _of_another_option(key: str) -> str | None:
    """Which options of a group have the key that the chosen one lacks."""
    group, _, name = key.partition(".")
    files = sorted((CONF_DIR / group).glob("*.yaml")) if name else []
    options = [file.stem for file in files if name in _keys_of(file)]
    if not options:
        return None
    chosen = [word.partition("=")[2] for word in sys.argv[1:] if word.startswith(f"{group}=")]
    if not chosen:
        defaults = OmegaConf.load(CONF_DIR / "config.yaml").defaults
        chosen = [str(entry[group]) for entry in defaults if isinstance(entry, DictConfig) and group in entry]
    return f"{group}={chosen[-1] if chosen else '…'} has no {name}; {group}={' or '.join(options)} has"


def _keys_of(file: Path) -> list[str]:
    """The keys at the top of an option's file, those that must be given among them."""
    content = OmegaConf.to_container(OmegaConf.load(file))
    return [str(key) for key in content] if isinstance(content, dict) else []


def _unreadable(words: list[str]) -> str | None:
    """What is wrong with the first word that Hydra cannot read."""
    parser = OverridesParser.create()
    for word in words:
        try:
            if not word.startswith("-"):
                parser.parse_override(word)
        except HydraException as error:
            reason = str(error).strip().splitlines()[0]
            return f"{word}: must be KEY=VALUE, with signs such as , = [ {{ in quotes: 'KEY=\"VALUE\"' ({reason})"
    return None


def _known_keys(misspelt: str) -> Iterator[str]:
    """Every key of the settings as this command line composes them, without the misspelt override."""
    GlobalHydra.instance().clear()
    words = [word for word in sys.argv[1:] if "=" in word and not word.startswith(("-", f"{misspelt}="))]
    words = [word if re.search(r"[\[{(]", word) else word.split(",")[0] for word in words]  # of a sweep, the first
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

"""TensorBoard's HParams tab: runs with their settings, final numbers and status, from their result.json files.

A run gets a small event file beside the curves that it logged itself, written anew each time. All have the same
columns, because parallel coordinates leave out a run that lacks one.
"""

from __future__ import annotations

import io
import math
import shutil
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from kd_runner.command_line.overrides import split
from kd_runner.comparison.gap import gap_in
from kd_runner.config.fingerprint import flat_keys
from kd_runner.files import reading
from kd_runner.files.results import MissingRun, Run
from kd_runner.files.run_folder import RESULT, SETTINGS
from kd_runner.tracking import event_files

FILE = "events.out.tfevents.0.hparams"
SUMMARY = "leaderboard"  # the folder of what is said of all runs together
ABSENT = "-"
ASIDE = ("store", "resume", "trust", "tracking")  # sections of the settings that are no columns
LABELS = {"temperature.value": "temperature"}
# Keys of a number in a result, and what it is called, by its column.
METRICS: dict[str, tuple[tuple[str, ...], str]] = {
    "student_accuracy": (("student", "accuracy"), "student test accuracy"),
    "teacher_accuracy": (("teacher", "accuracy"), "teacher test accuracy"),
    "baseline_accuracy": (("baseline", "accuracy"), "baseline test accuracy"),
    "gain": ((), "gain, test accuracy"),
    "gap_closed": (("gap_closed",), "gap closed, test accuracy"),
    "agreement": (("student", "agreement"), "test agreement"),
    "nll": (("student", "nll"), "test NLL"),
    "ece": (("student", "ece"), "test ECE"),
    "parameters": (("student", "parameters"), "parameters"),
    "macs": (("student", "macs"), "MACs"),
    "seconds": (("seconds", "student"), "seconds"),
}

STATUS = {
    api_pb2.STATUS_SUCCESS: "finished",
    api_pb2.STATUS_FAILURE: "failed",
    api_pb2.STATUS_RUNNING: "running",
    api_pb2.STATUS_UNKNOWN: "not started",
}

Value = float | str


OTHERWISE = ("pruned", "interrupted")  # without a result, and not failed


@dataclass
class Session:
    """A run as a row of the table.

    Args:
        settings: By their keys with dots.
        typed: Those that its command named.
        status: As TensorBoard's HParams has them.
        said: The status in a word, where that says more.
        began, ended: In seconds since 1970; 0 where that is not known.
    """

    folder: Path
    settings: dict[str, Value]
    typed: set[str]
    status: int
    said: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    began: float = 0.0
    ended: float = 0.0


def write(out: Path, runs: Sequence[Run], missing: Sequence[MissingRun], leaderboard: str) -> Path:
    """Put the table of all runs below `out`; returns the folder that TensorBoard should show.

    Runs whose event files are elsewhere are shown there by links.

    Args:
        leaderboard: As Markdown.
    """
    sessions = [
        *(completed_row(run) for run in runs),
        *(without_result(each) for each in missing),
    ]
    root = out.absolute() / event_files.FOLDER
    tidy(root)
    rows, swept = align_settings(sessions)
    taken: Counter[str] = Counter()
    for session, row in zip(sessions, rows, strict=True):
        place = event_files.place_of(session.folder)
        if place.parent != root:
            name = name_of(session.folder, place)
            taken[name] += 1
            place = link_event_files(place, root / (name if taken[name] == 1 else f"{name}_{taken[name]}"))
        write_events(place, [*write_session(session, row)])
    write_events(root / SUMMARY, [experiment(sessions, rows, swept), text("leaderboard", leaderboard)])
    return root


def completed_row(run: Run) -> Session:
    """The row of a run with a result."""
    words = [str(word) for word in run.result.get("overrides", [])]
    session = session_of(run.folder, words, api_pb2.STATUS_SUCCESS)
    session.metrics = metrics_of(run.result)
    session.ended = _time(run.folder / RESULT)
    return session


def without_result(missing: MissingRun) -> Session:
    """The row of a run that has no result, or none yet."""
    status = {"running": api_pb2.STATUS_RUNNING, "not started": api_pb2.STATUS_UNKNOWN}
    session = session_of(
        missing.folder, split(missing.words), status.get(missing.reason.partition(":")[0], api_pb2.STATUS_FAILURE)
    )
    if missing.reason.startswith(OTHERWISE):
        session.said = missing.reason.partition(":")[0]
    session.ended = _time(missing.folder / RESULT)
    return session


def session_of(folder: Path, words: Iterable[str], status: int) -> Session:
    """A row with a run's settings.

    Args:
        words: The overrides of its command.
    """
    typed = dict(word.lstrip("+").partition("=")[::2] for word in words)
    content, _ = reading.json_of(folder / SETTINGS)
    settings = in_words({name: value for name, value in content.items() if name not in ASIDE})
    for key, value in typed.items():
        if key not in settings or key in content:  # of a group, the option's name
            settings[key] = _value(value)
    return Session(folder, settings, set(typed), status, began=_time(folder / SETTINGS))


def in_words(content: Mapping[str, Any]) -> dict[str, Value]:
    """Settings by their keys with dots; a `_target_` in a word, by the key of its section."""
    found: dict[str, Value] = {}
    for key, value in flat_keys(content):
        section, _, last = key.rpartition(".")
        if last == "_target_":
            found[section] = str(value).rpartition(".")[0].rpartition(".")[2]
        elif value != {}:
            found[key] = _value(value)
    return found


def _value(value: Any) -> Value:
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return str(value).lower()
    try:
        worth = float(value)
    except (TypeError, ValueError, OverflowError):
        return str(value)
    return worth if math.isfinite(worth) else str(value)


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def metrics_of(result: Mapping[str, Any]) -> dict[str, float]:
    """The final numbers that a result has."""
    found = {}
    for name, (keys, _) in METRICS.items():
        value: Any = result
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, (int, float)):
            found[name] = float(value)
    if "baseline_accuracy" in found:
        found["gain"] = found["student_accuracy"] - found["baseline_accuracy"]
    gap = gap_in(result)
    if gap is None or gap.share is None:  # no share that means anything: the column would be read as one
        found.pop("gap_closed", None)
    return found


def align_settings(sessions: Sequence[Session]) -> tuple[list[dict[str, Value]], set[str]]:
    """Of each session the settings in which any two differ, all with the same keys; and which of them were typed.

    A column has numbers alone or words alone.
    """
    keys = list(dict.fromkeys(key for session in sessions for key in session.settings))
    columns = {key: [session.settings.get(key, ABSENT) for session in sessions] for key in keys}
    # Those that have not begun do not know their settings beyond what was typed.
    telling = [number for number, session in enumerate(sessions) if session.began] or range(len(sessions))
    chosen = [key for key in keys if len({columns[key][number] for number in telling}) > 1]
    columns["status"] = [session.said or STATUS[session.status] for session in sessions]
    if not chosen or len(set(columns["status"])) > 1:
        chosen.append("status")
    for key in chosen:
        if any(isinstance(value, str) for value in columns[key]):
            columns[key] = [value if isinstance(value, str) else f"{value:g}" for value in columns[key]]
    typed = {key for session in sessions for key in session.typed}
    rows = [{key: columns[key][number] for key in chosen} for number in range(len(sessions))]
    return rows, {key for key in chosen if key in typed or key == "status"}


def tidy(root: Path) -> None:
    """Delete what an earlier call left of runs whose event files are elsewhere."""
    for folder in [each for each in root.glob("*") if each.is_dir()]:
        if all(entry.is_symlink() or entry.name == FILE for entry in folder.iterdir()):
            shutil.rmtree(folder)


def name_of(run: Path, place: Path) -> str:
    """What a legend says of a run whose event files are at `place`, among those of other sweeps."""
    own = place.parent == run.absolute()  # and not beside those of its sweep's other jobs
    return run.absolute().name if own else f"{place.parent.parent.name}_{place.name}"


def link_event_files(place: Path, folder: Path) -> Path:
    """`folder`, with links to the event files at `place`."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in event_files.in_folder(place):
        if path.name != FILE:
            (folder / path.name).unlink(missing_ok=True)
            (folder / path.name).symlink_to(path)
    return folder


def write_session(session: Session, row: Mapping[str, Value]) -> Iterable[Summary.Value]:
    """What TensorBoard is told of a run: its settings, its final numbers, and how it ended."""
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=session.began)
    for key, value in row.items():
        if isinstance(value, str):
            start.hparams[key].string_value = value
        else:
            start.hparams[key].number_value = value
    yield _hparams(metadata.SESSION_START_INFO_TAG, session_start_info=start)
    for name, value in session.metrics.items():
        about = SummaryMetadata(display_name=METRICS[name][1], summary_description=METRICS[name][1])
        yield Summary.Value(tag=f"final/{name}", simple_value=value, metadata=about)
    if session.status != api_pb2.STATUS_RUNNING:
        end = plugin_data_pb2.SessionEndInfo(status=session.status, end_time_secs=session.ended)
        yield _hparams(metadata.SESSION_END_INFO_TAG, session_end_info=end)


def experiment(
    sessions: Sequence[Session], rows: Sequence[Mapping[str, Value]], swept: Container[str]
) -> Summary.Value:
    """The columns. TensorBoard shows those first that are said to differ: of ours, those that were swept.

    A number that a run with a result does not have, such as the share of a gap that there is not, is no column.
    """
    infos = []
    for key in rows[0]:
        values = [row[key] for row in rows]
        info = api_pb2.HParamInfo(name=key, display_name=LABELS.get(key, key), differs=key in swept)
        if isinstance(values[0], str):
            info.type = api_pb2.DATA_TYPE_STRING
            info.domain_discrete.extend(sorted(set(values)))
        else:
            info.type = api_pb2.DATA_TYPE_FLOAT64
            info.domain_interval.min_value, info.domain_interval.max_value = min(values), max(values)
        infos.append(info)
    results = [session.metrics for session in sessions if session.metrics]
    metrics = [
        api_pb2.MetricInfo(name=api_pb2.MetricName(tag=f"final/{name}"), display_name=title)
        for name, (_, title) in METRICS.items()
        if all(name in result for result in results)
    ]
    return _hparams(metadata.EXPERIMENT_TAG, experiment=api_pb2.Experiment(hparam_infos=infos, metric_infos=metrics))


def _hparams(tag: str, **content: Any) -> Summary.Value:
    about = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(**content))
    return Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)


def text(tag: str, markdown: str) -> Summary.Value:
    """A text for TensorBoard's text tab."""
    about = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    content = TensorProto(dtype="DT_STRING", string_val=[markdown.encode()], tensor_shape=shape)
    return Summary.Value(tag=tag, metadata=about, tensor=content)


def write_events(folder: Path, values: Iterable[Summary.Value]) -> None:
    """Put an event file with these values into `folder`, in place of the one that an earlier call put there."""
    content = io.BytesIO()
    writer = RecordWriter(content)
    writer.write(Event(file_version="brain.Event:2").SerializeToString())
    for value in values:
        writer.write(Event(summary=Summary(value=[value])).SerializeToString())
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".unfinished.{FILE}"
    unfinished.write_bytes(content.getvalue())
    unfinished.replace(folder / FILE)

"""TensorBoard's HParams table: one small event file beside each run's curves, replaced by each report."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.plugins.hparams.summary_v2 import Discrete, Metric, RealInterval
from tensorboard.plugins.text.summary_v2 import text_pb

from kd_runner.comparison.groups import Group
from kd_runner.errors import SettingsError, one_line
from kd_runner.files.contents import is_link
from kd_runner.files.links import EVENT_FILES
from kd_runner.files.results import MissingRun, Run
from kd_runner.files.run_folder import CONSOLE, EVENTS, GRID, LOG, MULTIRUN, NOW, RESULT, SETTINGS
from kd_runner.files.scores import common_words, has_map
from kd_runner.formats import number_of
from kd_runner.tracking import event_files, event_records, layouts, mean_curves
from kd_runner.tracking.layouts import SUMMARY
from kd_runner.tracking.sessions import (
    COUNTS,
    LABELS,
    METRICS,
    Session,
    Value,
    align_settings,
    completed_row,
    missing_row,
)
from kd_runner.tracking.shared_networks import KEY

log = logging.getLogger(__name__)

FILE = event_files.TABLE
MANY = 500  # runs; TensorBoard sends all numbers of all runs again for each look at the table
CHIEF = ("student_val_accuracy", "student_accuracy", "baseline_accuracy", "gain", "agreement", "seconds")


def write(
    out: Path,
    runs: Sequence[Run],
    missing: Sequence[MissingRun],
    leaderboard: str,
    groups: Sequence[Group] = (),
) -> Path:
    """Put the table of all runs below `out`, and the mean curves of groups; returns the folder TensorBoard should show.

    Runs whose event files are elsewhere are shown there by links, but for those outside of the run or sweep that `out`
    lies in: nothing may lead out of its folder.

    Args:
        leaderboard: The leaderboard in Markdown, for the text tab.
        groups: The rows of the leaderboard.
    """
    sessions = [*map(completed_row, runs), *map(missing_row, missing)]
    root = out.absolute() / event_files.FOLDER
    delete_earlier_folders(root)
    rows, swept = align_settings(sessions)
    mean_curves.delete_earlier(root)
    used_names: Counter[str] = Counter()
    elsewhere: dict[Path, None] = {}
    bounds = LinkBounds(enclosing_folder(out))
    for session, row in zip(sessions, rows, strict=True):
        event_folder = event_files.event_folder_of(session.folder)
        if event_folder.parent != root:
            name = legend_name(session.folder, event_folder)
            elsewhere |= dict.fromkeys(
                [event_folder.parent] if event_folder.parent != session.folder.absolute() else []
            )
            event_folder = link_event_files(event_folder, free_folder(root, name, used_names), bounds)
        write_events(event_folder, session_messages(session, row))
    link_shared_networks(elsewhere, root, used_names, bounds)
    bounds.warn_of_left_out()
    several_labels = any(has_map(run.result) for run in runs)
    summaries = [experiment(sessions, rows, swept), text_pb("leaderboard", leaderboard)]
    write_events(root / SUMMARY, summaries, layout_with_means(root, groups, several_labels))
    return root


def layout_with_means(root: Path, groups: Sequence[Group], several_labels: bool) -> Summary:
    """Write the means of the groups' curves below `root`; returns the layout of the charts, with those of means first.

    The charts of single runs are folded below them.
    """
    tags = mean_curves.write(root, groups)
    single_runs = layouts.layout_of(several_labels)
    return layouts.summary(mean_curves.layout(tags), closed=single_runs) if tags else layouts.summary(single_runs)


def enclosing_folder(out: Path) -> Path | None:
    """The outermost folder of a run or a sweep that is `out` or that it lies in; None where there is none."""
    folders = (out.absolute(), *out.absolute().parents)
    inside = [folder for folder in folders if _is_of_run_or_sweep(folder)]
    return inside[-1] if inside else None


def _is_of_run_or_sweep(folder: Path) -> bool:
    if any((folder / name).is_file() for name in (GRID, MULTIRUN)):
        return True
    # Other programs have a settings.json, too.
    return (folder / SETTINGS).is_file() and any((folder / name).is_file() for name in (LOG, RESULT, CONSOLE, NOW))


@dataclass
class LinkBounds:
    """The folder that no link to event files may lead out of, and the event files that have no link for it.

    Args:
        folder: None where links may lead anywhere.
    """

    folder: Path | None = None
    left_out: list[Path] = field(default_factory=list)

    def allow(self, event_folder: Path) -> bool:
        """True where there may be links to the files of `event_folder`, which is counted as left out otherwise."""
        if self.folder is None or self.folder.resolve() in event_folder.resolve().parents:
            return True
        self.left_out.append(event_folder)
        return False

    def warn_of_left_out(self) -> None:
        """Log one line about all event files that were left out, where there are any."""
        if self.left_out:
            others = len(self.left_out) - 1
            log.warning(
                "note      the curves of %s%s are not shown beside the table: a link to them would lead out of %s; "
                "choose an --out that lies in no run and no sweep",
                self.left_out[0],
                f" and {number_of(others, 'other')}" if others else "",
                self.folder,
            )


def link_shared_networks(sweeps: Iterable[Path], root: Path, taken: Counter[str], bounds: LinkBounds) -> None:
    """Show the networks that jobs of a sweep share beside those jobs, by links.

    Args:
        sweeps: The folders of the event files of sweeps that lie elsewhere.
        taken: The counter of names that `free_folder` takes.
        bounds: The folder that no link may lead out of.
    """
    for events in sweeps:
        for folder in sorted(path.parent for path in events.glob(f"*/{KEY}")):
            link = link_event_files(folder, free_folder(root, f"{events.parent.name}_{folder.name}", taken), bounds)
            write_events(link, [])  # by which the next report knows that the folder is its own


def delete_earlier_folders(root: Path) -> None:
    """Delete what an earlier call left of runs whose event files are elsewhere: links to event files, and its own."""
    _refuse_link(root)
    for folder in _folders_in(root):
        names = os.listdir(folder)  # noqa: PTH208  # of thousands of folders
        if FILE in names and all(_is_written(folder / name) for name in names) and (folder / FILE).is_file():
            for name in names:
                (folder / name).unlink()
            folder.rmdir()


def _folders_in(root: Path) -> list[Path]:
    """The folders below `root` that are no links; none where it is not there."""
    try:
        with os.scandir(root) as entries:
            return [Path(entry) for entry in entries if entry.is_dir() and not is_link(entry)]
    except FileNotFoundError:
        return []


def _is_written(path: Path) -> bool:
    """True for what a report writes into a folder of its own."""
    return path.name == FILE or (is_link(path) and is_event_file(path))


def is_event_file(path: Path) -> bool:
    """True for a file, or a link to one, with the name that TensorBoard's event files have."""
    return path.name.startswith(EVENT_FILES) and not path.is_dir()


def free_folder(root: Path, name: str, taken: Counter[str]) -> Path:
    """A folder below `root` for the links to a run's event files: one that is not there, as others may have made it.

    Args:
        taken: Counts of the names that were taken so far; the new name is added.
    """
    while True:
        taken[name] += 1
        folder = root / (name if taken[name] == 1 else f"{name}_{taken[name]}")
        if not os.path.lexists(folder):
            return folder


def _refuse_link(folder: Path) -> None:
    """Raise SettingsError where `folder` is a link: what is written there would land outside."""
    if is_link(folder) or (folder.parent.name == EVENTS and is_link(folder.parent)):
        raise SettingsError(f"{folder} must be a folder, it is a link: event files are not written to other places")


def legend_name(run: Path, event_folder: Path) -> str:
    """The name of a run in legends that show runs of several sweeps; a sweep's job has the sweep's name in front."""
    is_single = event_folder.parent == run.absolute()
    return run.absolute().name if is_single else f"{event_folder.parent.parent.name}_{event_folder.name}"


def link_event_files(event_folder: Path, folder: Path, bounds: LinkBounds) -> Path:
    """Put links to the event files of `event_folder` into `folder`; returns `folder`.

    Args:
        bounds: The folder that no link may lead out of.
    """
    _refuse_link(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not bounds.allow(event_folder):
        return folder
    for path in event_files.in_folder(event_folder):
        if path.name != FILE:
            try:
                (folder / path.name).symlink_to(path)
            except (OSError, NotImplementedError) as error:  # a file system without links, or Windows without the right
                log.warning(
                    "note      the curves of %s are not shown beside the table: %s", event_folder, one_line(error)
                )
                break
    return folder


def session_messages(session: Session, row: Mapping[str, Value]) -> Iterator[Summary]:
    """The messages about a run: its settings, its final numbers, and how it ended."""
    # An empty name lets TensorBoard call the row by its folder, and not by a hash that equal settings share.
    start = SessionStartInfo(group_name="", start_time_secs=session.began)
    for name, value in row.items():
        if isinstance(value, str):
            start.hparams[name].string_value = value
        else:
            start.hparams[name].number_value = value
    yield _message(metadata.SESSION_START_INFO_TAG, session_start_info=start)
    if session.metrics:
        yield Summary(value=[_final_number(name, value, session) for name, value in session.metrics.items()])
    if session.status != api_pb2.STATUS_RUNNING:
        end = SessionEndInfo(status=session.status, end_time_secs=session.ended)
        yield _message(metadata.SESSION_END_INFO_TAG, session_end_info=end)


def _final_number(name: str, value: float, session: Session) -> Summary.Value:
    """A final number of a run."""
    title = session.words.instead(METRICS[name][1])
    about = SummaryMetadata(display_name=title, summary_description=title)
    return Summary.Value(tag=f"final/{name}", simple_value=value, metadata=about)


def experiment(sessions: Sequence[Session], rows: Sequence[Mapping[str, Value]], swept: Container[str]) -> Summary:
    """The columns of the table. TensorBoard shows those first that are marked as differing: here, the swept settings.

    A metric is a column only if all runs with a result have it; of many runs, only the chief ones are.
    """
    columns = []
    for key in rows[0]:
        values = [row[key] for row in rows]
        column = api_pb2.HParamInfo(name=key, display_name=LABELS.get(key, key), differs=key in swept)
        domain = Discrete(sorted(set(values))) if isinstance(values[0], str) else RealInterval(min(values), max(values))
        domain.update_hparam_info(column)
        columns.append(column)
    results = [session.metrics for session in sessions if session.metrics]
    words = common_words(session.words for session in sessions if session.metrics)
    names = [name for name in METRICS if name not in COUNTS and (len(sessions) <= MANY or name in CHIEF)]
    metrics = [
        Metric(f"final/{name}", display_name=words.instead(METRICS[name][1])).as_proto()
        for name in names
        if all(name in result for result in results)
    ]
    # TensorBoard's own `hparams_config_pb` cannot say which columns differ.
    content = api_pb2.Experiment(hparam_infos=columns, metric_infos=metrics)
    return _message(metadata.EXPERIMENT_TAG, experiment=content)


def _message(tag: str, **content: Any) -> Summary:
    # TensorBoard's own `hparams_pb` and `create_summary_metadata` have settings in another order in each process, by
    # which the file of a run that has not changed would be another one.
    data = HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content).SerializeToString(deterministic=True)
    about = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=data))
    return Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)])


def write_events(folder: Path, messages: Iterable[Summary], layout: Summary | None = None) -> None:
    """Write an event file with these messages into `folder`; it replaces that of an earlier call, where it differs.

    Args:
        layout: A layout of charts, which follows that of step 0.
    """
    _refuse_link(folder)
    folder.mkdir(parents=True, exist_ok=True)
    events = [Event(summary=message) for message in messages]
    event_records.write(folder / FILE, events if layout is None else [*events, Event(summary=layout, step=1)])

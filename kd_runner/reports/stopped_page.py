"""The page of a run that was interrupted or failed: how far it came, and the command to go on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kd_runner.command_line.resume import go_on_command
from kd_runner.files import atomic, tolerant_json
from kd_runner.files.run_folder import NOW, PAGE, SECONDS, UNFINISHED
from kd_runner.files.stages import EVALUATE
from kd_runner.files.written_pages import is_page_of_ours
from kd_runner.formats import number_of, percent
from kd_runner.reports.html import render
from kd_runner.reports.name_tags_notes import label_of
from kd_runner.reports.provenance import settings_in
from kd_runner.reports.replaceable import refuse_another_page
from kd_runner.reports.shared_notes import other_notes
from kd_runner.reports.titles import title_of


def write_stopped_page(folder: Path, result: Mapping[str, Any]) -> None:
    """Put the page of a run that has no result into its `folder`.

    Nothing is evaluated or drawn, and no disk is waited for: whoever stops a run waits for the page.

    Args:
        result: The content of its result.json.

    Raises:
        SettingsError: there is a report.html that is no page of kd-runner.
    """
    refuse_another_page(folder)
    page = stopped_page(folder, result).encode(errors="replace")
    atomic.write(folder / PAGE, page, survives_power_cut=False)


def remove_stopped_page(folder: Path) -> None:
    """Delete the page in the folder of a run that goes on: it would say that the run has stopped."""
    if is_page_of_ours(folder / PAGE):
        (folder / PAGE).unlink(missing_ok=True)


def stopped_page(folder: Path, result: Mapping[str, Any]) -> str:
    """The HTML of the page, from what the run's result.json says and what is in its `folder`."""
    folder = folder.absolute()
    words = tolerant_json.texts(result.get("overrides"))
    settings, _ = settings_in(folder)
    typed = " ".join(words) or "all settings at their defaults"
    return render(
        "stopped.html",
        title=title_of([(words, settings)], f"Distillation: {folder.name}"),
        subtitle=": ".join(filter(None, [folder.name, label_of(result), typed])),
        verdict={"word": "unsure", "headline": _headline(folder, result)},
        sentences=[*_sentence_of_error(result), *_progress(folder, result)],
        failed=result.get("status") == "failed",
        command=go_on_command(folder, words, result.get("config_dir")),
        notes=other_notes(result),
        settings=list(settings.items()),
        environment={name: [str(value)] for name, value in (result.get("environment") or {}).items() if value},
    )


def _headline(folder: Path, result: Mapping[str, Any]) -> str:
    ended = "Failed" if result.get("status") == "failed" else "Interrupted"
    stage = result.get("stage")
    has_begun = bool(_complete_stages(folder, result)) or isinstance(_now(folder).get("stage"), str)
    is_again = stage in _stages_before(folder) and _seconds(result).get(stage) is None  # gone through from its files
    if is_again or (stage is None and has_begun):
        return f"{ended} while it prepared to go on"
    if stage is None:
        return f"{ended} before its first stage"
    return f"{ended} in the evaluation" if stage == EVALUATE else f"{ended} at the stage {stage}"


def _sentence_of_error(result: Mapping[str, Any]) -> list[str]:
    """The error that ended the run as a sentence; some end with a full stop already, as Lightning's and torch's do."""
    return [f"{str(result['error']).rstrip('.')}."] if result.get("error") else []


def _complete_stages(folder: Path, result: Mapping[str, Any]) -> list[str]:
    """The stages that are complete, in their order; also those of an attempt before this one."""
    now = [stage for stage, seconds in _seconds(result).items() if seconds is not None]
    return list(dict.fromkeys([*_stages_before(folder), *now]))


def _stages_before(folder: Path) -> list[str]:
    """The stages that have ended in this attempt or one before, as the run's folder keeps them."""
    stages = tolerant_json.json_of(folder / UNFINISHED / SECONDS)[0].get("stages")
    return list(stages) if isinstance(stages, dict) else []


def _seconds(result: Mapping[str, Any]) -> Mapping[str, Any]:
    return result.get("seconds") or {}


def _now(folder: Path) -> dict[str, Any]:
    return tolerant_json.json_of(folder / NOW)[0]


def _progress(folder: Path, result: Mapping[str, Any]) -> list[str]:
    """Sentences that say which stages are complete, and how many epochs of the last one had ended."""
    complete = _complete_stages(folder, result)
    sentences = [f"Complete: {', '.join(complete)}."] if complete else []
    state = _now(folder)
    stage = state.get("stage")
    if not isinstance(stage, str):
        return [*sentences, "No epoch had ended."]
    epoch, epochs = (int(tolerant_json.number(state.get(name))) for name in ("epoch", "epochs"))
    accuracies = state.get("val_accuracies")
    accuracy = tolerant_json.usable_number(accuracies[-1]) if isinstance(accuracies, list) and accuracies else None
    reached = "" if accuracy is None else f", the last with {percent(accuracy)} on the validation images"
    return [*sentences, f"The training of the {stage}: {epoch:,} of {number_of(epochs, 'epoch')} had ended{reached}."]

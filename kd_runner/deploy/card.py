"""`MODEL_CARD.md`: a student for people who did not train it, in the form of the Hugging Face Hub.

A card is made of what runs write into their folders, which may be anyone's: each text of others stands in one line, in
which nothing is markup. Paths of the machine of the training are left out.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml

from kd_runner.comparison.statistics import interval, wilson_interval
from kd_runner.config.fingerprint import flat_keys, names_a_place
from kd_runner.datasets.decoding.image_input import ImageInput
from kd_runner.files.recorded_words import without_plus
from kd_runner.files.results import top5_says_nothing
from kd_runner.files.run_folder import STUDENT_LAST
from kd_runner.files.scores import ScoreWords, has_map, words_of
from kd_runner.files.stages import STAGES, STUDENT
from kd_runner.files.tolerant_json import usable_number
from kd_runner.formats import four_digits, milliseconds, percent, size
from kd_runner.plain_text import markdown_code, markdown_text, printable
from kd_runner.reports.cost_table import cost_headings, cost_rows, value_at
from kd_runner.reports.peer_sentences import peers_in
from kd_runner.reports.provenance import NOT_TYPED
from kd_runner.reports.summary import sentences, test_images

WEIGHTS, PREPROCESSING = "model.safetensors", "preprocessing.json"  # in the folder for the Hub
TO_FILL_IN = "to-be-filled-in"
# Data sets by the names that the Hub has for them.
ON_THE_HUB = {
    "MNIST": "ylecun/mnist",
    "FashionMNIST": "zalando-datasets/fashion_mnist",
    "CIFAR10": "uoft-cs/cifar10",
    "CIFAR100": "uoft-cs/cifar100",
}
METRICS: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("accuracy", "test accuracy", percent),
    ("top5_accuracy", "top-5 accuracy", percent),
    ("precision", "precision", four_digits),
    ("recall", "recall", four_digits),
    ("f1", "F1", four_digits),
)
OF_SEVERAL_LABELS: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("map", "test mAP", percent),
    ("f1", "macro F1", four_digits),
    ("micro_f1", "micro F1", four_digits),
    ("label_accuracy", "labels right", percent),
    ("exact_match", "images right in all labels", percent),
    ("bce", "binary cross-entropy, nats", four_digits),
    ("brier", "Brier score", four_digits),
)
IN_MODEL_INDEX = ("accuracy", "precision", "recall", "f1")  # metrics that the Hub knows by these names
PLACE = re.compile(r"[/\\~]")  # in a value that is a place on the machine of the training
PATH = "PATH"  # stands for it
SPLITS = {"train": "training", "val": "validation", "test": "test"}
PROOF = (
    "With the run's folder, `kd-runner again RUN` does so and compares the results, and `kd-report --verify RUN` "
    "measures the stored networks again."
)
LONGEST = 200  # letters of a text of others
# Sections of the settings about the machine of the training and what it showed.
OF_THE_MACHINE = ("store", "resume", "trust", "tracking", "trainer", "name", "notes", "tags")


@dataclass(frozen=True)
class CardSources:
    """The sources that a model card is made of.

    Args:
        result: The content of result.json of a completed run, less what kd-runner does not write so.
        settings: The content of settings.json; empty where there is none.
        analysis: The content of analysis.json; empty where there is none.
        image_input: The rule by which pictures become the student's input; None where its file does not say.
        exports: Measurements of the files that the student was exported to, by their names.
        accuracies: Test accuracies of the runs of a sweep that differ from this one in their seeds, with its own.
        weights: The file of the weights, as it is called from the folder that the card lies in; None where it is in
            the run's folder alone.
    """

    result: Mapping[str, Any]
    settings: Mapping[str, Any]
    analysis: Mapping[str, Any]
    image_input: ImageInput | None = None
    exports: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    accuracies: Sequence[float] = ()
    weights: str | None = WEIGHTS

    @property
    def metrics_of_index(self) -> tuple[str, ...]:
        """The metrics that stand in the card's front matter."""
        return ("map", "f1") if has_map(self.result) else IN_MODEL_INDEX

    @property
    def data_name(self) -> str:
        """The name of the data set: its `name`, else that of the function that reads it."""
        dataset = section(self.settings, "dataset")
        return _text(dataset.get("name") or _last_name(dataset)) or "unknown"

    @property
    def student_name(self) -> str:
        return _last_name(section(self.settings, STUDENT)) or STUDENT

    @property
    def mode_names(self) -> list[str]:
        """The names of the modes, the first one first."""
        modes = [section(self.settings, "distillation"), *section(self.settings, "plus").values()]
        return [name for name in map(_last_name, modes) if name]


def model_card(sources: CardSources) -> str:
    """The text of the card: YAML for the Hub, then sections in Markdown."""
    parts = [
        _front_matter(sources),
        f"# {markdown_text(sources.student_name)}, distilled on {markdown_text(sources.data_name)}",
        _summary(sources),
        "## Use",
        _use(sources.weights, sources.exports),
        "## How pictures become input",
        _input(sources.image_input, sources.weights == WEIGHTS),
        "## Classes",
        _classes(sources),
        "## Data",
        _data(sources),
        "## Training",
        _training(sources),
        "## Results",
        _results(sources),
        "## Calibration",
        _calibration(sources),
        "## Agreement with the teacher",
        _agreement(sources.result),
        "## Robustness",
        _robustness(sources.result),
        "## Cost",
        _cost(sources.result),
        *_exports(sources.exports, words_of(sources.result)),
        "## Make it again",
        _again(sources.result),
        "## Licence and use: to be filled in",
        _licence(),
    ]
    return "\n\n".join(parts) + "\n"


def section(content: Any, name: str) -> Mapping[str, Any]:
    """The object at a key; an empty one where there is something else."""
    part = content.get(name) if isinstance(content, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _front_matter(sources: CardSources) -> str:
    numbers = sources.result[STUDENT]
    slug = _slug(sources.data_name)
    metrics = [
        {"type": key, "value": numbers[key], "name": f"Test {key}"}
        for key in sources.metrics_of_index
        if isinstance(numbers.get(key), (int, float))
    ]
    dataset = {"type": ON_THE_HUB.get(sources.data_name, slug), "name": sources.data_name, "split": "test"}
    content = {
        "license": "other",
        "license_name": TO_FILL_IN,
        "library_name": "kd-runner",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "knowledge-distillation", "kd-runner", *map(_slug, sources.mode_names)],
        "datasets": [ON_THE_HUB.get(sources.data_name, slug)],
        "metrics": list(sources.metrics_of_index),
        "model-index": [
            {
                "name": f"{sources.student_name} on {sources.data_name}",
                "results": [
                    {
                        "task": {"type": "image-classification", "name": "Image classification"},
                        "dataset": dataset,
                        "metrics": metrics,
                    }
                ],
            }
        ],
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10**6)}---"


def _summary(sources: CardSources) -> str:
    teacher = _last_name(section(sources.settings, "teacher")) or "teacher"
    modes = " and ".join(map(markdown_text, sources.mode_names)) or "labels alone"
    peers = len(peers_in(sources.result))
    beside = f"beside {peers} other student{'s' if peers > 1 else ''}" if peers else f"from a {markdown_text(teacher)}"
    learned = f"A {markdown_text(sources.student_name)} that learned {beside} ({modes})"
    return f"{learned}, with kd-runner. All numbers are of its run."


def _use(weights: str | None, exports: Mapping[str, Mapping[str, Any]]) -> str:
    """The use of the network in Python, and that of its first exported ONNX file where there is one."""
    elsewhere = "" if weights else "    # in the folder of the run"
    code = f"""import kd_runner

predict = kd_runner.load({json.dumps(_text(weights or STUDENT_LAST))}){elsewhere}
print(predict("picture.png").top(3))    # the most probable classes, each with its probability
network, about = predict                # the bare network, and what its file says"""
    in_python = markdown_code(code, "python")
    file = next((name for name, record in exports.items() if record.get("format") == "onnx"), None)
    if file is None:
        return in_python
    input_type = section(exports[file], "metadata").get("input") or "float32, as the rule below says"
    code = f"""import json

import onnxruntime

session = onnxruntime.InferenceSession({json.dumps(_text(file))})
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
(logits,) = session.run(["logits"], {{"images": images}})
print([classes[row.argmax()] for row in logits])"""
    rule = f"With ONNX Runtime alone, where `images` are {markdown_text(_text(input_type))}:"
    return "\n\n".join([in_python, rule, markdown_code(code, "python")])


def _input(image_input: ImageInput | None, for_hub: bool) -> str:
    if image_input is None:
        return "The file of the weights does not say it in a way that this version of kd-runner can read."
    channels, height, width = image_input.image_shape
    origin = {
        "files": "The pictures of its training were read by this rule.",
        "arrays": "Its training images were arrays of this size; the rule is kd-runner's for any other picture.",
        "unknown": "The file is of an earlier version, which did not write the rule: it is assumed.",
    }[image_input.origin]
    rows = [
        ("size", f"{channels} channel{'' if channels == 1 else 's'}, height {height}, width {width}"),
        ("colour", image_input.color or "neither RGB nor gray: it takes arrays alone"),
        ("turned", "as the EXIF orientation says"),
        ("transparent pixels", f"laid on {image_input.background}"),
        ("resized", f"{_size_before_cut(image_input)} ({image_input.interpolation}, averaging)"),
        ("cut", f"the {image_input.crop} is kept"),
        ("scaled", f"bytes are divided by {image_input.divisor}"),
        ("normalised", f"mean {_numbers(image_input.mean)}, standard deviation {_numbers(image_input.std)}"),
    ]
    rows += [("white of more than 8 bits", f"{image_input.white:g}")] if image_input.white is not None else []
    holder = f"`{PREPROCESSING}`" if for_hub else "The metadata `preprocessing` of an exported file"
    return f"{_table(['step', 'rule'], rows)}\n\n{origin} {holder} has the same for programs."


def _size_before_cut(image_input: ImageInput) -> str:
    if image_input.resize_size is None:
        return "so that it just covers height and width"
    return f"so that its shorter side has {image_input.resize_size} pixels"


def _classes(sources: CardSources) -> str:
    names = sources.image_input.classes if sources.image_input else sources.analysis.get("classes") or []
    if not names:
        return "Not known."
    lines = [f"- {number}: {markdown_text(_text(name))}" for number, name in enumerate(names)]
    return "\n".join(lines)


def _data(sources: CardSources) -> str:
    data = section(sources.result, "data")
    splits = [f"{data[split]:,} {name}" for split, name in SPLITS.items() if isinstance(data.get(split), int)]
    lines = [f"- data set: {markdown_text(sources.data_name)}"]
    lines += [f"- images: {', '.join(splits)}"] if splits else []
    if isinstance(data.get("student"), int) and data["student"] != data.get("train"):
        lines.append(f"- the student learned from {data['student']:,} of the training images")
    fingerprints = section(data, "fingerprints")
    for split, name in SPLITS.items():
        if split in fingerprints:
            lines.append(f"- fingerprint of the {name} images: {markdown_text(_text(fingerprints[split]))}")
    lines.append("- licence of the data: to be filled in")
    return "\n".join(lines)


def _training(sources: CardSources) -> str:
    settings = sources.settings
    teacher = () if peers_in(sources.result) else ("teacher",)
    parts = (*teacher, STUDENT, "distillation", "temperature", "optimizer", "scheduler")
    rows = [(name, _node(section(settings, name))) for name in parts if section(settings, name)]
    rows += [(f"plus.{name}", _node(node)) for name, node in section(settings, "plus").items() if node]
    rows += [(name, _text(sources.result.get(name))) for name in ("seed", "data_seed")]
    every = [
        (key, PATH if names_a_place(key) else _value(value))
        for key, value in flat_keys(settings)
        if key.partition(".")[0] not in OF_THE_MACHINE and _says(value)
    ]
    details = f"<details><summary>All settings</summary>\n\n{_table(['setting', 'value'], every)}\n\n</details>"
    return f"{_table(['part', 'settings'], rows)}\n\n{details}"


def _results(sources: CardSources) -> str:
    result = sources.result
    stages = [stage for stage in STAGES if result.get(stage)]
    rows = [
        (name, *(text(result[stage].get(key)) for stage in stages))
        for key, name, text in (OF_SEVERAL_LABELS if has_map(result) else METRICS)
        if any(result[stage].get(key) is not None for stage in stages)
        and not (key == "top5_accuracy" and top5_says_nothing(result))
    ]
    images = test_images(result)
    heading = f"On the {images:,} test images, after the last epoch:" if images else "On the test images:"
    finetuned = section(sources.settings, "finetune").get("epochs")
    paragraphs = [markdown_text(text) for text in sentences(result, finetuned if isinstance(finetuned, int) else 0)]
    certainty = "\n".join(f"- {line}" for line in _certainty(sources, images))
    return "\n\n".join([heading, _table(["", *stages], rows), certainty, "\n".join(f"- {text}" for text in paragraphs)])


def _certainty(sources: CardSources, images: int | None) -> Iterator[str]:
    """The certainty of the accuracy: over test images for one run, and over seeds where there are several."""
    accuracy = sources.result[STUDENT]["accuracy"]
    if images and not has_map(sources.result):
        low, high = map(percent, wilson_interval(accuracy, images))
        seed = markdown_text(_text(sources.result.get("seed")))
        yield (
            f"the student of this one run (seed {seed}) is right on {percent(accuracy)} of the test images: 95 % "
            f"interval {low} to {high} over images of the kind (Wilson)"
        )
    accuracies = np.array(sources.accuracies)
    if len(accuracies) < 2:
        yield "how far another seed would be from this was not measured"
        return
    mean, half = float(accuracies.mean()), interval(accuracies)
    low, high = percent(max(0.0, mean - half)), percent(min(1.0, mean + half))
    yield (
        f"over {len(accuracies)} seeds: mean {percent(mean)}, standard deviation {100 * accuracies.std(ddof=1):.2f} "
        f"points, 95 % interval of the mean {low} to {high} (Student's t)"
    )


def _calibration(sources: CardSources) -> str:
    numbers = sources.result[STUDENT]
    if has_map(sources.result):
        bce, brier = four_digits(numbers.get("bce")), four_digits(numbers.get("brier"))
        return f"- binary cross-entropy {bce} nats, Brier score {brier}, means over test images and labels"
    nll, ece = four_digits(numbers.get("nll")), four_digits(numbers.get("ece"))
    brier = f", Brier score {four_digits(numbers['brier'])}" if numbers.get("brier") is not None else ""
    lines = [f"- NLL {nll} nats, ECE {ece} (15 bins){brier}, on the test images"]
    if numbers.get("auroc") is not None:
        area, mean = four_digits(numbers["auroc"]), four_digits(numbers.get("average_precision"))
        lines.append(f"- AUROC {area}, average precision {mean}, of the second class on the test images")
    temperature = value_at(sources.analysis, ("networks", STUDENT, "temperature"))
    after = section(value_at(sources.analysis, ("networks", STUDENT)), "after")
    if temperature is not None and after:
        nll, ece = four_digits(after.get("nll")), four_digits(after.get("ece"))
        fitted = f"with logits divided by {temperature:.3g}, fitted on the validation images"
        lines.append(f"- {fitted}: NLL {nll} nats, ECE {ece}")
    return "\n".join(lines)


def _agreement(result: Mapping[str, Any]) -> str:
    numbers = result[STUDENT]
    if numbers.get("agreement") is None:
        return "There was no teacher." if peers_in(result) else "Not measured."
    same = "say the same on" if has_map(result) else "predict the same class on"
    of = "labels of the test images" if has_map(result) else "test images"
    text = f"Student and teacher {same} {percent(numbers['agreement'])} of the {of}"
    if numbers.get("kl_to_teacher") is not None:
        text += f"; KL to the teacher {four_digits(numbers['kl_to_teacher'])} nats"
    return f"{text}."


def _robustness(result: Mapping[str, Any]) -> str:
    measured = section(result[STUDENT], "robustness")
    rows = [(key, _value(value)) for key, value in flat_keys(measured)]
    return _table(["measure", "student"], rows) if rows else "Not measured."


def _cost(result: Mapping[str, Any]) -> str:
    environment = section(result, "environment")
    device = environment.get("device")
    threads = value_at(result[STUDENT], ("inference", "threads"))
    processor = environment.get("processor")
    where = [_text(device)] if device else []
    where += [_text(processor)] if processor and device == "cpu" else []
    where += [f"{threads} thread{'' if threads == 1 else 's'}"] if threads and device == "cpu" else []
    rows = [(name, *cells) for name, cells in cost_rows(result)]
    note = f"Times, memory and energy: on {markdown_text(', '.join(where))}, warm." if where else ""
    return "\n\n".join(filter(None, [_table(["", *cost_headings(result)], rows), note]))


def _exports(exports: Mapping[str, Mapping[str, Any]], words: ScoreWords) -> list[str]:
    """A heading and a table of the exported files; nothing where there are none."""
    if not exports:
        return []
    rows = []
    for name, record in exports.items():
        check = section(record, "check")
        seconds_of_1, seconds_of_64 = (usable_number(section(check, "latency").get(count)) for count in ("1", "64"))
        rows.append(
            (
                name,
                _text(record.get("format")),
                _text(record.get("quantize") or "float32"),
                size(usable_number(record.get("bytes"))),
                percent(usable_number(check.get("accuracy"))),
                percent(usable_number(check.get("agreement"))),
                _text(check.get("runtime")),
                milliseconds(seconds_of_1),
                milliseconds(seconds_of_64),
                _text(section(record, "metadata").get("input")),
            )
        )
    headings = ("file", "format", "numbers", "size", f"test {words.name}", "agreement with the network", "run by")
    return ["## Exported files", _table([*headings, "one image, median", "64 images, median", "input"], rows)]


def _again(result: Mapping[str, Any]) -> str:
    words = [
        word for word in result.get("overrides") or [] if not without_plus(word).startswith((*NOT_TYPED, "store="))
    ]
    shown = [
        *([f"--config-dir={PATH}"] if result.get("config_dir") else []),
        *(_less_place(_text(word)) for word in words),
    ]
    command = markdown_code(shlex.join(["kd-runner", *shown]), "bash")
    has_places = any(word.endswith(f"={PATH}") for word in shown)
    explanation = [f"{PATH} stands for a place on the machine of the training."] if has_places else []
    versions = [(name, _value(value)) for name, value in section(result, "environment").items() if value is not None]
    return "\n\n".join([command, *explanation, PROOF, _table(["made with", "version"], versions)])


def _licence() -> str:
    lines = [
        f"licence of this model: to be filled in (`license_name` above says {TO_FILL_IN})",
        "licence of published weights that it started or learned from, if any: to be filled in",
        "what it is meant for, and what it must not be used for: to be filled in",
        "who to ask: to be filled in",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(map(markdown_text, headings))} |", "|" + " --- |" * len(headings)]
    return "\n".join([*lines, *(f"| {' | '.join(markdown_text(_text(cell)) for cell in row)} |" for row in rows)])


def _node(node: Any) -> str:
    """A `_target_` and its arguments in one line, such as 'plain_cnn: epochs=20, channels=[8, 16]'."""
    if not isinstance(node, Mapping):
        return _value(node)
    arguments = [f"{key}={_value(value)}" for key, value in flat_keys(node) if key != "_target_" and _says(value)]
    return f"{_last_name(node)}: {', '.join(arguments)}" if arguments else _last_name(node)


def _says(value: Any) -> bool:
    """True for a setting that is not left open."""
    return value is not None and value != [] and value != {}


def _last_name(node: Mapping[str, Any]) -> str:
    return _text(str(node.get("_target_") or "").rpartition(".")[2]) if isinstance(node, Mapping) else ""


def _value(value: Any) -> str:
    """A value as text, as it is typed; a place on the machine of the training is left out."""
    text = _text(str(value).lower() if isinstance(value, bool) else value)
    return PATH if isinstance(value, str | list) and PLACE.search(str(value)) else text


def _less_place(word: str) -> str:
    key, sign, value = word.partition("=")
    is_place = PLACE.search(value) or (value and names_a_place(key.lstrip("+~")))
    return f"{key}={PATH}" if sign and is_place else word


def _text(value: Any) -> str:
    return printable("" if value is None else value, LONGEST)


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _slug(text: str) -> str:
    """A word for tags and names of data sets: small letters, digits, and hyphens between them."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "unknown"

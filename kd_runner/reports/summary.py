"""The result of a run in words: a table of its stages, and sentences about the gain, the sizes and the best epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kd_runner.comparison.gap import gap_in, in_points, run_of
from kd_runner.files.results import top5_says_nothing
from kd_runner.files.scores import ACCURACY, ScoreWords, has_map, words_of
from kd_runner.files.stages import STAGES, STUDENT, TEACHER
from kd_runner.formats import (
    count,
    four_digits,
    milliseconds,
    number_of,
    percent,
    points,
    relative,
    roughly_relative,
    times,
)
from kd_runner.reports.certainty import certainty_of, unlearned_sentence
from kd_runner.reports.name_tags_notes import sentence_of
from kd_runner.reports.peer_sentences import gain_with_peers, peer_sentences
from kd_runner.reports.reasons import reasons
from kd_runner.reports.shift_tables import shift_sentences
from kd_runner.terminal import PIPED, TextColumn, fold_text, table_lines

NOTHING_DISTILLED = "Nothing was distilled: the student learned from labels alone, as the baseline did"
DISTURBED = 2  # the 95th percentile of the passes beside their median, above which other jobs had the processor
FEW_IMAGES = 100  # among fewer images, one image is more than a point of accuracy

# The columns of the table: heading, key in a stage's result, rank (the lowest is left out first), text of a number.
METRICS: tuple[tuple[str, str, int, Callable[[float], str]], ...] = (
    ("accuracy", "accuracy", 100, percent),
    ("PGD-20", "pgd_accuracy", 9, percent),
    ("FGSM", "fgsm_accuracy", 2, percent),
    ("top-5", "top5_accuracy", 1, percent),
    ("F1", "f1", 4, four_digits),
    ("NLL", "nll", 5, four_digits),
    ("ECE", "ece", 3, four_digits),
    ("AUROC", "auroc", 8, four_digits),
    ("parameters", "parameters", 7, count),
    ("MACs", "macs", 2, count),
    ("pruned", "sparsity", 8, percent),
    ("not zero", "nonzero_parameters", 6, count),
    ("agreement", "agreement", 6, percent),
)

# The same where an image may have several labels.
OF_SEVERAL_LABELS: tuple[tuple[str, str, int, Callable[[float], str]], ...] = (
    ("mAP", "map", 100, percent),
    ("macro F1", "f1", 4, four_digits),
    ("micro F1", "micro_f1", 3, four_digits),
    ("labels right", "label_accuracy", 5, percent),
    ("exact match", "exact_match", 2, percent),
    ("BCE", "bce", 4, four_digits),
    ("Brier", "brier", 1, four_digits),
    *(
        column
        for column in METRICS
        if column[1] in ("parameters", "macs", "sparsity", "nonzero_parameters", "agreement")
    ),
)


def table(result: Mapping[str, Any], finetuned: int = 0, width: int | None = None) -> str:
    """The result as text: a table with a row for each stage, and sentences about it.

    Args:
        finetuned: Epochs that the student trained beyond the baseline's.
        width: Number of columns of the terminal; None where there is none: sentences are not folded then.
    """
    lines, _ = table_lines(table_columns(result), width or PIPED)
    images = test_images(result)
    conclusions = [*sentences(result, finetuned), *few_images(images, words_of(result))]
    heading = f"On the {images:,} test images:" if images else "On the test images:"
    return "\n".join([heading, "", *lines, "", *(fold_text(sentence, width) for sentence in conclusions)])


def table_columns(result: Mapping[str, Any]) -> list[TextColumn]:
    """The columns of the table: the stages, and each metric that any of them has."""
    stages = [(stage, result[stage]) for stage in STAGES if result.get(stage)]
    columns = [TextColumn("", [stage for stage, _ in stages], folds=True)]
    for name, key, keep, text in OF_SEVERAL_LABELS if has_map(result) else METRICS:
        cells = ["" if numbers.get(key) is None else text(numbers[key]) for _, numbers in stages]
        if any(cells) and not (key == "top5_accuracy" and top5_says_nothing(result)):
            columns.append(TextColumn(name, cells, keep))
    return columns


def layer_lines(layers: Mapping[str, Mapping[str, Sequence[str]]]) -> list[tuple[str, str]]:
    """The key of each mode that uses layers, and the names of its layers in student and teacher.

    Args:
        layers: The section `layers` of result.json.
    """
    lines = []
    for key, by_role in layers.items():
        texts = [f"{role} {', '.join(by_role[role])}" for role in ("student", "teacher") if by_role.get(role)]
        if texts:
            lines.append((key, "; ".join(texts)))
    return lines


def test_images(result: Mapping[str, Any]) -> int | None:
    """The number of test images; None where the result does not say."""
    packed = (result.get("student") or {}).get("correct") or {}
    images: int | None = packed.get("images") or (result.get("data") or {}).get("test")
    return images


def _only(number: int, noun: str) -> str:
    return f"{'is' if number == 1 else 'are'} only {number_of(number, noun)}"


def few_images(images: int | None, words: ScoreWords = ACCURACY) -> list[str]:
    """A sentence where one test image is more than a point of accuracy."""
    if not images or images >= FEW_IMAGES:
        return []
    if words is not ACCURACY:
        return [f"There {_only(images, 'test image')}, on which {words.name} is known but roughly."]
    return [f"There {_only(images, 'test image')}: one of them is {100 / images:.1f} points of accuracy."]


def sentences(result: Mapping[str, Any], finetuned: int) -> list[str]:
    """The sentences about a result, from its gain, and how sure that is, to its best epoch.

    Last come reasons why distillation may not have helped, where it did not. `finetuned` is as in `table`.
    """
    candidates = [
        sentence_of(result),
        _gain_sentence(result, finetuned),
        certainty_of(result),
        part_of_images(result),
        _absent_classes_sentence(result),
        attacked_sentence(result),
        *shift_sentences(result),
        _one_class_sentence(result),
        own_views(result),
        kept_outputs(result),
        _sizes_sentence(result),
        _injected_sentence(result),
        *_chain_sentences(result),
        *peer_sentences(result),
        speed_sentence(result),
        _budget_sentence(result),
        *_stopping_sentences(result),
        *_average_sentences(result),
        _best_epoch_sentence(result),
    ]
    return [*(sentence for sentence in candidates if sentence), *reasons(result)]


def _one_class_sentence(result: Mapping[str, Any]) -> str:
    """A sentence where AUROC is not known, as all test images are of one of the two classes."""
    data = result.get("data") or {}
    missing = (data.get("missing_classes") or {}).get("test") or []
    if data.get("classes") != 2 or not missing:
        return ""
    return f"AUROC and average precision are not known, as no test image is of the class {missing[0]}."


def _gain_sentence(result: Mapping[str, Any], finetuned: int) -> str:
    gap, taught = gap_in(result), run_of(result).taught
    if not taught:
        return _nothing_distilled_sentence(result, finetuned)
    unlearned = unlearned_sentence(result)
    if unlearned:
        return unlearned
    baseline = result.get("baseline")
    if gap is None and baseline and result.get("teacher_features"):
        gain = points(result["student"]["accuracy"] - baseline["accuracy"])
        return f"Distillation gave {gain} points over the baseline, from the features of a teacher without a head."
    if gap is None:
        return gain_with_peers(result)
    subject = f"Distillation and {number_of(finetuned, 'more epoch')} of finetuning" if finetuned else "Distillation"
    gave = f"{subject} gave {points(gap.gain)} points"
    if gap.gain >= 0:
        of_gap = f": {percent(gap.share, 0)} of the gap to the teacher" if gap.share is not None else f"; {gap.reason}"
        return f"{gave} over the baseline{of_gap}."
    fell = f"the student fell below its baseline by {in_points(-gap.gain)}"
    return f"{gave}: {fell}." if gap.reason == fell else f"{gave}: {fell}; {gap.reason}."


def _nothing_distilled_sentence(result: Mapping[str, Any], finetuned: int) -> str:
    gap = gap_in(result)
    text = NOTHING_DISTILLED if gap is not None else NOTHING_DISTILLED.partition(", as")[0]
    if gap is None or not finetuned:
        return f"{text}."
    return f"{text}; {number_of(finetuned, 'more epoch')} of finetuning gave {points(gap.gain)} points."


def part_of_images(result: Mapping[str, Any]) -> str:
    """A sentence on the images that the student learned from, where these are not all training images."""
    data, teacher = result.get("data") or {}, result.get("teacher") or {}
    student, images = data.get("student"), data.get("train")
    if data.get("made"):
        return _made_images_sentence(result, data["made"])
    unlabelled = data.get("unlabelled")
    taught = (
        f"The student was also taught on {number_of(unlabelled, 'image')} without labels, by its teacher alone."
        if unlabelled
        else ""
    )
    if student is None or images is None or student >= images:
        return taught
    subject = "Student and baseline" if result.get("baseline") else "The student"
    of_teacher = ", the teacher from all" if teacher.get("images_seen") else ""
    sentence = f"{subject} learned from {student:,} of the {images:,} training images{of_teacher}."
    return f"{sentence} {taught}" if taught else sentence


def _made_images_sentence(result: Mapping[str, Any], made: int) -> str:
    """A sentence on a student that saw no training image."""
    method = ((result.get("student") or {}).get("made_images") or {}).get("method")
    by = f" by {method}" if method else ""
    baseline = ", its baseline on training images with labels" if result.get("baseline") else ""
    return (
        f"The student saw no training image: it was taught on {made:,} images that were made from its teacher{by}"
        f"{baseline}. The validation and test images are real."
    )


def _absent_classes_sentence(result: Mapping[str, Any]) -> str:
    """A sentence on the classes of which student and baseline saw no image."""
    clauses = []
    for stage in ("student", "baseline"):
        absent = (result.get(stage) or {}).get("absent_classes") or {}
        accuracy, shift, shifted, of_all = (
            absent.get(name) for name in ("accuracy", "shift", "shifted_accuracy", "shifted_accuracy_of_all")
        )
        if accuracy is not None:
            clauses.append(f"the {stage} is right on {percent(accuracy)}")
        if accuracy is not None and shift is not None and shifted is not None and of_all is not None:
            clauses.append(
                f"with {shift:+.2f} added to their logits, chosen on validation images, on {percent(shifted)} of them "
                f"and {percent(of_all)} of all"
            )
    return f"Of the test images of classes that it never saw, {'; '.join(clauses)}." if clauses else ""


def attacked_sentence(result: Mapping[str, Any]) -> str:
    """A sentence on the accuracies for attacked test images."""
    stages = [(stage, result[stage]) for stage in reversed(STAGES) if (result.get(stage) or {}).get("attacked_by")]
    accuracies = [
        f"the {stage} {percent(numbers['pgd_accuracy'])}" for stage, numbers in stages if "pgd_accuracy" in numbers
    ]
    if not accuracies:
        return ""
    change = four_digits(stages[0][1]["attacked_by"])
    return f"Under attack (20 steps of PGD, pixels changed by up to {change} of their range): {', '.join(accuracies)}."


def own_views(result: Mapping[str, Any]) -> str:
    """A sentence on the teachers that trained with an augmentation of their own."""
    clauses = []
    for role, view in (result.get("views") or {}).items():
        changes = ", ".join(f"{name} {_setting(value)}" for name, value in view.items())
        subject = "the teacher" if role == "teacher" else role
        clauses.append(f"{subject} trained with {changes}")
    if not clauses:
        return ""
    text = " and ".join(clauses)
    return f"{text[0].upper()}{text[1:]}, which the student's images did not have."


def kept_outputs(result: Mapping[str, Any]) -> str:
    """A sentence on where the teacher's logits came from, where the teacher did not run in each step."""
    outputs = result.get("teacher_outputs") or {}
    if outputs.get("key") is None:
        return ""
    origin = "were in the store" if outputs.get("reused") else "were computed once and put into the store"
    kinds = ", ".join(filter(None, (outputs.get("source"), outputs.get("dtype"))))
    text = f"The teacher's logits for training images {f'({kinds}) ' if kinds else ''}{origin}"
    saved = outputs.get("passes_saved")
    if not saved or saved < 0:
        return f"{text}."
    return f"{text}: {number_of(round(saved), 'image')} did not pass through the teacher again."


def _setting(value: float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def _sizes_sentence(result: Mapping[str, Any]) -> str:
    teacher, student = result.get("teacher") or {}, result["student"]
    parts = []
    if teacher.get("parameters") and student.get("parameters"):
        parts.append(f"has {relative_count(student['parameters'], teacher['parameters'], 'parameters')} the teacher")
    if student.get("agreement") is not None:
        alike = percent(student["agreement"])
        parts.append(
            f"says the same as the teacher on {alike} of the labels of the test images"
            if has_map(result)
            else f"predicts the teacher's class on {alike} of the test images"
        )
    return f"The student {' and '.join(parts)}." if parts else ""


def speed_sentence(result: Mapping[str, Any]) -> str:
    """A sentence on how long one image takes the student and the teacher, on the device of the run."""
    student, teacher = ((result.get(stage) or {}).get("latency") for stage in (STUDENT, TEACHER))
    if not student or not teacher:
        return ""
    times_of_both = f"{milliseconds(student)} {_device_in_words(result)}, and the teacher {milliseconds(teacher)}"
    if any(_was_disturbed(result.get(stage)) for stage in (STUDENT, TEACHER)):
        beside = roughly_relative(student, teacher, "faster", "slower", "as fast")
        return (
            f"One image takes it {times_of_both}: {beside}. The machine was busy meanwhile: some passes took more than "
            f"{DISTURBED:g} times the median."
        )
    return f"One image takes it {times_of_both}: {relative(student, teacher, 'faster', 'slower', 'as fast')}."


def _was_disturbed(network: Any) -> bool:
    """True where one pass in 20 of one image took far longer than the median one: other jobs had the processor."""
    passes = (((network or {}).get("inference")) or {}).get("one") or {}
    median, p95 = passes.get("median"), passes.get("p95")
    return bool(median and p95 and p95 > DISTURBED * median)


def _device_in_words(result: Mapping[str, Any]) -> str:
    """The device and the CPU threads of the passes that were timed, such as 'on cpu with 1 thread'."""
    device = (result.get("environment") or {}).get("device")
    threads = ((result.get(STUDENT) or {}).get("inference") or {}).get("threads")
    if device != "cpu":
        return f"on {device}" if device else "on the device of the run"
    return "on the CPU" + (f" with {threads} thread{'' if threads == 1 else 's'}" if threads else "")


def _budget_sentence(result: Mapping[str, Any]) -> str:
    """The student's training beside its baseline's: how much more it took, and whether it saw more views of images.

    Without a baseline, it is the one that would have been trained.
    """
    compute = (result.get("budget") or {}).get("times_baseline")
    student, baseline = (((result.get(stage) or {}).get("images_seen")) for stage in ("student", "baseline"))
    more = f"{times(student / baseline)} times as many views of images" if student and baseline else ""
    more = more if student and baseline and student > baseline else ""
    if not compute or not run_of(result).taught:
        return f"The student saw {more} as its baseline." if more else ""
    alone = "the baseline's compute" if result.get("baseline") else "the compute of the same training without a teacher"
    sentence = f"Its training took {times(compute)} times {alone} (multiply-accumulates)"
    return f"{sentence}, on {more}." if more else f"{sentence}."


def _injected_sentence(result: Mapping[str, Any]) -> str:
    injected = result["student"].get("injected")
    if not injected:
        return ""
    subject = "Student and baseline began" if result.get("baseline") else "The student began"
    share = percent(injected["share"])
    return f"{subject} with weights of the teacher: {count(injected['parameters'])} of the parameters, {share}."


def _chain_sentences(result: Mapping[str, Any]) -> list[str]:
    """A sentence on the networks between teacher and student, and one on the mean of the generations."""
    chain = result.get("chain") or {}
    if not chain.get("links"):
        return []
    links = [f"{link['stage']} ({percent(link['accuracy'])})" for link in chain["links"]]
    accuracy = (result.get("teacher") or {}).get("accuracy")
    first = "The teacher" + (f" ({percent(accuracy)})" if accuracy is not None else "")
    student = f"the student ({percent(result['student']['accuracy'])})"
    sentences = [f"{first} taught {', which taught '.join([*links, student])}."]
    ensemble = chain.get("ensemble")
    if ensemble:
        which = f"The mean of the predictions of all {ensemble['networks']} generations"
        sentences.append(f"{which} is right on {percent(ensemble['accuracy'])}.")
    return sentences


def _average_sentences(result: Mapping[str, Any]) -> list[str]:
    """A sentence on the average of the weights of each network that has one."""
    averages = {stage: (result.get(stage) or {}).get("ema") for stage in STAGES}
    return [
        f"The average of the {stage}'s weights (decay {average['decay']:g}) "
        f"{words_of(result)(percent(average['accuracy']))}."
        for stage, average in averages.items()
        if average
    ]


def _stopping_sentences(result: Mapping[str, Any]) -> list[str]:
    """A sentence on each network whose training could stop early."""
    sentences = []
    stoppings = {stage: (result.get(stage) or {}).get("early_stopping") for stage in STAGES}
    stoppings["finetuning"] = result["student"].get("finetune_early_stopping")
    for stage, stopping in stoppings.items():
        if stopping:
            trained = f"trained for {stopping['epochs']} of {stopping['planned']} epochs"
            weights = f"has the weights of epoch {stopping['kept']}, its best by {stopping['metric']}"
            sentences.append(f"The {stage} {trained} and {weights}.")
    return sentences


def relative_count(number: float, reference: float, things: str) -> str:
    """The comparison of two numbers above 0, such as '2.0 times fewer parameters than' or 'as many parameters as'."""
    return f"{relative(number, reference)} {things} {'as' if number == reference else 'than'}"


def _best_epoch_sentence(result: Mapping[str, Any]) -> str:
    best = result["student"].get("best_val") or {}
    if best.get("epoch") is None:
        return ""
    epoch = f"{best['epoch']} of finetuning" if best.get("stage") == "finetune" else best["epoch"]
    measured = [
        f"{percent(best[key])} on the {split} images"
        for key, split in (("val_accuracy", "validation"), ("accuracy", "test"))
        if best.get(key) is not None
    ]
    sentence = f"Its best validation epoch was {epoch}{', with ' if measured else ''}{' and '.join(measured)}."
    images = (result.get("data") or {}).get("val")
    if images and images < FEW_IMAGES and not has_map(result):
        sentence += (
            f" It was chosen on only {number_of(images, 'validation image')}: one of them is {100 / images:.1f} points."
        )
    return sentence

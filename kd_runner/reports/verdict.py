"""The verdict on distillation, which stands first in a report: whether it helped, by how much, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kd_runner.comparison.fold_samples import fold_key
from kd_runner.comparison.groups import Group, by_data_set
from kd_runner.comparison.learning import guessing_in_words, neither_has_learned
from kd_runner.comparison.statistics import SURE, Gain
from kd_runner.files.scores import words_of
from kd_runner.formats import number_of
from kd_runner.reports.certainty import FEW, SEEDS, interval_in_words
from kd_runner.reports.peer_sentences import PEERS_COUNT_TOO, peers_in
from kd_runner.reports.summary import NOTHING_DISTILLED, few_images, test_images

ROUNDING = 1e-9  # percent, added to a sum of floats so that it is rounded as the number itself is on other lines
MOST_HALF_WIDTH = 0.5  # of an interval of an accuracy, or of a gain: a wider one says nothing

Word = Literal["helped", "cost", "unsure", "unlearned", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """A verdict in a word, in a headline, and in sentences that say how sure it is.

    Args:
        best: The group that the verdict is about: of those with a teacher, the most accurate on the validation images.
    """

    word: Word
    headline: str
    sentences: list[str]
    best: Group | None = None

    def __str__(self) -> str:
        return f"{self.headline}. {' '.join(self.sentences)}"


def verdict_of(groups: Sequence[Group]) -> Verdict:
    """The verdict on groups as `compared_groups` gives them, in their order; of several data sets, one for each.

    Headline, interval and p are of one test: with several rows, all three are corrected for their number.
    """
    of_data_sets = by_data_set(groups)
    if len(of_data_sets) > 1:
        sentences = [f"{ranked[0].data_set}: {_verdict_of_one(ranked)}" for ranked in of_data_sets]
        return Verdict("unknown", f"{len(of_data_sets)} data sets, each ranked by itself", sentences)
    return _verdict_of_one(groups)


def _verdict_of_one(groups: Sequence[Group]) -> Verdict:
    """The verdict on the groups of one data set."""
    if not groups:
        return Verdict("unknown", "No result yet", ["No run has been completed."])
    taught = [group for group in groups if group.taught]
    if not taught:
        headline, _, explanation = NOTHING_DISTILLED.partition(": ")
        return Verdict("unknown", headline, [f"{explanation[0].upper()}{explanation[1:]}."])
    best = taught[0]
    gain = best.corrected
    if gain is None:
        runs = "Its run has" if len(best.runs) == 1 else f"Its {len(best.runs)} runs have"
        runs = runs if len(groups) == 1 else "The runs of the first row have"
        sentence = f"{runs} no baseline, the same student trained without a teacher."
        return Verdict("unknown", "The gain is not known", [sentence], best)
    distinct: dict[int, Group] = {}  # rows of the same students count once
    for group in taught:
        distinct.setdefault(id(group.same_as or group), group)
    words = [_word(group) for group in distinct.values()]
    points = f"{100 * gain.mean:+.2f} points"
    headline = {
        "helped": f"Distillation helped: {points}",
        "cost": f"Distillation cost {words_of(best.runs[0].result).name}: {points}",
        "unsure": f"No sure difference: {points}",
        "unlearned": f"Neither student nor baseline has learned: {points} say nothing",
        "unknown": f"{points}, and nothing to say how sure that is",
    }[words[0]]
    sentences = [certainty_sentence(best, gain), *_doubts(best, words[0], gain)]
    if len(distinct) > 1:
        kind = "a teacher or peers" if any(map(_has_peers, taught)) else "a teacher"
        summary = _summary_of_rows(words, kind, best.val_accuracy is not None)
        sentences.append(words_of(best.runs[0].result).instead(summary))
    if not groups[0].taught:
        sentences.append("The first row of all has no teacher.")
    return Verdict(words[0], headline, sentences, best)


def _doubts(best: Group, word: str, gain: Gain) -> list[str]:
    """Sentences on what the gain of the first row cannot say: few seeds, lost seeds, few images, more images seen."""
    sentences = []
    if best.lacking:
        sentences.append(
            f"Only {len(best.runs)} of its {best.planned} runs {'has' if len(best.runs) == 1 else 'have'} a result."
        )
    if word == "unlearned":
        guessing = guessing_in_words(best)
        sentences.append(f"{guessing[0].upper()}{guessing[1:]}. Train longer, or with another learning rate.")
    if word == "unsure" and gain.seeds < FEW and not best.has_folds:
        sentences.append(f"More seeds would say more: {SEEDS}.")
    sentences += few_images(_images_of(best), words_of(best.runs[0].result))
    if _has_peers(best):
        sentences.append(PEERS_COUNT_TOO)
    elif _saw_more_images(best):
        sentences.append(
            "The student saw more images than its baseline (finetuning, or a second view of each), so not all of this "
            "is the teacher's."
        )
    return sentences


def _images_of(group: Group) -> int | None:
    """The number of test images of a row: those of a run, or of a cross-validation all that are in one of its folds."""
    if not group.has_folds:
        return test_images(group.runs[0].result)
    of_fold = {fold_key(run): test_images(run.result) for run in group.runs}
    deal = next(iter(of_fold))[0]
    return sum(number or 0 for (data_seed, _), number in of_fold.items() if data_seed == deal)


def certainty_sentence(group: Group, gain: Gain) -> str:
    """The gain of a group with its interval and its test, in a sentence."""
    noun = "fold" if group.has_folds else "seed"
    seeds = f"Over {gain.seeds} {noun}s" if gain.seeds > 1 else f"With one {noun}"
    baseline = 100 * (group.baseline.mean("student", "accuracy") or 0.0)
    words = words_of(group.runs[0].result)
    sentence = (
        f"{seeds}, the student {words(f'{baseline + 100 * gain.mean + ROUNDING:.2f} %')}, without "
        f"its {'peers' if _has_peers(group) else 'teacher'} {words.short} {baseline:.2f} %"
    )
    if gain.low is None or gain.high is None or gain.p is None:
        return f"{sentence}."
    test = (
        f"paired t-test over {gain.over}"
        if gain.over in ("seeds", "folds")
        else "sign test over images"
        if gain.seeds > 1
        else "McNemar's"
    )
    sentence += f": a gain of {100 * gain.mean:+.2f} points, {_interval(gain)}"
    sentence += f" ({test}, p = {gain.p:.2g}"
    if gain.rows > 1:
        sentence += f"; interval and p with Holm's correction for {gain.rows} rows"
    if gain.over == "images":
        return f"{sentence}). That knows of the images alone: how far another seed would be from this is not in it."
    return f"{sentence})."


def _interval(gain: Gain) -> str:
    """The 95 % interval of a gain in words; no gain is beyond 100 points."""
    assert gain.low is not None
    assert gain.high is not None
    if (gain.high - gain.low) / 2 > MOST_HALF_WIDTH:
        return f"95 % interval wider than 100 points, so too few {gain.over or 'seeds'} to tell"
    return f"95 % {interval_in_words(gain.low, gain.high)}"


def _word(group: Group) -> Word:
    gain = group.corrected
    if gain is not None and neither_has_learned(group):
        return "unlearned"
    if gain is None or gain.p is None:
        return "unknown"
    if gain.p >= SURE:
        return "unsure"
    return "helped" if gain.mean > 0 else "cost"


def _has_peers(group: Group) -> bool:
    return any(peers_in(run.result) for run in group.runs)


def _saw_more_images(group: Group) -> bool:
    student, baseline = group.values("student", "images_seen"), group.values("baseline", "images_seen")
    return len(student) > 0 and len(baseline) > 0 and student.mean() > baseline.mean()


def _summary_of_rows(words: Sequence[str], kind: str, by_validation: bool) -> str:
    """The rows' verdicts counted, and how the row was chosen that the headline is about.

    Args:
        kind: The network that all these rows have, such as 'a teacher'.
    """
    meanings = {
        "helped": "gained",
        "cost": "lost",
        "unsure": "without a sure difference",
        "unlearned": "of networks that have not learned",
        "unknown": "not comparable",
    }
    counts = [f"{words.count(word)} {meaning}" for word, meaning in meanings.items() if word in words]
    tested = "" if set(words) <= {"unlearned", "unknown"} else f" (p below {SURE:g}, corrected)"
    chosen = (
        "This one was chosen by its accuracy on the validation images: the test images had no part in the choice."
        if by_validation
        else "This one was chosen by the test images that it is measured on, which flatters it: its results have no "
        "accuracy on validation images."
    )
    return f"Of {number_of(len(words), 'row')} with {kind}, {', '.join(counts)}{tested}. {chosen}"

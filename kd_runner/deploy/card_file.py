"""The file of a model card: a card that a person has changed stays, and that of another student beside its files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from itertools import count
from pathlib import Path

from kd_runner.files.contents import is_link

CARD = "MODEL_CARD.md"
# The last line of a card: the SHA-256 of the weights that it is about, and that of the text above.
MARK = re.compile(rb"\n<!-- kd-runner: weights ([0-9a-f]{64}), text ([0-9a-f]{64}) -->\n\Z")


def with_mark(text: str, weights: str) -> bytes:
    """The bytes of a card, with the line by which it is known to be as kd-runner wrote it.

    Args:
        weights: The SHA-256 of the weights that it is about.
    """
    content = text.encode(errors="replace")
    return content + f"\n<!-- kd-runner: weights {weights}, text {hashlib.sha256(content).hexdigest()} -->\n".encode()


def free_card(folder: Path, weights: str, has_files_of: Callable[[str], bool]) -> Path:
    """The file in `folder` for a card: MODEL_CARD.md where it may be written, else MODEL_CARD_2.md and so on.

    Args:
        weights: The SHA-256 of the weights that the card is about.
        has_files_of: A function that says whether exported files of weights of a SHA-256 lie in `folder`.
    """
    names = (CARD if number == 1 else f"{Path(CARD).stem}_{number}.md" for number in count(1))
    return next(folder / name for name in names if _may_be_written(folder / name, weights, has_files_of))


def _may_be_written(card: Path, weights: str, has_files_of: Callable[[str], bool]) -> bool:
    if is_link(card) or not card.exists():
        return not is_link(card)
    content = card.read_bytes() if card.is_file() else b""
    mark = MARK.search(content)
    if mark is None or hashlib.sha256(content[: mark.start()]).hexdigest().encode() != mark[2]:
        return False
    earlier_weights = mark[1].decode()
    return earlier_weights == weights or not has_files_of(earlier_weights)

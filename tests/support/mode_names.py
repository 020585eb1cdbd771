"""The names of the modes that tests try one after another."""

from __future__ import annotations

from kd_runner.config.conf_dir import CONF_DIR

OF_PEERS = ("dml", "kdcl")  # whose students learn from one another: tests/runs/stages/test_peer_stage.py tries these
OTHERS = ("deit", *OF_PEERS)  # the first is of another student: tests/distillation/test_deit.py


def modes_of_any_student() -> list[str]:
    """The modes that any student beside a teacher can have, `none` and others that do not look at the teacher too."""
    return sorted(path.stem for path in CONF_DIR.glob("distillation/*.yaml") if path.stem not in OTHERS)

"""The names of a run's stages, in result.json, in the log, in tags of metrics and in names of files."""

from __future__ import annotations

TEACHER = "teacher"  # further teachers are 'teachers.NAME'
BASELINE = "baseline"  # the student's network, trained on labels alone
STUDENT = "student"
FINETUNE = "finetune"  # the distilled student, trained on with labels alone
EVALUATE = "evaluate"

STAGES = (TEACHER, BASELINE, STUDENT)  # those with a network of their own, in the order in which they train
TIMED = (*STAGES, EVALUATE)  # those whose seconds are in result.json; finetuning counts as the student's

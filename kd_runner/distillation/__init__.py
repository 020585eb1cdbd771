"""Modes of distillation: one module for each option of the group, and what several modes have in common."""

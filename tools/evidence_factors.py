"""What is swept beside the pairs: one setting at a time, absent classes, and the settings of the default run."""

from __future__ import annotations

from evidence_pairs import PAIRS

MNIST_MLP = PAIRS["mnist_all"].words
FACTORS: dict[str, tuple[str, ...]] = {
    "images": ("student.fraction=0.05,0.1,0.2,0.5,1",),
    "images_same_steps": ("student.fraction=0.05,0.1,0.2,0.5,1", "student.steps=1080"),
    "temperature": ("temperature.value=1,2,4,8,16",),
    "epochs": ("student.epochs=15,30,60,120,240",),
    "weight": ("distillation.label_weight=0,0.1,1,10",),
    "student": ("student.channels=[2,4],[4,8],[8,16],[16,32]",),
    "teacher": ("teacher.channels=[2,4],[8,16],[32,64],[64,128]",),
    "sure_teacher": ("teacher.epochs=2,5,20,80",),
    "label_noise": ("dataset.label_noise=0,0.1,0.2,0.4",),
    "label_noise_all_images": ("dataset.label_noise=0,0.1,0.2,0.4", "student.fraction=1"),
    "label_noise_stopped": ("dataset.label_noise=0,0.1,0.2,0.4", "early_stopping.metric=val_accuracy"),
    "label_noise_all_images_stopped": (
        *("dataset.label_noise=0,0.1,0.2,0.4", "student.fraction=1", "early_stopping.metric=val_accuracy"),
    ),
    "label_noise_all_images_smoothed": (
        *("student.label_smoothing=0,0.1,0.2,0.4", "dataset.label_noise=0.2", "student.fraction=1"),
    ),
    "label_noise_smoothed": ("student.label_smoothing=0,0.1,0.2,0.4", "dataset.label_noise=0.2"),
    "view": (
        *(word for word in MNIST_MLP if not word.startswith("teacher.dataset")),
        "teacher.dataset={crop_padding: 0},{crop_padding: 2}",
        *("temperature.value=4", "teacher_outputs=cache"),
    ),
}
ABSENT = ("no_threes", "sevens_and_eights")  # experiments whose student sees no image of some classes

# The searches behind the default run: of the student's epochs and rate, then of the rate of all stages.
DEFAULT = {
    "digits": (
        (
            *("seed=100,101,102,103,104", "student.fraction=0.1", "student.epochs=60,120,240,400"),
            *("student.optimizer={lr: 0.001},{lr: 0.003},{lr: 0.01}", "optimizer.lr=0.001"),
        ),
        ("seed=100,101,102,103,104", "student.fraction=0.1", "student.epochs=60,120", "optimizer.lr=0.003,0.01"),
    )
}

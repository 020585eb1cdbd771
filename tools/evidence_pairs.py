"""The pairs of docs/results.md: a teacher and a student on a data set, and what a search of their settings may use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Modes that ask for another student, or for a teacher without hidden layers.
OTHER_NETWORKS = ("catkd", "deit", "sdd", "dml", "kdcl")
ROBUST = ("ard", "rslad")  # modes with teachers of their own, which learned from attacked images


@dataclass(frozen=True)
class Pair:
    """A teacher and a student on a data set.

    Args:
        note: What a reader of the table must know of it.
        words: The settings of all its runs, beside `epochs`.
        epochs: Epochs of the student.
        rates: Learning rates to try; none: the weights alone.
        full: True for twelve trials of each mode, else six.
        search_seeds, seeds: Seeds of the search and of the table.
        more_seeds: Seeds that the table got after that of `seeds` had been seen, their number fixed before they ran.
        none_seeds: More seeds of the search for the student without a teacher, whose settings all gains depend on.
        search_words: Settings of the search that the table does not have.
        longer: Epochs of one more row, the student without a teacher for longer, which shows whether it has converged.
        modes: The modes of the table; none: all.
        grids: The words of sweeps that make the table without a search; none: the modes with the settings of a search.
    """

    title: str
    note: str
    words: tuple[str, ...]
    epochs: int
    seeds: tuple[int, ...]
    rates: tuple[float, float] = (0.0, 0.0)
    search_seeds: tuple[int, ...] = ()
    none_seeds: tuple[int, ...] = ()
    more_seeds: tuple[int, ...] = ()
    full: bool = False
    search_words: tuple[str, ...] = ()
    longer: int = 0
    modes: tuple[str, ...] = ()
    grids: tuple[tuple[str, ...], ...] = ()


def all_modes() -> tuple[str, ...]:
    """The names of the modes that any of the pairs can have."""
    return tuple(
        sorted(path.stem for path in (ROOT / "conf" / "distillation").glob("*.yaml") if path.stem not in OTHER_NETWORKS)
    )


TEN = tuple(range(10))
LONGER = "none_longer"
ALONE = ("none", LONGER)  # students without a teacher
CNN_ON = ("teacher=cnn", "student=cnn", "teacher.seed=0", "teacher.optimizer={lr: 0.001}", "batch_size=128")
FEW = ("student.fraction=0.01", "dataset.val_fraction=0.02", *CNN_ON)
MORE = ("student.fraction=0.05", *FEW[1:])
TEACHER_OF_FEW = (
    "The teacher, the same for all seeds, learns from all 58,800 training images (1,200 are for validation), the "
)
FEW_NOTE = f"{TEACHER_OF_FEW}student from 1 % of each class, for 80 epochs of five steps."
MORE_NOTE = f"{TEACHER_OF_FEW}student from 5 % of each class, for 40 epochs of 23 steps."
MOVED_NOTE = "The teacher's own images are moved by up to two pixels, the student's are not."
ROBUST_NOTE = "`ard` and `rslad` have another teacher, which learned from attacked images."
SAME_SEEDS_NOTE = "All modes but 16 were searched and run after the others had been seen, with the same seeds."
FASHION = ("dataset=fashion_mnist", "teacher.epochs=8")
MNIST_MOVED = ("dataset=mnist", "teacher.epochs=5", "teacher.dataset={crop_padding: 2}")
# Of each kind of mode some: what the pairs that take longest are run with.
FEW_MODES = (
    *("none", "soft", "dkd", "nkd", "dist", "wsld", "logits_l2", "logit_standardization", "function_matching", "mlkd"),
    *("label_smoothing", "rkd", "pkt", "sp", "at", "vid", "fitnets"),
)
FOUNDING = ("experiment=founding/mnist", "teacher.seed=0", "teacher_outputs=cache")
PAPER = (
    "Section 3 of Hinton, Vinyals and Dean 2015 (arXiv:1503.02531): a net of two layers of 1,200 units, trained with "
    "dropout, max-norm and moved images, has 67 test errors of 10,000 (99.33 %); one of 800 units without them 146 "
    "(98.54 %); the same, distilled at a temperature of 20, 74 (99.26 %)."
)
ON_GPU = "Run on an NVIDIA H100 with torch 2.11."
PAIRS = {
    "digits_default": Pair(
        "Digits, a tenth of the images for the student, every mode with its default weights",
        "The default run with each mode. The teacher, one for each seed, learns from all 1,132 training images, the "
        "student from 111; the teachers of `ard` and `rslad` are others, which learned from attacked images. A mode "
        "whose weight is free has the one of six, from 0.03 to 10 times the published, that was best on validation "
        "images over seeds 100 to 104 (the search `digits_weights`, below; for `cc`, `logit_standardization`, "
        "`semckd` and `srd`, where several were equal, one of them, by no rule). The other modes and `none` had "
        "nothing to search. That the weights were searched followed a table with the published ones, in which `at` "
        "and `fsp` lost.",
        (),
        60,
        seeds=TEN,
        grids=((f"distillation={','.join(all_modes())}",),),
    ),
    "digits_tenth": Pair(
        "Digits, a tenth of the images for the student: CNN to CNN",
        "The default run but for the settings of the table. The teacher, one for each seed, learns from all 1,132 "
        "training images, the student from 111; the teachers of `ard` and `rslad` are others, which learned from "
        "attacked images. The 126 validation images are few to choose by. `none` and `none_longer` were searched with "
        "five seeds, the modes with one. `ard`, `cwd`, `ickd`, `kdsvd`, `logit_discriminator`, `mgd`, `normkd`, `pad`, "
        "`rslad`, `semckd`, `srd`, `ttm` and `wttm` were searched and run after the others, with the same 30 seeds, "
        "fixed before.",
        ("teacher.optimizer={lr: 0.01}",),
        60,
        longer=240,
        rates=(0.01, 0.02),
        search_seeds=(100,),
        none_seeds=(101, 102, 103, 104),
        seeds=TEN,
        more_seeds=tuple(range(10, 30)),
        full=True,
    ),
    "digits_resnet": Pair(
        "Digits, a tenth of the images for the student: ResNet-20 to ResNet-8",
        "The default run but for its networks and the settings of the table. The teacher, one for each seed, learns "
        "from all 1,132 training images, the student from 111; the teachers of `ard` and `rslad` are others, which "
        "learned from attacked images. The 126 validation images are few to choose by. `none` was searched with five "
        "seeds, and so was `none_longer`, the modes with one.",
        ("teacher=resnet", "teacher.depth=20", "student=resnet", "student.depth=8", "teacher.optimizer={lr: 0.01}"),
        60,
        longer=240,
        rates=(0.005, 0.01),
        search_seeds=(100,),
        none_seeds=(101, 102, 103, 104),
        seeds=TEN,
        full=True,
    ),
    "digits_weights": Pair(
        "Digits, a tenth of the images for the student: the weight of each mode",
        "The default run with each mode whose weight is free, and factors of its published weight.",
        (),
        60,
        seeds=(),
        search_seeds=(100, 101, 102, 103, 104),
        modes=(
            *("ab", "at", "cc", "confidence_penalty", "crd", "cwd", "dist", "fitnets", "fsp", "ft", "ickd", "kdsvd"),
            *("logit_standardization", "mgd", "nkd", "normkd", "nst", "ofa", "ofd", "pad", "pkt", "reviewkd", "semckd"),
            *("sp", "srd", "srrl", "vid"),
        ),
    ),
    "fashion_one_percent": Pair(
        "Fashion-MNIST, 1 % of the images for the student: CNN to CNN",
        f"{FEW_NOTE} {ROBUST_NOTE} Ten seeds were fixed before; the last two ran after "
        "the table of the first eight had been seen.",
        (*FASHION, *FEW),
        80,
        rates=(0.005, 0.01),
        longer=320,
        search_seeds=(100,),
        seeds=TEN,
    ),
    "mnist_one_percent": Pair(
        "MNIST, 1 % of the images for the student: CNN to CNN",
        f"{FEW_NOTE} {MOVED_NOTE} {ROBUST_NOTE} {SAME_SEEDS_NOTE}",
        (*MNIST_MOVED, *FEW),
        80,
        rates=(0.005, 0.01),
        longer=320,
        search_seeds=(100,),
        seeds=TEN,
    ),
    "fashion_five_percent": Pair(
        "Fashion-MNIST, 5 % of the images for the student: CNN to CNN",
        f"{MORE_NOTE} {ROBUST_NOTE} {SAME_SEEDS_NOTE}",
        (*FASHION, *MORE),
        40,
        rates=(0.005, 0.01),
        longer=160,
        search_seeds=(100,),
        seeds=TEN,
    ),
    "mnist_five_percent": Pair(
        "MNIST, 5 % of the images for the student: CNN to CNN",
        f"{MORE_NOTE} {MOVED_NOTE} {ROBUST_NOTE} {SAME_SEEDS_NOTE} "
        "The settings of `reviewkd` and `semckd` were searched on an NVIDIA H200 with torch 2.11, with the file of the "
        "same teacher.",
        (*MNIST_MOVED, *MORE),
        40,
        rates=(0.005, 0.01),
        longer=160,
        search_seeds=(100,),
        seeds=TEN,
    ),
    "cifar10_two_percent": Pair(
        "CIFAR-10, 2 % of the images for the student: CNN to CNN",
        "The images are 32x32 JPEG files, so that accuracies are a little lower than on the original ones. The "
        "teacher, the same for all seeds, learns from all 49,000 training images (1,000 are for validation), the "
        "student from 2 % of each class; both from moved and mirrored images. All modes trained at the one rate of "
        "their search, which is four times the best of `none`: at 0.01 that was right on 46.3 % of the search's "
        "validation images and `label_smoothing` on 47.0 %, at its best `none` was on 49.2 %. What loses here may lose "
        "by that rate.",
        (
            *("dataset=cifar10", "dataset.val_fraction=0.02", "student.fraction=0.02", *CNN_ON),
            *("student.channels=[16,32]", "teacher.epochs=20"),
        ),
        60,
        rates=(0.005, 0.01),
        longer=240,
        search_seeds=(100,),
        seeds=(0, 1, 2, 3, 4),
        modes=FEW_MODES,
    ),
    "mnist_all": Pair(
        "MNIST, all images: CNN that learned from moved images to an MLP that sees no moved ones",
        "The teacher, the same for all seeds, learns for five epochs from images moved by up to two pixels; the "
        "student, an MLP with two layers of 128 units, for ten epochs from the images as they are. In the search, "
        "students with a mode train for five epochs, those without for as long as in the table.",
        (
            *("dataset=mnist", "teacher=cnn", "teacher.seed=0", "teacher.epochs=5"),
            "teacher.dataset={crop_padding: 2}",
            *("teacher.optimizer={lr: 0.001}", "batch_size=128", "student=mlp", "student.hidden=[128,128]"),
        ),
        10,
        rates=(0.001, 0.002),
        search_words=("student.epochs=5",),
        longer=30,
        search_seeds=(100,),
        seeds=(0, 1, 2, 3, 4),
        more_seeds=(5, 6, 7, 8, 9),
        modes=(
            *("none", "soft", "hybrid", "dkd", "nkd", "dist", "wsld", "logits_l2", "logit_standardization", "mlkd"),
            *("function_matching", "hard", "label_smoothing", "tf_kd_reg", "rkd", "pkt", "sp", "cc"),
            *("srrl", "simkd"),
        ),
    ),
    "founding_mnist": Pair(
        "The founding row: MNIST, a CNN that learned from moved images to an MLP of 800 and 800 units",
        f"{PAPER} Here the teacher is a CNN, the same for all seeds. Seeds 0 to 2 had been tried at a temperature of 4 "
        f"before. The direction is the paper's, the size is not: there soft targets gave 0.72 points. {ON_GPU}",
        FOUNDING,
        20,
        seeds=TEN,
        grids=(("distillation=none",), ("distillation=soft", "temperature.value=1,2,4,8,20")),
    ),
    "founding_paper": Pair(
        "The founding row with a teacher of the paper's kind: an MLP of 1,200 and 1,200 units",
        f"{PAPER} Here one teacher of that kind, trained for 100 epochs, is that of all seeds; it has 90 test "
        f"errors, and its students gain a quarter of what the paper's did. {ON_GPU} `none` of seeds 6 to 9 is that of "
        "the table above: without a teacher, a student is the same in both (to the last digit in seeds 0 to 5, which "
        "were run in both).",
        (
            *FOUNDING,
            *("teacher=mlp", "teacher.hidden=[1200,1200]", "teacher.dropout=[0.2,0.5]", "teacher.epochs=100"),
            "+optimizer@teacher.optimizer=max_norm_sgd",
        ),
        20,
        seeds=TEN,
        grids=(("distillation=none",), ("distillation=soft", "temperature.value=20")),
    ),
    "cifar10_resnet": Pair(
        "CIFAR-10, a fifth of the images for the student: ResNet-20 to ResNet-8",
        "The images are 32x32 JPEG files, so that accuracies are a little lower than on the original ones. The "
        "teacher, the same for all seeds, learns from all 45,000 training images (5,000 are for validation), the "
        "student from a fifth of each class; both from moved and mirrored images. In the search, students train for "
        "half as long.",
        (
            *("dataset=cifar10", "teacher=resnet", "teacher.depth=20", "student=resnet", "student.depth=8"),
            *("student.fraction=0.2", "optimizer=sgd", "batch_size=128", "teacher.seed=0", "teacher.epochs=40"),
            "teacher.optimizer={lr: 0.1}",
        ),
        40,
        rates=(0.05, 0.1),
        search_words=("student.epochs=20",),
        longer=80,
        search_seeds=(100,),
        seeds=TEN,
        modes=(
            *("none", "soft", "dkd", "nkd", "dist", "wsld", "logits_l2", "logit_standardization", "function_matching"),
            *("label_smoothing", "rkd", "pkt", "sp", "at", "srrl", "simkd"),
        ),
    ),
}

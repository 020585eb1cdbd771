"""The schemas by which result.json, analysis.json and search.json are read back: `RESULT`, `ANALYSIS`, `SEARCH`.

`files.tolerant_json` leaves out what does not fit them.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator

Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Real = Annotated[float, Field(strict=True, ge=-1e30, le=1e30, allow_inf_nan=False)]
Amount = Annotated[float, Field(strict=True, ge=0, le=1e18, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True, ge=0, le=10**18)]
Text = Annotated[str, Field(strict=True)]


def _simple(value: Any) -> Any:
    if isinstance(value, (int, str)) or value is None:
        return value
    raise ValueError("must be a number or a text")


Seed = Annotated[Any, BeforeValidator(_simple)]


class _Part(BaseModel):
    """Some keys of an object in JSON; those of other versions may stand beside them."""

    model_config = ConfigDict(extra="allow", defer_build=True)  # until there is a file to check


class _Correct(_Part):
    images: Annotated[int, Field(strict=True, ge=1, le=10**9)]
    bits: Text
    of: Text | None = None

    @model_validator(mode="after")
    def _as_long_as_it_says(self) -> _Correct:
        if len(base64.b64decode(self.bits, validate=True)) != -(-self.images // 8):
            raise ValueError(f"must hold {self.images} bits")
        return self


class _Best(_Part):
    stage: Text | None = None
    epoch: Whole | None = None
    accuracy: Share | None = None
    val_accuracy: Share | None = None


class _OnTrainingImages(_Part):
    images: Whole
    accuracy: Share
    largest_probability: Share | None = None
    temperature: Amount | None = None
    reads_temperature: bool | None = None


class _Judged(_Part):
    val_accuracy: Share | None = None
    guessing_map: Share | None = None
    recorded_map: Share | None = None
    largest_class: Share | None = None
    recorded_accuracy: Share | None = None
    warning: Text | None = None


class _Injected(_Part):
    parameters: Whole
    share: Share


class _EarlyStopping(_Part):
    metric: Text
    epochs: Whole
    planned: Whole
    kept: Whole


class _Times(_Part):
    images: Amount
    median: Amount
    p95: Amount | None = None
    passes: Whole | None = None


class _PeakMemory(_Part):
    one: Amount | None = None
    many: Amount | None = None


class _Inference(_Part):
    one: _Times | None = None
    many: _Times | None = None
    peak_memory: _PeakMemory | None = None
    energy: Amount | None = None
    energy_counter: Text | None = None
    threads: Whole | None = None


class _MadeImages(_Part):
    method: Text | None = None
    images: Whole | None = None
    reused: bool | None = None
    seconds: Amount | None = None


class _Calibrated(_Part):
    temperature: Amount | None = None
    nll: Real | None = None
    ece: Share | None = None


class _Shifted(_Part):
    accuracy: Share
    nll: Real | None = None
    ece: Share | None = None
    agreement: Share | None = None
    images: Whole | None = None


class _UnderCorruption(_Part):
    accuracy: list[Share]
    nll: list[Real] | None = None
    ece: list[Share] | None = None
    agreement: list[Share] | None = None
    error_beside_baseline: Amount | None = None


class _Corruptions(_Shifted):
    parameters: Text | None = None
    error_beside_baseline: Amount | None = None
    by_corruption: dict[str, _UnderCorruption] | None = None


class _AbsentClasses(_Part):
    accuracy: Share | None = None  # None without test images of these classes
    shift: Real | None = None
    shifted_accuracy: Share | None = None
    shifted_accuracy_of_all: Share | None = None


class _Average(_Part):
    decay: Share
    accuracy: Share
    val_accuracy: Share | None = None


class _WithSeveralLabels(_Part):
    """The metrics of a network where an image may have several labels."""

    map: Share | None = None
    val_map: Share | None = None
    val_maps: list[Share] | None = None
    micro_f1: Share | None = None
    label_accuracy: Share | None = None
    exact_match: Share | None = None
    bce: Real | None = None
    brier: Share | None = None


class _Stage(_WithSeveralLabels):
    accuracy: Share  # on the test images, as are the metrics after it
    val_accuracy: Share | None = None
    top5_accuracy: Share | None = None
    precision: Share | None = None
    recall: Share | None = None
    f1: Share | None = None
    nll: Real | None = None
    ece: Share | None = None
    balanced_accuracy: Share | None = None
    brier: Amount | None = None
    auroc: Share | None = None
    average_precision: Share | None = None
    parameters: Amount | None = None
    macs: Amount | None = None
    images_seen: Amount | None = None
    latency: Amount | None = None
    file_bytes: Amount | None = None
    inference: _Inference | None = None
    agreement: Share | None = None
    kl_to_teacher: Real | None = None
    correct: _Correct | None = None
    best_val: _Best | None = None
    val_accuracies: list[Share] | None = None
    sparsity: Share | None = None
    nonzero_parameters: Amount | None = None
    nonzero_macs: Amount | None = None
    macs_in_training: Amount | None = None
    pgd_accuracy: Share | None = None
    fgsm_accuracy: Share | None = None
    attacked_by: Share | None = None
    injected: _Injected | None = None
    made_images: _MadeImages | None = None
    early_stopping: _EarlyStopping | None = None
    finetune_early_stopping: _EarlyStopping | None = None
    ema: _Average | None = None
    absent_classes: _AbsentClasses | None = None
    judged: _Judged | None = None
    on_training_images: _OnTrainingImages | None = None
    calibrated: _Calibrated | None = None
    also: dict[str, _Shifted] | None = None
    corruptions: _Corruptions | None = None


class _Link(_Part):
    stage: Text
    taught_by: Text
    accuracy: Share
    parameters: Amount | None = None
    images_seen: Amount | None = None


class _Ensemble(_Part):
    networks: Whole
    accuracy: Share


class _Chain(_Part):
    links: list[_Link]
    ensemble: _Ensemble | None = None


class _Peer(_Part):
    stage: Text
    accuracy: Share
    val_accuracy: Share | None = None
    agreement: Share | None = None
    parameters: Amount | None = None
    images_seen: Amount | None = None


class _Peers(_Part):
    networks: list[_Peer]
    ensemble: _Ensemble | None = None


class _Spent(_Part):
    student: Amount | None = None
    teacher: Amount | None = None
    losses: Amount | None = None
    making: Amount | None = None
    total: Amount | None = Field(None, alias="sum")


class _StageBudget(_Part):
    images: Amount
    student_forwards: Amount | None = None
    student_backwards: Amount | None = None
    teacher_forwards: Amount | None = None
    teacher_backwards: Amount | None = None
    student_validations: Amount | None = None
    teacher_validations: Amount | None = None
    student_attacks: Amount | None = None
    teacher_attacks: Amount | None = None
    making: dict[str, Amount] | None = None
    macs: _Spent | None = None


class _Budget(_Part):
    teacher: _StageBudget | None = None
    baseline: _StageBudget | None = None
    student: _StageBudget | None = None
    times_baseline: Amount | None = None


class _LargestClass(_Part):
    name: Text = Field(alias="class")
    images: Whole
    share: Share


class _LeftOut(_Part):
    files: Whole | None = None
    kinds: dict[str, Whole] | None = None
    places: dict[str, Whole] | None = None
    hidden: Whole | None = None
    unreadable: Whole | None = None


class _Duplicates(_Part):
    train_val: Whole | None = None
    train_test: Whole | None = None
    val_test: Whole | None = None
    two_classes: Whole | None = None


class _Data(_Part):
    classes: Whole | None = None
    train: Whole | None = None
    student: Whole | None = None
    unlabelled: Whole | None = None
    made: Whole | None = None
    labels_per_image: Amount | None = None
    folds: Whole | None = None
    fold: Whole | None = None
    val: Whole | None = None
    test: Whole | None = None
    largest_class: dict[str, _LargestClass] | None = None
    missing_classes: dict[str, list[Text]] | None = None
    left_out: _LeftOut | None = None
    duplicates: _Duplicates | None = None
    fingerprints: dict[str, Text] | None = None


class _TeacherOutputs(_Part):
    source: Text | None = None
    dtype: Text | None = None
    key: Text | None = None
    reused: bool | None = None
    bytes: Amount | None = None
    largest_difference: Real | None = None
    passes: Amount | None = None
    passes_saved: Real | None = None


class _Described(_Part):
    name: Text | None = None
    notes: Text | None = None
    tags: list[Text] | None = None


class _Result(_Part):
    status: Text | None = None
    metric: Text | None = None
    described: _Described | None = None
    error: Text | None = None
    settings_digest: Text | None = None
    config_dir: Text | None = None
    overrides: list[Text] | None = None
    seed: Seed = None
    data_seed: Seed = None
    teacher: _Stage | None = None
    baseline: _Stage | None = None
    student: _Stage | None = None
    gap_closed: Real | None = None
    chain: _Chain | None = None
    peers: _Peers | None = None
    notes: list[Text] | None = None
    layers: dict[str, dict[str, list[Text]]] | None = None
    teacher_outputs: _TeacherOutputs | None = None
    views: dict[str, dict[str, float | bool]] | None = None
    data: _Data | None = None
    seconds: dict[str, Amount | None] | None = None
    budget: _Budget | None = None
    environment: dict[str, Any] | None = None


class _Objective(_Part):
    name: Text
    title: Text
    better: Text


class _Trial(_Part):
    number: Whole
    status: Text
    folder: Text
    overrides: list[Text]
    best_so_far: Real | None = None
    seeds: Whole | None = None


class _BestTrial(_Part):
    number: Whole
    folder: Text
    overrides: list[Text]
    words: list[Text]
    seeds: Whole | None = None


class _Search(_Part):
    trials: dict[str, Whole]
    best: list[_BestTrial]
    planned: Whole
    objectives: list[_Objective]
    history: list[_Trial]
    importances: dict[str, dict[str, Share]] | None = None
    no_importances: Text | None = None


class _Guess(_Part):
    number: Whole = Field(alias="class")
    probability: Share


class _Disagreement(_Part):
    index: Whole
    label: Whole
    image: Text
    teacher: _Guess
    student: _Guess


class _Example(_Part):
    index: Whole
    label: Whole | None = None
    image: Text
    top: list[_Guess]


class _SoftTargets(_Part):
    temperature: Amount
    made: bool | None = None
    examples: list[_Example]


class _Bins(_Part):
    nll: Real
    ece: Share
    counts: list[Whole]
    confidences: list[Share | None]
    accuracies: list[Share | None]


class _Network(_Part):
    confusion: list[list[Whole]] | None = None
    class_accuracy: list[Share | None] | None = None
    class_precision: list[Share | None] | None = None
    class_f1: list[Share | None] | None = None
    temperature: Amount | None = None
    before: _Bins | None = None
    after: _Bins | None = None


class _Labels(_Part):
    average_precision: list[Share | None]
    f1: list[Share | None] | None = None
    agreement: list[Share] | None = None


class _Analysis(_Part):
    labels: dict[str, _Labels] | None = None
    classes: list[Text] | None = None
    test_images: list[Whole] | None = None
    confusion_classes: list[Whole] | None = None
    networks: dict[str, _Network] | None = None
    disagreements: list[_Disagreement] | None = None
    soft_targets: _SoftTargets | None = None
    epochs: dict[str, list[dict[str, Real | None]]] | None = None


RESULT, ANALYSIS, SEARCH = TypeAdapter(_Result), TypeAdapter(_Analysis), TypeAdapter(_Search)

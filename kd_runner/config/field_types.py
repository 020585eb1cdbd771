"""Types of single settings: their ranges, and what is read in more than one form."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from kd_runner.suggestions import did_you_mean

Node = dict[str, Any]  # a `_target_` and its arguments
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Weight = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Keys = Annotated[str | None, BeforeValidator(lambda value: value if value is None else str(value))]


def _mean_of_pixels(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"must be from 0 to 1, between which pixels are scaled{_remedy(value)}")
    return value


def _deviation_of_pixels(value: float) -> float:
    if not 0 < value <= 1:
        raise ValueError(f"must be above 0, and at most 1, to which pixels are scaled{_remedy(value)}")
    return value


def _remedy(value: float) -> str:
    return ": divide it by 255" if 1 < value <= 255 else ""


Mean = Annotated[Number, AfterValidator(_mean_of_pixels)]  # of a channel
Std = Annotated[Number, AfterValidator(_deviation_of_pixels)]


def _layer_name(value: Any) -> str:
    if type(value) not in (str, int):  # an nn.Sequential counts its layers; 0.10 would be read as 0.1
        raise ValueError('must be the name of a layer, in quotes where it looks like a number: ["0.10"]')
    return str(value)


LayerName = Annotated[str, BeforeValidator(_layer_name)]
ASKED = ["?"]  # in place of names of layers: asks which layers there are
Layers = Annotated[list[LayerName], BeforeValidator(lambda value: ASKED if value == "?" else value)]
Words = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) in (int, float) else value)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
NonNegative = Annotated[int, Field(strict=True, ge=0)]
Magnitude = Annotated[int, Field(strict=True, ge=0, le=30)]
Flag = Annotated[bool, Field(strict=True)]
Precision = Literal["32", "bf16-mixed", "16-mixed"]
Residency = Literal["auto", "device", "host", "stream"]
LogitsDtype = Literal["float32", "float16"]
ONLINE, CACHE, VIEWS = "online", "cache", "views:"  # sources of the teacher's outputs; behind the last, a number


def _source_of_outputs(value: Any) -> str:
    text = str(value)
    count = text.removeprefix(VIEWS)
    is_count = text != count and count.isascii() and count.isdecimal() and 1 <= int(count) <= 1000
    if text not in (ONLINE, CACHE) and not is_count:
        raise ValueError("must be online, cache or views:K with K from 1 to 1000, such as views:8")
    return text if not is_count else f"{VIEWS}{int(count)}"


OutputsSource = Annotated[str, BeforeValidator(_source_of_outputs)]

# The metrics of the validation images by which a stage can stop. The last two compare the student with its teacher.
HIGHER_IS_BETTER = ("val_accuracy", "val_map", "val_agreement")
METRICS = ("val_accuracy", "val_map", "val_loss", "val_agreement", "val_kl_to_teacher")
OF_TEACHER_AND_STUDENT = ("val_agreement", "val_kl_to_teacher")


def _metric(value: Any) -> str | None:
    if value is not None and value not in METRICS:
        reason = ": test images are for the last word, and choose nothing" if str(value).startswith("test") else ""
        raise ValueError(f"must be a metric of the validation images ({', '.join(METRICS)}) or null{reason}")
    return value


Metric = Annotated[str | None, BeforeValidator(_metric)]


LOGGERS = ("tensorboard", "csv", "wandb", "mlflow", "trackio")


def _loggers(value: Any) -> Any:
    if not isinstance(value, list):
        raise ValueError(f"must be a list of {', '.join(LOGGERS)}, such as [tensorboard,csv]")
    for name in value:
        if name not in LOGGERS:
            raise ValueError(f"must be of {', '.join(LOGGERS)}, not {name}{did_you_mean(str(name), LOGGERS)}")
    if len(set(value)) < len(value):
        raise ValueError("must name each only once")
    return value


Loggers = Annotated[list[str], BeforeValidator(_loggers)]


def _flag_or_auto(value: Any) -> Any:
    if not isinstance(value, bool) and value != "auto":
        raise ValueError("must be true, false or auto")
    return value


FlagOrAuto = Annotated[bool | Literal["auto"], BeforeValidator(_flag_or_auto)]


def check_path(value: Any) -> Any:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ValueError("must be the path of a file, or null")
    return value


FilePath = Annotated[str | None, BeforeValidator(check_path)]


def _folder(value: Any) -> Any:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ValueError("must be the path of a folder, or null")
    return value


FolderPath = Annotated[str | None, BeforeValidator(_folder)]


def _without_even_rates(node: Any) -> Any:
    """The shared optimizer without a layer_decay of 1, which is off: what is left are the optimizer's arguments."""
    if not isinstance(node, dict) or type(node.get("layer_decay")) not in (int, float) or node["layer_decay"] != 1:
        return node
    return {name: value for name, value in node.items() if name != "layer_decay"}


Optimizer = Annotated[Node, BeforeValidator(_without_even_rates)]


def _class_weights(value: Any) -> Any:
    if value is None or value == "balanced":
        return value
    numbers = isinstance(value, (list, tuple)) and all(type(weight) in (int, float) for weight in value)
    if not numbers or not all(0 <= weight < math.inf for weight in value) or not sum(value) > 0:
        raise ValueError("must be balanced, or a list with a number of 0 or more for each class, or null")
    return value


ClassWeightsSetting = Annotated[Literal["balanced"] | list[float] | None, BeforeValidator(_class_weights)]
Smoothing = Annotated[float, Field(strict=True, ge=0, lt=1)]  # of labels
Decay = Annotated[float, Field(strict=True, gt=0, lt=1)]  # of a moving average
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Valid = TypeVar("Valid", bound=BaseModel)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BuiltSection(Section):
    """A section with fields of its own; its other keys are a callable and the arguments of that."""

    model_config = ConfigDict(extra="allow", frozen=True)

    target: str = Field(alias="_target_")

    @property
    def node(self) -> Node:
        """The callable and its arguments, without the section's own fields."""
        return {"_target_": self.target, **(self.model_extra or {})}

"""Every setting of a run, its bounds, the sizes and the run's name. Nothing else knows them.

The defaults are those of Wei et al. (ICML 2022, section 4.1) and, where the paper is silent, of the authors' released
code: SGD without Nesterov, weight decay on every parameter, batches of 128, and the last epoch's weights.
"""

import difflib
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from . import data, models

Method = Literal["cross_entropy", "logitnorm", "centred_logitnorm", "one_offset", "one_temperature", "logit_penalty", "godin",
                 "learned_confidence"]
METHODS = get_args(Method)
OFFSET = ("logitnorm", "one_offset", "one_temperature")  # the methods whose loss divides by a norm with an offset in it
TAU = (*OFFSET, "centred_logitnorm")  # the methods that have a tau

# The OOD sets at hand without network, by their own names; study.experiments.official names those they stand for.
AT_HAND: dict[str, Any] = dict(
    ood_sets=("textures_part", "svhn_part", "lsun_like_crop", "lsun_like_resize", "isun", "places_mini"),
    extra_sets=("cifar100", "tinyimagenet_resize", "mnist", "gaussian_noise"), history_ood="svhn_part")

# A size is a name for settings; nothing branches on it. What it does not say is the default of Config, which is the
# paper's, but for the precision.
SIZES: dict[str, dict[str, Any]] = {
    # Seconds on a CPU, nothing to download: scikit-learn's digits against patches of scikit-image's pictures.
    # It shows that the machinery works, and nothing about the papers.
    "smoke": dict(
        # 220 steps in all; with 110 at lr 0.2 LogitNorm's logits grow until its gradient vanishes
        id_dataset="digits", architecture="wrn10_1", epochs=5, batch_size=32, lr=0.05, nesterov=True, schedule="onecycle", dropout=0.0,
        precision="float32", ood_sets=("brick", "grass", "gravel", "text", "hubble", "photos"), extra_sets=(), history_ood="text"),
    # Half an hour to an hour and a quarter a run on one CPU core, real CIFAR-10, a narrow net, a short one-cycle
    # schedule. Dropout is left out: at this width and length it costs accuracy.
    "small": dict(AT_HAND, architecture="wrn10_2", epochs=12, lr=0.2, nesterov=True, schedule="onecycle", dropout=0.0),
    # The paper's own network with a schedule of 30 epochs: a few hours on one CPU core. The peak learning rate is the
    # paper's; dropout is left out as at size small, so that the two sizes differ in the network and its schedule.
    "medium": dict(AT_HAND, epochs=30, nesterov=True, schedule="onecycle", dropout=0.0),
    # The papers' settings and image sets: one GPU. The further sets are those of near OOD and of the table of errors.
    "full": dict(extra_sets=("cifar100", "tinyimagenet", "mnist", "gaussian_noise"))}

# What every run id says, and what it never says: how a net is scored and kept, and the precision, which the size
# leaves to the processor ("mixed") and run.json records.
IN_EVERY_NAME = ("id_dataset", "architecture", "method", "tau", "cutout", "seed")
IN_NO_NAME = ("precision", "ood_sets", "extra_sets", "history_ood", "odin_temperature", "odin_epsilon",
              "confidence_epsilon", "keep_model", "keep_features")

# What a value of the wrong type should have been.
WANTED = {"int_type": "a whole number", "float_type": "a number (0.001, not 1e-3)", "bool_type": "true or false",
          "string_type": "a text", "tuple_type": "a list"}


class ConfigError(ValueError):
    """A setting that cannot be trained, in one sentence; `field` is its name."""

    def __init__(self, sentence: str, field: str = ""):
        super().__init__(sentence)
        self.field = field


def known_set(name: str) -> str:
    if name not in data.SETS:
        raise ValueError(f"should be one of {', '.join(data.SETS)}")
    return name


ImageSetName = Annotated[str, AfterValidator(known_set)]
ImageSetNames = Annotated[tuple[ImageSetName, ...], Field(strict=False)]  # not strict: YAML and papermill give lists


class Config(BaseModel):
    """Everything that decides a run: a size, and the settings that differ from those of the size.

    `Config(size="small")` is a small run; `Config(size="small", lr=0.4)` is one with another learning rate, and its
    run_id says so (`small-...-lr0.4-seed1`), so that two trainings never share a folder. Without a size, the defaults
    are the paper's (size full). Raises ConfigError, one sentence, for a setting that is unknown or cannot be trained.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True)

    size: Literal["smoke", "small", "medium", "full"] = "full"
    id_dataset: ImageSetName = "cifar10"
    architecture: str = "wrn40_2"
    method: Method = "logitnorm"
    tau: float = Field(0.04, gt=0)  # of LogitNorm and its variants (TAU); the other methods do not read it
    penalty: float = Field(0.05, ge=0)  # lambda of LogitPenalty
    budget: float = Field(0.3, gt=0)  # beta of Learned Confidence
    cutout: int = Field(0, ge=0, le=data.SIZE)  # side of Cutout's square, on half of the images; Learned Confidence
    #                                             uses 16, the others none
    seed: int = Field(1, ge=0, lt=2**32)
    epochs: int = Field(200, ge=1)
    batch_size: int = Field(128, ge=2)  # BatchNorm needs two images
    lr: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, gt=0, lt=1)  # Nesterov's needs one
    nesterov: bool = False
    weight_decay: float = Field(5e-4, ge=0)
    # "steps": lr * gamma at each milestone; "onecycle": linear warm-up, cosine to 0
    schedule: Literal["steps", "onecycle"] = "steps"
    milestones: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = (80, 140)
    gamma: float = Field(0.1, gt=0, le=1)
    warmup: float = Field(0.2, ge=0, lt=1)  # share of the steps that "onecycle" spends warming up
    dropout: float = Field(0.3, ge=0, lt=1)
    # of the body in training; "mixed": the fastest sound one of the processor (see train.precision_on)
    precision: Literal["float32", "bfloat16", "float16", "mixed"] = "mixed"
    ood_sets: ImageSetNames = ("textures", "svhn", "lsun_c", "lsun_r", "isun", "places365")
    extra_sets: ImageSetNames = ()  # further sets to score that are not part of the six-set average
    history_ood: ImageSetName = "svhn"  # the OOD set whose mean logit norm is recorded every epoch (Figure 1)
    odin_temperature: float = Field(1000.0, gt=0)
    odin_epsilon: float = Field(0.0014, ge=0)
    confidence_epsilon: float = Field(0.001, ge=0)  # input preprocessing of Learned Confidence, normalised pixels
    keep_model: bool = False  # leave model.safetensors in the run folder
    keep_features: bool = False  # leave the penultimate features (float16) in scores.safetensors

    def __init__(self, **settings: Any):
        of_size = _of_size(settings.get("size", "full"), settings.get("id_dataset"))
        try:
            super().__init__(**{**of_size, **settings})
        except ValidationError as error:
            raise _in_one_sentence(error) from None

    @field_validator("id_dataset")
    @classmethod
    def _has_classes(cls, name: str) -> str:
        if data.SETS[name].num_classes < 2:
            raise ValueError(f"should be a set with classes to train on: {', '.join(n for n, s in data.SETS.items() if s.num_classes > 1)}")
        return name

    @field_validator("ood_sets", "extra_sets", "history_ood")
    @classmethod
    def _are_other_sets(cls, names: Any, known: ValidationInfo) -> Any:
        each = (names,) if isinstance(names, str) else names
        if len(set(each)) < len(each) or not each and known.field_name == "ood_sets":
            raise ValueError("should name each set once" if each else "should name at least one image set")
        if same := [name for name in each if data.official(name) == known.data.get("id_dataset")]:
            raise ValueError(f"should not name {same[0]}, the ID set of the same run or a part of it")
        return names

    @field_validator("architecture", "dropout")
    @classmethod
    def _is_a_net(cls, value: Any, known: ValidationInfo) -> Any:
        if known.field_name == "architecture":
            models.require(value, 0.0)
        elif "architecture" in known.data:
            models.require(known.data["architecture"], value)
        return value

    def replace(self, **settings: Any) -> "Config":
        """The same run but for these settings, as strictly checked as a new one."""
        return Config(**{**self.model_dump(), **settings})

    @property
    def normalised_at(self) -> float | None:
        """The tau by which the loss divides ||f||, offset and all; None for every loss but LogitNorm's."""
        return self.tau if self.method in OFFSET else None

    @property
    def num_classes(self) -> int:
        return data.SETS[self.id_dataset].num_classes

    @property
    def sets(self) -> list[str]:
        """Names of the image sets that a run scores, ID first."""
        return list(dict.fromkeys((self.id_dataset, *self.ood_sets, *self.extra_sets, self.history_ood)))

    @property
    def changed(self) -> dict[str, Any]:
        """The settings in which this run differs from its size, by name."""
        of_size = {name: field.default for name, field in Config.model_fields.items()} | _of_size(self.size, self.id_dataset)
        return {name: value for name, value in self if name != "size" and value != of_size[name]}

    @property
    def run_id(self) -> str:
        """The name of the run's folder: what every name says, and every training setting that is not the size's."""
        tau = f"-tau{_shown(self.tau)}" if self.method in TAU else ""
        cut = f"-cutout{self.cutout}" if self.cutout else ""
        changed = "".join(f"-{name}{_shown(value)}" for name, value in self.changed.items()
                          if name not in IN_EVERY_NAME + IN_NO_NAME)
        return f"{self.size}-{self.id_dataset}-{self.architecture}-{self.method}{tau}{cut}{changed}-seed{self.seed}"


def _of_size(size: Any, id_dataset: Any) -> dict[str, Any]:
    """What SIZES says of a size; the near OOD set of a run on CIFAR-100 is CIFAR-10."""
    of_size = SIZES.get(size, {}) if isinstance(size, str) else {}
    near = {"cifar100": "cifar10"} if id_dataset == "cifar100" else {}
    return of_size | {"extra_sets": tuple(near.get(name, name) for name in of_size.get("extra_sets", ()))}


def _shown(value: Any) -> str:
    """A value as part of a run id, a number with all its digits: no two values share a name."""
    return "_".join(str(one).removesuffix(".0") for one in (value if isinstance(value, tuple) else (value,)))


def _in_one_sentence(error: ValidationError) -> ConfigError:
    """The first thing that pydantic found: 'tau should be greater than 0, got -1'."""
    found = error.errors(include_url=False)[0]
    field, got, kind = str(found["loc"][0]), found["input"], found["type"]
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(field, Config.model_fields, n=1)
        hint = f" did you mean {near[0]!r}?" if near else ""
        return ConfigError(f"unknown setting {field!r} of a run;{hint} the settings are: {', '.join(Config.model_fields)}", field)
    name = field + "".join(f"[{index}]" for index in found["loc"][1:])
    said = (f"should be {WANTED[kind]}" if kind in WANTED else
            found["msg"].removeprefix("Value error, ").removeprefix("Input "))
    if not said.startswith("should"):  # of a net that cannot be built
        return ConfigError(f"{name}: {said}", field)
    shown = f"the text {got!r}" if kind in WANTED and isinstance(got, str) else repr(got)
    return ConfigError(f"{name} {said}, got {shown}", field)

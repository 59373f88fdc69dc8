"""What params.yaml may say, as frozen typed models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
RESERVED = {"start", "target", "engine"}  # folders in weights/ that aren't sources
SplitSize = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)]
Channels = Literal["auto", "sum", "repeat", "mean", "zero"]
Storage = Literal["auto", "arrays", "encoded"]


class Frozen(BaseModel):
    """A model that refuses unknown keys, other types, NaN, and later changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class Use(Frozen):
    """A plugin by name, with its settings: `flip`, or `{shift: {pixels: 2}}`."""

    name: str
    settings: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: object) -> object:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and len(value) == 1:
            ((name, settings),) = value.items()
            if settings is None or isinstance(settings, dict):
                return {"name": name, "settings": settings or {}}
        raise ValueError("a plugin's name, or one name with its settings: {name: {key: value}}")


class ImageFormat(Frozen):
    """Every image is brought to this size (a square, pixels) and this number of channels.

    Vectors are images of one pixel, with a channel for each feature.
    """

    size: int = Field(ge=1, le=1024)
    channels: int = Field(ge=1, le=65_536)

    def __str__(self) -> str:
        if self.size == 1:
            return f"vectors of {self.channels} features"
        colours = {1: "grey", 3: "colour"}.get(self.channels, f"{self.channels} channels")
        return f"{self.size} × {self.size} pixels, {colours}"


class DataSettings(Frozen):
    """One dataset, how it is split, and how its training images are augmented."""

    dataset: Use
    path: str = Field(min_length=1)
    validation: SplitSize | None  # None: the dataset brings its own
    test: SplitSize | None
    augmentation: tuple[Use, ...]  # no default: dvc.yaml names the key
    image: ImageFormat | None  # None: as the top-level `image`; no default, likewise
    storage: Storage  # no default, likewise
    labels: int | None = Field(default=None, ge=1)
    selection: Use = Use.model_validate("stratified")  # which training images get these labels
    duplicates: Literal["refuse", "drop"] = "refuse"


class Rename(Frozen):
    """A rule for the names of foreign tensors: what the regular expression `pattern` finds becomes `to`."""

    pattern: str = Field(min_length=1)
    to: str | None  # None: the tensors whose names it finds are left out


class Import(Frozen):
    """A source model that was trained elsewhere: its weights, how they are read, and what its images are like.

    `path` is a weight file, or a folder with one weight file in it, whose config.json is read too.
    """

    weights: Use
    path: str = Field(min_length=1)
    image: ImageFormat | None = None  # None: as the top-level `image`
    rename: tuple[Rename, ...] = ()
    minimum_coverage: float = Field(default=1.0, ge=0, le=1)  # of the trunk; below 1, the rest stays untrained
    classes: tuple[str, ...] | None = None  # None: what the file says, else numbers
    mean: tuple[float, ...] | None = None  # per channel, of pixels scaled to 0…1; None: what the file says
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None

    @model_validator(mode="after")
    def _normalises_by_both(self) -> Import:
        if (self.mean is None) != (self.std is None):
            there, missing = ("std", "mean") if self.mean is None else ("mean", "std")
            raise ValueError(f"mean and std, or neither: {there} alone, without {missing}, would not be used")
        return self


class Training(Frozen):
    """How one model is trained."""

    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=2, le=65_536)
    optimizer: str
    lr: float = Field(gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_fraction: float = Field(default=0.0, ge=0, le=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = "none"
    sampling: Literal["shuffled", "balanced"] = "shuffled"
    validate_every_epochs: int = Field(default=1, ge=1)
    cached_views: int = Field(default=4, ge=0, le=10_000)  # augmented views that a frozen part is shown; 0: all anew
    on_divergence: Literal["stop", "halve"] = "stop"  # of a loss that isn't finite; halve: the rate, from the last good

    @model_validator(mode="after")
    def _mends_imbalance_once(self) -> Training:
        if self.class_weights == self.sampling == "balanced":
            raise ValueError("class_weights or sampling balanced, not both: that would mend one imbalance twice")
        return self

    def deciding(self) -> dict[str, Any]:
        """Return what decides the weights; a key that came later is left out where it changes nothing."""
        return self.model_dump(exclude={"on_divergence"} if self.on_divergence == "stop" else set())

    @property
    def balances(self) -> bool:
        """Whether every class counts the same, by weights or by sampling."""
        return "balanced" in (self.class_weights, self.sampling)


class Transfer(Frozen):
    """What a transfer must reach, and how weights come to images of other channels."""

    minimum_coverage: float = Field(ge=0, le=1)
    channels: Channels = "auto"


class Engine(Frozen):
    """On what, and in which arithmetic, models are trained; the `measure` stage decides what is `auto`."""

    device: Literal["auto", "cpu", "cuda"]
    threads: Annotated[int, Field(ge=1, le=512)] | Literal["auto"]
    precision: Literal["auto", "float32", "bfloat16"]
    memory_format: Literal["auto", "contiguous", "channels_last"]
    compile: bool | Literal["auto"] = False
    side_by_side: Annotated[int, Field(ge=1, le=512)] | Literal["auto"] = 1  # fine-tunings at once
    processes: int = Field(default=1, ge=1, le=512)  # that share each training; on GPUs one for each

    @model_validator(mode="after")
    def _forks_single_threads(self) -> Engine:
        if isinstance(self.side_by_side, int) and self.side_by_side > 1 and self.threads not in ("auto", 1):
            raise ValueError("side_by_side: trainings at once have one thread each; set threads to 1 or auto")
        if isinstance(self.side_by_side, int) and self.side_by_side > 1 and self.processes > 1:
            raise ValueError("processes share one training after the other; set side_by_side to 1 or auto")
        return self

    def as_key(self) -> dict[str, Any]:
        """Return it as part of what a choice is made for; one process stands for itself, as it always did."""
        return self.model_dump(exclude={"processes"} if self.processes == 1 else None)

    @property
    def open(self) -> tuple[str, ...]:
        """The keys that are decided by measuring; the device isn't among them, a GPU is simply taken."""
        return tuple(key for key, value in self if key != "device" and value == "auto")


class Evidence(Frozen):
    """When a difference counts."""

    confidence: float = Field(gt=0.5, lt=1)
    margin: float = Field(ge=0, lt=1)


class Sweep(Frozen):
    """Which cells `graftwork sweep` trains: sources × these strategies × these label budgets × seeds."""

    strategies: Annotated[tuple[Name, ...], Field(min_length=2)]
    labels_per_class: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    minimum_steps: int = Field(ge=1)

    @model_validator(mode="after")
    def _is_a_grid(self) -> Sweep:
        if list(self.labels_per_class) != sorted(set(self.labels_per_class)):
            raise ValueError("labels_per_class: budgets must rise, each once")
        if len(set(self.strategies)) != len(self.strategies):
            raise ValueError("strategies: each may stand there once")
        if "scratch" not in self.strategies:
            raise ValueError("strategies: 'scratch' is the control of every comparison; it must be among them")
        return self


class Remote(Frozen):
    """Whether results are exchanged with a DVC remote, and which. It decides no results: no stage hangs on it."""

    name: str | None = Field(default=None, min_length=1)  # None: DVC's default remote
    pull: bool = False  # before a run, what is missing here
    push: bool = False  # after a run, what it recorded

    @property
    def used(self) -> bool:
        """Whether there must be one."""
        return self.pull or self.push


class Settings(Frozen):
    """All of params.yaml."""

    versions: dict[str, str]
    local_plugins: str = Field(min_length=1)
    seed: int = Field(ge=0, lt=2**31)
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(min_length=2)]
    mirror: str | None = None  # decides from where files come, not which
    origins: dict[Name, Use] = {}
    imports: dict[Name, Import] = {}
    data: dict[Name, DataSettings]
    sources: Annotated[tuple[Name, ...], Field(min_length=1)]
    image: ImageFormat
    model: Use
    pretrain: Training
    transfer: Transfer
    finetune: Training
    strategies: Annotated[dict[Name, tuple[Use, ...]], Field(min_length=1)]
    engine: Engine
    evidence: Evidence
    sweep: Sweep | None = None
    remote: Remote = Remote()
    log: tuple[Use, ...] = ()  # books that runs are entered into

    @property
    def source(self) -> Name:
        """The data set that weights are transferred from; the other sources are candidates."""
        return self.sources[0]

    def image_of(self, data: str) -> ImageFormat:
        """Return the format of the images of a data set, or of an imported model: its own, or the one of all."""
        own: DataSettings | Import = self.imports[data] if data in self.imports else self.data[data]
        return own.image or self.image

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: each seed may stand there once")
        if self.strategies.get("scratch", None) != ():
            raise ValueError("strategies: 'scratch: []' is the control of every comparison; it must be there")
        self._check_sources()
        return self

    def _check_sources(self) -> None:
        if "target" not in self.data:
            raise ValueError("data: 'target', what shall be learnt, must be there")
        twice = sorted(self.data.keys() & self.imports.keys())
        if twice:
            raise ValueError(f"imports: {twice[0]!r} is the name of a data set; take another")
        known = sorted((self.data.keys() | self.imports.keys()) - {"target"})
        if sorted(self.sources) != known:
            raise ValueError(f"sources: must name each of {', '.join(known)} once")
        taken = sorted(RESERVED & set(self.sources))
        if taken:
            raise ValueError(f"sources: {taken[0]!r} is the name of a folder in weights/; take another")

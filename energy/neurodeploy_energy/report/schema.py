"""The schema of a report's JSON: what `report.schema.json` says in JSON Schema, and what is read back is checked against."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 2
Count = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Part(BaseModel):
    """Nothing unknown in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class InputKindsPart(Part):
    """See `InputKinds`."""

    zeros: Count
    spikes: Count
    graded: Count
    analog: Count


class MemoryPart(Part):
    """See `MemoryAccesses`."""

    input_reads: Count
    weight_reads: Count
    potential_reads: Count
    potential_writes: Count
    output_writes: Count


class GeometryPart(Part):
    """See `Geometry`."""

    kind: Literal["conv", "transposed", "linear"]
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = Field(ge=1)
    input: tuple[int, ...]
    output: tuple[int, ...]
    bias: bool
    leaky: bool | None


class LayerPart(Part):
    """One layer per sample; see `LayerRow`."""

    name: str
    kind: str
    neurons: int
    steps: Count
    spikes: Count
    rate: Count
    sops: Count
    sops_nonzero_weights: Count
    sops_by_rate: Count
    dense_macs: Count
    macs: Count
    effective_macs: Count
    adds: Count
    analog_adds: Count
    updates_active: Count
    updates_idle: Count
    note: str
    spikes_in: Count
    spikes_out: Count
    spikes_value: Count
    drives: str
    inputs: InputKindsPart
    memory: MemoryPart
    geometry: GeometryPart | None


class MemoryModelPart(Part):
    """See `MemoryModel`."""

    name: str
    title: str
    source: str
    note: str
    per_bit: Count
    fixed: Count


class ProfilePart(Part):
    """See `Profile`; costs in pJ."""

    name: str
    title: str
    source: str
    year: int
    process: str
    voltage: str
    scope: Literal["operation", "core", "system"]
    basis: Literal["measured", "simulated", "estimated"]
    mac: Count | None
    ac: Count | None
    neuron_update_active: Count | None
    neuron_update_idle: Count | None
    spike: Count | None
    note: str
    all_in: bool
    numbers: Literal["float", "integer", ""]
    bits: int | None
    multiply: Count | None
    static_mw: Count | None
    step_us: Count | None
    memory: MemoryModelPart | None


class EnergyPart(Part):
    """Under one profile, in µJ per sample. `static_uj` is not in the total."""

    profile: ProfilePart
    estimate: Literal[True]
    total_uj: Count
    static_uj: Count | None
    layers_uj: dict[str, Count]
    left_out: list[str]


class VerdictPart(Part):
    """See `Verdict`."""

    profile: str
    estimate: Literal[True]
    spiking_uj: Count
    dense_twin_uj: Count | None
    quantised_twin_uj: Count | None
    quantised_twin_bits: int
    twin_sparsity: Number
    twin_measured: bool
    break_even_rate: Count | None


class DeploymentPart(Part):
    """See `Deployment`."""

    profile: str
    host_profile: str
    estimate: Literal[True]
    chip_uj: Count
    chip_static_uj: Count | None
    encoder_macs: Count
    head_macs: Count
    encoder_uj: Count
    head_uj: Count
    left_out: list[str]


class MeasurementPart(Part):
    """See `Measurement`."""

    device: str
    counter: str
    uj: Number
    half_width: Number
    gross_uj: Number
    idle_w: Number
    repeats: int
    seconds: Count
    samples: int


class UnmeasuredPart(Part):
    """See `Unmeasured`."""

    device: str
    reason: str


class PerSamplePart(Part):
    """Counts of the whole model for every sample, in their order; and spikes of each layer in every step, over all samples."""

    spikes: list[int]
    sops: list[int]
    macs: list[int]
    spikes_per_step: dict[str, list[int]]


class ComparisonPart(Part):
    """The model against the baseline under one profile, µJ per sample."""

    profile: str
    estimate: Literal[True]
    model_uj: Count
    baseline_uj: Count
    change_percent: Number | None


class AnswersPart(Part):
    """Right answers of all samples asked."""

    correct: int = Field(ge=0)
    samples: int = Field(ge=1)


class Document(Part):
    """A whole report; see `Report`."""

    schema_version: Literal[2]
    name: str
    samples: int = Field(ge=1)
    steps: int = Field(ge=0)
    unit: Literal["per sample"]
    answers: AnswersPart | None
    layers: list[LayerPart]
    total: LayerPart
    energy: list[EnergyPart]
    verdicts: list[VerdictPart]
    places: dict[str, Literal["encoder", "body", "head"]]
    host: ProfilePart | None
    deployment: list[DeploymentPart]
    measured: list[MeasurementPart | UnmeasuredPart]
    uncounted: dict[str, str]
    per_sample: PerSamplePart | None
    comparison: list[ComparisonPart] | None
    baseline: "Document | None"
    twin: "Document | None"


def json_schema() -> dict[str, Any]:
    """In JSON Schema, draft 2020-12."""
    found = Document.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "neurodeploy energy report", **found}

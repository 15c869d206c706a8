"""What a manifest claims: costs, accuracies, agreements and the provenance of a bundle, each checked against itself."""

from typing import Literal

from pydantic import Field, model_validator

from neurodeploy_exporters.bundle.entry import ManifestEntry


class HeadCost(ManifestEntry):
    """What one place of the head cut asks for, per sample, counted on the bundle's sample.

    Attributes:
        spikes: spikes that leave the chip.
        graded_values: numbers that leave the chip.
        synaptic_operations: of the last synapse on the chip; a spike that n parallel synapses carry counts n times.
        neuron_updates, neuron_updates_active: of the neurons that add them up; active are those with a current.
        multiply_accumulates: of the last synapse on the host, computed densely at every step, without what meets
            the padding; or of bringing the graded values back to the trained unit.
    """

    spikes: float = Field(ge=0, allow_inf_nan=False)
    graded_values: float = Field(ge=0, allow_inf_nan=False)
    synaptic_operations: float = Field(ge=0, allow_inf_nan=False)
    neuron_updates: float = Field(ge=0, allow_inf_nan=False)
    neuron_updates_active: float = Field(ge=0, allow_inf_nan=False)
    multiply_accumulates: float = Field(ge=0, allow_inf_nan=False)


class HeadCut(ManifestEntry):
    """Where a chip ends, and what both choices cost.

    Attributes:
        chosen: behind the last spikes, or behind the last synapse.
        why: in a sentence, where it was chosen by what both cost.
        last_spike, last_synapse: what they cost; None where the chip cannot compute the last synapse.
    """

    chosen: Literal["last-spike", "last-synapse"]
    why: str = ""
    last_spike: HeadCost
    last_synapse: HeadCost | None


class MeasuredAccuracy(ManifestEntry):
    """Right answers out of a number of test samples."""

    correct: int = Field(ge=0)
    samples: int = Field(ge=1)

    @model_validator(mode="after")
    def _counts_fit(self) -> "MeasuredAccuracy":
        at_most(self, "correct", "samples")
        return self


class Agreement(ManifestEntry):
    """How closely an ONNX artefact follows the network that it was made of, measured at export.

    Attributes:
        reference: what it was compared with: the reference interpreter, on the network that the artefact holds ("exported") or
            on the one before its weights were rounded ("float").
        samples: of the bundle's sample, on which spikes are compared.
        spikes_compared: values (neuron, step, sample), spiking or silent.
        mismatched_spikes: those that differ; `mismatch_rate` is their share.
        answers_compared: test samples on which the most likely class is compared with that of the float network; 0 for none.
        changed_answers: those with another one.
    """

    reference: Literal["exported", "float"]
    samples: int = Field(ge=1)
    spikes_compared: int = Field(ge=1)
    mismatched_spikes: int = Field(ge=0)
    mismatch_rate: float = Field(ge=0, le=1)
    answers_compared: int = Field(default=0, ge=0)
    changed_answers: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _counts_fit(self) -> "Agreement":
        at_most(self, "mismatched_spikes", "spikes_compared")
        at_most(self, "changed_answers", "answers_compared")
        rate = self.mismatched_spikes / self.spikes_compared
        if abs(self.mismatch_rate - rate) > 1e-9:
            raise ValueError(f"mismatch_rate: {self.mismatch_rate:g} found, {rate:g} as of the two counts expected")
        return self


class ModuleAgreement(ManifestEntry):
    """How the bundle's sample, which its files reproduce, compares with the user's own module on the same inputs.

    Attributes:
        samples: inputs of the sample.
        spikes_compared: values (neuron, step, sample), spiking or silent, of all layers.
        differing_spikes: those that differ, by rounding where weights are as they were trained, else by their quantisation.
        changed_answers: samples whose most likely class differs.
        logits_apart: largest difference of a logit.
    """

    samples: int = Field(ge=1)
    spikes_compared: int = Field(ge=1)
    differing_spikes: int = Field(ge=0)
    changed_answers: int = Field(ge=0)
    logits_apart: float = Field(ge=0)

    @model_validator(mode="after")
    def _counts_fit(self) -> "ModuleAgreement":
        at_most(self, "differing_spikes", "spikes_compared")
        at_most(self, "changed_answers", "samples")
        return self

    def __str__(self) -> str:
        return (
            f"against the module itself: {self.differing_spikes:,} of {self.spikes_compared:,} spikes and "
            f"{self.changed_answers:,} of {self.samples:,} answers of the sample differ"
        )


class MutationScore(ManifestEntry):
    """How many values of one kind of a layer show in the sample when one of them is changed by its smallest step.

    Measured at export on the network that the files hold, in what running it records: spikes, sums of currents and potentials,
    and logits beyond their tolerance. The sums of constants, which show every change, are not part of it.

    Attributes:
        layer: name of the node.
        kind: of the values. Weights and biases of the exact grid move by a step of it, integers by 1, other floats by a bit;
            thresholds in floats move down, since no potential on the grid is less than a bit above one.
        values: that the layer has.
        tried: of these, on how many it was measured: all, but where each must be tried alone.
        shown: of these, how many show.
    """

    layer: str
    kind: Literal["weight", "bias", "threshold", "decay"]
    values: int = Field(ge=1)
    tried: int = Field(ge=1)
    shown: int = Field(ge=0)

    @model_validator(mode="after")
    def _counts_fit(self) -> "MutationScore":
        at_most(self, "tried", "values")
        at_most(self, "shown", "tried")
        return self


class InputEffect(ManifestEntry):
    """What rounding the inputs changes, measured in torch on the network with its weights on the exact grid.

    Attributes:
        samples: on which it was measured.
        values: that enter; `saturated` of them are beyond the grid and were brought to its ends.
        spikes_compared: values (neuron, step, sample), spiking or silent, of all layers.
        changed_spikes: those that differ between inputs as they are and rounded ones.
        changed_answers: samples whose most likely class differs.
        correct_as_given, correct_rounded: right answers both ways, where there are labels.
    """

    samples: int = Field(ge=1)
    values: int = Field(ge=1)
    saturated: int = Field(ge=0)
    spikes_compared: int = Field(ge=1)
    changed_spikes: int = Field(ge=0)
    changed_answers: int = Field(ge=0)
    correct_as_given: int | None = None
    correct_rounded: int | None = None

    @model_validator(mode="after")
    def _counts_fit(self) -> "InputEffect":
        at_most(self, "saturated", "values")
        at_most(self, "changed_spikes", "spikes_compared")
        for count in ("changed_answers", "correct_as_given", "correct_rounded"):
            at_most(self, count, "samples")
        return self


class InputGrid(ManifestEntry):
    """The grid of an exact bundle's inputs: integers up to `largest` in size, times 2^-`exponent`.

    Attributes:
        exponent, largest: see above.
        rounded: the files round their inputs themselves, so that any values may be given; else inputs must be on the grid.
        encoding: how a value gets there.
        sample: effect on the bundle's sample; None where nothing is rounded.
        test: effect on the test set, where there is one.
    """

    exponent: int
    largest: int = Field(ge=1)
    rounded: bool
    encoding: str
    sample: InputEffect | None = None
    test: InputEffect | None = None


class InputNormalization(ManifestEntry):
    """Normalisation of samples, `(x - mean) / std` of each channel.

    Attributes:
        mean, std: of each channel, or one of all.
        inputs: "raw": the files take samples as they are stored, and normalise them first; "normalised": they take normalised
            ones.
        folded: the files do it by the weights of their first layers, and not by an operator of its own.
    """

    mean: tuple[float, ...] = Field(min_length=1)
    std: tuple[float, ...] = Field(min_length=1)
    inputs: Literal["raw", "normalised"]
    folded: bool = False


class BundleProvenance(ManifestEntry):
    """Where a bundle comes from; what nobody knows is empty.

    Attributes:
        recipe: SHA-256 of the recipe's content, as it was validated.
        seed: of the training.
        checkpoint: SHA-256 of the checkpoint's file.
        data: name of the data set.
        data_sha256: of the test samples and labels that the bundle's sample was taken from.
        versions: of Python, the toolkit and the packages that computed.
        commit: of the repository that the export was started in.
    """

    recipe: str = ""
    seed: int | None = None
    checkpoint: str = ""
    data: str = ""
    data_sha256: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    commit: str = ""


def at_most(entry: ManifestEntry, count: str, total: str) -> None:
    """Refuse a count larger than what it is counted among.

    Raises:
        ValueError: it is.
    """
    counted, among = getattr(entry, count), getattr(entry, total)
    if counted is not None and not 0 <= counted <= among:
        raise ValueError(f"{count}: {counted} found, 0 to {among} expected ({total})")

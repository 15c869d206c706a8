"""What `summary.json` holds: the form of what `app.summary` works out."""

from pydantic import BaseModel, ConfigDict

Half = float | None
"""Half the width of a 95 % interval over the seeds; null with one seed."""
PerSeed = list[float]
Price = float | None
"""Null where a profile cannot price the network."""


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TeacherSummary(_Closed):
    """Percent of the test set."""

    accuracy: float
    accuracy_interval: Half
    accuracy_per_seed: PerSeed


class BaselineSummary(TeacherSummary):
    """A network as it is deployed: batch norm folded, weights quantised as the recipe says, fine-tuned if it says so.

    `trained_accuracy` is that of the network before, `quantised_accuracy` that of a fine-tuned one before its fine-tuning.
    """

    trained_accuracy: float
    trained_accuracy_interval: Half
    trained_accuracy_per_seed: PerSeed
    quantised_accuracy: float | None = None
    quantised_accuracy_interval: Half = None
    quantised_accuracy_per_seed: PerSeed | None = None
    spikes_per_sample: float
    spikes_per_sample_interval: Half
    spikes_per_sample_per_seed: PerSeed
    spikes_per_sample_by_layer: dict[str, float]


class StudentSummary(BaselineSummary):
    """The network that is deployed; spikes saved are percent of the baseline's, over the layers that spike in both."""

    spikes_saved_percent: float
    spikes_saved_percent_interval: Half
    spikes_saved_percent_per_seed: PerSeed


class DeployedSummary(_Closed):
    """Chip and host together, as each network is cut, under the recipe's first profile and its host's; µJ per sample."""

    chip_profile: str
    host_profile: str
    estimate: bool
    baseline_cuts: list[str]
    student_cuts: list[str]
    baseline_uj: Price
    baseline_uj_interval: Half
    baseline_uj_per_seed: list[Price]
    baseline_chip_uj: Price
    baseline_chip_uj_interval: Half
    baseline_chip_uj_per_seed: list[Price]
    baseline_host_uj: Price
    baseline_host_uj_interval: Half
    baseline_host_uj_per_seed: list[Price]
    student_uj: Price
    student_uj_interval: Half
    student_uj_per_seed: list[Price]
    student_chip_uj: Price
    student_chip_uj_interval: Half
    student_chip_uj_per_seed: list[Price]
    student_host_uj: Price
    student_host_uj_interval: Half
    student_host_uj_per_seed: list[Price]
    change_percent: Price
    change_percent_interval: Half
    change_percent_per_seed: list[Price]


class ProfileSummary(_Closed):
    """Under a further profile, µJ per sample."""

    baseline_uj: Price
    student_uj: Price


class EnergySummary(_Closed):
    """Of the networks' operations under the recipe's profiles, µJ per sample."""

    profile: str
    estimate: bool
    baseline_uj: Price
    baseline_uj_interval: Half
    baseline_uj_per_seed: list[Price]
    student_uj: Price
    student_uj_interval: Half
    student_uj_per_seed: list[Price]
    other_profiles: dict[str, ProfileSummary]


class SummaryDocument(_Closed):
    """`summary.json` of a run.

    Attributes:
        recipe: its name.
        neurodeploy: version that wrote it.
        data: what the samples are.
        test_samples: that everything was measured on.
        seeds: of the run.
        units: number → its unit.
        interval: what the intervals are.
        teacher: its accuracy.
        baseline: the network that the student is compared with.
        student: the network that is deployed.
        verify: for each target, `TARGET_mismatched_spikes`, `TARGET_spikes_compared`, and `TARGET_bundles`, a folder a seed.
        deployed: energy of chip and host together.
        energy: of the networks' operations.
    """

    recipe: str
    neurodeploy: str
    data: str
    test_samples: int
    seeds: list[int]
    units: dict[str, str]
    interval: str
    teacher: TeacherSummary
    baseline: BaselineSummary
    student: StudentSummary
    verify: dict[str, int | list[str]]
    deployed: DeployedSummary
    energy: EnergySummary

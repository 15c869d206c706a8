"""`results.json`: what every network that a recipe trains does on the test set, and the means over seeds."""

from collections.abc import Mapping, Sequence
from math import floor, log10
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from neurodeploy import __version__
from neurodeploy.data import DataSet
from neurodeploy.errors import UserError
from neurodeploy.evaluation import Accuracy, Evaluation, mean_and_interval
from neurodeploy.files import write_text
from neurodeploy.recipe import Recipe

RESULTS = "results.json"


class NetworkResult(BaseModel):
    """One trained network on the whole test set.

    Attributes:
        seed, role: which one.
        steps: T; None for a ReLU network.
        correct, samples: right answers, and samples asked.
        spikes: spiking layer → spikes per sample, summed over neurons and time steps; the encoder's own are not counted.
        energy: profile → estimated µJ per sample, of all layers; empty where it was not counted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    seed: int
    role: str
    steps: int | None
    correct: int
    samples: int
    spikes: dict[str, float]
    energy: dict[str, float] = {}

    @classmethod
    def of(
        cls, recipe: Recipe, seed: int, role: str, found: Evaluation, energy: Mapping[str, float] | None = None
    ) -> "NetworkResult":
        steps = None if role in recipe.relu_roles else recipe.steps_of(role)
        return cls(
            seed=seed,
            role=role,
            steps=steps,
            correct=found.accuracy.correct,
            samples=found.accuracy.samples,
            spikes=found.spikes,
            energy=dict(energy or {}),
        )

    @property
    def accuracy(self) -> Accuracy:
        return Accuracy(self.correct, self.samples)

    @property
    def spikes_per_sample(self) -> float:
        return sum(self.spikes.values())


class Results(BaseModel):
    """All networks of a run.

    Attributes:
        neurodeploy: version that trained them.
        commit: of this repository that trained them, where someone noted it.
        recipe: the whole experiment.
        data: what the samples are, in a sentence.
        networks: in the order of training.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    neurodeploy: str
    commit: str | None = None
    recipe: Recipe
    data: str
    networks: tuple[NetworkResult, ...] = ()

    @classmethod
    def none_yet(cls, recipe: Recipe, data: DataSet) -> "Results":
        return cls(neurodeploy=__version__, recipe=recipe, data=data.note)

    def with_network(self, network: NetworkResult) -> "Results":
        return self.model_copy(update={"networks": (*self.networks, network)})

    def of_role(self, role: str) -> list[NetworkResult]:
        """One network for each seed, in the order of the seeds."""
        return sorted((network for network in self.networks if network.role == role), key=lambda network: network.seed)

    def accuracy(self, role: str) -> tuple[float, float | None]:
        """Mean over seeds in percent, and the half width of its 95 % interval."""
        return mean_and_interval(network.accuracy.percent for network in self.of_role(role))

    def spikes(self, role: str) -> tuple[float, float | None]:
        """Spikes per sample: mean over seeds, and the half width of its 95 % interval."""
        return mean_and_interval(network.spikes_per_sample for network in self.of_role(role))

    def energy(self, role: str, profile: str) -> tuple[float, float | None] | None:
        """Estimated µJ per sample, likewise; None unless it was counted for every seed."""
        networks = self.of_role(role)
        if not all(profile in network.energy for network in networks):
            return None
        return mean_and_interval(network.energy[profile] for network in networks)


def write(path: Path, results: Results) -> None:
    """Write the file, whole or not at all."""
    write_text(path, results.model_dump_json(indent=1) + "\n")


def read(path: Path) -> Results:
    """Read such a file.

    Raises:
        UserError: it is missing, or not of this form; the first field at fault is named.
    """
    try:
        return Results.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; a {RESULTS} written by `neurodeploy train` is expected") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "file"
        raise UserError(f"{path}: {place}: {first['msg']}; a {RESULTS} written by `neurodeploy train` is expected") from None


def merged(parts: Sequence[Results]) -> Results:
    """Runs of one recipe with different seeds, as one.

    Raises:
        UserError: they are of different recipes or data, or a seed occurs twice.
    """
    first = parts[0]
    seeds = [seed for part in parts for seed in part.recipe.seeds]
    recipe = first.recipe.model_copy(update={"seeds": tuple(seeds)})
    for part in parts[1:]:
        if part.recipe.model_copy(update={"seeds": recipe.seeds}) != recipe or part.data != first.data:
            raise UserError(
                f"results of {first.recipe.name} and {part.recipe.name}: of different recipes or data, one expected"
            )
    if len(set(seeds)) != len(seeds):
        raise UserError(f"results of {first.recipe.name}: seed {max(seeds, key=seeds.count)} occurs twice, once expected")
    networks = tuple(network for part in parts for network in part.networks)
    return first.model_copy(update={"recipe": recipe, "networks": networks})


def with_interval(value: tuple[float, float | None], form: str | None = None) -> str:
    """`mean ± half`, both by one format; without one to the place of the mean's third digit."""
    mean, half = value
    form = form or f",.{max(0, 2 - floor(log10(abs(mean) or 1.0)))}f"
    return f"{mean:{form}}" + ("" if half is None else f" ± {half:{form}}")

"""`results.json`: what every network that a recipe trains does on the test set, the means over seeds, and their figures."""

from collections.abc import Mapping, Sequence
from math import floor, log10
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from neurodeploy.data import DataSet
from neurodeploy.io.errors import UserError, field_name
from neurodeploy.io.files import write_text
from neurodeploy.io.imports import looking_in
from neurodeploy.io.reading import contents
from neurodeploy.io.version import VERSION
from neurodeploy.recipe import Recipe
from neurodeploy.training.evaluation import Accuracy, Evaluation, mean_and_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
        cls, recipe: Recipe, seed: int, role: str, evaluation: Evaluation, energy: Mapping[str, float] | None = None
    ) -> "NetworkResult":
        steps = recipe.steps_of(role) if recipe.spikes(role) else None
        return cls(
            seed=seed,
            role=role,
            steps=steps,
            correct=evaluation.accuracy.correct,
            samples=evaluation.accuracy.samples,
            spikes=evaluation.spikes,
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
        return cls(neurodeploy=VERSION, recipe=recipe, data=data.note)

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

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Of each network: name, T, accuracy in percent, spikes and estimated µJ per sample, all with their intervals."""
        shown = []
        for role in self.recipe.roles:
            relu = not self.recipe.spikes(role)
            energy = self.energy(role, self.recipe.energy.profiles[0])
            shown.append(
                (
                    role if self.recipe.training(role).epochs or not relu else f"{role}, not trained here",
                    "" if relu else str(self.recipe.steps_of(role)),
                    with_interval(self.accuracy(role), ".2f"),
                    "" if relu else with_interval(self.spikes(role), ",.0f"),
                    "" if energy is None else with_interval(energy),
                )
            )
        return shown

    @property
    def headings(self) -> tuple[str, str, str, str, str]:
        """Of `rows`."""
        seeds = len(self.recipe.seeds)
        over = "" if seeds == 1 else f", mean of {seeds} seeds ± 95 %"
        profile = self.recipe.energy.profiles[0]
        return ("network", "T", f"test accuracy, %{over}", "spikes per sample", f"estimated µJ per sample, {profile}")

    def __str__(self) -> str:
        """A table that fits 80 columns."""
        columns = ("network", "T", "accuracy, %", "spikes", "µJ, estimated")
        table = [columns, *self.rows()]
        widths = [max(len(row[column]) for row in table) for column in range(len(columns))]
        lines = [
            "  ".join((cell.ljust if column == 0 else cell.rjust)(widths[column]) for column, cell in enumerate(row)).rstrip()
            for row in table
        ]
        seeds = len(self.recipe.seeds)
        over = "one seed" if seeds == 1 else f"means over {seeds} seeds with 95 % intervals"
        profile = self.recipe.energy.profiles[0]
        note = f"{self.data}; {over}; energy under {profile}, of networks as they were trained, before they are deployed"
        return "\n".join([self.recipe.name, "", *lines, "", *wrap(note, 80)])


def write(path: Path, results: Results) -> None:
    """Write the file, whole or not at all."""
    write_text(path, results.model_dump_json(indent=1) + "\n")


def read(path: Path) -> Results:
    """Read such a file.

    Raises:
        UserError: it is missing, or not of this form; the first field at fault is named.
    """
    try:
        with looking_in(path.resolve().parent):
            return Results.model_validate_json(contents(path, f"a {RESULTS} written by `neurodeploy train`"))
    except ValidationError as error:
        first = error.errors()[0]
        field = field_name(first["loc"]) or "file"
        raise UserError(f"{path}: {field}: {first['msg']}; a {RESULTS} written by `neurodeploy train` is expected") from None


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


COLOURS = ("#7A7A7A", "#E69F00", "#CC79A7", "#0072B2", "#009E73", "#D55E00", "#56B4E9", "#000000")
"""Okabe and Ito's, which can be told apart by the colour-blind."""
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")


def front(results: Sequence[Results], roles: Sequence[Sequence[str]], titles: Sequence[str]) -> "Figure":
    """Accuracy against spikes, a panel for each run; bars are 95 % intervals over the seeds.

    A line joins the networks that none beats in both.

    Args:
        results: of each panel.
        roles: of each panel; the first is the baseline, which percentages refer to.
        titles: of each panel.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6 * len(results), 5.2), layout="constrained")
    known = list(dict.fromkeys(role for shown in roles for role in shown))  # a role looks alike in every panel
    for axes, run, shown, title in zip(figure.subplots(1, len(results), squeeze=False)[0], results, roles, titles, strict=True):
        _panel(axes, run, shown, known)
        axes.set_title(title, fontsize=13, loc="left", parse_math=False)
    return figure


def _panel(axes: "Axes", results: Results, roles: Sequence[str], known: Sequence[str]) -> None:
    from matplotlib.ticker import FuncFormatter

    best = pareto_front({role: (results.spikes(role)[0], results.accuracy(role)[0]) for role in roles})
    axes.plot(*zip(*best, strict=True), color="#B0B0B0", linewidth=1.5, zorder=1, label="none is better in both")
    full = results.spikes(roles[0])[0]
    for i, role in enumerate(roles):
        (spikes, wide), (accuracy, high) = results.spikes(role), results.accuracy(role)
        look = known.index(role)
        change = "" if i == 0 else f" ({100 * (spikes / full - 1):+.0f} %)"
        axes.errorbar(
            spikes,
            accuracy,
            xerr=wide,
            yerr=high,
            fmt=MARKERS[look % len(MARKERS)],
            color=COLOURS[look % len(COLOURS)],
            markersize=9,
            capsize=3,
            label=f"{role}{change}",
        )
    axes.set_xlim(left=0)
    axes.set_ylim(top=min(axes.get_ylim()[1], 100.1))
    axes.set_xlabel("spikes per sample", fontsize=12)
    seeds, samples = len(results.recipe.seeds), results.networks[0].samples
    axes.set_ylabel(f"test accuracy, % of {samples:,}, {seeds} seed{'s' * (seeds > 1)}", fontsize=12)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.tick_params(labelsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=10, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)


def pareto_front(points: dict[str, tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (cost, gain), those that none beats in both, by growing cost."""
    best: list[tuple[float, float]] = []
    for cost, gain in sorted(points.values(), key=lambda point: (point[0], -point[1])):
        if not best or gain > best[-1][1]:
            best.append((cost, gain))
    return best

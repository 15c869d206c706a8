"""One paper on the page: its printed figures and ours in one table."""

from dataclasses import dataclass

from benchmarks.papers.padding import PROFILE, energy_cell
from neurodeploy.training.results import Results, with_interval


@dataclass(frozen=True)
class Printed:
    """A row of the paper.

    Attributes:
        setting: data and network.
        network: what was trained.
        steps: T.
        accuracy: in percent, as it is printed.
        spikes: against its baseline, as it is printed.
    """

    setting: str
    network: str
    steps: int
    accuracy: str
    spikes: str = ""


@dataclass(frozen=True)
class Ours:
    """A network of ours beside it, and the one that its spikes are compared with."""

    recipe: str
    role: str
    against: str


@dataclass(frozen=True)
class Paper:
    """What the page says of one paper.

    Attributes:
        title: heading.
        recipes: whose sections follow, in order.
        printed, ours: rows of the table; no table without them.
        differs: what differs from the paper, and the likely reason.
        pictures: path from `docs/` and what it shows, of each.
    """

    title: str
    recipes: tuple[str, ...]
    printed: tuple[Printed, ...] = ()
    ours: tuple[Ours, ...] = ()
    differs: str = ""
    pictures: tuple[tuple[str, str], ...] = ()


def table(paper: Paper, found: dict[str, Results]) -> list[str]:
    """Lines of the table "theirs and ours".

    Args:
        found: recipe name → results; rows of recipes that are not there are left out.
    """
    head = ("setting", "network", "T", "seeds", "test accuracy, %", "spikes per sample", "against", f"estimated µJ, {PROFILE}")
    lines = [f"| {' | '.join((*head, 'command', 'commit'))} |", "|---|---|--:|--:|--:|--:|--:|--:|---|---|"]
    for row in paper.printed:
        cells = (row.setting, row.network, str(row.steps), "", row.accuracy, "", row.spikes, "", "the paper", "")
        lines.append(f"| {' | '.join(cells)} |")
    lines += [_row(ours, found[ours.recipe]) for ours in paper.ours if ours.recipe in found]
    return lines


def _row(ours: Ours, results: Results) -> str:
    recipe = results.recipe
    change = ""
    if ours.role != ours.against:
        change = f"{100 * (results.spikes(ours.role)[0] / results.spikes(ours.against)[0] - 1):+.1f} %"
    cells = (
        recipe.description.split(":")[0],
        ours.role,
        str(recipe.steps_of(ours.role)),
        str(len(recipe.seeds)),
        with_interval(results.accuracy(ours.role), ".2f"),
        with_interval(results.spikes(ours.role), ",.0f"),
        change,
        energy_cell(results, ours.role),
        f"`neurodeploy train {recipe.name}`",
        results.commit or "",
    )
    return f"| {' | '.join(cells)} |"

"""What a chart shows, however it is drawn."""

from dataclasses import dataclass

from neurodeploy_energy.price.account import Account


@dataclass(frozen=True)
class Bar:
    """One bar of a row, or one piece of a stacked one.

    Attributes:
        value: its length.
        style: number of its colour.
        tip: what it tells.
    """

    value: float
    style: int
    tip: str


@dataclass(frozen=True)
class Point:
    """One model in the plane of energy and accuracy.

    Attributes:
        label: beside it.
        x, y: energy, and accuracy in percent.
        tip: what it tells.
        style: number of its colour.
        across: ends of its interval in x; None if there is none.
        up: the same in y.
        front: no other point is better in both.
    """

    label: str
    x: float
    y: float
    tip: str
    style: int = 0
    across: tuple[float, float] | None = None
    up: tuple[float, float] | None = None
    front: bool = False


def rates_by_step(report: Account) -> dict[str, list[float]]:
    """Spiking layer → share of its neurons that fire in each time step, mean over the samples; empty if not counted by step."""
    found = {}
    for row in report.layers:
        series = report.series.get(row.name)
        if row.kind == "neuron" and series is not None and row.neurons:
            found[row.name] = [count / (row.neurons * report.samples) for count in series.spikes_per_step.tolist()]
    return found

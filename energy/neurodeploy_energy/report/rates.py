"""Firing rates over time."""

from neurodeploy_energy.result import Report


def rates_by_step(report: Report) -> dict[str, list[float]]:
    """Spiking layer → share of its neurons that fire in each time step, mean over the samples; empty if not counted by step."""
    found = {}
    for row in report.layers:
        series = report.series.get(row.name)
        if row.kind == "neuron" and series is not None and row.neurons:
            found[row.name] = [count / (row.neurons * report.samples) for count in series.spikes_per_step.tolist()]
    return found

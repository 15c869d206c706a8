"""What every format says about how the numbers came about."""

from neurodeploy_energy.result import Report

CONVENTIONS = (
    "All counts are means per sample. Spikes, synaptic operations and updates are counted on the data; energies are estimates: "
    "counts times the constants of a profile.",
    "A synaptic operation (SOP) is one accumulation caused by one spike at one synapse: the exact fan-out of the neuron, with "
    "borders, strides and groups, weights of zero included.",
    "An input value that is no whole number costs multiply-accumulates (MACs); a layer all of whose non-zero inputs are "
    "analog, or that reads the sample or a ReLU, costs dense ones. A direct-coded first layer is computed once per sample.",
    "Static power, memory accesses and host work are in a total only where its profile says so; memory accesses are added by "
    "the profiles that end in the name of a memory model.",
    "Batch norm is folded. Average pools of spikes are folded into the next synapse layer. Biases, ReLU, max pooling and the "
    "mean over time are not counted.",
)


def caveats(report: Report) -> list[str]:
    """What this report leaves out, in sentences."""
    found = [f"Not counted: layer {name}: {reason}." for name, reason in report.uncounted.items()]
    for profile in report.profiles:
        left = report.energy(profile.name).left_out
        if left:
            found.append(f"Not in the total of {profile.name}, which gives no cost for it, per sample: {'; '.join(left)}.")
        static = report.energy(profile.name).static_uj
        if static is not None:
            found.append(
                f"Static energy under {profile.name}, not in its total: {static:,.4g} µJ per sample, estimated from "
                f"{profile.static_mw:g} mW over {report.steps} steps of {profile.step_us:g} µs."
            )
    return found

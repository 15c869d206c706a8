"""A model's chip part in a simulator of the chip's architecture, as a rung of its energy report."""

from dataclasses import asdict

from torch import Tensor

from neurodeploy.app.model import Model
from neurodeploy.data import Samples
from neurodeploy.graph.module import GraphModule
from neurodeploy.io.errors import UserError
from neurodeploy_energy.count.batches import Several
from neurodeploy_energy.price.simulated import SimulatedPhase, Simulation, SpikeAgreement
from neurodeploy_exporters.simulation import ChipSimulation, Simulator

SAMPLES = 4
"""That are simulated if nobody says how many: means of energy and latency need few, and each takes its time."""


def simulation(model: Model, samples: Samples | Several, simulator: Simulator, *, count: int = SAMPLES) -> Simulation:
    """Simulate the first of the samples.

    Args:
        model: a bundle for a chip, or a chip's own file.
        samples: `[N, …]`, as the model's module takes them.
        simulator: a program, which is not part of this toolkit.
        count: of samples, at most.

    Raises:
        UserError: the model has no part on a chip, or the simulator is not there or cannot hold it.
        Failure: the simulator fails.
    """
    if model.simulate is None:
        raise UserError(
            f"{model.name}: --simulator: no bundle or file for a chip; export it first (neurodeploy export --target lava), and "
            "give the bundle's folder"
        )
    if isinstance(samples, Several):
        raise UserError(f"{model.name}: --simulator: several inputs given, one that takes a single input expected")
    taken: Tensor = samples[:count]
    timed = isinstance(model.module, GraphModule) and model.module.graph.input.timed
    values = taken.transpose(0, 1) if timed else taken
    return _reported(model.simulate(values.detach().cpu().float().contiguous().numpy(), simulator))


def _reported(found: ChipSimulation) -> Simulation:
    values = asdict(found)
    phases = {name: None if values[name] is None else SimulatedPhase(**values[name]) for name in ("alone", "stream")}
    layers = tuple(SpikeAgreement(**layer) for layer in values["layers"])
    return Simulation(**values | phases | {"layers": layers})

"""From a circuit to a report: placement, what does not fit, and what would help."""

from neurodeploy.errors import UserError
from neurodeploy_exporters.lava.circuit import Circuit
from neurodeploy_exporters.lava.mapping.advice import explain, shrink
from neurodeploy_exporters.lava.mapping.chip import Chip
from neurodeploy_exporters.lava.mapping.placement import Placer, required_axons
from neurodeploy_exporters.lava.mapping.result import Mapping, Placed


def map_circuit(circuit: Circuit, chip: Chip, *, chips: int | None = None) -> Mapping:
    """Divide a circuit among the cores of chips of one kind.

    Args:
        circuit: what is to run.
        chip: its limits.
        chips: how many there may be; as many as the largest board has, if None.

    Raises:
        UserError: `chips` is less than 1.
    """
    allowed = chip.boards[-1].chips if chips is None else chips
    if allowed < 1:
        raise UserError(f"chips: {allowed} found, at least 1 expected")
    placer = Placer(chip)
    found = placer.place(circuit)
    axons = required_axons(circuit, chip, found)
    placed, unplaced = [], []
    for index, (population, cores) in enumerate(zip(circuit.populations, found, strict=True)):
        if cores is None:
            unplaced.append(explain(circuit, index, chip, axons[index]))
        else:
            placed.append(Placed(population.key, population.shape, cores))
    mapping = Mapping(chip, tuple(placed), tuple(unplaced), allowed)
    if mapping.unplaced or not mapping.cores_too_many:
        return mapping
    change = shrink(circuit, placer, allowed * chip.cores.value, [len(population.cores) for population in placed])
    return Mapping(chip, tuple(placed), (), allowed, change)

"""A stand-in for SANA-FE: as much of its interface as the runner uses, neurons that compute what its Loihi's do, made-up costs.

A test makes it the `sanafe` of a Python of its own. `QUIRK` there may be "late" (a neuron fires that should not) or "slow".
"""

import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

QUIRK = ""


class Address:
    def __init__(self, group: str, offset: int) -> None:
        self.group_name, self.neuron_offset = group, offset


class Cell:
    def __init__(self, group: str, offset: int, settings: dict[str, Any], inputs: bool) -> None:
        self.address, self.values, self.inputs = Address(group, offset), {"bias": 0, **settings}, inputs
        self.core, self.edges = 0, list[tuple[Cell, int]]()
        self.current, self.arriving, self.next = 0.0, 0, 0

    def set_attributes(self, *, model_attributes: dict[str, Any] | None = None, default_synapse_hw_name: str = "") -> None:
        assert default_synapse_hw_name in ("", "loihi_conv_synapse", "loihi_dense_synapse", "loihi_sparse_synapse")
        self.values |= model_attributes or {}

    def map_to_core(self, core: int) -> None:
        self.core = core


class Cells(list[Cell]):
    def connect_neurons_sparse(self, target: "Cells", values: dict[str, list[int]], pairs: list[tuple[int, int]]) -> None:
        for (pre, post), weight in zip(pairs, values["weight"], strict=True):
            self[pre].edges.append((target[post], weight))


class Network:
    def __init__(self) -> None:
        self.groups: dict[str, Cells] = {}

    def create_neuron_group(self, name: str, count: int, values: dict[str, Any], *, soma_hw_name: str, **others: Any) -> Cells:
        assert others == {"log_spikes": True, "default_dendrite_hw_name": "loihi_dendrites"}
        inputs = {"loihi_inputs": True, "loihi_lif": False}[soma_hw_name]
        self.groups[name] = Cells(Cell(name, offset, values, inputs) for offset in range(count))
        return self.groups[name]


class Architecture:
    def __init__(self, path: str) -> None:
        text = Path(path).read_text("utf-8")
        width, height = (int(re.search(rf"{axis}: (\d+)", text).group(1)) for axis in ("width", "height"))  # type: ignore[union-attr]
        assert f"loihi_tile[0..{width * height - 1}]" in text
        assert re.search(r"loihi_inputs\n\s+attributes:\n\s+model: leaky_integrate_fire", text)
        self.count = 4 * width * height

    def cores(self) -> list[int]:
        return list(range(self.count))


def load_arch(path: str) -> Architecture:
    return Architecture(path)


class SpikingChip:
    def __init__(self, architecture: Architecture) -> None:
        self.cores = architecture.cores()
        self.mapped_neuron_groups: dict[str, Cells] = {}

    def load(self, network: Network) -> None:
        self.mapped_neuron_groups = network.groups
        taken = Counter(cell.core for group in network.groups.values() for cell in group)
        assert max(taken.values()) <= 1024
        assert taken.keys() <= set(self.cores)

    def reset(self) -> None:
        for cell in (cell for group in self.mapped_neuron_groups.values() for cell in group):
            cell.current, cell.arriving, cell.next = 0.0, 0, 0
            cell.values["potential"] = 0

    def sim(self, steps: int, *, spike_trace: bool, perf_trace: bool) -> dict[str, Any]:
        assert (steps, spike_trace, perf_trace) == (1, True, True)
        if QUIRK == "slow":
            time.sleep(60)
        cells = [cell for group in self.mapped_neuron_groups.values() for cell in group]
        fired = [cell for cell in cells if self._fires(cell)]
        events = messages = hops = 0
        for cell in fired:
            for target, weight in cell.edges:
                target.next += weight
            cores = {target.core for target, _ in cell.edges}
            events, messages = events + len(cell.edges), messages + len(cores)
            hops += sum(abs(cell.core // 4 - core // 4) for core in cores)
        for cell in cells:
            cell.arriving, cell.next = cell.next, 0
        own = sum(not cell.inputs for cell in cells)
        energy = {"synapse": 1e-12 * events, "dendrite": 0.0, "soma": 2e-12 * own, "network": 3e-12 * messages}
        return {
            "energy": energy | {"total": sum(energy.values())},
            "sim_time": 1e-6,
            "spikes": events,
            "packets_sent": messages,
            "neurons_updated": own + sum(cell.inputs for cell in fired),
            "neurons_fired": len(fired),
            "spike_trace": [[cell.address for cell in fired]],
            "perf_trace": {"hops": [hops]},
        }

    def _fires(self, cell: Cell) -> bool:
        values = cell.values
        cell.current = cell.current * values.get("input_decay", 0) + cell.arriving
        kept = int(values.get("potential", 0) * values.get("leak_decay", 1) * 64) / 64
        potential = max(kept + values["bias"] + cell.current, values["reverse_threshold"])
        fires = potential > values["threshold"]
        if QUIRK == "late" and not cell.inputs and cell.address.neuron_offset == 0:
            fires = True
        values["potential"] = 0 if fires else potential
        return bool(fires)

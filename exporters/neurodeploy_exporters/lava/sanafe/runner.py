"""Runs a job in SANA-FE. A program of its own, for the Python that has SANA-FE; it needs that and the standard library alone.

    python runner.py FOLDER

The folder holds `job.json` and `job.bin`, which `job.py` writes and describes; `result.json` and `result.bin` are written
beside them. Nothing of this toolkit is imported here, and SANA-FE is imported nowhere else.

What SANA-FE does not do is done around it, from the spikes that it fires. A synapse with a delay delivers nothing in SANA-FE,
where it costs what it costs, and what it carries is added to the neuron's bias in the step in which it arrives. So does one
into neurons that keep a part of their current from step to step: the chip rounds that current, and a reset clears it. A reset
sets the potentials to 0 before a step.
"""

import hashlib
import json
import os
import platform
import re
import sys
import time
from array import array
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

Numbers: TypeAlias = "array[int]"
Place: TypeAlias = tuple[int, int]
"""Group and neuron."""


PROTOCOL = 1
_BATCH = 1 << 16  # connections that are handed over at once
_WRAP = 1 << 23  # currents and potentials have 24 bits, 6 of them behind the point
_LOWEST = (1 - _WRAP) / 64

# What is changed in the architecture that SANA-FE brings: the number of tiles, and the one unit for inputs that fires when it
# is told to, where the file has 1,024 units in every core; both cost nothing.
_EDITS = (
    (r"(\n    width: )8(\n)", r"\g<1>{width}\g<2>"),
    (r"(\n    height: )4(\n)", r"\g<1>{height}\g<2>"),
    (r"loihi_tile\[0\.\.31\]", r"loihi_tile[0..{last}]"),
    (
        r"(- name: loihi_inputs)\[0\.\.1023\](\n\s+attributes:\n\s+model: )input\n",
        r"\g<1>\g<2>leaky_integrate_fire\n",
    ),
)


class Unusable(Exception):
    """What is there cannot be used; the text is for the user."""


def main(folder: Path) -> None:
    try:
        import sanafe
    except ImportError as error:
        raise Unusable(f"sanafe cannot be imported: {error}") from None
    job = json.loads((folder / "job.json").read_text("utf-8"))
    if job["protocol"] != PROTOCOL:
        raise Unusable(f"a job of protocol {job['protocol']} found, {PROTOCOL} expected")
    numbers = array("i", (folder / "job.bin").read_bytes())
    if numbers.itemsize != 4 or sys.byteorder != "little":
        raise Unusable("a machine with little-endian 32-bit integers is needed")
    began = time.perf_counter()
    shipped = Path(sanafe.__file__).parent / "examples" / "loihi.yaml"
    architecture = folder / "architecture.yaml"
    architecture.write_text(_edited(shipped, job["mesh"]), "utf-8")
    _say("building the chip")
    loaded = sanafe.load_arch(str(architecture))
    network = sanafe.Network()
    _network(network, loaded, job, numbers)
    _say("loading the network")
    chip = sanafe.SpikingChip(loaded)
    chip.load(network)
    del network  # the mapped one is all that runs
    built = time.perf_counter()
    machine = Machine(chip, job, numbers)
    fired = array("i")
    runs = []
    for number, run in enumerate(job["runs"]):
        _say(f"run {number + 1} of {len(job['runs'])}")
        runs.append(machine.run(run, fired))
    result = {
        "protocol": PROTOCOL,
        "versions": {"sanafe": _version(), "python": platform.python_version()},
        "architecture": {"file": shipped.name, "sha256": hashlib.sha256(shipped.read_bytes()).hexdigest()},
        "runs": runs,
        "seconds": {"building": built - began, "running": time.perf_counter() - built},
    }
    (folder / "result.bin").write_bytes(fired.tobytes())
    temporary = folder / "result.json.part"
    temporary.write_text(json.dumps(result), "utf-8")
    temporary.replace(folder / "result.json")


def _version() -> str:
    from importlib.metadata import version

    return version("sanafe")


def _say(text: str) -> None:
    print(f"stage: {text}", file=sys.stderr, flush=True)


def _edited(path: Path, mesh: dict[str, int]) -> str:
    """The architecture that SANA-FE brings, with as many tiles as the job needs."""
    text = path.read_text("utf-8")
    values = {"width": mesh["width"], "height": mesh["height"], "last": mesh["width"] * mesh["height"] - 1}
    for pattern, replacement in _EDITS:
        text, count = re.subn(pattern, replacement.format(**values), text)
        if count != 1:
            raise Unusable(f"{path}: not the Loihi that SANA-FE 2.2.0 brings, which alone is known; install sanafe==2.2.0")
    return text


def _network(network: Any, architecture: Any, job: dict[str, Any], numbers: Numbers) -> None:
    """Neurons in their cores, and synapses."""
    cores = architecture.cores()
    groups = []
    for entry in job["groups"]:
        inputs = entry["kind"] == "input"
        group = network.create_neuron_group(
            entry["name"],
            entry["size"],
            {"reset": 0, "reverse_threshold": _LOWEST, "reverse_reset_mode": "saturate"},
            default_dendrite_hw_name="loihi_dendrites",
            soma_hw_name="loihi_inputs" if inputs else "loihi_lif",
            log_spikes=True,
        )
        groups.append(group)
        core = _part(numbers, entry["core"])
        constants = {name: _part(numbers, entry[name]) for name in ("threshold", "v_keep", "bias")}
        for index, neuron in enumerate(group):
            neuron.set_attributes(
                model_attributes={
                    "threshold": constants["threshold"][index],
                    "leak_decay": constants["v_keep"][index] / 4096,
                    "input_decay": 0,
                    "bias": constants["bias"][index],
                }
            )
            neuron.map_to_core(cores[core[index]])
    for entry in job["connections"]:
        _say(f"connecting {job['groups'][entry['source']]['name']} and {job['groups'][entry['target']]['name']}")
        source, target = groups[entry["source"]], groups[entry["target"]]
        for neuron in target:
            neuron.set_attributes(default_synapse_hw_name=entry["unit"])  # an edge takes what its target says when it is made
        pre, post, weight = (_part(numbers, entry[name]) for name in ("pre", "post", "weight"))
        for start in range(0, len(pre), _BATCH):
            part = slice(start, start + _BATCH)
            weights = weight[part].tolist() if not entry["late"] else [0] * len(pre[part])
            source.connect_neurons_sparse(target, {"weight": weights}, list(zip(pre[part], post[part], strict=True)))


def _part(numbers: Numbers, where: tuple[int, int]) -> Numbers:
    start, length = where
    return numbers[start : start + length]


class Machine:
    """A loaded chip that runs sequences of steps, one step in a call, so that it can be told things between them."""

    def __init__(self, chip: Any, job: dict[str, Any], numbers: Numbers) -> None:
        self.chip, self.job, self.numbers, self.parent = chip, job, numbers, os.getppid()
        mapped = chip.mapped_neuron_groups
        self.groups = [mapped[entry["name"]] for entry in job["groups"]]
        self.index = {entry["name"]: number for number, entry in enumerate(job["groups"])}
        self.bias = [_part(numbers, entry["bias"]) for entry in job["groups"]]
        self.keep = [_part(numbers, entry["i_keep"]) if entry["holds"] else None for entry in job["groups"]]
        self.entering = next(number for number, entry in enumerate(job["groups"]) if entry["kind"] == "input")
        self.late = self._late()

    def _late(self) -> dict[Place, list[tuple[int, int, int, int]]]:
        """(group, neuron) → what its delayed synapses deliver: (delay, group, neuron, weight)."""
        late = defaultdict(list)
        for entry in self.job["connections"]:
            if entry["late"]:
                columns = (_part(self.numbers, entry[name]) for name in ("pre", "post", "weight", "delay"))
                for pre, post, weight, delay in zip(*columns, strict=True):
                    late[entry["source"], pre].append((delay, entry["target"], post, weight))
        return late

    def run(self, run: dict[str, Any], fired: Numbers) -> dict[str, Any]:
        """The steps of a run, from a chip that has seen nothing; what fires is added to `fired`: step, group, neuron."""
        self.chip.reset()
        resets: dict[int, list[int]] = defaultdict(list)
        for step, group in run["resets"]:
            resets[step].append(group)
        inputs: dict[int, list[int]] = defaultdict(list)
        events = iter(_part(self.numbers, run["inputs"]))
        for step, neuron in zip(events, events, strict=True):
            inputs[step].append(neuron)
        arriving: dict[int, dict[Place, int]] = defaultdict(lambda: defaultdict(int))
        held: dict[Place, int] = {}
        steps = []
        for step in range(1, run["steps"] + 1):
            if os.getppid() != self.parent:
                raise SystemExit("whoever asked for this run has ended")
            for group in resets.pop(step, ()):
                for neuron in self.groups[group]:
                    neuron.set_attributes(model_attributes={"potential": 0})
                held = {place: current for place, current in held.items() if place[0] != group}
            held, added = self._currents(held, arriving.pop(step, {}))
            added |= {(self.entering, neuron): 1 for neuron in inputs.pop(step, ())}
            driven = [(self.groups[group][neuron], self.bias[group][neuron], more) for (group, neuron), more in added.items()]
            for mapped, bias, more in driven:
                mapped.set_attributes(model_attributes={"bias": bias + more})
            answer = self.chip.sim(1, spike_trace=True, perf_trace=True)
            for mapped, bias, _ in driven:
                mapped.set_attributes(model_attributes={"bias": bias})
            steps.append(_measured(answer))
            for group, neuron in self._fired(answer):
                fired.extend((step, group, neuron))
                for delay, target, post, weight in self.late.get((group, neuron), ()):
                    arriving[step + 1 + delay][target, post] += weight
        return {"steps": steps, "spikes": len(fired) // 3}

    def _currents(self, held: dict[Place, int], arriving: dict[Place, int]) -> tuple[dict[Place, int], dict[Place, float]]:
        """What neurons hold of their current, times 64, and what is added to their potentials.

        Args:
            held: after the step before.
            arriving: in this step, in units of the weights.
        """
        currents: dict[Place, int] = {}
        added: dict[Place, float] = {}
        for place in held.keys() | arriving.keys():
            keep, sum_of_weights = self.keep[place[0]], arriving.get(place, 0)
            if keep is None:
                added[place] = sum_of_weights
                continue
            kept = held.get(place, 0) * keep[place[1]]
            current = (kept >> 12 if kept >= 0 else -(-kept >> 12)) + 64 * sum_of_weights
            if current > _WRAP or current <= -_WRAP:
                current -= 2 * _WRAP if current > 0 else -2 * _WRAP
            if current:
                currents[place] = current
                added[place] = current / 64
        return currents, added

    def _fired(self, answer: dict[str, Any]) -> Iterator[Place]:
        for address in answer["spike_trace"][0]:
            yield self.index[address.group_name], address.neuron_offset


def _measured(answer: dict[str, Any]) -> dict[str, float]:
    energy, trace = answer["energy"], answer["perf_trace"]
    return {
        **{f"{name}_j": energy[name] for name in ("total", "synapse", "dendrite", "soma", "network")},
        "seconds": answer["sim_time"],
        "synapses": answer["spikes"],
        "messages": answer["packets_sent"],
        "updated": answer["neurons_updated"],
        "fired": answer["neurons_fired"],
        "hops": trace["hops"][0],
    }


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except Unusable as problem:
        print(f"unusable: {problem}", file=sys.stderr)
        sys.exit(3)

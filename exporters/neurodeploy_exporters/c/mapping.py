"""Whether a C bundle fits on a microcontroller, what it takes there, and what its ReLU and int8 twins would take."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files as resources
from math import ceil
from typing import Any, Literal

import numpy as np

from neurodeploy.graph import ops
from neurodeploy.graph.module import torch_run
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Bundle, Sample
from neurodeploy_exporters.c.building import program_of
from neurodeploy_exporters.c.bundled import selftest_files
from neurodeploy_exporters.c.deployed import in_integers
from neurodeploy_exporters.c.measuring import CORES, ArmCore, Footprint, measured, missing_tools
from neurodeploy_exporters.c.program import CProgram
from neurodeploy_exporters.c.reading import program_in
from neurodeploy_exporters.c.running import opened
from neurodeploy_exporters.c.tensors import BYTES
from neurodeploy_exporters.c.twins import INT8_BITS, relu_twin

Verdict = Literal["fits", "may fit", "does not fit"]
CHIPS = ("cortex-m4", "cortex-m7", "cortex-m0", "rp2040")


@dataclass(frozen=True)
class Microcontroller:
    """A part.

    Attributes:
        name: "cortex-m4".
        title: of the part that stands for it.
        core: its code's.
        flash, ram: bytes.
        mhz: highest clock.
        source: of these numbers.
        nanojoules: of a clock cycle, from the data sheet's current; None where that says none.
        mode: in which that is.
    """

    name: str
    title: str
    core: ArmCore
    flash: int
    ram: int
    mhz: int
    source: str
    nanojoules: float | None
    mode: str


def microcontroller(name: str) -> Microcontroller:
    """A part by the name of its core.

    Raises:
        UserError: there is none.
    """
    known = tomllib.loads((resources("neurodeploy_exporters.c") / "chips.toml").read_text(encoding="utf-8"))
    if name not in known:
        raise UserError(f"chip {name!r}: unknown; known are: {', '.join(known)}")
    entry: dict[str, Any] = known[name]
    current = entry.pop("microamperes_per_mhz", None)
    volts, mode, core = entry.pop("volts", 0.0), entry.pop("mode", ""), CORES[entry.pop("core")]
    energy = None if current is None else current * volts * 1e-3  # µA/MHz is pC a cycle
    return Microcontroller(name=name, core=core, nanojoules=energy, mode=mode, **entry)


@dataclass(frozen=True)
class NetworkOnChip:
    """One network on a part.

    Attributes:
        title: "the network", "ReLU twin" or "int8 twin".
        footprint: measured; None where a tool for that is missing.
        tables: bytes of its constants, which flash holds in any case.
        context: bytes of RAM that it keeps, without its stack.
    """

    title: str
    footprint: Footprint | None
    tables: int
    context: int


@dataclass(frozen=True)
class McuMapping:
    """What `map_bundle` found.

    Attributes:
        chip: that was looked at.
        placed: the network, and its twins where it has some.
        verdict: "may fit" where flash could not be measured.
        faults: what does not fit, and the smallest change that would, in sentences.
        notes: what was not measured, and why.
        layers: layer → bytes of its tables.
    """

    chip: Microcontroller
    placed: tuple[NetworkOnChip, ...]
    verdict: Verdict
    faults: tuple[str, ...]
    notes: tuple[str, ...]
    layers: Mapping[str, int]


def map_bundle(bundle: Bundle, chip: Microcontroller, *, twins: bool = True) -> McuMapping:
    """A C bundle on a part.

    Raises:
        UserError: the bundle is damaged, or the emulator's count is not to be used.
    """
    program, files = program_in(bundle)
    sample, notes = bundle.sample(), list[str]()
    missing = missing_tools()
    if missing:
        notes.append(f"{missing}; flash is that of the tables alone")
    kept = {name: bundle.path(name).read_text(encoding="ascii") for name in ("sample.h",)} | files
    placed = [_placed("the network", program, kept, chip, measure=not missing)]
    if twins and program.graph.spiking:
        try:
            for title, made, text in twin_programs(program, sample):
                placed.append(_placed(title, made, text, chip, measure=not missing))
        except UserError as error:
            notes.append(f"no twins beside it: {error}")
    layers = _layer_bytes(program)
    faults = _faults(placed[0], program, chip, layers)
    verdict: Verdict = "does not fit" if faults else "fits" if placed[0].footprint is not None else "may fit"
    return McuMapping(chip, tuple(placed), verdict, tuple(faults), tuple(notes), layers)


def twin_programs(program: CProgram, sample: Sample) -> list[tuple[str, CProgram, dict[str, str]]]:
    """The ReLU twin and the int8 twin of a network: title, program and files with a self-test.

    Raises:
        UserError: it has none, there is no C compiler, or what it compiles computes something else.
    """
    twin = relu_twin(program.graph)
    found = []
    for title, bits in (("ReLU twin", None), ("int8 twin", INT8_BITS)):
        graph = in_integers(twin, sample.inputs, 1, activation_bits=bits)
        made = program_of(graph, 1, name=title)
        with opened(made, made.files) as run:
            _, logits = run(sample.inputs)
        answer = graph.output.name
        if not np.array_equal(logits, torch_run(graph)(sample.inputs, [answer])[answer]):
            raise UserError(
                f"{title}: its C program answers otherwise than its network; the compiler may round floats otherwise"
            )
        own = Sample(sample.inputs, {}, logits)
        found.append((title, made, {**made.files, **selftest_files(made, own)}))
    return found


def _placed(title: str, program: CProgram, files: Mapping[str, str], chip: Microcontroller, *, measure: bool) -> NetworkOnChip:
    footprint = measured(files, chip.core.name) if measure else None
    return NetworkOnChip(title, footprint, sum(_table_bytes(program).values()), program.state_bytes)


def _table_bytes(program: CProgram) -> dict[str, int]:
    """Table → bytes."""
    return {table.name: table.values.size * BYTES[table.type] for unit in program.units for table in unit.constants}


def _layer_bytes(program: CProgram) -> dict[str, int]:
    """Synapse → bytes of its tables."""
    tables, found = _table_bytes(program), dict[str, int]()
    for key, one in program.stored.items():
        name = key.rpartition("/")[0]
        found[name] = found.get(name, 0) + tables[one.table]
    return found


def _faults(placed: NetworkOnChip, program: CProgram, chip: Microcontroller, layers: Mapping[str, int]) -> list[str]:
    faults = []
    flash = placed.tables if placed.footprint is None else placed.footprint.flash
    ram = placed.context if placed.footprint is None else placed.footprint.ram
    if flash > chip.flash:
        over = flash - chip.flash
        change = _fewer_outputs(program, layers, over)
        faults.append(f"flash: {flash:,} bytes of {chip.flash:,}, {over:,} too many; {change}")
    if ram > chip.ram:
        faults.append(
            f"RAM: {ram:,} bytes of {chip.ram:,}, {ram - chip.ram:,} too many; {_less_memory(program, ram - chip.ram)}"
        )
    return faults


def _fewer_outputs(program: CProgram, layers: Mapping[str, int], over: int) -> str:
    """The layer of which the smallest share must go."""
    name, size = max(layers.items(), key=lambda item: item[1])
    node = program.graph[name]
    outputs = node.by_output().shape[0] if isinstance(node, ops.Weighted) else 0
    if size <= over or not outputs:
        return "no single layer is as large as that: take fewer channels throughout"
    return f"{name} with {outputs - ceil(over / size * outputs)} of its {outputs} outputs would fit ({size:,} bytes)"


def _less_memory(program: CProgram, over: int) -> str:
    """The state that takes most, and whether it alone is enough."""
    found = [(BYTES[kind] * count, name, count) for unit in program.units for kind, name, count, _ in unit.states]
    for unit in program.units:
        found += [(BYTES[kind] * count, f"{kind} values on their way", count) for kind, count in unit.arenas.items()]
    size, name, count = max(found)
    if size > over:
        fewer = ceil(over / size * count)
        return f"{name} takes {size:,} bytes: {count - fewer:,} instead of {count:,} of them would fit"
    return f"{name} takes most ({size:,} bytes), and alone not enough: take smaller inputs, a stride or fewer channels"

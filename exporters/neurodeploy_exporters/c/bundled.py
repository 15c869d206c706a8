"""The files of a bundle: the C program, its self-test, and the network as data beside it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neurodeploy.graph.stored import StoredNode, restored, stored
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Sample
from neurodeploy_exporters.c.building import program_of
from neurodeploy_exporters.c.file import CFile, KernelChoice
from neurodeploy_exporters.c.names import rows
from neurodeploy_exporters.c.program import CProgram
from neurodeploy_exporters.c.tables import Stored
from neurodeploy_exporters.c.tensors import element
from neurodeploy_exporters.c.writing import source

NETWORK = "network.json"
_BYTES = 1 << 16
"""Of the inputs of a sample of the self-test, on average at most."""
_SAMPLES = 16


class _FileEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Array(_FileEntry):
    """`neurodeploy_exporters.c.file.Stored` in a file."""

    table: str = Field(pattern=r"^[A-Za-z0-9_]{1,80}$")
    shape: tuple[int, ...]
    split: tuple[int, ...]
    axes: tuple[int, ...]
    exponent: int = Field(ge=-200, le=200)
    columns: tuple[int, ...] | None = None
    rows: tuple[int, ...] | None = None
    result: tuple[int, ...] | None = None


class _Choice(_FileEntry):
    kernel: Literal["event", "dense"]
    rate: float | None = None


class NetworkFile(_FileEntry):
    """`network.json`: what the C files hold, without their tables.

    Attributes:
        version: of this format.
        name: of the network.
        steps: T.
        events: inputs are spikes.
        nodes: of the graph.
        arrays: `node/field` → where it is in the tables of the C files.
        kernels: synapse → how it is computed.
        remarks: node → how it is computed, in words.
        ram: bytes of one context.
    """

    version: Literal[1] = 1
    name: str
    steps: int = Field(ge=1)
    events: bool
    nodes: tuple[StoredNode, ...]
    arrays: dict[str, _Array]
    kernels: dict[str, _Choice]
    remarks: dict[str, str] = Field(default_factory=dict)
    ram: int = 0


def network_text(program: CProgram, name: str, choices: Mapping[str, KernelChoice]) -> str:
    """`network.json` of a program. Arrays that are in no table, as those of the samples' normalisation, stay in it."""
    nodes, arrays = stored(program.graph)
    known = program.stored
    kept = {key: value for key, value in arrays.items() if key not in known}
    entry = NetworkFile(
        name=name,
        steps=program.steps,
        events=program.entrance.tensor.type == "bits",
        nodes=nodes,
        arrays={key: _Array(**_fields(value)) for key, value in known.items()},
        kernels={key: _Choice(kernel=one.kernel, rate=one.rate) for key, one in choices.items()},
        remarks={key: text for unit in program.units for key, text in unit.remarks.items()},
        ram=program.state_bytes,
    )
    document = json.loads(entry.model_dump_json(exclude_none=True))
    document["constants"] = {key: _listed(value) for key, value in kept.items()}
    return json.dumps(document, indent=1) + "\n"


def _fields(one: Stored) -> dict[str, Any]:
    return {name: getattr(one, name) for name in ("table", "shape", "split", "axes", "exponent", "columns", "rows", "result")}


def _listed(array: NDArray[Any]) -> dict[str, Any]:
    return {"type": str(array.dtype), "values": array.tolist()}


def read_program(files: Mapping[str, str], path: Path) -> tuple[CProgram, NetworkFile]:
    """The program that a bundle's files hold: its graph with the weights of their tables.

    Args:
        files: name → text, of the bundle.
        path: its folder, for messages.

    Raises:
        UserError: a file is damaged, or its tables are not those of the network; one line that names it.
    """
    where = path / NETWORK
    try:
        document = json.loads(files[NETWORK])
        constants = document.pop("constants") if isinstance(document, dict) else {}
        network = NetworkFile.model_validate(document)
        arrays = {key: np.array(one["values"], one["type"]) for key, one in constants.items() if one["type"] in _TYPES}
    except KeyError as error:
        raise UserError(f"{where}: {error.args[0]} is missing") from None
    except (ValueError, TypeError, AttributeError) as error:
        fault = error.errors()[0] if isinstance(error, ValidationError) else None
        text = f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" if fault else "no such document"
        raise UserError(f"{where}: not valid: {ascii(text)[1:-1]}") from None
    tables = {name: values for file, text in files.items() if file.endswith(".c") for name, values in _tables(text).items()}
    for key, one in network.arrays.items():
        if one.table not in tables:
            raise UserError(f"{path}: table {one.table}: missing in the C files; {where.name} has {key!a} there")
        try:
            arrays[key] = Stored(**_fields(one)).array(tables[one.table])  # type: ignore[arg-type]
        except (ValueError, IndexError):
            raise UserError(f"{path}: table {one.table}: {tables[one.table].size} values found, other ones expected") from None
    graph = restored(network.nodes, arrays)
    choices = {key: KernelChoice(one.kernel, one.rate) for key, one in network.kernels.items()}
    return program_of(graph, network.steps, choices, events=network.events, name=network.name), network


_TYPES = ("float32", "int64", "float64", "int32")
_TABLE = re.compile(r"^static const (\w+) (\w+)\[\d+\] = \{\n([^}]*)\};$", re.MULTILINE)


def _tables(text: str) -> dict[str, NDArray[np.float64]]:
    """The constants in a C file, by name; numbers that are none are left to the compiler to refuse."""
    found = {}
    for kind, name, values in _TABLE.findall(text):
        parts = [part.strip() for part in values.split(",") if part.strip()]
        try:
            read = (
                [float.fromhex(p.strip("()").removesuffix("f")) for p in parts] if kind == "float" else [int(p) for p in parts]
            )
        except ValueError:
            continue
        found[name] = np.array(read, np.float64)
    return found


def selftest_files(program: CProgram, sample: Sample, most: int = _SAMPLES) -> dict[str, str]:
    """The self-test's C files, with at most so many samples, and fewer where those of 1 MB are enough."""
    timed = program.entrance.timed
    batch = sample.inputs.shape[int(timed)]
    each = program.entrance.tensor.elements * (len(sample.inputs) if timed else 1)
    inputs = sample.inputs.swapaxes(0, 1) if timed else sample.inputs[:, None]
    width = 4 if program.entrance.tensor.type == "bits" else 2
    count = max(1, min(batch, most, _BYTES * most // (each * width)))
    given = program.entrance.integers(inputs[:count].reshape(-1, *inputs.shape[2:]))
    layers = list(program.spiking.items())
    counts, digests = [], []
    for number in range(count):
        for name, layer in layers:
            values = layer.encoded(sample.spikes[name][:, number].astype(np.float32))
            counts.append(int(sample.spikes[name][:, number].sum()))
            digests.append(_digest(values))
    answer = program.answer
    scale = np.float32(2.0**answer.grid.exponent)
    steps = len(sample.inputs) if timed else program.steps
    logits = sample.logits[:count] * np.float32(1 if program.divisor is None else program.divisor.of(steps)) * scale
    if answer.type != "float":
        logits = np.rint(logits).astype(np.int64)
    kinds = [{"bits": 0, "uint8_t": 1}.get(layer.type, 2) for _, layer in layers]
    none = np.zeros(1, np.int64)
    parts = [
        "/* Samples, and what the exact network makes of them. */",
        "#ifndef SAMPLE_H",
        "#define SAMPLE_H",
        "",
        '#include "model.h"',
        "",
        f"#define SELFTEST_SAMPLES {count}",
        f"#define SELFTEST_LAYERS {max(1, len(layers))}",
        f"#define SELFTEST_INPUT_SIZE {each}",
        f"#define SELFTEST_INFER(m, input, logits) model_infer(m, input, {f'{steps}, ' if program.steps_vary else ''}logits)",
        "/* Of the tables of each file. */",
        f"#define SELFTEST_TABLES {{{', '.join(f'model_{unit.part}_tables()' for unit in program.units)}}}",
        _const("uint32_t", "selftest_tables", np.array([table_digest(unit) for unit in program.units])),
        _const("int32_t", "selftest_sizes", np.array([layer.elements for _, layer in layers]) if layers else none),
        _const("int32_t", "selftest_kinds", np.array(kinds) if kinds else none),
        _const(element(program.entrance.tensor.type), "selftest_inputs", given),
        _const("uint32_t", "selftest_counts", np.array(counts) if layers else np.zeros(count, np.int64)),
        _const("uint32_t", "selftest_digests", np.array(digests) if layers else np.full(count, _FNV)),
        _const("model_logit_t", "selftest_logits", logits),
        "#endif",
    ]
    files = {name: source(name) for name in ("selftest.c", "host.c", "trace.h", "mps2.c", "mps2.ld")}
    files["sample.h"] = "\n".join(parts) + "\n"
    units = " ".join(name for name in program.files if name.endswith(".c"))
    files["Makefile"] = source("Makefile.txt").replace("@SOURCES@", units)
    return files


def table_digest(unit: CFile) -> int:
    """What the self-test makes of a file's tables."""
    total = _FNV
    for table in unit.constants:
        bits = table.values.astype(np.float32).view(np.uint32) if table.type == "float" else table.values
        total = _digest(bits, total)
    return total


_FNV = 2166136261


def _digest(values: NDArray[Any], total: int = _FNV) -> int:
    for value in values.reshape(-1).tolist():
        total = ((total ^ (value & 0xFFFFFFFF)) * 16777619) & 0xFFFFFFFF
    return total


def _const(kind: str, name: str, values: NDArray[Any]) -> str:
    text = rows(values)
    if kind == "uint32_t":
        text = re.sub(r"(\d+),", r"\1u,", text)
    return f"static const {kind} {name}[{values.size}] = {{\n{text}\n}};"

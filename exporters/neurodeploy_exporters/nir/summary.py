"""What is in a NIR file, whoever wrote it: nodes, constants, metadata, what each reader would make of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.io.errors import UserError
from neurodeploy.io.hdf5 import LocatedError, printable
from neurodeploy_exporters.nir.content import NEURONS, Content, Primitive, Value, load
from neurodeploy_exporters.nir.conventions import chosen
from neurodeploy_exporters.nir.files import Reading, understood
from neurodeploy_exporters.nir.readers import READERS, Finding
from neurodeploy_exporters.nir.structure import KEY

_LONGEST = 60  # of a text of the metadata
_MOST_EDGES = 200


@dataclass(frozen=True)
class NodeSummary:
    """One node.

    Attributes:
        name, kind: as in the file; a graph within the graph is a "NIRGraph".
        constants: field → its shape and range, or its numbers where they are few.
    """

    name: str
    kind: str
    constants: dict[str, str]


@dataclass(frozen=True)
class Summary:
    """A file.

    Attributes:
        path: of it.
        package: version of the `nir` package that wrote it; "" if it is not said.
        nodes: in the file's order, those of inner graphs behind their graph.
        edges: from → to.
        metadata: of the graph, shortened.
        reading: the network in it; None if it cannot be understood here.
        problem: why not.
        readers: tool → what it would not do as the file says.
    """

    path: Path
    package: str
    nodes: tuple[NodeSummary, ...]
    edges: tuple[tuple[str, str], ...]
    metadata: dict[str, str]
    reading: Reading | None
    problem: str
    readers: dict[str, tuple[Finding, ...]]

    @property
    def writer(self) -> str:
        """Who wrote it, as far as that can be seen."""
        if self.reading is None:
            return "unknown"
        return "neurodeploy" if self.reading.convention is None else self.reading.convention.name

    def __str__(self) -> str:
        count = sum(node.kind in NEURONS for node in self.nodes)
        lines = [f"{self.path}: {len(self.nodes)} nodes, {count} of them neurons, {len(self.edges)} edges"]
        lines += [f"  written with the nir package {self.package}"] if self.package else []
        width = min(32, max((len(node.name) for node in self.nodes), default=0))
        for node in self.nodes:
            constants = ", ".join(f"{name} {value}" for name, value in node.constants.items())
            lines.append(f"  {node.name:<{width}}  {node.kind:<10} {constants}".rstrip())
        lines.append("edges: " + ", ".join(f"{a} > {b}" for a, b in self.edges[:_MOST_EDGES]))
        lines += [f"metadata: {name} = {value}" for name, value in self.metadata.items()]
        if self.reading is None:
            lines.append(f"not read here: {self.problem}")
        else:
            lines += [f"read here: {text}" for text in self.reading.statements]
            lines += [f"warning: {text}" for text in self.reading.warnings]
        for name, findings in self.readers.items():
            reader = READERS[name]
            lines.append(f"{name} ({reader.what}): {'as the file says' if not findings else ''}{_worst(findings)}".rstrip(": "))
            lines += [f"  {text}" for text in _grouped(findings)]
            lines.append(f"  always: {reader.says}")
        return "\n".join(lines)

    def as_document(self) -> dict[str, Any]:
        """What `--json` prints."""
        reading = self.reading
        return {
            "file": str(self.path),
            "nir_package": self.package,
            "written_by": self.writer,
            "nodes": [{"name": node.name, "kind": node.kind, "constants": node.constants} for node in self.nodes],
            "edges": [list(edge) for edge in self.edges],
            "metadata": self.metadata,
            "read": reading is not None,
            "problem": self.problem,
            "statements": [] if reading is None else list(reading.statements),
            "warnings": [] if reading is None else list(reading.warnings),
            "readers": {
                name: {
                    "verdict": _worst(findings) or "as the file says",
                    "findings": [{"severity": one.severity, "node": one.node, "text": one.text} for one in findings],
                }
                for name, findings in self.readers.items()
            },
        }


def _worst(findings: tuple[Finding, ...]) -> str:
    severities = {finding.severity for finding in findings}
    for severity, words in (
        ("refused", "not read"),
        ("wrong", "read as another network"),
        ("differs", "read, with steps of its own"),
    ):
        if severity in severities:
            return words
    return ""


def _grouped(findings: tuple[Finding, ...]) -> Iterator[str]:
    """One line for what holds of several nodes."""
    nodes: dict[tuple[str, str], list[str]] = {}
    for one in findings:
        nodes.setdefault((one.severity, one.text), []).append(one.node)
    for (severity, text), names in nodes.items():
        where = ", ".join(filter(None, names))
        yield f"{severity}: {where + ': ' if where else ''}{text}"


def summary(path: Path, **choices: Any) -> Summary:
    """A file, as `read_with_conventions` reads it with these choices.

    Raises:
        UserError: there is no such file, or it is damaged, or no such convention; one line.
    """
    if choices.get("convention") is not None:
        chosen(choices["convention"])  # what the caller says is refused, other than what the file holds
    try:
        content = load(path)
    except UserError as error:
        raise LocatedError(str(error)) from None
    reading, problem = None, ""
    try:
        reading = understood(content, path, **choices)
    except UserError as error:
        problem = printable(str(error).removeprefix(f"{path}: "))
    readers = {
        name: tuple(Finding(one.severity, printable(one.node), printable(one.text)) for one in reader.findings(content))
        for name, reader in READERS.items()
    }
    return Summary(
        path=path,
        package=printable(content.package),
        nodes=tuple(_nodes(content, "")),
        edges=tuple((printable(a), printable(b)) for a, b in content.edges),
        metadata={printable(name): _shown(value) for name, value in content.metadata.items() if name != KEY},
        reading=reading,
        problem=problem,
        readers=readers,
    )


def _nodes(content: Content, prefix: str) -> Iterator[NodeSummary]:
    for name, node in content.nodes.items():
        shown = printable(prefix + name)
        if isinstance(node, Primitive):
            yield NodeSummary(shown, node.kind, {field: _shown(value) for field, value in node.fields.items()})
        else:
            yield NodeSummary(shown, "NIRGraph", {})
            yield from _nodes(node, f"{prefix}{name}.")


def _shown(value: Value) -> str:
    """A text, a few numbers, or shape and range of many."""
    if isinstance(value, str):
        text = printable(value)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
    if value.dtype.kind not in "fiub" or not value.size:
        return f"{value.dtype} {'x'.join(map(str, value.shape))}"
    if value.size <= 4 and value.ndim <= 1 and value.dtype.kind in "iu":
        return "x".join(map(str, value.ravel().tolist()))
    low, high = float(np.min(value)), float(np.max(value))
    span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return span if not value.ndim else f"[{'x'.join(map(str, value.shape))}] {span}"

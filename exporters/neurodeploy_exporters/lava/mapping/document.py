"""A mapping as JSON, and the words in which people read it."""

import json
from dataclasses import asdict
from typing import Any

from neurodeploy_exporters.lava.mapping.chip import Resource
from neurodeploy_exporters.lava.mapping.result import Mapping, Unplaced

WORDS: dict[Resource, str] = {
    "neurons": "neurons",
    "input_axons": "input axons",
    "output_axons": "output axons",
    "synapse_bits": "synapse memory",
    "delay_slots": "delay slots",
}


def as_json(mapping: Mapping, source: str) -> str:
    """Everything, with the limits and their sources.

    Args:
        mapping: of a circuit.
        source: the file that the circuit came from.
    """
    chip = mapping.chip
    document: dict[str, Any] = {
        "source": source,
        "chip": asdict(chip),
        "fits": mapping.fits,
        "cores": mapping.cores,
        "chips": mapping.chips,
        "chips_allowed": mapping.chips_allowed,
        "smallest_board": mapping.board and mapping.board.name,
        "total": asdict(mapping.total),
        "populations": [
            {
                "name": population.key,
                "shape": population.shape,
                "cores": [
                    {"block": core.block, **asdict(core.use), "shares": core.use.shares(chip)} for core in population.cores
                ],
            }
            for population in mapping.placed
        ],
        "unplaced": [asdict(unplaced) for unplaced in mapping.unplaced],
        "cores_too_many": mapping.cores_too_many,
        "smallest_change": mapping.change,
    }
    return json.dumps(document, indent=2) + "\n"


def summary(mapping: Mapping) -> list[str]:
    """What people need to know beside the table, one fact a line."""
    chip, total = mapping.chip, mapping.total
    available = mapping.chips * chip.cores.value
    lines = [
        f"total: {mapping.cores:,} cores on {_count(mapping.chips, 'chip')} of {chip.cores.value}"
        + (f" ({100 * mapping.cores / available:.0f} % of their cores)" if available else "")
        + f", {total.neurons:,} neurons, {total.synapses:,} synapses, {kib(total.synapse_bits)} of synapse memory"
    ]
    if mapping.board is not None and not mapping.unplaced:
        lines.append(f"smallest board: {mapping.board.name} ({_count(mapping.board.chips, 'chip')})")
    if chip.approximate:
        lines.append(f"approximate: {chip.note}")
    else:
        lines.append(f"note: {chip.note}")
    lines.append(f"encoding: {chip.encoding.source}")
    return lines


def faults(mapping: Mapping) -> list[str]:
    """What does not fit and the smallest change that would help, one fault a line; none if everything fits."""
    lines = [_fault(unplaced) for unplaced in mapping.unplaced]
    if mapping.cores_too_many:
        most = mapping.chips_allowed * mapping.chip.cores.value
        where = f"the {most:,} of {_count(mapping.chips_allowed, 'chip')}"
        lines.append(f"{_count(mapping.cores_too_many, 'core')} more than {where}: {mapping.change or 'first see above'}")
    return lines


def _fault(unplaced: Unplaced) -> str:
    shown = kib if unplaced.resource == "synapse_bits" else "{:,}".format
    return (
        f"{unplaced.key}: one neuron takes {shown(unplaced.found)} {_of(unplaced.resource)}, a core has "
        f"{shown(unplaced.limit)}: {unplaced.change}"
    )


def _of(resource: Resource) -> str:
    return f"of {WORDS[resource]}" if resource == "synapse_bits" else WORDS[resource]


def percent(share: float) -> str:
    """A share as people read it."""
    return "< 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def kib(bits: int) -> str:
    """Memory as people read it."""
    return f"{bits / 8192:,.1f} KiB"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

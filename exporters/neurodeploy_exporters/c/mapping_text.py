"""A mapping to a microcontroller as rows, sentences and JSON."""

import json
from dataclasses import asdict, dataclass

from neurodeploy_exporters.c.mapping import McuMapping, Microcontroller, NetworkOnChip, Verdict

_HEAD = ("", "instructions,\nmean", "worst", "flash,\nbytes", "RAM,\nbytes")


def table_rows(mapping: McuMapping) -> list[tuple[str, ...]]:
    """The head, and a row for the network and each twin."""
    return [_HEAD, *(_row(one) for one in mapping.placed)]


def _row(placed: NetworkOnChip) -> tuple[str, ...]:
    found = placed.footprint
    if found is None:
        return placed.title, "–", "–", f">{placed.tables:,}", f">{placed.context:,}"
    return placed.title, f"{found.mean:,.0f}", f"{found.worst:,}", f"{found.flash:,}", f"{found.ram:,}"


def lines(mapping: McuMapping) -> list[str]:
    """What the table does not say."""
    chip, own = mapping.chip, mapping.placed[0].footprint
    said = [f"{mapping.verdict}: {chip.flash:,} bytes of flash, {chip.ram:,} of RAM, up to {chip.mhz} MHz ({chip.source})"]
    if own is not None:
        said.append(
            f"An inference takes at least {_seconds(own.mean / (chip.mhz * 1e6))} at {chip.mhz} MHz: a cycle for each of its "
            "instructions, of which loads and branches take more."
        )
        if chip.nanojoules is not None:
            microjoules = own.mean * chip.nanojoules * 1e-3
            said.append(
                f"Estimated, at least {microjoules:,.3g} µJ: {chip.nanojoules:.3g} nJ a cycle, {chip.mode} ({chip.source})."
            )
        else:
            said.append("No energy: no current per clock of this part is known here from its data sheet.")
    said += [f"does not fit: {fault}" for fault in mapping.faults]
    said += list(mapping.notes)
    return said


def _seconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.3g} ms" if seconds < 1 else f"{seconds:,.3g} s"


@dataclass(frozen=True)
class NetworkEntry:
    """A network, or a twin of it, in `map.json`; what could not be measured is null.

    Attributes:
        title: of the network.
        instructions_mean: of an inference, over the sample.
        instructions_worst: of the sample that took the most.
        flash_bytes: code and constants.
        ram_bytes: context and stack.
        stack_bytes: of these the stack.
        table_bytes: of its constants.
        context_bytes: of its state.
        microjoules_at_least: of an inference, estimated; null where the part's current per clock is not known.
    """

    title: str
    instructions_mean: float | None
    instructions_worst: int | None
    flash_bytes: int | None
    ram_bytes: int | None
    stack_bytes: int | None
    table_bytes: int
    context_bytes: int
    microjoules_at_least: float | None


@dataclass(frozen=True)
class LimitsEntry:
    """What a part has.

    Attributes:
        flash_bytes: of flash.
        ram_bytes: of RAM.
        mhz: of its clock, at most.
        source: its data sheet.
    """

    flash_bytes: int
    ram_bytes: int
    mhz: int
    source: str


@dataclass(frozen=True)
class McuMapDocument:
    """`map.json` of a network on a microcontroller.

    Attributes:
        network: the bundle.
        chip: as `--chip` names it.
        title: of the part, for people.
        limits: of the part.
        verdict: "may fit" where flash could not be measured.
        does_not_fit: what does not, and the smallest change that would, in sentences.
        networks: the network, and its twins where it has some.
        layer_table_bytes: layer → bytes of its tables.
        notes: what was not measured, and why.
    """

    network: str
    chip: str
    title: str
    limits: LimitsEntry
    verdict: Verdict
    does_not_fit: tuple[str, ...]
    networks: tuple[NetworkEntry, ...]
    layer_table_bytes: dict[str, int]
    notes: tuple[str, ...]


def as_json(mapping: McuMapping, network: str) -> str:
    """The text of `map.json`."""
    chip = mapping.chip
    found = McuMapDocument(
        network=network,
        chip=chip.name,
        title=chip.title,
        limits=LimitsEntry(chip.flash, chip.ram, chip.mhz, chip.source),
        verdict=mapping.verdict,
        does_not_fit=tuple(mapping.faults),
        networks=tuple(_entry(one, chip) for one in mapping.placed),
        layer_table_bytes=dict(mapping.layers),
        notes=tuple(mapping.notes),
    )
    return json.dumps(asdict(found), indent=2, ensure_ascii=False) + "\n"


def _entry(one: NetworkOnChip, chip: Microcontroller) -> NetworkEntry:
    found = one.footprint
    if found is None:
        return NetworkEntry(one.title, None, None, None, None, None, one.tables, one.context, None)
    return NetworkEntry(
        title=one.title,
        instructions_mean=found.mean,
        instructions_worst=found.worst,
        flash_bytes=found.flash,
        ram_bytes=found.ram,
        stack_bytes=found.stack,
        table_bytes=one.tables,
        context_bytes=one.context,
        microjoules_at_least=None if chip.nanojoules is None else found.mean * chip.nanojoules * 1e-3,
    )

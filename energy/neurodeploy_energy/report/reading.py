"""Reading a report's JSON back, as a report that can be queried and compared."""

from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError

from neurodeploy.io.errors import UserError
from neurodeploy_energy.accesses import MemoryAccesses
from neurodeploy_energy.comparison import compare
from neurodeploy_energy.cost import Profile
from neurodeploy_energy.geometry import Geometry
from neurodeploy_energy.inputs import InputKinds
from neurodeploy_energy.joules import Measurement, Unmeasured
from neurodeploy_energy.memory_model import MemoryModel
from neurodeploy_energy.report.schema import SCHEMA_VERSION, Document, LayerPart, ProfilePart, UnmeasuredPart
from neurodeploy_energy.result import LayerRow, Report
from neurodeploy_energy.series import Series


def read_report(path: Path) -> Report:
    """Read a `report.json`.

    Spikes of single layers by sample are not in such a file; those of the whole model are, and those of each layer by step.

    Raises:
        UserError: it is missing, damaged, or of another schema version; the first field at fault is named.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; a report.json written by `neurodeploy energy` is expected") from None
    try:
        return _report(Document.model_validate_json(content))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "file"
        version = f", of schema version {SCHEMA_VERSION}," if place == "schema_version" else ""
        raise UserError(
            f"{path}: {place}: {first['msg']}; a report.json{version} written by this version is expected"
        ) from None


def _report(found: Document) -> Report:
    report = Report(
        name=found.name,
        samples=found.samples,
        steps=found.steps,
        layers=tuple(map(_row, found.layers)),
        uncounted=found.uncounted,
        profiles=tuple(_profile(one.profile) for one in found.energy),
        series=_steps(found),
        places=dict(found.places),
        host=None if found.host is None else _profile(found.host),
        twin=None if found.twin is None else _report(found.twin),
        answers=None if found.answers is None else (found.answers.correct, found.answers.samples),
        measured=tuple(
            Unmeasured(**_values(one)) if isinstance(one, UnmeasuredPart) else Measurement(**_values(one))
            for one in found.measured
        ),
        whole=_whole(found),
    )
    if found.baseline is None:
        return report
    return replace(report, comparison=compare(report, _report(found.baseline)))


def _steps(found: Document) -> dict[str, Series]:
    """Layers by step; by sample they are not in the file."""
    kept, none = {} if found.per_sample is None else found.per_sample.spikes_per_step, torch.empty(0, dtype=torch.int64)
    return {name: Series(torch.tensor(steps, dtype=torch.int64), none, none, none) for name, steps in kept.items()}


def _whole(found: Document) -> Series | None:
    kept = found.per_sample
    if kept is None:
        return None
    steps = [sum(step) for step in zip_longest(*kept.spikes_per_step.values(), fillvalue=0)]
    return Series(*(torch.tensor(column, dtype=torch.int64) for column in (steps, kept.spikes, kept.sops, kept.macs)))


def _row(part: LayerPart) -> LayerRow:
    values = _values(part)
    values["inputs"], values["memory"] = InputKinds(**values["inputs"]), MemoryAccesses(**values["memory"])
    values["geometry"] = None if values["geometry"] is None else Geometry(**values["geometry"])
    return LayerRow(**values)


def _profile(part: ProfilePart) -> Profile:
    values = _values(part)
    values["memory"] = None if values["memory"] is None else MemoryModel(**values["memory"])
    return Profile(**values)


def _values(part: BaseModel) -> dict[str, Any]:
    return part.model_dump()

"""Every JSON or TOML format that the toolkit writes or reads, with its JSON schema, which follows from what reads it."""

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from pydantic import TypeAdapter

from neurodeploy.app.benchmark.document import BenchmarkDocument
from neurodeploy.app.finetune import FinetuneProgress
from neurodeploy.app.study import Outcome
from neurodeploy.app.summary_document import SummaryDocument
from neurodeploy.recipe import Recipe
from neurodeploy.recipe.sweep import SweepSettings
from neurodeploy.training.checkpoint import ModuleProgress, Progress
from neurodeploy.training.results import Results
from neurodeploy_energy.price.profiles import Profile
from neurodeploy_energy.report.versus import ContestDocument
from neurodeploy_exporters.bundle import Manifest
from neurodeploy_exporters.target import usable

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def _made_of(kind: Any) -> Callable[[], dict[str, Any]]:
    return lambda: TypeAdapter(kind).json_schema()


def _of_report() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((files("neurodeploy_energy.report") / "report.schema.json").read_text("utf-8"))
    return content


FORMATS: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "recipe": ("a recipe's TOML, and recipe.json of a run", _made_of(Recipe)),
    "sweep-space": ("the table [sweep] of a recipe, or a search space in TOML", _made_of(SweepSettings)),
    "profile": ("an energy profile's values", _made_of(Profile)),
    "checkpoint": ("the header `neurodeploy` of checkpoint.safetensors", _made_of(Progress)),
    "module-checkpoint": ("the same of a module of one's own, trained with neurodeploy.distill", _made_of(ModuleProgress)),
    "finetuning": ("the header of a fine-tuning's checkpoint", _made_of(FinetuneProgress)),
    "results": ("results.json of a run", _made_of(Results)),
    "manifest": ("manifest.json of a bundle", _made_of(Manifest)),
    "report": ("report.json of an energy report", _of_report),
    "comparison": ("comparison.json of `neurodeploy compare`", ContestDocument.json_schema),
    "summary": ("summary.json of a run", _made_of(SummaryDocument)),
    "benchmark": ("benchmark.json of `neurodeploy benchmark`", _made_of(BenchmarkDocument)),
    "sweep": ("sweep.json, without its schema version, unit and estimate", _made_of(Outcome)),
    **{name: (what, _made_of(kind)) for target in usable().values() for name, (what, kind) in target.documents().items()},
}
"""Name → what it describes, and what makes its schema."""


def schema_of(name: str) -> dict[str, Any]:
    """The JSON schema of one of `FORMATS`."""
    what, made = FORMATS[name]
    return {"$schema": _DRAFT, "description": what} | made()

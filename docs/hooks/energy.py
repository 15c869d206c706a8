"""`<!-- counting conventions -->`, what every energy report says of its numbers; `<!-- energy profiles -->`, all constants."""

from typing import Any

from neurodeploy_energy.price.profiles import (
    Profile,
    built_in,
    load_memory_model,
    memory_model_names,
    published_inferences,
    templates,
)
from neurodeploy_energy.report.tables import CONVENTIONS

_COSTS = ("mac", "ac", "neuron_update_active", "neuron_update_idle", "spike")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with both in the places of their markers."""
    conventions = "\n".join(f"- {sentence}" for sentence in CONVENTIONS)
    return markdown.replace("<!-- counting conventions -->", conventions).replace("<!-- energy profiles -->", profiles_table())


def profiles_table() -> str:
    """Markdown: a table of constants, and the sources."""
    profiles = built_in().values()
    lines = [
        "| profile | MAC | AC (SOP) | active update | idle update | spike | scope | basis |",
        "|---|--:|--:|--:|--:|--:|---|---|",
        *(_row(profile) for profile in profiles),
        *(f"| `{name}` | yours | yours | yours | yours | yours | | template |" for name in templates()),
        "",
        "Costs in pJ; an empty cell is a cost that the source does not give.",
        "",
        *(f"- `{one.name}`: {one.title}{_technology(one)}. {one.source.rstrip('.')}. {one.note}".rstrip() for one in profiles),
        *(f"- `{name}`: {reason}." for name, reason in templates().items()),
        *(
            f"- `+{model.name}`, behind a profile: {model.title.rstrip('.')}. {model.source}. {model.note}"
            for model in map(load_memory_model, memory_model_names())
        ),
        "",
        "Inferences that were measured on chips, as published; they price nothing, and estimates can be held against them:",
        "",
        *(f"- {one.chip}: {one.uj:g} µJ, {one.task}. {one.source}." for one in published_inferences()),
    ]
    return "\n".join(lines)


def _row(profile: Profile) -> str:
    costs = (getattr(profile, name) for name in _COSTS)
    cells = " | ".join("" if cost is None else f"{cost:,.10g}" for cost in costs)
    scope = f"{profile.scope}, all-in" if profile.all_in else profile.scope
    return f"| `{profile.name}` | {cells} | {scope} | {profile.basis} |"


def _technology(profile: Profile) -> str:
    told = ", ".join(part for part in (profile.process, profile.voltage) if part)
    return f" ({told})" if told else ""

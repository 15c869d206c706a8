"""`<!-- ready models -->`: a table of the models that come with the package, and each of their cards."""

from typing import Any

from docs.hooks.tables import table
from neurodeploy.app.ready import Card, card, names
from neurodeploy.cli.models import rows

MARKER = "<!-- ready models -->"
_HEAD = (
    "model",
    "T",
    "test accuracy, % (95 % interval)",
    "spikes per sample",
    "µJ per sample as deployed, estimated",
    "bundles",
)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with both in the place of the marker."""
    return markdown.replace(MARKER, listed([card(name) for name in names()])) if MARKER in markdown else markdown


def listed(cards: list[Card]) -> str:
    """Markdown: a row for each model, then a section."""
    sections = (f"## {one.name}\n\n{one.description}.\n\n{table(('', ''), rows(one))}" for one in cards)
    return "\n\n".join([table(_HEAD, map(_row, cards)), *sections])


def _row(one: Card) -> tuple[str, ...]:
    low, high = one.deployed.accuracy.interval
    accuracy = f"{one.deployed.accuracy.percent:.2f} ({low:.2f} to {high:.2f}), {one.deployed.samples:,} samples"
    energy = "no price" if one.energy.total_uj is None else f"{one.energy.total_uj:,.2f}"
    bundles = ", ".join(target for target, bundle in one.bundles.items() if not bundle.refusal)
    return f"[`{one.name}`](#{one.name})", str(one.steps), accuracy, f"{one.spikes:,.0f}", energy, bundles

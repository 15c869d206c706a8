"""The ready models that come with the package; the card of one, or one at work on the samples that come with it."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from neurodeploy.cli.choices import AsJson
from neurodeploy.cli.console import out

if TYPE_CHECKING:
    from neurodeploy.app.ready import Card, CardTeacher

EXAMPLE = "neurodeploy models resnet8-cifar10-t4 --try"


def command(
    name: Annotated[str | None, typer.Argument(help="Show this model's card.", show_default=False)] = None,
    at_work: Annotated[
        bool, typer.Option("--try", help="Run it on the test samples that come with it: no data set is needed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    from neurodeploy.app.ready import card, checked, names
    from neurodeploy.io.errors import UserError

    if name is None:
        if at_work:
            raise UserError(f"--try: runs one model; name it ({', '.join(names())})")
        _list([card(one) for one in names()], as_json=as_json)
        return
    shown = card(name)
    checked(name)
    if at_work:
        _try(shown, as_json=as_json)
    elif as_json:
        out.print_json(shown.model_dump_json())
    else:
        _show(shown)


def _list(cards: "list[Card]", *, as_json: bool) -> None:
    if as_json:
        out.print_json(json.dumps([one.model_dump(mode="json", exclude={"files"}) for one in cards]))
        return
    table = Table("model", "T", "accuracy, %", "95 % interval", "spikes", "µJ", "bundles")
    table.columns[0].no_wrap = True
    for column in table.columns[1:6]:
        column.justify = "right"
    for one in cards:
        accuracy = one.deployed.accuracy
        low, high = accuracy.interval
        bundles = ", ".join(target for target, bundle in one.bundles.items() if not bundle.refusal)
        energy = "" if one.energy.total_uj is None else f"{one.energy.total_uj:,.2f}"
        figures = (f"{accuracy.percent:.2f}", f"{low:.2f} to {high:.2f}", f"{one.spikes:,.0f}", energy)
        table.add_row(one.name, str(one.steps), *figures, bundles)
    out.print(table)
    for one in cards:
        out.print(f"{one.name}: {one.description}. Data: {one.data}.")
    out.print("Accuracies are of whole test sets; spikes and estimated energies as deployed, per sample.")
    out.print("A name is taken wherever a model is: neurodeploy evaluate NAME, neurodeploy verify NAME/onnx")


def _show(card: "Card") -> None:
    from neurodeploy.app.ready import checked

    out.print(f"{card.name}: {card.description}")
    table = Table(show_header=False)
    for label, text in rows(card):
        table.add_row(label, text)
    out.print(table)
    out.print(f"Files, their SHA-256 as on the card: {checked(card.name)}")


def rows(card: "Card") -> list[tuple[str, str]]:
    """What a card says, label by label."""
    energy, teacher, origin = card.energy, card.teacher, card.origin
    uj = (
        "no price"
        if energy.total_uj is None
        else f"{energy.total_uj:,.2f} µJ (chip {energy.chip_uj:,.2f}, host {energy.host_uj:,.2f})"
    )
    relus = {"its teacher": teacher} | ({} if card.source is None else {"the ReLU network that it was made of": card.source})
    entries = [
        ("test accuracy as deployed", str(card.deployed.accuracy)),
        ("of the network as trained", str(card.trained.accuracy)),
        *((f"of {name}", f"{one.answers.accuracy}{_on_host(one)}") for name, one in relus.items()),
        ("spikes per sample", f"{card.spikes:,.0f} in {card.steps} time steps"),
        ("operations per sample", f"{card.synops:,.0f} synaptic operations, {card.macs:,.0f} multiply-accumulates"),
        ("energy as deployed, estimated", f"{uj} under {energy.chip}, host {energy.host}"),
        *((f"under {profile}, estimated", f"{one:,.2f} µJ") for profile, one in energy.further.items()),
        ("network", f"{card.parameters:,} parameters, {card.classes} classes, counted as {card.target} has it"),
    ]
    for target, bundle in card.bundles.items():
        if bundle.refusal:
            entries.append((target, f"refused: {bundle.refusal}"))
            continue
        verified = f"{card.name}/{target}: {bundle.spikes_compared:,} spikes of {bundle.samples} samples compared"
        answers = "" if bundle.answers is None else f"; accuracy of the files {bundle.answers.accuracy}"
        entries.append((target, f"{verified}, {bundle.mismatches} differ{answers}"))
    made = f"{origin.command}; {origin.role}, seed {origin.seed}, epochs: {origin.epochs}"
    entries += [
        ("made by", made + ("" if origin.commit is None else f", commit {origin.commit}")),
        ("measured with", f"neurodeploy {origin.neurodeploy}, torch {origin.torch}"),
        ("data", card.data),
        ("licence of the data", card.data_licence),
        ("teacher", f"{teacher.what}; licence: {teacher.licence}"),
        *([] if card.source is None else [("made of", f"{card.source.what}; licence: {card.source.licence}")]),
        ("licence of the weights", card.weights_licence),
    ]
    return entries + [("note", note) for note in card.notes]


def _on_host(relu: "CardTeacher") -> str:
    return "" if relu.host_uj is None else f"; {relu.host_uj:,.2f} µJ on the host alone, estimated"


def _try(card: "Card", *, as_json: bool) -> None:
    from neurodeploy.app.ready_at_work import at_work

    found = at_work(card.name)
    if as_json:
        out.print_json(json.dumps(found.as_document()))
        return
    table = Table("sample", "is", "taken for", "spikes")
    for column in (table.columns[0], table.columns[3]):
        column.justify = "right"
    for one in found.answers:
        table.add_row(str(one.sample), one.label, one.answer, f"{one.spikes:,}")
    out.print(table)
    out.print(f"{card.name} on {found.data}: {found.right} of {len(found.answers)} right. {found.energy}")
    out.print(f"On the whole test set: {card.deployed.accuracy}. Licence of the samples: {card.data_licence}.")

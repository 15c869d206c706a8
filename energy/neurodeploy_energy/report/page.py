"""The report as one self-contained HTML page: no requests to anywhere, all text escaped.

A page is a heading and sections; the contents at its top follow from their titles. Tables can be sorted, their columns chosen
and saved as CSV, charts saved as PNG, and the whole report as the files that the page carries: all from the keyboard too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from neurodeploy_energy.count.layer import LayerRow
from neurodeploy_energy.price.account import Account
from neurodeploy_energy.price.profiles import Profile
from neurodeploy_energy.report import document, formats, svg, tables
from neurodeploy_energy.report.charts import charts_of
from neurodeploy_energy.report.reconciling import reconciling_tables
from neurodeploy_energy.report.simulated import simulations
from neurodeploy_energy.report.svg import text_of
from neurodeploy_energy.report.tables import CONVENTIONS, ReportTable, TableCell, caveats, maybe_microjoule, number

_FOLDER = resources.files("neurodeploy_energy.report")
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True)
class PagePart:
    """A part of a page with a title of its own, which is in the contents.

    Attributes:
        title: text.
        html: what is below it, escaped.
    """

    title: str
    html: Sequence[str]


@dataclass(frozen=True)
class Attachment:
    """A file that a page carries, for its reader to save.

    Attributes:
        name: of the file.
        kind: its media type.
        content: text.
    """

    name: str
    kind: str
    content: str


def as_fragment(report: Account, sentences: Sequence[str]) -> str:
    """A table of the layers and what is said of it, for a notebook: without scripts or styles of its own."""
    layers = tables.layers(report, report.profiles[0].name, against=False)
    head = "".join(f"<th>{text_of(text)}</th>" for text in layers.headings)
    rows = "".join(f"<tr>{''.join(f'<td>{text_of(cell.text)}</td>' for cell in row)}</tr>" for row in layers.rows)
    foot = "".join(f"<th>{text_of(cell.text)}</th>" for cell in layers.foot or ())
    said = "".join(f"<li>{text_of(sentence)}</li>" for sentence in sentences)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody><tfoot><tr>{foot}</tr></tfoot></table>"
    return f"<div><p><b>{text_of(layers.title)}</b></p>{table}<ul>{said}</ul></div>"


def framed(title: str, top: Iterable[str], sections: Iterable[PagePart], files: Sequence[Attachment] = ()) -> str:
    """A whole page.

    Args:
        title: of the page.
        top: HTML above the contents, escaped; see `heading`.
        sections: in their order.
        files: what the page carries.
    """
    css, script = ((_FOLDER / name).read_text("utf-8") for name in ("page.css", "page.js"))
    parts = [section for section in sections if any(section.html)]
    links = "".join(f'<li><a href="#part-{i}">{text_of(part.title)}</a></li>' for i, part in enumerate(parts, start=1))
    contents = f'<nav aria-label="Contents"><ul>{links}</ul></nav>' if len(parts) > 1 else ""
    body = [line for i, part in enumerate(parts, start=1) for line in _part(i, part)]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>{text_of(title)}</title><style>\n{css}</style></head><body><main>",
            *top,
            contents,
            _saving(files),
            *body,
            "</main>",
            '<div id="tip" role="presentation" hidden></div>',
            '<p id="told" aria-live="polite"></p>',
            *map(_carried, files),
            f"<script>\n{script}</script></body></html>",
            "",
        ]
    )


def _part(number: int, section: PagePart) -> list[str]:
    title = f'<h2 id="part-{number}">{text_of(section.title)}</h2>'
    return [f'<section aria-labelledby="part-{number}">{title}', *section.html, "</section>"]


def _saving(files: Sequence[Attachment]) -> str:
    if not files:
        return ""
    buttons = "".join(f'<button type="button" data-file="{text_of(one.name)}">{text_of(one.name)}</button>' for one in files)
    return f'<p class="saving">Save {buttons}</p>'


def _carried(file: Attachment) -> str:
    """Its text where nobody sees it; a parser drops one line break at the beginning."""
    text = escape(file.content, quote=False)
    return f'<pre hidden data-name="{text_of(file.name)}" data-kind="{text_of(file.kind)}">\n{text}</pre>'


def heading(title: str, lead: str, notices: Sequence[str]) -> list[str]:
    """The top of a page."""
    return [
        f"<h1>{text_of(title)}</h1>",
        f'<p class="lead">{text_of(lead)}</p>',
        *(f'<p class="notice">{text_of(notice)}</p>' for notice in notices),
    ]


def profile_choice(profiles: Sequence[Profile]) -> str:
    """Switches everything that has a `data-profile`."""
    options = (f'<option value="{text_of(p.name)}">{text_of(p.name)}: {text_of(p.title)}</option>' for p in profiles)
    return f'<p><label>Energy profile <select id="profile">{"".join(options)}</select></label></p>'


def table(shown: ReportTable, *, profile: str | None = None) -> str:
    """A table that its headings sort, and the notes below it."""
    belongs = "" if profile is None else f' data-profile="{text_of(profile)}"'
    head = "".join(heading_cell(text, text=column < shown.text) for column, text in enumerate(shown.headings))
    body = "".join(
        f"<tr>{''.join(cell(c, text=column < shown.text) for column, c in enumerate(row))}</tr>" for row in shown.rows
    )
    foot = ""
    if shown.foot is not None:
        cells = "".join(cell(c, text=column < shown.text) for column, c in enumerate(shown.foot))
        foot = f"<tfoot><tr>{cells}</tr></tfoot>"
    notes = "".join(f'<p class="soft">{text_of(note)}</p>' for note in shown.notes)
    inside = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>{foot}</table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{text_of(shown.title)}"{belongs}>{inside}</div>{notes}'


def section(shown: ReportTable) -> PagePart:
    """A table below its title."""
    return PagePart(shown.heading, [table(shown)])


def sources(facts: Mapping[str, str], said: Iterable[str]) -> PagePart:
    """What the numbers are of, and what is said of all of them."""
    return PagePart("Where the numbers come from", [fact_list(facts), sentences(said)])


def heading_cell(heading: str, *, text: bool, extra: str = "") -> str:
    """A heading that sorts by its column."""
    return f'<th scope="col"{_text(text)}{extra}><button type="button">{text_of(heading)}</button></th>'


def cell(shown: TableCell, *, text: bool, extra: str = "", share: float = 0.0) -> str:
    """One field of a table; `share`: of the largest value of its column, as a bar."""
    value = "" if shown.value is None else f' data-value="{shown.value!r}"'
    bar = f'<span class="bar" style="width:{max(1, round(60 * share))}px"></span>' if share else ""
    return f"<td{_text(text)}{value}{extra}>{text_of(shown.text)}{bar}</td>"


def fact_list(facts: Mapping[str, str]) -> str:
    """Headings and values."""
    if not facts:
        return ""
    return f"<dl>{''.join(f'<dt>{text_of(key)}</dt><dd>{text_of(value)}</dd>' for key, value in facts.items())}</dl>"


def profile_list(profiles: Iterable[Profile]) -> str:
    """What each profile is, with its constants and source."""
    return fact_list({p.name: _about(p) for p in profiles})


def sentences(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{text_of(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def _about(p: Profile) -> str:
    costs = ", ".join(f"{name} {cost:,.10g} pJ" for name, cost in p.costs.items())
    technology = "; ".join(filter(None, (", ".join(filter(None, (p.process, p.voltage))), f"{p.scope}, {p.basis}")))
    return f"{p.title} ({technology}). {costs or 'No cost given'}. Source: {p.source}. {p.note}"


def _text(text: bool) -> str:
    return ' class="text"' if text else ""


def as_page(report: Account, *, title: str, facts: Mapping[str, str], notices: Sequence[str]) -> str:
    """A whole page.

    Args:
        report: what is shown.
        title: heading and title of the page.
        facts: heading → value: origin of the model, data, accuracies.
        notices: sentences that a reader must see first.
    """
    against = f", against {report.comparison.baseline.name}" if report.comparison else ""
    lead = (
        f"Spikes and estimated energy of {report.name}{against}: means per sample over {report.samples:,} samples, "
        f"{report.steps} time steps."
    )
    further = (tables.twins(report), *simulations(report), tables.measurements(report), *reconciling_tables(report))
    deployed = tables.deployments(report)
    every = report.profiles if report.host is None else dict.fromkeys((*report.profiles, report.host))
    said = [*filter(None, [tables.deployed_line(report) or tables.accuracy_line(report)]), *notices]
    return framed(
        title,
        [*heading(title, lead, said), profile_choice(report.profiles), _tiles(report)],
        [
            *([] if deployed is None else [section(deployed)]),
            PagePart("Layer by layer", [_layer_table(report)]),
            PagePart("Every profile side by side", [table(tables.profiles(report))]),
            *(section(table) for table in further if table is not None),
            PagePart("Figures", [*map(svg.drawn, charts_of(report).values())]),
            sources(facts, (*CONVENTIONS, *caveats(report))),
            PagePart("Profiles", [profile_list(every)]),
        ],
        _files(report),
    )


def _files(report: Account) -> list[Attachment]:
    """The report in full, as `report.json` and `report.csv` have it."""
    return [
        Attachment("report.json", "application/json", document.as_json(report, indent=None)),
        Attachment("report.csv", "text/csv", formats.as_csv(report)),
    ]


def _tiles(report: Account) -> str:
    baseline = report.comparison.baseline if report.comparison else None
    total = report.total
    before = baseline.total if baseline else LayerRow("none", "total")
    accuracy = tables.accuracy_of(report)
    tiles = [
        *([] if accuracy is None else [_tile("accuracy", f"{accuracy:.2f} %", "")]),
        _tile("spikes per sample", number(total.spikes), _change(total.spikes, before.spikes)),
        _tile("synaptic operations", number(total.sops), _change(total.sops, before.sops)),
        _tile("multiply-accumulates", number(total.macs), _change(total.macs, before.macs)),
    ]
    for i, profile in enumerate(report.profiles):
        value = report.energy(profile.name).total_uj
        other = report.comparison.energies[i].baseline if report.comparison else None
        label = f"µJ per sample, estimated with {profile.name}: {tables.rung(profile, report)}"
        tile = _tile(label, maybe_microjoule(value), _change(value, other))
        tiles.append(tile.replace('class="tile"', f'class="tile" data-profile="{text_of(profile.name)}"', 1))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tile(label: str, value: str, change: str) -> str:
    return f'<div class="tile"><span class="soft">{text_of(label)}</span><b>{text_of(value)}</b>{change}</div>'


def _change(value: float | None, before: float | None) -> str:
    if not before or value is None:
        return ""
    change = 100 * (value / before - 1)
    kind = "change" if change <= 0 else "more"
    return f'<span class="{kind}">{change:+.1f} %</span> <span class="soft">against the baseline</span>'


def _layer_table(report: Account) -> str:
    """Counts once, a column of energies for each profile, of which one is shown, and columns that a reader may choose."""
    counts = tables.layers(report, report.profiles[0].name)
    energies = []
    for profile in report.profiles:
        under = tables.layers(report, profile.name)
        most = max((row[-1].value or 0.0 for row in under.rows), default=0.0) or 1.0
        energies.append((f' data-profile="{text_of(profile.name)}" data-column="µJ (estimate)"', under, most))
    further = [(f' data-column="{text_of(column.heading)}" data-hidden', column) for column in tables.FURTHER_COLUMNS]
    head = "".join(heading_cell(text, text=column == 0) for column, text in enumerate(counts.headings[:-1]))
    head += "".join(heading_cell(under.headings[-1], text=False, extra=extra) for extra, under, _ in energies)
    head += "".join(heading_cell(column.heading, text=False, extra=extra) for extra, column in further)
    known = {row.name: row for row in report.layers}
    body = []
    for i, row in enumerate(counts.rows):
        cells = [cell(shown, text=column == 0) for column, shown in enumerate(row[:-1])]
        for extra, under, most in energies:
            energy = under.rows[i][-1]
            cells.append(cell(energy, text=False, extra=extra, share=(energy.value or 0.0) / most))
        layer = known.get(row[0].text)
        cells += [cell(tables.count_cell(column, layer), text=False, extra=extra) for extra, column in further]
        body.append(f'<tr>{"".join(cells)}<td class="note">{text_of(layer.note if layer else "")}</td></tr>')
    total = counts.foot or ()
    foot = [cell(shown, text=column == 0) for column, shown in enumerate(total[:-1])]
    foot += [cell((under.foot or (TableCell(""),))[-1], text=False, extra=extra) for extra, under, _ in energies]
    foot += [cell(tables.count_cell(column, report.total), text=False, extra=extra) for extra, column in further]
    meanings = fact_list({column.heading: column.meaning for column in (*tables.COLUMNS, *tables.FURTHER_COLUMNS)})
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Layer by layer"><table><thead><tr>{head}'
        f'<th class="text note" scope="col">note</th></tr></thead><tbody>{"".join(body)}</tbody>'
        f"<tfoot><tr>{''.join(foot)}<td></td></tr></tfoot></table></div>"
        f"<details><summary>What the columns mean</summary>{meanings}</details>"
    )

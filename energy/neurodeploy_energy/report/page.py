"""The report as one self-contained HTML page: no requests to anywhere, all text escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources

from neurodeploy_energy.count.layer import LayerRow
from neurodeploy_energy.price.account import Account
from neurodeploy_energy.price.profiles import Profile
from neurodeploy_energy.report import svg, tables
from neurodeploy_energy.report.charts import charts_of
from neurodeploy_energy.report.tables import CONVENTIONS, ReportTable, TableCell, caveats, maybe_microjoule, number

_FOLDER = resources.files("neurodeploy_energy.report")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def as_fragment(report: Account, sentences: Sequence[str]) -> str:
    """A table of the layers and what is said of it, for a notebook: without scripts or styles of its own."""
    layers = tables.layers(report, report.profiles[0].name, against=False)
    head = "".join(f"<th>{escape(text)}</th>" for text in layers.headings)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell.text)}</td>' for cell in row)}</tr>" for row in layers.rows)
    foot = "".join(f"<th>{escape(cell.text)}</th>" for cell in layers.foot or ())
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody><tfoot><tr>{foot}</tr></tfoot></table>"
    return f"<div><p><b>{escape(layers.title)}</b></p>{table}<ul>{said}</ul></div>"


def framed(title: str, body: Iterable[str]) -> str:
    """A whole page.

    Args:
        title: of the page.
        body: HTML, escaped.
    """
    css, script = ((_FOLDER / name).read_text("utf-8") for name in ("page.css", "page.js"))
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>{escape(title)}</title><style>\n{css}</style></head><body>",
            *body,
            '<div id="tip" role="presentation" hidden></div>',
            '<p id="told" aria-live="polite" style="position:absolute;left:-200vw"></p>',
            f"<script>\n{script}</script></body></html>",
            "",
        ]
    )


def heading(title: str, lead: str, notices: Sequence[str]) -> list[str]:
    """The top of a page."""
    return [
        f"<h1>{escape(title)}</h1>",
        f'<p class="lead">{escape(lead)}</p>',
        *(f'<p class="notice">{escape(notice)}</p>' for notice in notices),
    ]


def profile_choice(profiles: Sequence[Profile]) -> str:
    """Switches everything that has a `data-profile`."""
    options = (f'<option value="{escape(p.name)}">{escape(p.name)}: {escape(p.title)}</option>' for p in profiles)
    return f'<p><label>Energy profile <select id="profile">{"".join(options)}</select></label></p>'


def table(shown: ReportTable, *, profile: str | None = None) -> str:
    """A table that its headings sort, and the notes below it."""
    belongs = "" if profile is None else f' data-profile="{escape(profile)}"'
    head = "".join(heading_cell(text, text=column < shown.text) for column, text in enumerate(shown.headings))
    body = "".join(
        f"<tr>{''.join(cell(c, text=column < shown.text) for column, c in enumerate(row))}</tr>" for row in shown.rows
    )
    foot = ""
    if shown.foot is not None:
        cells = "".join(cell(c, text=column < shown.text) for column, c in enumerate(shown.foot))
        foot = f"<tfoot><tr>{cells}</tr></tfoot>"
    notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in shown.notes)
    inside = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>{foot}</table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(shown.title)}"{belongs}>{inside}</div>{notes}'


def section(shown: ReportTable) -> list[str]:
    """A table below its title."""
    return [f"<h2>{escape(shown.heading)}</h2>", table(shown)]


def heading_cell(heading: str, *, text: bool, extra: str = "") -> str:
    """A heading that sorts by its column."""
    return f'<th scope="col"{_text(text)}{extra}><button type="button">{escape(heading)}</button></th>'


def cell(shown: TableCell, *, text: bool, extra: str = "", share: float = 0.0) -> str:
    """One field of a table; `share`: of the largest value of its column, as a bar."""
    value = "" if shown.value is None else f' data-value="{shown.value!r}"'
    bar = f'<span class="bar" style="width:{max(1, round(60 * share))}px"></span>' if share else ""
    return f"<td{_text(text)}{value}{extra}>{escape(shown.text)}{bar}</td>"


def fact_list(facts: Mapping[str, str]) -> str:
    """Headings and values."""
    if not facts:
        return ""
    return f"<dl>{''.join(f'<dt>{escape(key)}</dt><dd>{escape(value)}</dd>' for key, value in facts.items())}</dl>"


def profile_list(profiles: Iterable[Profile]) -> str:
    """What each profile is, with its constants and source."""
    return fact_list({p.name: _about(p) for p in profiles})


def sentences(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


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
    further = (tables.twins(report), tables.measurements(report))
    deployed = tables.deployments(report)
    return framed(
        title,
        [
            *heading(title, lead, [*filter(None, [tables.deployed_line(report)]), *notices]),
            profile_choice(report.profiles),
            _tiles(report),
            *([] if deployed is None else section(deployed)),
            "<h2>Layer by layer</h2>",
            _layer_table(report),
            "<h2>Every profile side by side</h2>",
            table(tables.profiles(report)),
            *(part for table in further if table is not None for part in section(table)),
            "<h2>Figures</h2>",
            *map(svg.drawn, charts_of(report).values()),
            "<h2>Where the numbers come from</h2>",
            fact_list(facts),
            sentences((*CONVENTIONS, *caveats(report))),
            "<h2>Profiles</h2>",
            profile_list(report.profiles if report.host is None else dict.fromkeys((*report.profiles, report.host))),
        ],
    )


def _tiles(report: Account) -> str:
    baseline = report.comparison.baseline if report.comparison else None
    total = report.total
    before = baseline.total if baseline else LayerRow("none", "total")
    tiles = [
        _tile("spikes per sample", number(total.spikes), _change(total.spikes, before.spikes)),
        _tile("synaptic operations", number(total.sops), _change(total.sops, before.sops)),
        _tile("multiply-accumulates", number(total.macs), _change(total.macs, before.macs)),
    ]
    for i, profile in enumerate(report.profiles):
        value = report.energy(profile.name).total_uj
        other = report.comparison.energies[i].baseline if report.comparison else None
        label = f"µJ per sample, estimated with {profile.name}: {tables.rung(profile, report)}"
        tile = _tile(label, maybe_microjoule(value), _change(value, other))
        tiles.append(tile.replace('class="tile"', f'class="tile" data-profile="{escape(profile.name)}"', 1))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tile(label: str, value: str, change: str) -> str:
    return f'<div class="tile"><span class="soft">{escape(label)}</span><b>{escape(value)}</b>{change}</div>'


def _change(value: float | None, before: float | None) -> str:
    if not before or value is None:
        return ""
    change = 100 * (value / before - 1)
    kind = "change" if change <= 0 else "more"
    return f'<span class="{kind}">{change:+.1f} %</span> <span class="soft">against the baseline</span>'


def _layer_table(report: Account) -> str:
    """Counts once, and a column of energies for each profile, of which one is shown."""
    counts = tables.layers(report, report.profiles[0].name)
    energies = []
    for profile in report.profiles:
        under = tables.layers(report, profile.name)
        most = max((row[-1].value or 0.0 for row in under.rows), default=0.0) or 1.0
        energies.append((f' data-profile="{escape(profile.name)}"', under, most))
    head = "".join(heading_cell(text, text=column == 0) for column, text in enumerate(counts.headings[:-1]))
    head += "".join(heading_cell(under.headings[-1], text=False, extra=extra) for extra, under, _ in energies)
    notes = {row.name: row.note for row in report.layers}
    body = []
    for i, row in enumerate(counts.rows):
        cells = [cell(shown, text=column == 0) for column, shown in enumerate(row[:-1])]
        for extra, under, most in energies:
            energy = under.rows[i][-1]
            cells.append(cell(energy, text=False, extra=extra, share=(energy.value or 0.0) / most))
        body.append(f'<tr>{"".join(cells)}<td class="note">{escape(notes.get(row[0].text, ""))}</td></tr>')
    total = counts.foot or ()
    foot = [cell(shown, text=column == 0) for column, shown in enumerate(total[:-1])]
    foot += [cell((under.foot or (TableCell(""),))[-1], text=False, extra=extra) for extra, under, _ in energies]
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Layer by layer"><table><thead><tr>{head}'
        f'<th class="text">note</th></tr></thead><tbody>{"".join(body)}</tbody><tfoot><tr>{"".join(foot)}<td></td></tr></tfoot>'
        "</table></div>"
    )

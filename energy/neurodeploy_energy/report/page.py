"""The report as one self-contained HTML page: no requests to anywhere, all text escaped."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources

from matplotlib.figure import Figure

from neurodeploy_energy.report.columns import COLUMNS, cells, energies, microjoule, number, percent
from neurodeploy_energy.report.conventions import CONVENTIONS, caveats
from neurodeploy_energy.report.figures import energy_by_layer, energy_by_profile, spikes_per_layer
from neurodeploy_energy.result import LayerRow, Report

_FOLDER = resources.files("neurodeploy_energy.report")


def as_page(report: Report, *, title: str, facts: Mapping[str, str], notices: Sequence[str]) -> str:
    """A whole page.

    Args:
        report: what is shown.
        title: heading and title of the page.
        facts: heading → value: origin of the model, data, accuracies.
        notices: sentences that a reader must see first.
    """
    css, script = ((_FOLDER / name).read_text("utf-8") for name in ("page.css", "page.js"))
    baseline = f", against {report.comparison.baseline.name}" if report.comparison else ""
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="lead">Spikes and estimated energy of {escape(report.name + baseline)}: means per sample over '
        f"{report.samples:,} samples, {report.steps} time steps.</p>",
        *(f'<p class="notice">{escape(notice)}</p>' for notice in notices),
        _choice(report),
        _tiles(report),
        "<h2>Layer by layer</h2>",
        *(_layer_table(report, profile.name) for profile in report.profiles),
        "<h2>Every profile side by side</h2>",
        _energy_table(report),
        "<h2>Figures</h2>",
        _figures(report),
        "<h2>Where the numbers come from</h2>",
        _facts(facts),
        "<ul>",
        *(f"<li>{escape(line)}</li>" for line in (*CONVENTIONS, *caveats(report))),
        "</ul>",
        "<h2>Profiles</h2>",
        _profiles(report),
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
            "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">",
            f"<title>{escape(title)}</title><style>\n{css}</style></head><body>",
            *body,
            f"<script>\n{script}</script></body></html>",
            "",
        ]
    )


def _choice(report: Report) -> str:
    options = (f'<option value="{escape(p.name)}">{escape(p.name)}: {escape(p.title)}</option>' for p in report.profiles)
    return f'<p><label>Energy profile <select id="profile">{"".join(options)}</select></label></p>'


def _tiles(report: Report) -> str:
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
        tile = _tile(f"µJ per sample, estimated with {profile.name}", microjoule(value), _change(value, other))
        tiles.append(tile.replace('class="tile"', f'class="tile" data-profile="{escape(profile.name)}"', 1))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tile(label: str, value: str, change: str) -> str:
    return f'<div class="tile"><span class="soft">{escape(label)}</span><b>{escape(value)}</b>{change}</div>'


def _change(value: float, before: float | None) -> str:
    if not before:
        return ""
    change = 100 * (value / before - 1)
    kind = "change" if change <= 0 else "more"
    return f'<span class="{kind}">{change:+.1f} %</span> <span class="soft">against the baseline</span>'


def _layer_table(report: Report, profile: str) -> str:
    per_layer = energies(report, profile)
    largest = max(per_layer.values(), default=0.0) or 1.0
    before = {r.name: r for r in report.comparison.baseline.layers} if report.comparison else {}
    headings = ["layer", *(c.heading for c in COLUMNS)]
    if before:
        headings.insert(4, "baseline spikes")
    head = "".join(f'<th scope="col"><button type="button">{escape(h)}</button></th>' for h in (*headings, "estimated µJ"))
    rows = "".join(_layer(row, before, per_layer[row.name], largest) for row in report.layers)
    ours = {row.name for row in report.layers}
    rows += "".join(_baseline_only(row) for row in before.values() if row.name not in ours and row.kind == "neuron")
    total = [f"<td>{cell}</td>" for cell in cells(report.total)]
    if before:
        total.insert(3, f"<td>{number(sum(r.spikes for r in before.values()))}</td>")
    foot = f"<td>total</td>{''.join(total)}<td>{microjoule(report.energy(profile).total_uj)}</td><td></td>"
    return (
        f'<div class="scroll" data-profile="{escape(profile)}"><table><thead><tr>{head}<th class="text">note</th></tr></thead>'
        f"<tbody>{rows}</tbody><tfoot><tr>{foot}</tr></tfoot></table></div>"
    )


def _layer(row: LayerRow, before: Mapping[str, LayerRow], energy: float, largest: float) -> str:
    parts = [f"<td>{escape(row.name)}</td>"]
    for column, text in zip(COLUMNS, cells(row), strict=True):
        value = column.value(row)
        parts.append("<td></td>" if value is None else f'<td data-value="{value!r}">{escape(text)}</td>')
    if before:
        other = before.get(row.name)
        known = other is not None and other.kind == "neuron"
        parts.insert(4, f'<td data-value="{other.spikes!r}">{number(other.spikes)}</td>' if other and known else "<td></td>")
    bar = f'<span class="bar" style="width:{max(1, round(60 * energy / largest))}px"></span>' if energy else ""
    parts.append(f'<td data-value="{energy!r}">{microjoule(energy)}{bar}</td><td class="text">{escape(row.note)}</td>')
    return f"<tr>{''.join(parts)}</tr>"


def _baseline_only(row: LayerRow) -> str:
    """A spiking layer that only the baseline has, such as the one that RepAct replaces."""
    spikes = f'<td data-value="{row.spikes!r}">{number(row.spikes)}</td>'
    note = '<td class="text">spiking in the baseline alone</td>'
    return f"<tr><td>{escape(row.name)}</td>{'<td></td>' * 3}{spikes}{'<td></td>' * (len(COLUMNS) - 2)}{note}</tr>"


def _energy_table(report: Report) -> str:
    headings = ["profile", f"{report.name}, µJ"]
    rows = [[p.name, microjoule(report.energy(p.name).total_uj)] for p in report.profiles]
    if report.comparison is not None:
        headings += [f"{report.comparison.baseline.name}, µJ", "change", "dense ReLU twin, µJ", "break-even rate"]
        for row, pair in zip(rows, report.comparison.energies, strict=True):
            row += [
                microjoule(pair.baseline),
                "" if pair.change_percent is None else f"{pair.change_percent:+.1f} %",
                "no MAC cost" if pair.twin is None else microjoule(pair.twin),
                "" if pair.break_even_rate is None else percent(pair.break_even_rate),
            ]
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in headings)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    explained = (
        '<p class="soft">The dense twin is the same network with ReLU, evaluated once. Below the break-even firing rate a '
        "spiking network costs less than its twin in arithmetic, if all its layers fired alike. All energies are estimates.</p>"
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{explained}'


def _figures(report: Report) -> str:
    pictures = [
        _picture(spikes_per_layer(report), "Spikes per sample of every spiking layer"),
        _picture(energy_by_profile(report), "Estimated energy under each profile"),
    ]
    for profile in report.profiles:
        picture = _picture(energy_by_layer(report, profile.name), f"Estimated energy of every layer under {profile.name}")
        pictures.append(picture.replace("<figure>", f'<figure data-profile="{escape(profile.name)}">', 1))
    return f'<div class="figures">{"".join(pictures)}</div>'


def _picture(figure: Figure, caption: str) -> str:
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=130)
    data = base64.b64encode(memory.getvalue()).decode("ascii")
    return f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}"></figure>'


def _facts(facts: Mapping[str, str]) -> str:
    if not facts:
        return ""
    return f"<dl>{''.join(f'<dt>{escape(key)}</dt><dd>{escape(value)}</dd>' for key, value in facts.items())}</dl>"


def _profiles(report: Report) -> str:
    found = []
    for p in report.profiles:
        costs = {"MAC": p.mac, "AC": p.ac, "active update": p.neuron_update_active, "idle update": p.neuron_update_idle}
        known = ", ".join(f"{key} {cost:g} pJ" for key, cost in {**costs, "spike": p.spike}.items() if cost is not None)
        technology = "; ".join(filter(None, (", ".join(filter(None, (p.process, p.voltage))), f"{p.scope}, {p.basis}")))
        about = f"{p.title} ({technology}). {known or 'No cost given'}. Source: {p.source}. {p.note}"
        found.append(f"<dt>{escape(p.name)}</dt><dd>{escape(about)}</dd>")
    return f"<dl>{''.join(found)}</dl>"

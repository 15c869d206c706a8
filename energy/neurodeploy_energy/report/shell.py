"""The frame of every page: one self-contained file, no requests to anywhere, all text escaped, usable from the keyboard."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources

from neurodeploy_energy.cost import Profile
from neurodeploy_energy.report.tables import Cell, Table

_FOLDER = resources.files("neurodeploy_energy.report")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


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


def table(found: Table, *, profile: str | None = None) -> str:
    """A table that its headings sort, and the notes below it."""
    belongs = "" if profile is None else f' data-profile="{escape(profile)}"'
    head = "".join(heading_cell(text, text=place < found.text) for place, text in enumerate(found.headings))
    body = "".join(f"<tr>{''.join(cell(c, text=place < found.text) for place, c in enumerate(row))}</tr>" for row in found.rows)
    foot = ""
    if found.foot is not None:
        cells = "".join(cell(c, text=place < found.text) for place, c in enumerate(found.foot))
        foot = f"<tfoot><tr>{cells}</tr></tfoot>"
    notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in found.notes)
    inside = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>{foot}</table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(found.title)}"{belongs}>{inside}</div>{notes}'


def section(found: Table) -> list[str]:
    """A table below its title."""
    return [f"<h2>{escape(found.title[0].upper() + found.title[1:])}</h2>", table(found)]


def heading_cell(heading: str, *, text: bool, extra: str = "") -> str:
    """A heading that sorts by its column."""
    return f'<th scope="col"{_text(text)}{extra}><button type="button">{escape(heading)}</button></th>'


def cell(found: Cell, *, text: bool, extra: str = "", share: float = 0.0) -> str:
    """One field of a table; `share`: of the largest value of its column, as a bar."""
    value = "" if found.value is None else f' data-value="{found.value!r}"'
    bar = f'<span class="bar" style="width:{max(1, round(60 * share))}px"></span>' if share else ""
    return f"<td{_text(text)}{value}{extra}>{escape(found.text)}{bar}</td>"


def facts(found: Mapping[str, str]) -> str:
    """Headings and values."""
    if not found:
        return ""
    return f"<dl>{''.join(f'<dt>{escape(key)}</dt><dd>{escape(value)}</dd>' for key, value in found.items())}</dl>"


def profile_list(profiles: Iterable[Profile]) -> str:
    """What each profile is, with its constants and source."""
    return facts({p.name: _about(p) for p in profiles})


def belonging(figure: str, profile: str) -> str:
    """A figure that is shown for one profile alone."""
    return figure.replace("<figure>", f'<figure data-profile="{escape(profile)}">', 1)


def sentences(found: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in found)}</ul>"


def _about(p: Profile) -> str:
    costs = ", ".join(f"{name} {cost:,.10g} pJ" for name, cost in p.costs.items())
    technology = "; ".join(filter(None, (", ".join(filter(None, (p.process, p.voltage))), f"{p.scope}, {p.basis}")))
    return f"{p.title} ({technology}). {costs or 'No cost given'}. Source: {p.source}. {p.note}"


def _text(text: bool) -> str:
    return ' class="text"' if text else ""

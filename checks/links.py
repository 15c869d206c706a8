"""Links of the built documentation and of the repository's Markdown: `make docs`; external ones are asked for by `make links`.

    python -m checks.links site [--fetch]

In the site every link to a page leads to a file and an anchor that are there, and nothing is loaded from another host. In
Markdown every relative link leads to a file of the repository. External links are well formed; with `--fetch` they answer.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests

ROOT = Path(__file__).resolve().parents[1]
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_LOADED_BY_CSS = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""")
_GONE = (404, 410)


@dataclass
class Page(HTMLParser):
    """What an HTML page refers to.

    Attributes:
        links: of `<a>`.
        loaded: by the browser itself: scripts, styles, pictures, frames.
        anchors: that a link may lead to.
    """

    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        for name in ("href", "src", "data", "poster", "action"):
            if name in given:
                (self.links if tag == "a" else self.loaded).append(given[name])


def in_site(site: Path) -> Iterator[str]:
    """What is wrong in a built site, a line each."""
    for path in sorted(site.rglob("*.html")):
        page, place = _page(path), path.relative_to(site)
        yield from (f"{place}: loads {found} from another host" for found in page.loaded if _external(found))
        for link in (*page.links, *page.loaded):
            if fault := _malformed(link) if _external(link) else _dead(path, link, site):
                yield f"{place}: {link}: {fault}"
    for path in sorted(site.rglob("*.css")):
        yield from (f"{path.relative_to(site)}: loads {found}" for found in _LOADED_BY_CSS.findall(path.read_text("utf-8")))


def in_markdown(paths: list[Path], root: Path) -> Iterator[str]:
    """Relative links that lead to nothing in the repository, a line each."""
    for path in paths:
        for link in _LINK.findall(_CODE.sub("", path.read_text("utf-8"))):
            target = urlsplit(link)
            if not target.scheme and target.path and not (path.parent / unquote(target.path)).exists():
                yield f"{path.relative_to(root)}: {link}: no such file"


def external(site: Path) -> list[str]:
    """All pages of other hosts that a site links to, each once."""
    links = {link for path in site.rglob("*.html") for link in _page(path).links}
    return sorted(link for link in links if urlsplit(link).scheme in ("http", "https"))


def unanswered(link: str) -> str | None:
    """Why a link to another host leads to nothing; None if it does lead somewhere, or if the host refuses programs."""
    try:
        status = requests.get(link, timeout=20, stream=True, headers={"User-Agent": "Mozilla/5.0"}).status_code
    except requests.RequestException as error:
        return type(error).__name__
    return f"status {status}" if status in _GONE else None


@cache
def _page(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text("utf-8"))
    return page


def _external(link: str) -> bool:
    return bool(urlsplit(link).scheme or urlsplit(link).netloc) and not link.startswith(("data:", "javascript:"))


def _malformed(link: str) -> str | None:
    parts = urlsplit(link)
    if parts.scheme == "mailto":
        return None
    return None if parts.scheme in ("http", "https") and "." in parts.netloc else "no address of a page"


def _dead(path: Path, link: str, site: Path) -> str | None:
    parts = urlsplit(link)
    if parts.scheme:
        return None
    start = site if parts.path.startswith("/") else path.parent
    target = start / unquote(parts.path).lstrip("/") if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        return "no such file"
    if parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in _page(target).anchors:
        return "no such anchor"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description="Links of the documentation.")
    parser.add_argument("site", type=Path, help="the built site")
    parser.add_argument("--fetch", action="store_true", help="ask for the pages of other hosts too")
    options = parser.parse_args()
    markdown = [*ROOT.glob("*.md"), *(ROOT / "benchmarks").glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    found = [*in_site(options.site), *in_markdown(sorted(markdown), ROOT)]
    if options.fetch:
        found += [f"{link}: {fault}" for link in external(options.site) if (fault := unanswered(link))]
    pages = len(list(options.site.rglob("*.html")))
    print("\n".join(found) or f"links: {pages} pages, {len(markdown)} Markdown files, none dead")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()

"""Links from a page to files of the repository outside docs/: to the repository's own page where `repo_url` is known.

Without one the site cannot lead there: the page then names the file. A file that is not there is a warning, as every dead link.
"""

import logging
import re
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>(?:\.\./)+[^)#\s]+)(?P<anchor>#[^)\s]+)?\)")
_log = logging.getLogger("mkdocs.hooks.repository")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """The page with its links out of docs/ resolved."""
    return resolved(markdown, page.file.src_uri, config.repo_url or "")


def resolved(markdown: str, source: str, repo_url: str) -> str:
    """Markdown whose links out of docs/ lead to the repository, or name a file in it.

    Args:
        markdown: of the page.
        source: the page's path in docs/.
        repo_url: of the repository's page; "" if there is none.
    """

    def replaced(link: re.Match[str]) -> str:
        target = (ROOT / "docs" / PurePosixPath(source).parent / link["target"]).resolve()
        if target.is_relative_to(ROOT / "docs"):
            return link[0]
        if not target.is_relative_to(ROOT) or not target.exists():
            _log.warning("%s: %s: no such file in the repository", source, link["target"])
            return link[0]
        path = target.relative_to(ROOT).as_posix()
        if repo_url:
            kind = "tree" if target.is_dir() else "blob"
            return f"[{link['text']}]({repo_url.rstrip('/')}/{kind}/main/{path}{link['anchor'] or ''})"
        text = link["text"]
        return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}`)"

    return _LINK.sub(replaced, markdown)

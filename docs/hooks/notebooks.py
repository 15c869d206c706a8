"""`<!-- notebooks -->`: the notebooks that the repository has, each with its title and first paragraph, to download."""

import json
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
MARKER = "<!-- notebooks -->"


def on_files(files: Any, config: Any) -> None:
    """Puts the notebooks beside the page that lists them."""
    for path in _notebooks():
        files.append(File.generated(config, f"notebooks/{path.name}", abs_src_path=str(path)))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with the list in the place of the marker."""
    return markdown.replace(MARKER, listed(_notebooks())) if MARKER in markdown else markdown


def listed(notebooks: list[Path]) -> str:
    """Markdown: a paragraph for each notebook."""
    return "\n\n".join(f"## [{path.stem}](notebooks/{path.name})\n\n{_opening(path)}" for path in notebooks)


def _notebooks() -> list[Path]:
    return sorted(FOLDER.glob("*.ipynb"))


def _opening(path: Path) -> str:
    """Title and first paragraph of its first Markdown cell."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    first = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    title, *paragraphs = first.strip().split("\n\n")
    heading = f"**{title.lstrip('# ').strip()}**"
    told = paragraphs[0] if paragraphs else ""
    if told.endswith(":"):  # what it announces is not shown here
        told = told[: told.rfind(". ") + 1]
    return f"{heading}\n\n{told}" if told else heading

"""What is generated for the pages: it follows the program, and faults are warnings, on which the strict build ends."""

import json
import logging
import re
from typing import Annotated, Literal

import pytest
import typer
from pydantic import BaseModel, Field

from neurodeploy.app.ready import card, names
from neurodeploy.cli.main import app
from neurodeploy.recipe import Recipe
from neurodeploy_energy.price.profiles import built_in
from neurodeploy_exporters.bundle import Manifest

pytest.importorskip("mkdocs", reason="the extra docs is not installed")
pytest.importorskip("griffe", reason="the extra docs is not installed")

from docs.hooks import commands, energy, notebooks, ready_models, repository
from docs.hooks.docstrings import one_name_each, parsed
from docs.hooks.fields import described
from docs.hooks.tables import table


class Inner(BaseModel):
    """A part.

    Attributes:
        low, high: both ends,
            included.
    """

    low: float = 0.5
    high: float = Field(default=1.0, gt=0, le=2)
    count: int = Field(default=1, ge=1)
    version: int = Field(default=2, ge=2, le=2)


class Outer(BaseModel):
    """The whole."""

    kind: Literal["a", "b"] = "a"
    parts: tuple[Inner, ...] = Field(min_length=1)
    rest: Annotated[str | None, Field(pattern="^x|y$")]


def test_every_command_and_every_option_is_described():
    text = commands.text()
    program = typer.main.get_command(app)
    for name in program.commands:
        _, command, _ = program.resolve_command(program.context_class(program), [name])  # with the options of targets
        section = text.partition(f"## {name}\n")[2].partition("\n## ")[0]
        assert f"neurodeploy {name}" in section
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--") and option != "--help":
                    assert re.search(rf"[` ]{option}\b", section), (name, option)


def test_choices_defaults_and_switches_are_told():
    text = commands.text()
    assert "| `--quantize NAME` |" in text
    assert "[default: exact for c; none for lava, nir, onnx] One of `exact`, `none`, `int8`. |" in text
    assert "| `--resume` | Continue a run that was interrupted. |  |" in text
    assert "| `RUNS …` |" in text


def test_fields_are_described_with_their_ranges_defaults_and_meanings():
    text = described(Outer)
    assert "## Outer\n\nThe whole." in text
    assert '| `kind` | `"a"`, `"b"` | `"a"` |  |' in text
    assert "| `parts` | list of: [Inner](#inner), at least 1 of them | required |  |" in text
    assert "| `rest` | text, pattern `^x|y$` or `null` | required |  |" in text
    assert "| `low` | number | `0.5` | both ends, included. |" in text
    assert "| `high` | number, > 0, ≤ 2 | `1.0` | both ends, included. |" in text
    assert "| `count` | whole number, ≥ 1 | `1` |  |" in text
    assert "| `version` | whole number, always 2 | `2` |  |" in text


@pytest.mark.parametrize("model", [Recipe, Manifest])
def test_every_field_of_a_file_is_in_its_tables(model):
    text = described(model)
    schema = model.model_json_schema()
    for name, part in {model.__name__: schema, **schema["$defs"]}.items():
        section = text.partition(f"## {name}\n")[2].partition("\n## ")[0]
        assert all(f"| `{field}` |" in section for field in part["properties"]), name


def test_a_recipe_inside_another_file_is_described_on_its_own_page():
    from neurodeploy.training.results import Results

    text = described(Results, level=3)
    assert "[Recipe](recipes.md#recipe)" in text
    assert "TeacherSettings" not in text


def test_several_names_in_a_docstring_become_an_entry_each():
    docstring = "Text.\n\nArgs:\n    a, b: both,\n        of them.\n    c: one.\n\nNotes, as text: stay."
    assert one_name_each(docstring) == (
        "Text.\n\nArgs:\n    a: both,\n        of them.\n    b: both,\n        of them.\n    c: one.\n\nNotes, as text: stay."
    )
    meanings = {name: " ".join(meaning.split()) for name, meaning in parsed(Inner.__doc__)[1].items()}
    assert meanings == {"low": "both ends, included.", "high": "both ends, included."}


def test_bars_are_escaped_outside_of_code_alone():
    assert table(("a", "b"), [("x|y", "`x|y`")]).splitlines()[-1] == r"| x\|y | `x|y` |"


def test_every_profile_stands_with_its_source():
    text = energy.profiles_table()
    for profile in built_in().values():
        assert f"| `{profile.name}` |" in text
        assert profile.source.rstrip(".") in text


def test_notebooks_are_listed_by_their_files(tmp_path):
    path = tmp_path / "01_first.ipynb"
    cell = {"cell_type": "markdown", "source": ["# A title\n", "\n", "One sentence. The walk:\n", "\n", "1. on"]}
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": []}, cell]}))
    assert notebooks.listed([path]) == "## [01_first](notebooks/01_first.ipynb)\n\n**A title**\n\nOne sentence."


def test_links_out_of_the_pages_name_the_file_or_lead_to_the_repository():
    page = "See [the guide](../CONTRIBUTING.md) and [`chips`](../exporters) and [train](train.md)."
    named = "See the guide (`CONTRIBUTING.md`) and `chips` (`exporters`) and [train](train.md)."
    assert repository.resolved(page, "x.md", "") == named
    there = repository.resolved(page, "x.md", "https://example.org/me/it/")
    assert "[the guide](https://example.org/me/it/blob/main/CONTRIBUTING.md)" in there
    assert "(https://example.org/me/it/tree/main/exporters)" in there


def test_a_link_to_a_file_that_is_not_in_the_repository_is_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        repository.resolved("[gone](../no-such-file.md)", "x.md", "")
        repository.resolved("[away](../../../etc/passwd)", "x.md", "")
    assert [record.getMessage() for record in caplog.records] == [
        "x.md: ../no-such-file.md: no such file in the repository",
        "x.md: ../../../etc/passwd: no such file in the repository",
    ]


def test_every_ready_model_has_a_row_and_its_card():
    text = ready_models.on_page_markdown("before <!-- ready models --> after")
    for name in names():
        shown = card(name)
        assert f"[`{name}`](#{name})" in text
        section = text.partition(f"## {name}\n")[2].partition("\n## ")[0]
        assert str(shown.deployed.accuracy) in section
        assert shown.origin.command in section

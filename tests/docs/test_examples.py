"""The pages' examples, in their order and in one folder for each page: Python and commands run, files are written as shown.

Commands that train an embedded recipe take hours or data: it is checked that the command, its options and the recipe exist. In
Python a smaller network is trained for the recipe `digits`. What the commands would have made is there for `runs/demo` only, of
that smaller network; other commands that read it are checked alike. A package whose `pyproject.toml` a page shows counts as
installed.
"""

import ast
import re
import shlex
import shutil
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer

from neurodeploy.app import verbs
from neurodeploy.cli.main import app, main
from neurodeploy.recipe import built_in, load, parse, text_of

ROOT = Path(__file__).resolve().parents[2]
# the example of add-a-method.md changes the package: tests/test_contributing.py runs it
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if path.name != "add-a-method.md")
BLOCK = re.compile(r'^```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
FRAMEWORKS = {"snntorch", "spikingjelly", "norse", "sinabs"}
NOT_RUN = {"pip", "scp", "source", "torchrun"}
PLACEHOLDER = re.compile(r"[A-Z]{3,}(\.\w+)?")
DEMO = (
    text_of("digits")
    .replace("channels = [16, 32, 32, 64]", "channels = [4, 6, 6, 8]")
    .replace("epochs = 20", "epochs = 2")
    .replace("epochs = 40", "epochs = 2")
    .replace("seeds = [0, 1, 2]", "seeds = [0]")
    .replace("samples = 500", "samples = 20")
)


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Path:
    """What `make demo` makes, of a smaller network that is trained briefly."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "digits.toml").write_text(DEMO)
    neurodeploy("run", str(folder / "digits.toml"), "--output", str(folder / "runs" / "demo"), "--device", "cpu")
    return folder / "runs"


@pytest.fixture
def own_modules(tmp_path):
    """What a page writes and imports is forgotten: other tests have modules of the same names."""
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.usefixtures("own_modules")
@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT / "docs")))
def test_the_examples_of_a_page_work(page, demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(verbs, "load_recipe", smaller)
    shutil.copytree(demo, "runs")
    names, absent = {}, set()
    for block in BLOCK.finditer(page.read_text("utf-8")):
        language, text = block["language"], block["text"]
        if block["title"]:
            Path(block["title"]).parent.mkdir(parents=True, exist_ok=True)
            Path(block["title"]).write_text(text)
            if block["title"] == "pyproject.toml":
                install(tomllib.loads(text)["project"])
        if language == "python" and not block["title"]:
            run_python(text, f"{page.name}, line {line_of(block)}", names)
        elif language == "sh" or (not language and text.startswith(("neurodeploy ", "make "))):
            for line in text.replace("\\\n", " ").splitlines():
                run_command(shlex.split(line, comments=True), absent)


def test_examples_are_found():
    blocks = [block["language"] for page in PAGES for block in BLOCK.finditer(page.read_text("utf-8"))]
    assert blocks.count("python") >= 8
    assert blocks.count("sh") >= 15
    assert set(blocks) <= {"", "python", "sh", "toml", "text", "json", "c"}


def smaller(name):
    """The recipe of a name; a smaller one for `digits`."""
    return parse(DEMO, origin=name) if name == "digits" else load(name)


def install(project):
    """What pip would note of a package in this folder: its entry points."""
    about = Path(f"{project['name'].replace('-', '_')}-{project['version']}.dist-info")
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in names.items())])
        for group, names in project["entry-points"].items()
    ]
    (about / "entry_points.txt").write_text("\n".join(groups))


def run_python(text, place, names):
    code = compile(text, place, "exec")
    imported = {name.split(".")[0] for name in modules_in(text)}
    if all(find_spec(name) for name in imported & FRAMEWORKS):
        exec(code, names)


def modules_in(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def run_command(words, absent):
    """`absent` grows by what a command that is not run would have written."""
    if not words:
        return
    program, *arguments = words
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(arguments) <= set(targets)
    elif program == "neurodeploy":
        arguments, target = (arguments[:-2], arguments[-1]) if ">" in arguments else (arguments, None)
        parsed(arguments)
        reads = {word for word in arguments[1:] if any(f"{word}/".startswith(f"{folder}/") for folder in absent)}
        if arguments[0] in ("run", "train", "sweep") and arguments[1] in built_in():
            output = arguments[arguments.index("--output") + 1]
            absent.update({output} - {"runs/demo"})
        elif reads:
            absent.update(arguments[arguments.index("--output") + 1 :][:1] if "--output" in arguments else ())
        elif not any(PLACEHOLDER.fullmatch(word) for word in arguments):
            neurodeploy(*arguments, target=target)
    else:
        assert program in NOT_RUN, words


def parsed(arguments):
    """Refuses what the command line does not know."""
    group = typer.main.get_command(app)
    name, command, others = group.resolve_command(group.context_class(group), list(arguments))
    command.make_context(name, others)


def neurodeploy(*arguments, target=None):
    """Runs the command line; its output goes to the file `target`."""
    before, sys.argv, out = sys.argv, ["neurodeploy", *arguments], sys.stdout
    try:
        with Path(target or "/dev/null").open("w") as sys.stdout:
            main()
    except SystemExit as stop:
        assert not stop.code, f"neurodeploy {shlex.join(arguments)}: exit code {stop.code}"  # noqa: PT017 - it always exits
    finally:
        sys.argv, sys.stdout = before, out


def line_of(block):
    return block.string.count("\n", 0, block.start()) + 1

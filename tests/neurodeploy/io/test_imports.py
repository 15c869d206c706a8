"""What `package.module:name` of the user's own code means, and how what cannot be imported is refused."""

import sys
from pathlib import Path

import pytest
from torch import nn

from neurodeploy.io.errors import UserError
from neurodeploy.io.imports import callable_named, imported, is_reference, looking_in

FILES = {
    "parts_of_a_user.py": "import helper_of_a_user\nclass Wine:\n    kind = 'red'\nanswer = helper_of_a_user.number\n",
    "helper_of_a_user.py": "number = 42\n",
    "broken_of_a_user.py": "import json\n\njson.loads('{')\n",
    "unreadable_of_a_user.py": "a = 1\ndef f(:\n",
    "needing_of_a_user.py": "import a_package_that_nobody_has\n",
    "leaving_of_a_user.py": "import sys\nsys.exit('bye\\x1b[2J')\n",
    "package_of_a_user/__init__.py": "",
    "package_of_a_user/inner.py": "from package_of_a_user import sibling\nname = sibling.name\n",
    "package_of_a_user/sibling.py": "name = 'inner'\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a user's files, which is not the current one."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for name, text in FILES.items():
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    yield tmp_path / "own"
    for name in [name for name in sys.modules if "_of_a_user" in name]:
        sys.modules.pop(name)


def test_a_name_is_found_in_the_current_folder_in_a_given_one_and_beside_what_is_read(folder, monkeypatch):
    before = list(sys.path)
    assert imported("parts_of_a_user:Wine.kind", what="data set", folder=folder) == "red"
    with looking_in(Path("unrelated"), folder):
        assert imported("package_of_a_user.inner:name", what="data set") == "inner"
    monkeypatch.chdir(folder)
    assert imported("parts_of_a_user:answer", what="data set") == 42
    assert imported("json:loads", what="data set")("[1]") == [1]
    assert sys.path == before


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("parts_of_a_user", "no import path; package.module:name expected"),
        ("parts_of_a_user:Wine()", "no import path"),
        ("parts_of_a_user:\x1b[2J", "no import path"),
        ("parts_of_a_user:Wien", "module parts_of_a_user has no name 'Wien'; did you mean Wine?"),
        ("parts_of_a_user:Wine.kinds", "parts_of_a_user.Wine has no name 'kinds'; did you mean kind?"),
        ("part_of_a_user:Wine", "no module 'part_of_a_user' in "),
        ("package_of_a_user.outer:name", "no module 'package_of_a_user.outer' in "),
        ("broken_of_a_user:x", "cannot be imported: JSONDecodeError: Expecting property name enclosed in double quotes"),
        ("broken_of_a_user:x", "broken_of_a_user.py, line 3)"),
        ("unreadable_of_a_user:x", "cannot be imported: SyntaxError: invalid syntax ("),
        ("unreadable_of_a_user:x", "unreadable_of_a_user.py, line 2)"),
        ("needing_of_a_user:x", "ModuleNotFoundError: No module named 'a_package_that_nobody_has' ("),
        ("leaving_of_a_user:x", r"SystemExit: bye\x1b[2J ("),
    ],
)
def test_what_cannot_be_imported_is_refused_in_one_line_with_the_reason(folder, reference, message):
    before = list(sys.path)
    with pytest.raises(UserError) as refused:
        imported(reference, what="data set", folder=folder)
    text = str(refused.value)
    assert text.startswith(f"data set {reference!r}: ")
    assert message in text
    assert text.isprintable()
    assert sys.path == before


def test_the_refusal_of_a_missing_module_says_where_it_was_looked_for(folder):
    with looking_in(folder / "beside"), pytest.raises(UserError) as refused:
        imported("absent_of_a_user:x", what="network", folder=folder)
    assert f"in {folder}, {folder}/beside, {Path.cwd()}, nor among the installed packages" in str(refused.value)


def test_another_module_of_the_same_name_is_not_taken_for_it(folder, tmp_path):
    assert imported("helper_of_a_user:number", what="network", folder=folder) == 42
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "helper_of_a_user.py").write_text("number = 7\n")
    with pytest.raises(UserError, match=r"other/helper_of_a_user.py, but .*own/helper_of_a_user.py has been imported"):
        imported("helper_of_a_user:number", what="network", folder=tmp_path / "other")


CALLED = """
from functools import partial
from subprocess import getoutput

from torch import nn


def make():
    return nn.Linear(2, 2)


class Net(nn.Sequential):
    pass


ready, half, shell = Net(), partial(nn.Linear, 2, 2), partial(getoutput, "ls")
"""


@pytest.mark.parametrize(
    ("reference", "allowed"),
    [
        ("called_of_a_user:make", True),
        ("called_of_a_user:Net", True),
        ("called_of_a_user:ready", True),
        ("torch.nn:Linear", True),
        ("torch.nn:functional.relu", False),
        ("called_of_a_user:getoutput", False),
        ("called_of_a_user:shell", False),
        ("called_of_a_user:make.__class__", False),
        ("called_of_a_user:make.__globals__.get", False),
        ("subprocess:getoutput", False),
        ("subprocess:Popen", False),
        ("os:system", False),
        ("builtins:exec", False),
        ("neurodeploy:load", False),
    ],
)
def test_a_recipe_or_checkpoint_can_call_the_users_own_code_and_classes_of_its_kind_alone(folder, reference, allowed):
    (folder / "called_of_a_user.py").write_text(CALLED)
    if allowed:
        found = callable_named(reference, what="teacher", kind=nn.Module, folder=folder)
        assert found is imported(reference, what="teacher", folder=folder)
        return
    with pytest.raises(UserError, match="write a function of your own that calls it") as refused:
        callable_named(reference, what="teacher", kind=nn.Module, folder=folder)
    assert str(refused.value).startswith(f"teacher {reference!r}: a function or class of an installed package")


def test_a_reference_is_told_from_a_path_and_from_a_name():
    assert is_reference("a.b:C.d")
    assert not any(map(is_reference, ("digits", "a:b:c", "C:\\data", "runs/a:b", ":x", "a:", 3, None)))

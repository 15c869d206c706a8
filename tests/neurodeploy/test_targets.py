from importlib.metadata import EntryPoint, EntryPoints

import pytest

from neurodeploy import targets
from neurodeploy.errors import UserError


def test_both_targets_of_this_package_are_installed_and_load():
    assert targets.names() == ("lava", "onnx")
    for name in targets.names():
        assert targets.find(name).__module__ == f"neurodeploy_exporters.{name}.export"


def test_an_unknown_target_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match="target 'abacus': not known; there are: lava, onnx"):
        targets.find("abacus")


def test_another_package_can_add_a_target(monkeypatch):
    added = EntryPoints([EntryPoint("mine", "json:dumps", targets.GROUP)])
    monkeypatch.setattr(targets, "entry_points", lambda **wanted: added.select(**wanted))
    assert targets.names() == ("mine",)
    assert targets.find("mine").__name__ == "dumps"

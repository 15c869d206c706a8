"""A stranger's bundle is verified from Python in a process of its own, with the same answer."""

import sys

import numpy as np
import onnx
import pytest

from neurodeploy.io.cage import SWITCH
from neurodeploy.io.errors import Failure, UserError
from neurodeploy_exporters.bundle.seal import seal
from neurodeploy_exporters.verify import Verification, caged, verify

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")


@pytest.fixture(autouse=True)
def _wanted(monkeypatch):
    monkeypatch.delenv(SWITCH, raising=False)


@pytest.mark.parametrize("target", ["onnx", "lava"])
def test_a_cage_finds_what_this_process_finds(bundle, target):
    folder = bundle(target)
    assert verify(folder, caged=True) == verify(folder)
    assert verify(folder).passed


def test_a_cage_names_what_differs(bundle):
    folder = bundle("onnx")
    model = onnx.load(folder / "body.onnx")
    weights = next(one for one in model.graph.initializer if one.name.endswith(".weight"))
    weights.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(weights), weights.name))
    onnx.save(model, folder / "body.onnx")
    seal(folder)
    found = verify(folder, caged=True)
    assert not found.passed
    assert found == verify(folder)


def test_what_a_cage_cannot_read_is_refused_in_the_same_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # messages name the folder as it was given
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "manifest.json").write_text("[" * 100_000)
    for folder in ("here", "nowhere", "-o"):
        with pytest.raises(UserError) as own:
            verify(folder)
        with pytest.raises(UserError) as foreign:
            verify(folder, caged=True)
        assert str(foreign.value) == str(own.value)


def test_what_takes_too_long_in_a_cage_is_ended(bundle, monkeypatch):
    monkeypatch.setenv(SWITCH, "seconds=0.1")
    with pytest.raises(Failure, match=r"not done after 0\.1 s, ended"):
        verify(bundle("onnx"), caged=True)


def test_a_process_that_ends_without_an_answer_is_no_verification(bundle, monkeypatch):
    monkeypatch.setattr(caged, "run_caged", lambda *_, **__: 1)
    with pytest.raises(Failure, match="ended with code 1 and no answer"):
        verify(bundle("onnx"), caged=True)


def test_where_cages_are_switched_off_bundles_are_read_here(bundle, monkeypatch):
    monkeypatch.setenv(SWITCH, "off")
    monkeypatch.setattr(caged, "run_caged", lambda *_, **__: pytest.fail("ran a process"))
    assert verify(bundle("onnx"), caged=True).passed


def test_a_document_says_what_was_not_compared():
    found = Verification({"act1": None, "act2": 3}, 0, float("nan"), ("differs",), ("old",))
    again = Verification.from_document(found.as_document())
    assert np.isnan(again.logits_max_difference)
    assert again.as_document() == found.as_document()

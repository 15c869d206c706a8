import sys

import numpy as np
import pytest
from torch import nn

import neurodeploy as nd
from neurodeploy.app.model import Model, inputs_for, load_model
from neurodeploy.io.errors import UserError

OWN_CODE = """
from torch import nn

network = nn.Linear(4, 2)
number = 3


def make():
    return nn.Sequential(nn.Linear(4, 2), nn.ReLU())


def make_wide(width):
    return nn.Linear(width, 2)
"""


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    """A user's module in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_code_of_a_user.py").write_text(OWN_CODE)
    (tmp_path / "own_code_with_a_fault.py").write_text("def broken(:\n")
    yield
    sys.modules.pop("own_code_of_a_user", None)


@pytest.mark.usefixtures("own_code")
def test_a_module_or_a_function_that_makes_one_is_found_in_the_current_folder():
    assert isinstance(load_model("own_code_of_a_user:network").module, nn.Linear)
    made = load_model("own_code_of_a_user:make").module
    assert isinstance(made, nn.Sequential)
    assert not made.training
    assert load_model("own_code_of_a_user:make").test_samples is None


@pytest.mark.usefixtures("own_code")
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("own_code_of_a_user:absent", "has no name 'absent'"),
        ("own_code_of_a_user:number", "int found, a torch module or a function"),
        ("own_code_of_a_user:make_wide", "makes no model when called without arguments: TypeError"),
        ("own_code_with_a_fault:broken", "cannot be imported: SyntaxError"),
        ("no_such_code_anywhere:x", "no module 'no_such_code_anywhere' in /"),
    ],
)
def test_own_code_that_gives_no_model_is_refused_with_the_reason(place, message):
    before = list(sys.path)
    with pytest.raises(UserError, match=message):
        load_model(place)
    assert sys.path == before


def test_samples_are_read_from_a_file_and_become_float32(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(12, dtype=np.uint8).reshape(3, 4))
    x = inputs_for(Model("m", nn.Identity(), None, ""), tmp_path / "x.npy")
    assert (str(x.dtype), tuple(x.shape), float(x[2, 3])) == ("torch.float32", (3, 4), 11.0)


def test_samples_that_do_not_fit_are_refused(tmp_path, recwarn):
    model = Model("m", nn.Identity(), None, "")
    with pytest.raises(UserError, match="give samples with --input"):
        inputs_for(model, None)
    for name, values in (("words", np.array([["a"]])), ("none", np.zeros((0, 4))), ("flat", np.zeros(4))):
        np.save(tmp_path / f"{name}.npy", values)
        with pytest.raises(UserError, match=rf"{name}\.npy: .* found, an array of numbers \[N, …\]"):
            inputs_for(model, tmp_path / f"{name}.npy")
    digits = Model("m", nn.Identity(), inputs_for(model, _saved(tmp_path, (2, 1, 8, 8))), "")
    with pytest.raises(UserError, match=r"samples of shape \(2, 8, 8\) found, \(1, 8, 8\) expected by m"):
        inputs_for(digits, _saved(tmp_path, (5, 2, 8, 8)))
    assert not recwarn.list


def _saved(folder, shape):
    np.save(folder / "samples.npy", np.zeros(shape))
    return folder / "samples.npy"


@pytest.mark.parametrize("verb", ["export", "load"])
def test_a_module_in_place_of_a_model_is_refused_with_what_to_do(verb, tmp_path):
    network = nn.Sequential(*(nn.Linear(4, 4) for _ in range(80)))  # whose text is longer than a file's name may be
    with pytest.raises(UserError, match=r"model: Sequential found, .*a module of your own is deployed on some samples first"):
        nd.export(network, "onnx", tmp_path / "out") if verb == "export" else nd.load(network)
    assert not (tmp_path / "out").exists()

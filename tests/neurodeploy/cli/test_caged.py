"""Commands on files of others, as users run them: in a cage, with the same results, and one line for whatever goes wrong."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper, save
from torch import nn

import neurodeploy as nd

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    network = nn.Sequential(nn.Linear(4, 6), nd.LIF(), nn.Linear(6, 3))
    model = nd.deploy(network, torch.rand(3, 8, 4), batch_axis=1)
    return nd.export(model, "onnx", tmp_path_factory.mktemp("bundles") / "onnx", samples=4).folder


def neurodeploy(*arguments, folder, cage=None):
    environment = {name: value for name, value in os.environ.items() if name != "NEURODEPLOY_CAGE"}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path)} | ({} if cage is None else {"NEURODEPLOY_CAGE": cage})
    command = [sys.executable, "-m", "neurodeploy", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_a_bundle_is_verified_in_a_cage_as_it_is_outside(bundle, tmp_path):
    inside, outside = (neurodeploy("verify", bundle, folder=tmp_path, cage=cage) for cage in (None, "off"))
    assert (inside.returncode, inside.stdout, inside.stderr) == (0, outside.stdout, outside.stderr)
    assert "verified" in inside.stdout


def test_a_report_of_a_caged_command_is_written_where_it_was_asked_for(bundle, tmp_path):
    done = neurodeploy("energy", bundle, "--output", "new/report", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "new" / "report" / "report.json").is_file()


def onnx_file(path, nodes, *constants):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in "xy")
    weights = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    last = helper.make_node("MatMul", ["x", "w"], ["m"])
    graph = helper.make_graph([last, *nodes], "g", [x], [y], initializer=[weights, *constants])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    np.save(path.with_name("x.npy"), np.ones((3, 2), np.float32))
    return path


def forever(path):
    """As many passes as a number that is only known when it runs."""
    state = helper.make_tensor_value_info("s", TensorProto.FLOAT, None)
    going, number = (helper.make_tensor_value_info(name, kind, []) for name, kind in (("go", 9), ("i", 7)))
    after, on = helper.make_tensor_value_info("t", TensorProto.FLOAT, None), helper.make_tensor_value_info("on", 9, [])
    nodes = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["s", "s"], ["t"])]
    body = helper.make_graph(nodes, "body", [number, going, state], [on, after])
    one = numpy_helper.from_array(np.array(2**40, np.float32), "many")
    many = [helper.make_node("ReduceMax", ["m"], ["r"], keepdims=0), helper.make_node("Mul", ["r", "many"], ["p"])]
    loop = [helper.make_node("Cast", ["p"], ["passes"], to=7), helper.make_node("Loop", ["passes", "", "m"], ["y"], body=body)]
    return onnx_file(path, [*many, *loop], one)


def memory_bomb(path):
    """A tensor of terabytes, from a few bytes."""
    shape = numpy_helper.from_array(np.array([1 << 20, 1 << 19, 2], np.int64), "shape")
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["huge"])]
    nodes += [helper.make_node("ReduceMax", ["huge"], ["one"], keepdims=0), helper.make_node("Add", ["m", "one"], ["y"])]
    return onnx_file(path, nodes, shape)


@pytest.mark.parametrize(
    ("made", "cage", "code", "message"),
    [
        (forever, "seconds=12", 1, "m.onnx: not done after 12 s, ended"),
        (memory_bomb, None, 2, "m.onnx: "),
    ],
)
def test_a_file_that_takes_all_time_or_memory_ends_in_one_line(tmp_path, made, cage, code, message):
    path = made(tmp_path / "m.onnx")
    done = neurodeploy("energy", path, "--input", tmp_path / "x.npy", folder=tmp_path, cage=cage)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    said = [line for line in done.stderr.splitlines() if "runs the file as it is" not in line]
    assert len(said) == 1, done.stderr
    assert said[0].startswith("error: ")
    assert done.stdout == ""

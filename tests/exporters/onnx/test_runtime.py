"""Running a model: whatever is wrong with the file or the inputs ends in one message that names the file."""

import sys
from importlib.metadata import PackageNotFoundError

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx import Session, providers
from neurodeploy_exporters.onnx.model import read


@pytest.fixture
def whole(bundles):
    return bundles["onnx"] / "whole.onnx"


@pytest.fixture
def body(bundles):
    return bundles["onnx"] / "body.onnx"


def test_a_session_tells_its_inputs_and_outputs_and_adds_the_inner_tensors_asked_for(whole, digits):
    session = Session(whole, also=["act2", "act1"])
    assert set(session.inputs) == {"input", "steps"}
    assert session.outputs == ("logits", "act2", "act1")
    found = session.run({"input": digits[0][:3], "unused": np.zeros(1)}, steps=5)
    assert {name: value.shape for name, value in found.items()} == {
        "logits": (3, 10),
        "act2": (5, 3, 6, 4, 4),
        "act1": (5, 3, 4, 8, 8),
    }


def test_a_tensor_that_is_an_output_already_is_not_added_again(body):
    assert Session(body, also=["act3", "act2"]).outputs == ("act3", "act2")


def test_steps_may_be_given_as_a_tensor(whole, digits):
    session = Session(whole, also=["act1"])
    found = session.run({"input": digits[0][:2], "steps": np.array([7], np.int64)})
    assert found["act1"].shape[:2] == (7, 2)


def test_a_model_in_memory_is_run_like_its_file_and_is_not_changed(whole, digits):
    model = onnx.load(whole)
    before = model.SerializeToString(deterministic=True)
    found = Session(model, also=["act1"]).run({"input": digits[0]}, steps=4)
    expected = Session(whole, also=["act1"]).run({"input": digits[0]}, steps=4)
    for name, value in expected.items():
        assert np.array_equal(found[name], value), name
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file, an ONNX model expected"),
        (b"", "not a readable ONNX model"),
        (b"not a model", "not a readable ONNX model"),
        (bytes(range(256)) * 8, "not a readable ONNX model"),
        (b"\x00" * 1000, "not a readable ONNX model"),
    ],
)
def test_a_missing_empty_or_strange_file_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "strange.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        Session(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_folder_in_the_place_of_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="not a file, an ONNX model expected"):
        Session(tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_model_is_refused_by_name(whole, tmp_path, share):
    data = whole.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match=r"cut\.onnx: not a readable ONNX model"):
        Session(path)


def calling(operator: str) -> bytes:
    """A valid model whose one operator belongs to a domain of its own."""
    value, other = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"], domain="elsewhere")], "g", [value], [other])
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("elsewhere", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (calling("Nonsense"), "operator Nonsense of domain elsewhere found, which is not run here"),
        (
            calling("Nonsense").replace(b"Nonsense", b"Nonsens\xff"),
            "not a readable ONNX model: field op_type: text in UTF-8 expected",
        ),
    ],
    ids=["text", "no text"],
)
def test_a_valid_model_with_an_operator_that_the_runtime_does_not_know_is_refused_in_one_line(
    tmp_path, content, message, capfd
):
    path = tmp_path / "foreign.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        Session(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("tensors", "steps", "message"),
    [
        ({}, 4, "input input is missing"),
        ({"inputs": np.zeros((2, 1, 8, 8), np.float32)}, 4, "input input is missing"),
        ({"input": np.zeros((2, 1, 8, 8), np.float32)}, None, "the model takes a static sample, give the number of steps"),
        ({"input": np.zeros((2, 1, 8, 9), np.float32)}, 4, "cannot run: .*index: 3 Got: 9 Expected: 8"),
        ({"input": np.zeros((2, 8, 8), np.float32)}, 4, "cannot run: .*rank"),
        ({"input": np.zeros((2, 1, 8, 8))}, 4, r"cannot run: .*tensor\(double\).*tensor\(float\)"),
        ({"input": np.zeros((2, 1, 8, 8), np.uint8)}, 4, r"cannot run: .*tensor\(uint8\).*tensor\(float\)"),
        ({"input": np.zeros((2, 1, 8, 8), np.float32), "steps": np.array([4.0])}, None, r"cannot run: .*tensor\(int64\)"),
        ({"input": np.zeros((2, 1, 8, 8), np.float32)}, -3, "cannot run: "),
    ],
)
def test_inputs_that_do_not_fit_are_refused_by_the_name_of_the_file(whole, tensors, steps, message, capfd):
    session = Session(whole)
    with pytest.raises(UserError, match=message) as error:
        session.run(tensors, steps=steps)
    assert str(error.value).startswith(f"{whole}: ")
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_the_message_of_a_model_in_memory_begins_with_the_models_name(whole):
    with pytest.raises(UserError, match=r"^small: input input is missing$"):
        Session(onnx.load(whole)).run({}, steps=4)


@pytest.mark.parametrize("name", ["act9", "", "input", "conv1.weight"])
def test_an_inner_tensor_that_no_operator_makes_is_refused(whole, name):
    with pytest.raises(UserError, match=rf"whole\.onnx: no tensor {name} found"):
        Session(whole, also=["act1", name])


def test_an_inner_tensor_of_whole_numbers_is_refused(whole):
    with pytest.raises(UserError, match=r"whole\.onnx: ONNX Runtime cannot load it: .*encoding\.shape"):
        Session(whole, also=["encoding.shape"])


def test_a_provider_that_is_not_installed_is_refused(whole):
    with pytest.raises(UserError, match=r"execution provider NoSuchExecutionProvider: not available; there are: .*CPU"):
        Session(whole, providers=["NoSuchExecutionProvider"])


def adding(place: str, weight: onnx.TensorProto) -> onnx.ModelProto:
    """y = x + w, with w at `place`."""
    x, y, z = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xyz")
    add, constant = helper.make_node("Add", ["x", "w"], ["y"]), helper.make_node("Constant", [], ["w"], value=weight)
    imports, functions = [helper.make_opsetid("", 18)], []
    if place == "initializer":
        graph = helper.make_graph([add], "g", [x], [y], [weight])
    elif place == "constant":
        graph = helper.make_graph([constant, add], "g", [x], [y])
    elif place == "subgraph":
        branch = helper.make_graph([helper.make_node("Add", ["x", "w"], ["z"])], "branch", [], [z], [weight])
        choose = helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)
        graph = helper.make_graph([choose], "g", [x], [y], [numpy_helper.from_array(np.array(True), "yes")])
    else:
        imports.append(helper.make_opsetid("d", 1))
        functions.append(helper.make_function("d", "F", ["x"], ["y"], [constant, add], imports[:1]))
        graph = helper.make_graph([helper.make_node("F", ["x"], ["y"], domain="d")], "g", [x], [y])
    return helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=8)


PLACES = ("initializer", "constant", "subgraph", "function")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("location", ["secret.bin", "absent.bin", "../secret.bin", "/etc/passwd"])
def test_a_model_whose_weights_lie_in_another_file_is_refused_wherever_they_are_used(tmp_path, monkeypatch, place, location):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value=location)
    (tmp_path / "model.onnx").write_bytes(adding(place, weight).SerializeToString())
    with pytest.raises(
        UserError, match=r"^[^:]*: (the constant w is in another|weights w: (in the file|offset and length))|missing; it holds"
    ):
        Session(tmp_path / "model.onnx")


@pytest.mark.parametrize("place", PLACES)
def test_the_same_models_run_where_they_hold_their_weights(tmp_path, place):
    model = adding(place, numpy_helper.from_array(np.arange(4, dtype=np.float32), "w"))
    onnx.save(model, tmp_path / "model.onnx")
    found = Session(tmp_path / "model.onnx").run({"x": np.ones(4, np.float32)})
    assert found["y"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["cpu", "CPUExecutionProvider"])
def test_a_provider_has_a_short_name_and_that_of_the_runtime(whole, digits, name):
    assert Session(whole, providers=[name]).answer(digits[0][:2], steps=4).logits.shape == (2, 10)


def installed(*packages: str):
    """`importlib.metadata.version` where these packages are installed."""

    def version(name: str) -> str:
        if name in packages:
            return "1.23.2"
        raise PackageNotFoundError(name)

    return version


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="there is a GPU's runtime")
@pytest.mark.parametrize(
    ("packages", "message"),
    [
        (("onnxruntime",), r"execution provider cuda: not available; there are: .*; for CUDA pip uninstall onnxruntime, then"),
        (("onnxruntime", "onnxruntime-gpu"), r"execution provider cuda: not available; .* both installed and overwrite each"),
    ],
)
def test_a_missing_gpu_runtime_and_two_that_clash_are_told_apart(whole, monkeypatch, packages, message):
    monkeypatch.setattr(providers, "version", installed(*packages))
    with pytest.raises(UserError, match=message):
        Session(whole, providers=["cuda"])


@pytest.mark.parametrize(
    ("packages", "message"),
    [
        ((), r'ONNX Runtime is not installed; install it with: pip install "neurodeploy\[onnx\]"'),
        (
            ("onnxruntime", "onnxruntime-gpu"),
            "ONNX Runtime cannot be loaded: .* both installed and overwrite",
        ),
    ],
)
def test_a_runtime_that_cannot_be_imported_is_explained(whole, monkeypatch, packages, message):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(providers, "version", installed(*packages))
    with pytest.raises(UserError, match=message):
        Session(whole)


def test_a_provider_that_does_not_start_is_not_silently_replaced():
    with pytest.raises(UserError, match="execution provider CUDAExecutionProvider: could not be started"):
        providers.check_started([("CUDAExecutionProvider", {})], ["CPUExecutionProvider"])
    providers.check_started([("CPUExecutionProvider", {})], ["CPUExecutionProvider"])


def test_large_weights_take_part_in_the_check_by_their_shape_alone(tmp_path):
    weight = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 64]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    data, light, _ = read(path)
    assert data == path.read_bytes()
    assert ([value.name for value in light.graph.input], len(light.graph.initializer)) == (["x", "w"], 0)
    assert Session(path).run({"x": np.ones((2, 64), np.float32)})["y"].tolist() == [[64.0] * 64] * 2
    model.graph.initializer[0].dims[0] = 63
    onnx.save(model, path)
    with pytest.raises(UserError, match=r"model\.onnx: not a readable ONNX model"):
        Session(path)

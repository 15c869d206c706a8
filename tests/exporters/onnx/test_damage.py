"""Files that are no ONNX models, or no longer: one line that names the file, and never the end of the process."""

import random
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from neurodeploy.io.errors import Failure, UserError
from neurodeploy_exporters.onnx import Session, build, export
from neurodeploy_exporters.verify import verify

DAMAGED = 300


def value(name: str, kind: int = TensorProto.FLOAT, shape=(4,)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs=None, outputs=None, constants=(), opset: int = 18, **fields) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "g", inputs or [value("x")], outputs or [value("y")], list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **fields)


def cyclic() -> onnx.ModelProto:
    return model([helper.make_node("Add", ["x", "y"], ["z"]), helper.make_node("Relu", ["z"], ["y"])])


def recursive() -> onnx.ModelProto:
    """A function that calls itself."""
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("d", 1)]
    call = helper.make_node("F", ["x"], ["y"], domain="d")
    made = model([call], functions=[helper.make_function("d", "F", ["x"], ["y"], [call], imports)])
    made.opset_import.extend(imports[1:])
    return made


def without_functions(sound: onnx.ModelProto) -> onnx.ModelProto:
    del sound.functions[:]
    return sound


def of_other_types(sound: onnx.ModelProto) -> onnx.ModelProto:
    for tensor in sound.graph.initializer:
        if tensor.name == "conv2.weight":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    return sound


def of_other_rank(sound: onnx.ModelProto) -> onnx.ModelProto:
    for tensor in sound.graph.initializer:
        if tensor.name == "conv2.weight":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).reshape(-1), tensor.name))
    return sound


def claiming(size: int):
    """A weight that says it is larger than its bytes."""

    def change(sound: onnx.ModelProto) -> onnx.ModelProto:
        for tensor in sound.graph.initializer:
            if tensor.name == "conv2.weight":
                tensor.dims[0] = size
        return sound

    return change


def asking_for_much() -> onnx.ModelProto:
    """A constant tensor of 2⁶⁰ numbers."""
    shape = numpy_helper.from_array(np.array([1 << 30, 1 << 30], np.int64), "shape")
    return model(
        [helper.make_node("ConstantOfShape", ["shape"], ["y"])], outputs=[value("y", shape=("a", "b"))], constants=[shape]
    )


def with_opset(version: int):
    def change(sound: onnx.ModelProto) -> onnx.ModelProto:
        sound.opset_import[0].version = version
        return sound

    return change


def of_a_later_format(sound: onnx.ModelProto) -> onnx.ModelProto:
    sound.ir_version = 1 << 20
    return sound


def deep(sound: onnx.ModelProto) -> bytes:
    """Graphs in attributes of graphs, 2,000 levels down, by hand: protobuf would not write it."""
    inner = b""
    for _ in range(2000):
        attribute = b"\x32" + varint(len(inner)) + inner  # AttributeProto.g
        node = b"\x2a" + varint(len(attribute)) + attribute  # NodeProto.attribute
        inner = b"\x0a" + varint(len(node)) + node  # GraphProto.node
    return sound.SerializeToString() + b"\x3a" + varint(len(inner)) + inner


def varint(number: int) -> bytes:
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def with_a_name_that_is_no_text(sound: onnx.ModelProto) -> bytes:
    return sound.SerializeToString().replace(b"conv2.weight", b"conv2\xb8weight")


CASES = {
    "a name that is no text": with_a_name_that_is_no_text,
    "an input that nothing makes": lambda _: model([helper.make_node("Add", ["x", "absent"], ["y"])]),
    "a cycle": lambda _: cyclic(),
    "a function that calls itself": lambda _: recursive(),
    "no functions": without_functions,
    "weights of doubles": of_other_types,
    "weights of another rank": of_other_rank,
    "a weight that claims 2^40 rows": claiming(1 << 40),
    "a weight that claims 2^62 rows": claiming(1 << 62),
    "a weight with no rows": claiming(0),
    "a weight with fewer than no rows": claiming(-1),
    "opset 0": with_opset(0),
    "opset 1": with_opset(1),
    "opset 1000": with_opset(1000),
    "an unknown IR version": of_a_later_format,
    "no graph": lambda _: onnx.ModelProto(ir_version=8),
    "graphs in graphs": deep,
    "a picture": lambda _: b"\x89PNG\r\n\x1a\n" + bytes(100),
    "text": lambda _: b"from a mail:\n" * 100,
    "a length of 4 GB": lambda _: b"\x3a" + struct.pack("<I", 0xFFFFFFFF) + bytes(64),
}


@pytest.fixture
def sound(graph) -> onnx.ModelProto:
    return build(graph("conv"), name="n", streaming=True, spike_counts=True, functions=True)


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as error:
        Session(path).answer(np.zeros((2, 1, 8, 8), np.float32), steps=2)
    return str(error.value)


@pytest.mark.parametrize("case", CASES)
def test_a_strange_model_is_refused_in_one_line_that_names_the_file(sound, tmp_path, case, capfd):
    content = CASES[case](sound)
    path = tmp_path / "model.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 500
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("case", ["a cycle", "no functions", "a weight that claims 2^40 rows", "opset 1000", "text"])
def test_a_bundle_with_a_strange_model_is_not_verified_and_the_file_is_named(bundle, graph, case):
    folder = bundle("onnx")
    content = CASES[case](build(graph("conv"), name="n", functions=True))
    (folder / "whole.onnx").write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    findings = verify(folder).findings
    assert any(finding.startswith(f"{folder / 'whole.onnx'}: ") and "SHA" not in finding for finding in findings), findings


def test_a_model_that_asks_for_more_memory_than_there_is_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(asking_for_much().SerializeToString())
    with pytest.raises(UserError, match=r"model\.onnx: (ONNX Runtime cannot load it|cannot run): "):
        Session(path).run({"x": np.zeros(4, np.float32)})


def damage(data: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, cut out, doubled or set to their extremes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place, size = rng.randrange(len(changed)), rng.randint(1, 16)
        match rng.choice(("flip", "cut", "double", "zero", "ones", "end")):
            case "flip":
                changed[place] ^= 1 << rng.randrange(8)
            case "cut":
                del changed[place : place + size]
            case "double":
                changed[place:place] = changed[place : place + size]
            case "zero":
                changed[place : place + size] = bytes(size)
            case "ones":
                changed[place : place + size] = b"\xff" * size
            case "end" if rng.random() < 0.2:
                del changed[place + 1 :]
    return bytes(changed)


CHILD = """
import sys
from pathlib import Path
import numpy as np
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx import Session

refused = 0
for path in sorted(Path(sys.argv[1]).iterdir(), key=lambda path: int(path.stem)):
    print(path.stem, flush=True)
    try:
        session = Session(path, threads=1)
        session.answer(np.zeros((2, 1, 8, 8), np.float32), steps=2)
    except UserError as error:
        assert str(error).startswith(str(path)), error
        assert chr(10) not in str(error), error
        refused += 1
print("refused", refused)
"""


def test_damaged_files_are_refused_or_run_and_the_process_survives(sound, tmp_path):
    rng, data = random.Random(0), sound.SerializeToString()
    for number in range(DAMAGED):
        (tmp_path / f"{number}.onnx").write_bytes(damage(data, rng))
    ended = subprocess.run([sys.executable, "-c", CHILD, tmp_path], capture_output=True, text=True, timeout=300, check=False)
    last = ended.stdout.split()[-1] if ended.stdout else "none"
    assert ended.returncode == 0, f"file {last}: {ended.stderr[-2000:]}"
    assert DAMAGED / 3 < int(last) <= DAMAGED


def test_damage_is_reported_by_the_command_line_in_one_line(graph, digits, tmp_path, monkeypatch, capsys):
    from neurodeploy.cli.main import main

    folder = export(graph("conv"), digits[0][:2], tmp_path / "b", name="n", streaming=True)
    path = folder / "whole.onnx"
    path.write_bytes(path.read_bytes()[:700])
    monkeypatch.setattr(sys, "argv", ["neurodeploy", "verify", str(folder)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    assert captured.err.count("\n") == 1
    assert isinstance(stop.value.__context__, Failure)

"""Damaged and hostile NIR files: one clear line that names the file, no crash, no memory beyond what the file's size allows."""

import re
import subprocess
import sys
import tracemalloc
from random import Random

import h5py
import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.fuzzing.content import damage_content
from checks.fuzzing.members import damage_members
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, ops
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.nir import read, write


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(0)
    neuron = {"parameters": NeuronParameters(0.5, 1.0, "hard")}
    conv = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}
    weight, fc = rng.normal(size=(4, 2, 3, 3)).astype(np.float32), rng.normal(size=(5, 36)).astype(np.float32)
    return Graph(
        [
            ops.InputNode(name="input", shape=(2, 6, 6), timed=True),
            ops.ConvNode(name="conv", inputs=("input",), weight=weight, bias=None, **conv),
            ops.NeuronNode(name="lif", inputs=("conv",), **neuron),
            ops.MaxPoolNode(name="pool", inputs=("lif",), kernel=(2, 2), stride=(2, 2)),
            ops.FlattenNode(name="flatten", inputs=("pool",)),
            ops.LinearNode(name="fc", inputs=("flatten",), weight=fc),
            ops.LowPassNode(name="current", inputs=("fc",), decay=0.5),
            ops.NeuronNode(name="cuba", inputs=("current",), **neuron),
            ops.TimeMeanNode(name="mean", inputs=("cuba",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )


@pytest.fixture
def sound(network, tmp_path):
    write(network, tmp_path / "x.nir")
    return tmp_path / "x.nir"


def refused(path, **options):
    """The one line with which a file is refused."""
    with pytest.raises(UserError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert message.isprintable()
    assert len(message) < 700
    return message


@pytest.mark.parametrize("content", [b"", b"x", b"\x89HDF\r\n\x1a\n", bytes(4096), b"PK\x03\x04" + bytes(100)])
def test_what_is_no_hdf5_file_is_refused(tmp_path, content):
    (tmp_path / "x.nir").write_bytes(content)
    assert "is not a readable HDF5 file" in refused(tmp_path / "x.nir")


def test_a_missing_file_a_folder_and_another_hdf5_file_are_refused(tmp_path):
    assert "a NIR file expected" in refused(tmp_path / "absent.nir")
    assert "a NIR file expected" in refused(tmp_path)
    with h5py.File(tmp_path / "x.nir", "w") as file:
        file["layer"] = 1
    assert "node: missing; a NIR file expected" in refused(tmp_path / "x.nir")


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_truncated_file_is_refused(sound, share):
    data = sound.read_bytes()
    sound.write_bytes(data[: int(share * len(data))])
    refused(sound)


def put(place, value):
    def change(file):
        if place in file:
            del file[place]
        file[place] = value

    return change


def drop(place):
    def change(file):
        del file[place]

    return change


def claim(place, *shape):
    """A size that is nowhere stored."""

    def change(file):
        del file[place]
        file.create_dataset(place, shape, np.float64, chunks=tuple(min(size, 64) for size in shape), fillvalue=1.0)

    return change


def loop(file):
    """Graphs inside graphs without end."""
    file["node/nodes/inner"] = file["node"]


def many(file):
    """One node under thousands of names, in graphs inside graphs."""
    for number in range(900):
        file[f"node/nodes/copy{number}"] = file["node/nodes/lif"]
    for number in range(9):
        inner = file["node/nodes"].create_group(f"inner{number}")
        inner["type"], inner["edges"], inner["nodes"] = "NIRGraph", np.zeros(0), file["node/nodes"]


LIF = "node/nodes/lif/"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("node/nodes"), "/node/nodes: missing"),
        (drop("node/edges"), "/node/edges: missing"),
        (drop("node/type"), "/node/type: missing"),
        (drop(f"{LIF}tau"), "/node/nodes/lif/tau: missing"),
        (drop("node/nodes/conv/weight"), "/node/nodes/conv/weight: missing"),
        (put("node/type", "LIF"), "type: 'LIF' found, 'NIRGraph' expected"),
        (put(f"{LIF}type", "LIFX"), "type: 'LIFX' found, one of Input, Output, Affine"),
        (put(f"{LIF}type", "__import__"), "type: '__import__' found, one of"),
        (put(f"{LIF}type", b"\xff\xfe"), "ASCII expected"),
        (put(f"{LIF}tau", np.full((4, 6, 6), np.nan)), "tau: nan found, numbers expected"),
        (put(f"{LIF}tau", "words"), "numbers expected"),
        (put(f"{LIF}tau", np.zeros((4, 6, 6))), "node lif: a time constant of 0 found"),
        (put(f"{LIF}tau", np.zeros(0)), "node lif: tau: no number found"),
        (put(f"{LIF}tau", np.arange(1.0, 8.0)), r"node lif: tau: shape \(7,\) found, \(4, 6, 6\) expected"),
        (put(f"{LIF}r", np.full((4, 6, 6), np.inf)), "node lif: "),
        (put("node/nodes/conv/weight", np.zeros((4, 2, 3), np.float32)), "node conv: weight of shape"),
        (put("node/nodes/conv/weight", np.zeros((4, 3, 3, 3), np.float32)), "node conv: input of shape"),
        (put("node/nodes/conv/weight", np.full((4, 2, 3, 3), 1e300)), "node conv: weight: numbers beyond float32 found"),
        (put("node/nodes/conv/bias", np.zeros(3, np.float32)), r"node conv: bias of shape \(3,\) found, \(4,\) expected"),
        (put("node/nodes/conv/stride", np.array([0, 1])), "node conv: stride: .* at least 1 expected"),
        (put("node/nodes/conv/stride", np.array([1, 1, 1])), "node conv: stride: .* 2 numbers"),
        (put("node/nodes/conv/stride", np.array([1.5, 1])), "node conv: stride: whole numbers expected"),
        (put("node/nodes/conv/padding", "elsewhere"), "node conv: padding 'elsewhere' found"),
        (put("node/nodes/conv/padding", np.array([2**40, 1])), "node conv: padding"),
        (put("node/nodes/conv/groups", np.array(3)), "node conv: 3 groups found for 4 channels"),
        (
            put("node/nodes/fc/weight", np.zeros((5, 37), np.float32)),
            r"node fc: input of shape \(36,\) found, \(37,\) expected",
        ),
        (put("node/nodes/pool.part1/kernel_size", np.array([9, 9])), "node pool.part1: input of shape"),
        (put("node/nodes/pool.part1/kernel_size", np.array([2**20, 2**20])), "node pool.part1: input of shape"),
        (put("node/nodes/input/shape", np.array([2, 0, 6])), "node input: shape: .* sizes of at least 1 expected"),
        (put("node/nodes/input/shape", np.array([2**25, 2**25, 1])), "node input: shape .* found, from 1 to"),
        (put("node/nodes/input/shape", np.zeros((0,))), "node input: shape"),
        (put("node/nodes/input/shape", "wide"), "numbers expected"),
        (claim("node/nodes/fc/weight", 2**20, 2**20), "at most 67108864 numbers expected"),
        (claim("node/nodes/fc/weight", 2**13, 2**13), "claims more numbers than one of its size can hold"),
        (claim("node/nodes/fc/weight", 5, 36), "only 0 of its 1 pieces are stored"),
        (put("node/edges", np.array([["input", "gone"]], "S8")), "edges: 'gone' found, the name of a node expected"),
        (put("node/edges", np.zeros((3, 2))), "a string expected"),
        (put("node/edges", np.array(["input", "conv"], "S8")), "pairs of strings expected"),
        (put("node/edges", np.array([["input", "conv"]] * 20000, "S8")), "pairs of strings expected, 8192 at most"),
        (put("node/edges", np.zeros(0)), "no way leads from input to output"),
        (put("node/nodes/input/type", "Output"), "0 Input nodes found|2 Output nodes found"),
        (loop, "more than 8 deep|at most 2048 nodes"),
        (many, "at most 2048 nodes|more than 8 deep|members found, at most"),
        (put("node/nodes/lif", h5py.SoftLink("/node/nodes/lif")), "a link to elsewhere found"),
        (put("node/nodes/lif", h5py.SoftLink("/node")), "a link to elsewhere found"),
        (put("node", h5py.ExternalLink("/dev/zero", "/node")), "a link to elsewhere found"),
        (put(f"{LIF}tau", h5py.ExternalLink("other.nir", "/node")), "a link to elsewhere found"),
        (put("node/nodes/\x1b[31mred\n/type", "LIF"), r"\\x1b\[31mred\\n"),
        (put("node/nodes/" + "n" * 300 + "/type", "LIF"), "names of at most 256 bytes expected"),
    ],
)
def test_what_is_damaged_is_named(sound, change, message):
    with h5py.File(sound, "r+") as file:
        change(file)
    assert re.search(message, refused(sound, convention="nir"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "metadata of neurodeploy: content: Invalid JSON"),
        ("[" * 100_000, "metadata of neurodeploy: content: "),
        ('{"created_by": "x", "dt": 1, "members": []}', "graph: 0 Input nodes found"),
        ('{"created_by": "x", "dt": -1, "members": []}', "metadata of neurodeploy: dt: "),
        ('{"created_by": "x", "dt": 1, "version": 9, "members": []}', "metadata of neurodeploy: version: "),
        (
            '{"created_by": "x", "dt": 1, "members": [{"kind": "os.system", "name": "a", "inputs": []}]}',
            "'os.system' found, one of",
        ),
    ],
)
def test_metadata_that_tell_no_graph_are_refused(sound, text, message):
    with h5py.File(sound, "r+") as file:
        put("node/metadata/neurodeploy", text)(file)
    assert message in refused(sound)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"decay":0.5', '"decay":0.25'),
        ('"kernel":[2,2]', '"kernel":[3,3]'),
        ('"groups":1', '"groups":3'),
        ('"inputs":["lif"]', '"inputs":["conv"]'),
        ('"timed":true', '"timed":1e999'),
        ('"decay":0.5', '"decay":"x"'),
        ('"kind":"LowPass"', '"kind":"Delay"'),
    ],
)
def test_metadata_that_tell_another_graph_are_refused(sound, old, new):
    with h5py.File(sound, "r+") as file:
        text = file["node/metadata/neurodeploy"][()].decode()
        assert old in text
        put("node/metadata/neurodeploy", text.replace(old, new))(file)
    refused(sound)


def test_files_cannot_take_memory_that_they_do_not_have(sound):
    """Values that compress to nearly nothing, one after the other, up to the limit and no further."""
    with h5py.File(sound, "r+") as file:
        for name in ("fc", "conv"):
            put(f"node/nodes/{name}/weight", np.zeros(1))(file)
            del file[f"node/nodes/{name}/weight"]
            file.create_dataset(
                f"node/nodes/{name}/weight", data=np.zeros((2048, 2048)), compression="gzip", chunks=(2048, 2048)
            )
    tracemalloc.start()
    refused(sound, convention="nir")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


@given(seed=st.integers(0, 10**6))
def test_random_damage_is_read_or_refused_in_one_line(network, tmp_path_factory, seed):
    path, random = tmp_path_factory.mktemp("fuzz") / "x.nir", Random(seed)
    write(network, path)
    data = path.read_bytes()
    harm = damage_members if seed % 2 else lambda data, random: damage_content(data, [data], random)
    path.write_bytes(harm(data, random)[0])
    message = ""
    try:
        read(path, convention=random.choice((None, "nir")))
    except UserError as error:
        message = str(error)
    assert "\n" not in message
    assert message.isprintable()


def test_a_hostile_file_harms_neither_the_command_line_nor_the_terminal(sound):
    with h5py.File(sound, "r+") as file:
        put("node/nodes/\x1b[31mred", file["node/nodes/lif"])(file)
        file["node/nodes/\x1b[31mred"].attrs["x"] = 1
    sound.rename(sound.with_name("y.nir"))
    command = [sys.executable, "-m", "neurodeploy", "energy", str(sound.with_name("y.nir")), "--convention", "nir"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "\x1b" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_nirs_own_reader_accepts_what_we_write(sound):
    assert set(nir.read(sound).nodes) >= {"input", "conv", "lif", "pool", "flatten", "fc", "cuba", "output"}

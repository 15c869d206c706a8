"""`.net` files: what is written is what lava-dl writes and reads; what is damaged is refused by name."""

import dataclasses
import os
import random
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.layers import ConvLayer, CubaConstants, DenseLayer, FlattenLayer, InputLayer, Layer
from neurodeploy_exporters.lava.netfile import read, write
from neurodeploy_exporters.lava.network import Network, check_hardware

NEURON = CubaConstants(4096, 1024, 100)


def example() -> Network:
    """All that the writer knows, in one chain."""
    rng = np.random.default_rng(0)

    def even(*shape):
        return rng.integers(-128, 128, shape) * 2

    return Network(
        (
            InputLayer(shape=(2, 6, 5), neuron=NEURON, weight=36, bias=-4),
            ConvLayer(
                shape=(4, 3, 5),
                weight=even(4, 1, 3, 2),
                bias=rng.integers(-4096, 4096, 4),
                stride=(2, 1),
                padding=(1, 1),
                dilation=(1, 2),
                groups=2,
                neuron=CubaConstants(np.array([0, 1, 4095, 4096]), 7, 131071),
            ),
            ConvLayer(shape=(2, 3, 5), weight=even(2, 4, 1, 1), bias=rng.integers(-9, 9, (2, 3, 5)), neuron=NEURON),
            FlattenLayer(),
            DenseLayer(shape=(7,), weight=even(7, 30), delay=rng.integers(0, 63, 7), neuron=NEURON),
            DenseLayer(shape=(5,), weight=even(5, 7), bias=rng.integers(-9, 9, 5), weight_rec=even(5, 5), neuron=NEURON),
            DenseLayer(shape=(3,), weight=even(3, 5), delay=2, neuron=CubaConstants(0, np.arange(3), 0)),
        )
    )


def same(a: Layer, b: Layer) -> None:
    assert type(a) is type(b)
    for name, value in vars(a).items():
        other = getattr(b, name)
        if isinstance(value, CubaConstants):
            for field in vars(value):
                np.testing.assert_array_equal(getattr(value, field), getattr(other, field), err_msg=field)
        elif value is None:
            assert other is None, name
        else:
            np.testing.assert_array_equal(value, other, err_msg=name)


def test_a_written_network_is_read_back_as_it_was(tmp_path):
    write(example(), tmp_path / "a.net")
    for before, after in zip(example().layers, read(tmp_path / "a.net").layers, strict=True):
        same(before, after)


def test_the_same_network_gives_the_same_bytes(tmp_path):
    for name in ("a.net", "b.net"):
        write(example(), tmp_path / name)
    assert (tmp_path / "a.net").read_bytes() == (tmp_path / "b.net").read_bytes()


@pytest.mark.parametrize("name", ["g03", "g04", "g05", "g06", "g07", "g08", "g11", "g13"])
def test_a_file_of_lava_keeps_its_data_sets_when_it_is_written_again(recorded, tmp_path, name):
    path = recorded(name).network
    network = read(path)
    if name == "g07":
        with pytest.raises(UserError, match="/layer/1/neuron/vThMant: 262143 found, 0 to 131071 expected on Loihi"):
            write(network, tmp_path / "a.net")
        return
    write(network, tmp_path / "a.net")

    def listed(file: Path) -> dict[str, Any]:
        found = {}

        def visit(key: str, member: Any) -> None:
            if isinstance(member, h5py.Dataset) and not key.startswith("simulation"):
                found[key] = member[()]

        with h5py.File(file) as opened:
            opened.visititems(visit)
        return found

    before, after = listed(path), listed(tmp_path / "a.net")
    unused = ("shape", "scaleRho", "tauRho", "theta", "wgtExp", "gradedSpike")  # netx reads no shape of a flatten layer
    for key, value in before.items():
        if key.endswith("type"):
            assert np.ravel(after[key])[0] in (np.ravel(value)[0], b"CUBA")
        elif key in after or not key.endswith(unused):
            found = np.ravel(after[key])  # one number for both axes is written as two
            np.testing.assert_array_equal(found, np.broadcast_to(np.ravel(value), found.shape), err_msg=key)


def test_types_are_stored_the_way_lava_decodes_them(tmp_path):
    write(example(), tmp_path / "a.net")
    with h5py.File(tmp_path / "a.net") as file:
        for key in ("layer/0/type", "layer/4/type", "layer/4/neuron/type"):
            assert file[key].shape == (1,)
            assert isinstance(file[key][0].decode("ascii"), str)
        assert np.isscalar(int(file["layer/0/weight"][()]))
        assert file["layer/1/groups"].shape == ()
        assert len(file["layer"]) == 7
        assert file["simulation/Ts"][()] == 1


def test_a_failed_write_leaves_the_older_file(tmp_path):
    path = tmp_path / "a.net"
    write(example(), path)
    before = path.read_bytes()
    odd = DenseLayer(shape=(1,), weight=np.array([[3]]), neuron=NEURON)
    with pytest.raises(UserError, match="odd value 3"):
        write(Network((odd,)), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.net"]


def dense(**changes: Any) -> DenseLayer:
    return DenseLayer(**{"shape": (2,), "weight": np.array([[2, -4], [6, 8]]), "neuron": NEURON} | changes)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((dense(weight=np.array([[2, 4], [5, 6]])),), "/layer/0/weight: odd value 5"),
        ((dense(weight_rec=np.array([[2, 4], [5, 6]])),), "/layer/0/weight_rec: odd value 5"),
        ((dense(bias=np.array([0, 4096])),), "/layer/0/bias: 4096 found, -4096 to 4095"),
        ((dense(neuron=CubaConstants(0, 0, 131072)),), "/layer/0/neuron/vThMant: 131072"),
        (
            (ConvLayer(shape=(1, 1, 1), weight=np.full((1, 1, 1, 1), 256), neuron=NEURON),),
            "/layer/0/weight: 256 found, -256 to 254",
        ),
        ((InputLayer(shape=(2, 1, 1)), FlattenLayer(), dense()), "/layer/1: flatten found before the first block"),
    ],
)
def test_what_a_chip_cannot_hold_is_not_written(tmp_path, layers, message):
    with pytest.raises(UserError, match=message):
        write(Network(layers), tmp_path / "a.net")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["g01", "g02", "g03", "g04", "g05", "g06", "g08", "g11"])
def test_recorded_networks_within_the_hardwares_range_pass_the_check(recorded, name):
    case = recorded(name)
    assert not case.settings["out_of_hardware_range"]
    check_hardware(read(case.network))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CubaConstants(4097, 0, 1), "iDecay: 4097 found, 0 to 4096"),
        (lambda: CubaConstants(0, np.array([1, -1]), 1), "vDecay: -1 found"),
        (lambda: CubaConstants(0, np.zeros((2, 2), np.int64), 1), r"vDecay: shape \(2, 2\)"),
        (lambda: CubaConstants(0, 0.5, 1), "vDecay: float64 found, integers"),  # type: ignore[arg-type]
        (lambda: CubaConstants(0, 0, 1 << 24), "vThMant: 16777216"),
        (lambda: InputLayer(shape=(3, 4)), r"shape: \(3, 4\) found, \(N,\) or \(C, H, W\)"),
        (lambda: dense(weight=np.zeros((2, 2), np.int64)), "only zeros found, which netx cannot load"),
        (lambda: dense(weight=np.full((2, 2), 256)), r"weight \(none negative\): 256 found, 0 to 255"),
        (lambda: dense(weight=np.full((2, 2), -256)), r"weight \(all negative\): -256 found, -255 to -1"),
        (lambda: dense(weight=np.array([[-258, 2], [2, 2]])), "weight: -258 found, -256 to 254"),
        (lambda: dense(weight=np.ones((3, 2), np.int64)), r"weight: shape \(3, 2\) found, \(2, N_in\)"),
        (lambda: dense(weight_rec=np.ones((3, 2), np.int64)), r"weight_rec: shape \(3, 2\)"),
        (lambda: dense(delay=63), "delay: 63 found, 0 to 62"),
        (lambda: dense(delay=np.zeros(3, np.int64)), r"delay: shape \(3,\)"),
        (lambda: dense(delay=1, weight_rec=np.eye(2, dtype=np.int64)), "delay: found on a recurrent layer"),
        (lambda: dense(bias=np.zeros(3, np.int64)), r"bias: shape \(3,\) found, \(2,\)"),
        (lambda: dense(bias=np.array([0, 40000])), "bias: 40000 found"),
        (lambda: dense(neuron=CubaConstants(np.zeros(3, np.int64), 0, 1)), r"iDecay: shape \(3,\)"),
        (lambda: Network((dense(), dense(weight=np.ones((2, 3), np.int64)))), r"/layer/1: input of shape \(2,\) found, \(3,\)"),
        (lambda: Network((InputLayer(shape=(2, 1, 1)), dense())), "/layer/1: .* put a flatten layer before it"),
        (lambda: Network((dense(), InputLayer(shape=(2,)))), "/layer/1: input entry found"),
        (lambda: Network((InputLayer(shape=(2,)),)), "no layer with neurons"),
        (lambda: Network((FlattenLayer(),)), "no layer with neurons"),
    ],
)
def test_a_network_that_lava_would_not_compute_as_stated_cannot_be_made(make, message):
    with pytest.raises(UserError, match=message):
        make()


def conv_only(**changes: Any) -> ConvLayer:
    return ConvLayer(**{"shape": (2, 3, 3), "weight": np.full((2, 1, 2, 2), 2), "neuron": NEURON} | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": np.full((2, 2), 2)}, r"weight: shape \(2, 2\)"),
        ({"shape": (3, 3, 3)}, "3 channels found, but the weight has 2"),
        ({"stride": (0, 1)}, r"stride: \(0, 1\)"),
        ({"padding": (1,)}, r"padding: \(1,\)"),
        ({"dilation": (1, 1 << 20)}, "dilation"),
        ({"groups": 3}, "groups: 3 found, a divisor of the 2"),
        ({"bias": np.zeros((3, 3), np.int64)}, r"bias: shape \(3, 3\)"),
    ],
)
def test_a_convolution_with_contradicting_fields_cannot_be_made(changes, message):
    with pytest.raises(UserError, match=message):
        conv_only(**changes)


# --- files that others wrote -------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path) -> Path:
    write(example(), tmp_path / "a.net")
    return tmp_path / "a.net"


def replaced(key: str, value: Any) -> Any:
    def change(file: h5py.File) -> None:
        del file[key]
        if value is not None:
            file[key] = value

    return change


def linked(key: str, link: Any) -> Any:
    return replaced(key, link)


def huge(file: h5py.File) -> None:
    del file["layer/4/weight"]
    file.create_dataset("layer/4/weight", (1 << 20, 1 << 20), np.float32, chunks=(1 << 10, 1 << 10))


def claimed(file: h5py.File) -> None:
    del file["layer/4/weight"]
    file.create_dataset("layer/4/weight", (7, 30), np.float32, chunks=(4, 8), fillvalue=2)


def never_written(file: h5py.File) -> None:
    file.create_dataset("layer/4/bias", (7,), np.float32)


def bomb(file: h5py.File) -> None:
    """Some kilobytes that unpack to 128 megabytes."""
    del file["layer/4/weight"]
    weight = file.create_dataset("layer/4/weight", (32, 1 << 20), np.float32, chunks=(1, 1 << 20), compression="gzip")
    weight[0] = 2
    raw = weight.id.read_direct_chunk((0, 0))[1]
    for row in range(1, 32):
        weight.id.write_direct_chunk((row, 0), raw)


def dangling(file: h5py.File) -> None:
    del file["layer/1/bias"]
    file["layer/1/bias"] = h5py.SoftLink("/absent")


def device(file: h5py.File) -> None:
    """Whoever follows this link waits for ever."""
    pipe = Path(file.filename).with_name("pipe")
    os.mkfifo(pipe)
    del file["layer/6/neuron"]
    file["layer/6/neuron"] = h5py.ExternalLink(str(pipe), "/x")


def odd_names(file: h5py.File) -> None:
    for layer in "12345":
        del file[f"layer/{layer}"]
    file["layer"].create_group("a\nb")
    file["layer"].create_group(b"x\xff")


def external(file: h5py.File) -> None:
    del file["layer/4/weight"]
    file.create_dataset("layer/4/weight", (7, 30), np.float32, external=[("secret.bin", 0, 840)])


def virtual(file: h5py.File) -> None:
    del file["layer/4/weight"]
    layout = h5py.VirtualLayout((7, 30), np.float32)
    layout[:] = h5py.VirtualSource("secret.net", "weight", (7, 30))
    file.create_virtual_dataset("layer/4/weight", layout)


def lzf(file: h5py.File) -> None:
    del file["layer/4/weight"]
    file.create_dataset("layer/4/weight", data=np.ones((7, 30)), compression="lzf")


def many_layers(file: h5py.File) -> None:
    for i in range(5000):
        file["layer"].create_group(f"x{i}")


def long_text(file: h5py.File) -> None:
    del file["layer/4/type"]
    file.create_dataset("layer/4/type", data="dense" * 100)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced("layer", None), "/layer: missing; a group expected"),
        (replaced("layer", 3), "/layer: Dataset found, a group expected"),
        (replaced("layer/2", None), "/layer: 0, 1, 3, .* found; 0 to n-1"),
        (replaced("layer/4/type", b"add"), "/layer/4/type: 'add' found; input, conv, dense, .* expected"),
        (replaced("layer/4/type", b"unpool"), "/layer/4/type: 'unpool' found"),
        (replaced("layer/4/type", 3), "/layer/4/type: int64 found, a string"),
        (replaced("layer/4/type", ["a", "b"]), r"/layer/4/type: shape \(2,\) found, one short string"),
        (replaced("layer/4/type", "dénse"), r"/layer/4/type: b'd\\xc3\\xa9nse' found, ASCII"),
        (long_text, "/layer/4/type: 500 characters"),
        (replaced("layer/4/type", None), "/layer/4/type: missing"),
        (replaced("layer/4/weight", None), "/layer/4/weight: missing; a data set expected"),
        (replaced("layer/4/weight", np.full((7, 30), 0.5)), "/layer/4/weight: 0.5 found, whole numbers"),
        (replaced("layer/4/weight", np.full((7, 30), np.nan)), "/layer/4/weight: nan found"),
        (replaced("layer/4/weight", np.full((7, 30), 1e300)), r"/layer/4/weight: 1e\+300 found"),
        (replaced("layer/4/weight", np.full((7, 30), 2**63, np.uint64)), "/layer/4/weight: 9223372036854775808 found"),
        (replaced("layer/4/weight", np.full((7, 30), 1j)), "/layer/4/weight: complex128 found"),
        (replaced("layer/4/weight", "two"), "/layer/4/weight: object found, numbers"),
        (replaced("layer/4/weight", np.ones((7, 31))), "/layer/4/inFeatures: 30 found, but the weight says 31"),
        (replaced("layer/4/shape", [7, 1, 0]), r"/layer/4/shape: \[7, 1, 0\]"),
        (replaced("layer/0/shape", [[2, 6, 5]]), r"/layer/0/shape: an array of shape \(1, 3\)"),
        (replaced("layer/0/shape", [1 << 40, 1, 1]), r"/layer/0/shape: \[1099511627776, 1, 1\]"),
        (replaced("layer/1/neuron", None), "/layer/1/neuron: missing; a group"),
        (
            replaced("layer/1/neuron/type", b"ALIF"),
            "/layer/1/neuron/type: 'ALIF' found, CUBA, LOIHI or SDNN expected; these are adaptive LIF",
        ),
        (replaced("layer/1/neuron/type", b"SDNN"), "/layer/1/neuron/gradedSpike: found; only activation, .* expected"),
        (replaced("layer/1/neuron/vThMant", [1, 2]), r"/layer/1/vThMant: shape \(2,\) found, one number or \(4,\) expected"),
        (replaced("layer/1/neuron/vDecay", 4097), "/layer/1/neuron/vDecay: 4097 found"),
        (replaced("layer/1/neuron/vDecay", h5py.Empty("f")), "/layer/1/neuron/vDecay: shape None"),
        (replaced("layer/1/stride", [1, 1, 1]), r"/layer/1/stride: shape \(3,\)"),
        (replaced("layer/1/groups", None), "/layer/1/groups: missing"),
        (replaced("layer/1/padding", [3, 3]), r"/layer/1/shape: \(4, 3, 5\) found, but its input \(2, 6, 5\) makes it"),
        (lambda file: file["layer/1"].create_dataset("delay", data=1), "/layer/1/delay: found on a convolution"),
        (linked("layer/4/weight", h5py.SoftLink("/layer/5/weight")), "/layer/4/weight: a link to elsewhere"),
        (linked("layer/4/weight", h5py.ExternalLink("other.net", "/x")), "/layer/4/weight: a link to elsewhere"),
        (linked("layer/4", h5py.ExternalLink("/etc/passwd", "/x")), "/layer/4: a link to elsewhere"),
        (huge, "/layer/4/weight: shape .* at most 67108864 numbers"),
        (claimed, r"/layer/4/weight: shape \(7, 30\) found, but only 0 of its 8 pieces are stored"),
        (never_written, r"/layer/4/bias: shape \(7,\) found, but only 0 of its 1 pieces are stored"),
        (bomb, "/layer/4/weight: with it, the file claims more numbers than one of its size can hold"),
        (dangling, "/layer/1/bias: a link to elsewhere"),
        (device, "/layer/6/neuron: a link to elsewhere"),
        (odd_names, r"/layer: .*a\\nb, b'x.xff' found; 0 to n-1"),
        (replaced("layer/0/shape", [1 << 12, 1 << 12, 1]), r"/layer/0/shape: .* 8388608 neurons at most"),
        (replaced("layer/0/shape", np.ones(1 << 12, int)), "/layer/0/shape: 4096 sizes found"),
        (replaced("layer/4/type", "x" * 65), "/layer/4/type: 65 characters found, at most 64"),
        (
            replaced("layer/4/weight", np.zeros(3, [(f"field {i}\n", "f4") for i in range(99)])),
            "/layer/4/weight: .* … .*numbers",
        ),
        (external, "/layer/4/weight: its values are stored in another file"),
        (virtual, "/layer/4/weight: its values are stored in another file"),
        (lzf, "/layer/4/weight: compressed by filter 32000"),
        (many_layers, "/layer: 5007 members found, at most 1024"),
    ],
)
def test_a_file_with_a_wrong_value_is_refused_by_its_place(path, change, message):
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(UserError, match=message) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_complex_weights_are_refused(path):
    with h5py.File(path, "r+") as file:
        del file["layer/4/weight"]
        file["layer/4/weight/real"] = np.ones((7, 30))
    with pytest.raises(UserError, match="/layer/4/weight: Group found, a data set expected"):
        read(path)


def test_gzip_and_scalar_geometry_are_read(path):
    with h5py.File(path, "r+") as file:
        weight = file["layer/4/weight"][()]
        del file["layer/4/weight"], file["layer/2/stride"]
        file.create_dataset("layer/4/weight", data=weight, compression="gzip", shuffle=True, fletcher32=True)
        file["layer/2/stride"] = 1
    for before, after in zip(example().layers, read(path).layers, strict=True):
        same(before, after)


def test_forms_of_which_netx_makes_the_same_network_are_read(path):
    """Each was loaded by netx of lava-dl d825ac5: flat matrices, one bias for all, further axes of one, a scalar string."""
    with h5py.File(path, "r+") as file:
        for key, made in {
            "layer/5/weight": lambda before: before.ravel(),
            "layer/5/weight_rec": lambda before: before.ravel(),
            "layer/1/weight": lambda before: before[..., None],
            "layer/2/weight": lambda before: before[..., None, None],
            "layer/4/shape": lambda _: np.array([7, 1, 1]),
            "layer/4/type": lambda _: "dense",
            "layer/6/neuron/type": lambda _: np.array([b"LOIHI"]),
            "layer/6/neuron/vThMant": lambda before: np.array([before]),
            "layer/6/bias": lambda _: np.float32(4),
        }.items():
            value = made(file[key][()] if key in file else None)
            if key in file:
                del file[key]
            file[key] = value
    *before, last = example().layers
    *after, read_last = read(path).layers
    for one, other in zip(before, after, strict=True):
        same(one, other)
    assert isinstance(read_last, DenseLayer)
    assert read_last.bias is not None
    assert read_last.bias.tolist() == [4, 4, 4]
    same(last, dataclasses.replace(read_last, bias=None))


def test_a_dense_layer_without_neurons_is_an_integrator_that_never_fires(path):
    with h5py.File(path, "r+") as file:
        del file["layer/6/neuron"]
    assert vars(read(path).blocks()[-1].neuron) == {"i_decay": 0, "v_decay": 4096, "threshold": 1 << 17}


def test_a_missing_file_a_folder_and_another_kind_of_file_are_refused(tmp_path):
    (tmp_path / "text.net").write_text("not a network")
    (tmp_path / "empty.net").write_bytes(b"")
    for name, message in (
        ("absent.net", "cannot be read"),
        (".", "not a file; a .net file expected"),
        ("text.net", "is not a readable HDF5 file"),
        ("empty.net", "is not a readable HDF5 file"),
    ):
        with pytest.raises(UserError, match=message):
            read(tmp_path / name)


@pytest.mark.parametrize("userblock", [0, 512])
def test_strings_of_variable_length_are_looked_up_wherever_the_heap_lies(tmp_path, userblock):
    write(example(), tmp_path / "a.net")
    path = tmp_path / "b.net"
    with h5py.File(tmp_path / "a.net") as old, h5py.File(path, "w", userblock_size=userblock) as new:
        old.copy("layer", new)
        for key in ("layer/0/neuron/type", "layer/1/type", "layer/4/neuron/type"):
            text = new[key][0].decode()
            del new[key]
            new[key] = text
    assert [type(layer) for layer in read(path).layers] == [type(layer) for layer in example().layers]


@pytest.mark.parametrize(
    ("offset", "number", "message"),
    [
        (8, (16).to_bytes(8, "little"), "/layer/4/type: no string where the reference leads"),
        (0, b"HEAP", "/layer/4/type: no heap of strings where the reference leads"),
        (16, (7).to_bytes(2, "little"), "/layer/4/type: no string where the reference leads"),
        (24, (1 << 62).to_bytes(8, "little"), "/layer/4/type: no string where the reference leads"),
        (
            48,  # HDF5's library goes no further in free space of no size
            (0).to_bytes(8, "little"),
            "is not a readable HDF5 file (a heap of strings has free space of no size); a .net file expected",
        ),
    ],
)
def test_a_damaged_heap_of_strings_is_refused_and_holds_nobody_up(path, offset, number, message):
    with h5py.File(path, "r+") as file:
        replaced("layer/4/type", "dense")(file)
    data = bytearray(path.read_bytes())
    place = data.index(b"GCOL") + offset
    data[place : place + len(number)] = number
    path.write_bytes(data)
    with at_most(20):
        found = refusal(path)
    assert found == f"{path}: {message}"


def test_a_heap_of_names_whose_free_pieces_lead_to_each_other_is_refused(path):
    """HDF5's library would take all the memory of the machine for such a list."""
    with h5py.File(path, "r+") as file:
        file.create_group("layer/4/neuron/with a long name that leaves a gap")
        del file["layer/4/neuron/with a long name that leaves a gap"]
    data = bytearray(path.read_bytes())
    heaps = [place for place in range(0, len(data), 8) if data[place : place + 4] == b"HEAP"]
    assert heaps
    changed = 0
    for place in heaps:
        free, address = (int.from_bytes(data[place + offset : place + offset + 8], "little") for offset in (16, 24))
        if free != 1:
            data[address + free : address + free + 8] = free.to_bytes(8, "little")
            changed += 1
    assert changed
    path.write_bytes(data)
    with at_most(20):
        found = refusal(path)
    assert found is not None
    assert "(the names of a group have a list of free pieces that does not end); a .net file expected" in found


def test_a_reference_to_a_string_beyond_the_file_is_refused(path):
    with h5py.File(path, "r+") as file:
        replaced("layer/4/type", "dense")(file)
        offset = file["layer/4/type"].id.get_offset()
    data = bytearray(path.read_bytes())
    data[offset + 4 : offset + 12] = (1 << 40).to_bytes(8, "little")
    path.write_bytes(data)
    assert refusal(path) == f"{path}: /layer/4/type: a reference beyond the end of the file"


def test_an_oversized_file_is_refused_without_reading_it(tmp_path):
    with (tmp_path / "large.net").open("wb") as file:
        file.truncate((1 << 30) + 1)  # sparse: it takes no space
    with pytest.raises(UserError, match="1073741825 bytes found"):
        read(tmp_path / "large.net")


def refusal(path: Path) -> str | None:
    """The message that `read` ends with, checked for its form; None where the file is a network."""
    try:
        read(path)
    except UserError as error:
        message = str(error)
    else:
        return None
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


@contextmanager
def at_most(seconds: int):
    def stop(*_: Any) -> None:
        raise TimeoutError("reading a damaged file did not end")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def test_damaged_files_end_in_a_message_never_in_a_crash(tmp_path):
    """Truncations, bit flips, overwritten ranges and swapped pieces: read as a network, or refused as a UserError."""
    write(example(), tmp_path / "good.net")
    good = (tmp_path / "good.net").read_bytes()
    rng = random.Random(20240501)
    path, refused = tmp_path / "bad.net", 0
    with at_most(50):
        for _ in range(200):
            data = bytearray(good)
            match rng.randrange(4):
                case 0:
                    del data[rng.randrange(len(data)) :]
                case 1:
                    for _ in range(rng.choice((1, 4, 32))):
                        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
                case 2:
                    start = rng.randrange(len(data))
                    stop = min(len(data), start + rng.choice((2, 8, 64)))
                    data[start:stop] = bytes([rng.choice((0, 255, rng.randrange(256)))]) * (stop - start)
                case 3:
                    size = rng.choice((8, 64, 512))
                    a, b = rng.randrange(len(data) - size), rng.randrange(len(data) - size)
                    data[a : a + size] = data[b : b + size]
            path.write_bytes(data)
            refused += refusal(path) is not None
    assert refused > 50


KEYS = ("type", "shape", "weight", "bias", "stride", "groups", "delay", "neuron/iDecay", "neuron/vThMant", "neuron/type")
VALUES: tuple[Any, ...] = (
    np.float64(np.inf),
    np.int64(-1),
    np.uint8(200),
    np.zeros((0,)),
    np.zeros((3, 0)),
    np.ones((2, 2, 2, 2, 2, 2)),
    np.float16(2),
    np.array([1 + 2j]),
    np.array(b"dense"),
    "Ω",
    h5py.Empty("i8"),
    np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    np.array([True, False]),
    np.longdouble(1) / 3,
)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 6), st.sampled_from(KEYS), st.integers(0, len(VALUES) - 1))
def test_values_of_a_wrong_kind_end_in_a_message(tmp_path_factory, layer, key, index):
    path = tmp_path_factory.mktemp("net") / "a.net"
    write(example(), path)
    place = f"layer/{layer}/{key}"
    with h5py.File(path, "r+") as file:
        if place in file:
            del file[place]
        file[place] = VALUES[index]
    refusal(path)
    path.unlink()

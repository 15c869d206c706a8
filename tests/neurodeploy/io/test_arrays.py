"""Numpy files that may be damaged or hostile: one line of error, whatever is wrong, and nothing is ever unpickled."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurodeploy.io.arrays import NamedArrays, map_array, read_array, read_arrays
from neurodeploy.io.errors import UserError


class Trap:
    """Unpickling this would leave a mark."""

    marks: list[str] = []  # noqa: RUF012 - shared on purpose

    def __reduce__(self):
        return (Trap.marks.append, ("unpickled",))


def test_arrays_come_back_as_they_were_written(tmp_path):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save(tmp_path / "x.npy", values)
    np.savez(tmp_path / "x.npz", a=values, b=values[0])
    assert np.array_equal(read_array(tmp_path / "x.npy"), values)
    assert list(read_arrays(tmp_path / "x.npz")) == ["a", "b"]


def test_one_form_is_not_taken_for_the_other(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(3))
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(UserError, match=r"an archive of arrays found, one array in a \.npy file expected"):
        read_array(tmp_path / "x.npz")
    with pytest.raises(UserError, match=r"a single array found, an \.npz file with named arrays expected"):
        read_arrays(tmp_path / "x.npy")


@pytest.mark.parametrize("read", [read_array, read_arrays])
def test_missing_files_and_folders_are_refused(tmp_path, read):
    for path in (tmp_path / "absent.npz", tmp_path):
        with pytest.raises(UserError, match=str(path)):
            read(path)


def test_a_file_that_is_no_array_is_refused_without_advice_to_unpickle_it(tmp_path):
    (tmp_path / "x.npy").write_bytes(b"junk")
    with pytest.raises(UserError, match=r"x\.npy: not a readable \.npy file: damaged, no array at all, or Python objects"):
        read_array(tmp_path / "x.npy")


def test_python_objects_are_refused_and_never_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", a=np.array([Trap()], dtype=object))
    for read, name in ((read_array, "x.npy"), (read_arrays, "x.npz")):
        with pytest.raises(UserError, match="Python objects, which are never read"):
            read(tmp_path / name)
    assert Trap.marks == []


def test_members_that_are_no_arrays_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("note.txt", "hello")
    with pytest.raises(UserError, match=r"note\.txt is no \.npy file, but should be an array"):
        read_arrays(tmp_path / "x.npz")


def _bytes(save, *arrays, **named):
    memory = io.BytesIO()
    save(memory, *arrays, **named)
    return memory.getvalue()


WHOLE = {
    "npy": _bytes(np.save, np.arange(12.0).reshape(3, 4)),
    "npz": _bytes(np.savez_compressed, a=np.arange(12.0), b=np.zeros((2, 2), np.int8)),
}


def complaint(read, path):
    """The error's text, if there is one."""
    try:
        read(path)
    except UserError as error:
        return str(error)
    return None


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_any_damage_gives_arrays_or_one_line_of_error(tmp_path, ending, data):
    content = bytearray(WHOLE[ending])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"x.{ending}"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    for read in (read_array, read_arrays):
        message = complaint(read, path)
        assert message is None or (message.startswith(str(path)) and "\n" not in message)


def test_only_the_arrays_that_are_asked_for_are_read_from_an_archive(tmp_path):
    np.savez(tmp_path / "x.npz", wanted=np.arange(3), other=np.arange(1000))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[content.index(b"other.npy") + 600] ^= 255  # its checksum no longer fits
    (tmp_path / "x.npz").write_bytes(content)
    archive = NamedArrays(tmp_path / "x.npz")
    assert sorted(archive) == ["other", "wanted"]
    assert archive["wanted"].tolist() == [0, 1, 2]
    with pytest.raises(UserError, match=r"x\.npz: not a readable \.npz file: .*CRC"):
        archive["other"]


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
        for _ in range(33):
            member.write(bytes(1 << 24))
    with pytest.raises(UserError, match=r"x\.npz: unpacks to 553,648,128 bytes from [\d,]+, at most 536,870,912 expected"):
        read_arrays(tmp_path / "x.npz")


@pytest.mark.parametrize("shape", [(1 << 40,), (1 << 20, 1 << 20), (3, 1 << 61)])
def test_a_shape_beyond_the_bytes_that_are_there_is_refused_before_memory_is_taken(tmp_path, shape):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    (tmp_path / "x.npy").write_bytes(header.getvalue() + bytes(64))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", header.getvalue() + bytes(64))
    for read, name in ((read_array, "x.npy"), (map_array, "x.npy"), (read_arrays, "x.npz")):
        with pytest.raises(UserError, match=r"but only [0-9]+ bytes are stored"):
            read(tmp_path / name)


def test_two_arrays_of_one_name_are_refused(tmp_path):
    array = _bytes(np.save, np.arange(3))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", array)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.npy", array)
    with pytest.raises(UserError, match=r"x\.npz: two arrays of the name a found, one expected"):
        read_arrays(tmp_path / "x.npz")

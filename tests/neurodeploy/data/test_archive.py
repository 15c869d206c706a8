import gzip
import io
import stat
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.data import archive
from neurodeploy.data.archive import extract
from neurodeploy.io.errors import UserError

MARKED = ("top/marker.txt", b"here")


def tar_of(path, members):
    """A `.tar.gz` of `(name, content)` pairs or ready `TarInfo`s."""
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def zip_of(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def unpack(path, **changes):
    settings = {"top": "top", "marker": "marker.txt", "at_most": 1000} | changes
    extract(path, path.parent / "out", **settings)
    return path.parent / "out"


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_the_content_of_the_wanted_folder_is_unpacked_and_nothing_else(tmp_path, make):
    path = make(tmp_path / "a", [MARKED, ("./top/deep/er/file", b"x"), ("other/file", b"y"), ("top/empty", b"")])
    out = unpack(path)
    files = {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()}
    assert files == {"marker.txt": b"here", "deep/er/file": b"x", "empty": b""}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "out"]


@pytest.mark.parametrize("make", [tar_of, zip_of])
@pytest.mark.parametrize("name", ["/etc/evil", "../evil", "top/../../evil", "top\\..\\evil", "C:/evil", "top/../marker.txt"])
def test_a_name_that_leads_out_is_refused_and_nothing_is_left(tmp_path, make, name):
    path = make(tmp_path / "a", [MARKED, (name, b"evil")])
    with pytest.raises(UserError, match=r"a: .* leads out of its folder; nothing was unpacked"):
        unpack(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    info = tarfile.TarInfo("top/link")
    info.type, info.linkname = kind, "/etc/passwd"
    path = tar_of(tmp_path / "a", [MARKED, info])
    with pytest.raises(UserError, match="'top/link' is no plain file"):
        unpack(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_in_a_zip_is_refused(tmp_path):
    info = zipfile.ZipInfo("top/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = zip_of(tmp_path / "a", [MARKED, (info, b"/etc/passwd")])
    with pytest.raises(UserError, match="'top/link' is no plain file"):
        unpack(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_a_bomb_is_refused_at_the_agreed_size(tmp_path, make):
    path = make(tmp_path / "a", [MARKED, ("top/big", bytes(5_000_000))])
    with pytest.raises(UserError, match="unpacks to more than 1,000 bytes"):
        unpack(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_tar_bomb_outside_the_wanted_folder_ends_too(tmp_path):
    path = tar_of(tmp_path / "a", [("elsewhere", bytes(80_000_000)), MARKED])
    with pytest.raises(UserError, match="unpacks to more than"):
        unpack(path)


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_too_many_files_are_refused(tmp_path, make, monkeypatch):
    monkeypatch.setattr(archive, "_MOST_FILES", 3)
    with pytest.raises(UserError, match="holds more than 3 files"):
        unpack(make(tmp_path / "a", [(f"top/{number}", b"") for number in range(4)]))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_the_same_file_twice_is_refused(tmp_path, make):
    with pytest.raises(UserError, match=r"'top/marker.txt' occurs twice"):
        unpack(make(tmp_path / "a", [MARKED, MARKED]))


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_an_archive_of_something_else_is_refused(tmp_path, make):
    path = make(tmp_path / "a", [("top/file", b"x")])
    with pytest.raises(UserError, match=r"a: holds no top/marker.txt"):
        unpack(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "a"
    for content in (b"", b"<html>not found</html>", gzip.compress(b"no tar at all" * 100)):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a: not a whole .tar.gz or .zip archive|a: holds no top/marker.txt"):
            unpack(path)
        assert list(tmp_path.iterdir()) == [path]


def test_a_zip_with_a_password_is_refused(tmp_path):
    path = zip_of(tmp_path / "a", [MARKED])
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    content[6] |= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a whole"):
        unpack(path)


@pytest.mark.parametrize("make", [tar_of, zip_of])
@given(data=st.data())
def test_however_an_archive_is_damaged_it_is_unpacked_whole_or_refused(tmp_path_factory, make, data):
    folder = tmp_path_factory.mktemp("damaged")
    path = make(folder / "a", [MARKED, ("top/file", bytes(range(256)) * 3)])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    fault = None
    try:
        unpack(path)
    except UserError as error:
        fault = str(error)
    if fault is None:
        assert (folder / "out" / "marker.txt").is_file()
    else:
        assert str(folder) in fault
        assert "\n" not in fault
        assert list(folder.iterdir()) == [path]

import hashlib

import pooch.core
import pytest

from neurodeploy.data.download import Archive, Resource, fetch, install
from neurodeploy.io.errors import Failure, UserError

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def resource(served):
    publisher, address = served
    (publisher / "set.bin").write_bytes(CONTENT)
    return Resource(f"{address}/set.bin", f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", "local.bin")


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch):
    monkeypatch.setattr(pooch.core.time, "sleep", lambda _seconds: None)


def test_a_file_is_fetched_once_and_checked(resource, served, tmp_path):
    path = fetch(resource, tmp_path / "data")
    assert path == tmp_path / "data" / "local.bin"
    assert path.read_bytes() == CONTENT
    (served[0] / "set.bin").unlink()
    assert fetch(resource, tmp_path / "data") == path


def test_a_damaged_local_copy_is_fetched_again(resource, tmp_path):
    (tmp_path / "local.bin").write_bytes(CONTENT[:-1])
    assert fetch(resource, tmp_path).read_bytes() == CONTENT


def test_content_of_another_checksum_is_refused_and_not_kept(resource, served, tmp_path):
    (served[0] / "set.bin").write_bytes(b"hostile")
    with pytest.raises(Failure, match=r"set.bin: its content does not have the published checksum sha256:.*; nothing was kept"):
        fetch(resource, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_broken_connection_is_tried_again(resource, tmp_path, monkeypatch):
    tries = []
    original = pooch.HTTPDownloader.__call__

    def breaking(self, url, output_file, *arguments, **settings):
        tries.append(url)
        original(self, url, output_file, *arguments, **settings)
        if len(tries) < 3:
            with open(output_file, "r+b") as file:  # noqa: PTH123
                file.truncate(100)

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", breaking)
    assert fetch(resource, tmp_path).read_bytes() == CONTENT
    assert len(tries) == 3


@pytest.mark.parametrize("path", ["/absent.bin", None])
def test_an_address_without_answer_is_named(resource, served, tmp_path, path):
    address = f"{served[1]}{path}" if path else "http://127.0.0.1:1/set.bin"
    with pytest.raises(Failure, match=r"not downloaded \((HTTP 404|ConnectionError)\); check the connection") as caught:
        fetch(Resource(address, resource.checksum, "local.bin"), tmp_path / "data")
    assert str(caught.value).startswith(address)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_the_users_mistake(resource, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"):
        fetch(resource, tmp_path / "file" / "data")


def test_an_archive_that_cannot_be_unpacked_leaves_no_folder(resource, tmp_path):
    archive = Archive(resource.url, resource.checksum, "set.tar.gz", "set", "", "marker", 1000)
    with pytest.raises(UserError, match=r"set.tar.gz: not a whole .tar.gz or .zip archive"):
        install(archive, tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["set.tar.gz"]


def test_a_file_that_has_the_publishers_md5_and_another_sha256_is_refused_and_not_kept(served, tmp_path):
    publisher, address = served
    (publisher / "set.bin").write_bytes(CONTENT)
    md5 = f"md5:{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}"
    right, wrong = hashlib.sha256(CONTENT).hexdigest(), hashlib.sha256(b"official").hexdigest()
    assert fetch(Resource(f"{address}/set.bin", md5, "local.bin", sha256=right), tmp_path / "data").read_bytes() == CONTENT
    with pytest.raises(Failure, match=rf"set.bin: its content has the published md5:.*, but not the SHA-256 {wrong}"):
        fetch(Resource(f"{address}/set.bin", md5, "other.bin", sha256=wrong), tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["local.bin"]


def test_every_data_set_has_a_sha256_but_for_two_that_nobody_publishes_one_of():
    from neurodeploy.data import cifar10, cifar10_dvs, mnist, nmnist, speech, tiny_imagenet

    modules = (cifar10, cifar10_dvs, mnist, nmnist, speech, tiny_imagenet)
    found = [(module.__name__.rpartition(".")[2], one) for module in modules for one in resources_of(module)]
    assert len(found) >= 9
    assert {name for name, one in found if not one.is_strong} == {"cifar10_dvs", "nmnist"}


def resources_of(module):
    for value in vars(module).values():
        yield from [value] if isinstance(value, Resource) else []
        yield from (one for one in value if isinstance(one, Resource)) if isinstance(value, tuple | list) else []

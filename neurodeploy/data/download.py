"""Fetching official files: checked against a checksum, with a progress bar, whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from neurodeploy.data.archive import extract
from neurodeploy.io.errors import Failure, UserError
from neurodeploy.io.files import sha256, writing
from neurodeploy.io.screen import progress_console

if TYPE_CHECKING:
    from rich.progress import Progress

_RETRIES = 3
_TIMEOUT = 60.0  # seconds without an answer


@dataclass(frozen=True)
class Resource:
    """One official file.

    Attributes:
        url: where the publisher keeps it.
        checksum: `sha256:…` or `md5:…` in hexadecimal, as published; None for an archive that is known by its content instead.
        name: what the file is called here.
        sha256: of the file, where the publisher has an MD5 alone, which anyone can forge, and independent loaders agree on it.
    """

    url: str
    checksum: str | None
    name: str
    sha256: str | None = field(default=None, kw_only=True)

    @property
    def is_strong(self) -> bool:
        """Whether what is downloaded is compared with a SHA-256, of the file or of what is in it."""
        content = getattr(self, "content", None)
        return self.sha256 is not None or content is not None or (self.checksum or "").startswith("sha256:")


@dataclass(frozen=True)
class Archive(Resource):
    """An official file that is unpacked after its download and then removed.

    Attributes:
        folder: receives the content, relative to the data set's folder.
        top: the folder in the archive whose content is wanted; "" for everything.
        marker: a file that the unpacked folder holds.
        at_most: bytes that the unpacked files may have together.
        content: SHA-256 of the unpacked folder (see `archive.digest`), for an archive that is packed anew for every download.
    """

    folder: str
    top: str
    marker: str
    at_most: int
    content: str | None = None


def install(resource: Resource, root: Path) -> None:
    """Fetch an official file into `root`; unpack it if it is an archive.

    Raises:
        Failure: the download failed, or its content is not what the publisher's checksum says.
        UserError: `root` cannot be written, or the archive is damaged or hostile.
    """
    path = fetch(resource, root)
    if isinstance(resource, Archive):
        try:
            folder = root / resource.folder
            extract(path, folder, top=resource.top, marker=resource.marker, at_most=resource.at_most, content=resource.content)
        except UserError:
            if resource.checksum is None:  # nobody looked at the archive before: it may be to blame
                path.unlink()
            raise
        with writing(path):
            path.unlink()


def fetch(resource: Resource, folder: Path, *, retries: int = _RETRIES) -> Path:
    """Download a file, unless it is there whole already; after a broken connection it is tried again.

    Returns:
        Its path in `folder`. Under that name there is never a file with another checksum.

    Raises:
        Failure: no connection, or the content differs from the checksum after all tries.
        UserError: `folder` cannot be written.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    store = pooch.create(
        path=folder,
        base_url="",
        registry={resource.name: resource.checksum},
        urls={resource.name: resource.url},
        retry_if_failed=retries,
    )
    with writing(folder / resource.name), _bar(resource.name) as bar:
        downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=_TIMEOUT)
        try:
            fetched = Path(store.fetch(resource.name, downloader=downloader))
        except requests.exceptions.RequestException as error:
            reason = type(error).__name__ if error.response is None else f"HTTP {error.response.status_code}"
            raise Failure(f"{resource.url}: not downloaded ({reason}); check the connection, or fetch it by hand") from None
        except ValueError:
            raise Failure(
                f"{resource.url}: its content does not have the published checksum {resource.checksum}; nothing was kept, "
                "try again later or fetch the official file by hand"
            ) from None
    if resource.sha256 is not None and sha256(fetched) != resource.sha256:
        with writing(fetched):
            fetched.unlink()
        raise Failure(
            f"{resource.url}: its content has the published {resource.checksum}, but not the SHA-256 {resource.sha256}: "
            "made to look like the official file; nothing was kept"
        )
    return fetched


class _DownloadBar:
    """pooch's progress, shown by rich."""

    def __init__(self, progress: "Progress", title: str) -> None:
        self._progress, self._task = progress, progress.add_task(title, total=None)

    @property
    def total(self) -> float:
        return self._progress.tasks[0].total or 0

    @total.setter
    def total(self, count: int) -> None:
        self._progress.reset(self._task, total=count or None)  # another try begins

    def update(self, count: int) -> None:
        self._progress.update(self._task, advance=count)

    def reset(self) -> None:
        self._progress.reset(self._task)

    def close(self) -> None:
        """Nothing to do: the bar ends with its context."""


@contextmanager
def _bar(title: str) -> Iterator[_DownloadBar]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=progress_console(), transient=True) as progress:
        yield _DownloadBar(progress, title)

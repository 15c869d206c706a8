"""Data sets that are files in a folder: found, read, downloaded where allowed, and prepared once."""

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, cast

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from neurodeploy.data.dataset import DataSet, NormalizedDataSet, first_of_each_class, from_bytes
from neurodeploy.data.download import Resource, install
from neurodeploy.io.errors import Failure, UserError
from neurodeploy.io.files import atomic_file
from neurodeploy.io.reading import check_file, read_bounded


def read_file(path: Path, *, at_most: int) -> bytes:
    """The whole content of a file; of what it unpacks to, if its name ends in `.gz`.

    Args:
        path: a plain file or a gzip file.
        at_most: bytes (unpacked) that are accepted.

    Raises:
        UserError: the file is missing, cannot be read, is damaged, empty or too large.
    """
    packed = path.suffix == ".gz"
    check_file(path, "the official file")
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            content = read_bounded(cast(IO[bytes], file), at_most)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not a whole gzip file ({error}); remove it and fetch it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); a readable file expected") from None
    if not content:
        raise UserError(f"{path}: empty; remove it and fetch the official file again")
    if len(content) > at_most:
        raise UserError(f"{path}: more than {at_most:,} bytes found, at most that many expected; is it another file?")
    return content


def read_lines(path: Path, *, at_most: int = 1 << 24) -> list[str]:
    """The lines of a text file that are not blank, without blanks around them.

    Raises:
        UserError: as `read_file`; or the file is no UTF-8 text.
    """
    try:
        text = read_file(path, at_most=at_most).decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path}: no UTF-8 text found; put the official file there") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


FOLDER = "prepared"
_FORMAT = 1  # raise it whenever prepared values change


def prepared(
    folder: Path, settings: Mapping[str, object], files: Sequence[Path], build: Callable[[], Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """What `build` makes of some files, from the cache if the same was built before.

    The cache is in `folder/prepared`. Its name holds a fingerprint of the settings and of every source file (path, size and
    time of change), its header the SHA-256 of the tensors. In a folder that cannot be written, nothing is kept.

    Args:
        folder: of the data set.
        settings: everything but the files that the tensors depend on, as JSON values; `kind` names the cache file.
        files: the source files below `folder`, in the order in which `build` reads them.
        build: reads them.

    Raises:
        UserError: a source file is missing, or whatever `build` finds wrong with it.
        Failure: the disk is full.
    """
    key = _fingerprint(folder, settings, files)
    path = folder / FOLDER / f"{settings['kind']}-{key[:16]}.safetensors"
    kept = _read(path, key)
    if kept is not None:
        return kept
    built = {name: tensor.contiguous() for name, tensor in build().items()}
    _keep(path, key, built)
    return built


def _fingerprint(folder: Path, settings: Mapping[str, object], files: Sequence[Path]) -> str:
    digest = hashlib.sha256(json.dumps([_FORMAT, settings], sort_keys=True).encode())
    for path in files:
        try:
            facts = path.stat()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); put the official file there") from None
        digest.update(f"{path.relative_to(folder)}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _read(path: Path, key: str) -> dict[str, Tensor] | None:
    """The kept tensors; None if there are none, or they are not what was written."""
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError):
        return None
    return tensors if header == {"key": key, "content": _digest(tensors)} else None


def _keep(path: Path, key: str, tensors: Mapping[str, Tensor]) -> None:
    try:
        with atomic_file(path) as temporary:
            try:
                save_file(dict(tensors), temporary, metadata={"key": key, "content": _digest(tensors)})
            except SafetensorError as error:
                raise Failure(f"{path}: not written ({error}); free some space or choose another place") from None
    except UserError:
        return  # a folder that this user may only read


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().reshape(-1).data)
    return digest.hexdigest()


FOLDER_VARIABLE = "NEURODEPLOY_DATA"

Labelled = Sequence[tuple[Path, int]]
"""Files of samples with their labels, in the order of the samples."""


def limited(files: Labelled, limit: int | None, classes: int, source: Path) -> tuple[list[Path], list[int]]:
    """Files and labels of the first samples of each class; see `first_of_each_class`."""
    chosen = first_of_each_class([label for _, label in files], limit, classes, source)
    return [files[i][0] for i in chosen], [files[i][1] for i in chosen]


class StoredDataSet(NormalizedDataSet):
    """What a recipe says under `[data]` of a data set in a folder.

    Attributes:
        folder: holds the official files; by default `$NEURODEPLOY_DATA/<kind>`, or `~/.cache/neurodeploy/<kind>`.
        download: fetch what is missing from the publisher into `folder`.
        train_limit, test_limit: use only the first n samples of every class.
        normalize: see `NormalizedDataSet`.
    """

    folder: Path | None = None
    download: bool = False
    train_limit: int | None = Field(default=None, ge=1)
    test_limit: int | None = Field(default=None, ge=1)

    @property
    def root(self) -> Path:
        """The folder that the settings name, or the default one."""
        if self.folder is not None:
            return self.folder.expanduser()
        base = os.environ.get(FOLDER_VARIABLE)
        return (Path(base) if base else Path("~/.cache/neurodeploy")).expanduser() / self.kind

    def located(self, needed: Sequence[str], places: Sequence[str], sources: Sequence[Resource], origin: str) -> Path:
        """The folder that holds the official files, downloaded if allowed.

        Args:
            needed: glob patterns; the folder has a match for each.
            places: folders to look in, relative to `root`, in this order.
            sources: what a download fetches into `root`.
            origin: where the user finds the official files.

        Raises:
            UserError: the files are not there, and may not be downloaded.
            Failure: the download failed.
        """
        folder = self._present(needed, places)
        if folder is None and self.download and sources:
            for source in sources:
                install(source, self.root)
            folder = self._present(needed, places)
        if folder is None:
            here = " or ".join(dict.fromkeys(str(Path(self.root, place)) for place in places))
            way = "set data.download = true, or " if sources and not self.download else ""
            raise UserError(
                f"{self.root}: no {self.kind} data found ({', '.join(needed)} expected in {here}); "
                f"{way}put the official files there ({origin}), or set data.folder"
            )
        return folder

    def of_files(
        self,
        folder: Path,
        train: tuple[Labelled, Path],
        test: tuple[Labelled, Path],
        build: Callable[[Sequence[Path]], Tensor],
        *,
        classes: int,
        note: str,
        settings: set[str],
        convert: Callable[[Tensor], Tensor] = from_bytes,
    ) -> DataSet:
        """The samples of one file each, read once and then kept (see `prepared`).

        Args:
            folder: of the data set.
            train, test: files of the split, and where they are, for an error message.
            build: makes `[N, …]` of the files that are used.
            classes: K.
            note: origin and split; the limits are added.
            settings: names of the fields, besides `kind`, that `build` depends on.
            convert: samples of what was kept.
        """
        train_files, train_labels = limited(train[0], self.train_limit, classes, train[1])
        test_files, test_labels = limited(test[0], self.test_limit, classes, test[1])
        files, count = [*train_files, *test_files], len(train_files)
        facts = self.model_dump(include={"kind", *settings})
        (kept,) = prepared(folder, facts, files, lambda: {"samples": build(files)}).values()
        split = convert(kept[:count]), torch.tensor(train_labels), convert(kept[count:]), torch.tensor(test_labels)
        return self.normalized(DataSet(self.kind, *split, classes, note + self.used(), timed=self.event_frames is not None))

    def _present(self, needed: Sequence[str], places: Sequence[str]) -> Path | None:
        folders = (self.root / place for place in places)
        return next((folder for folder in folders if all(any(folder.glob(pattern)) for pattern in needed)), None)

    def used(self) -> str:
        """The limits in words, to end a `DataSet.note` with; empty without limits."""
        parts = [
            f"first {limit} {split} samples of every class"
            for split, limit in (("training", self.train_limit), ("test", self.test_limit))
            if limit is not None
        ]
        return f"; {' and '.join(parts)}" if parts else ""

"""What every data set in a local folder lets a recipe set: where it lies, if it may be downloaded, how much of it is used."""

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from neurodeploy.data.download import Resource, install
from neurodeploy.data.settings import DataSetSettings
from neurodeploy.errors import UserError

FOLDER_VARIABLE = "NEURODEPLOY_DATA"


class StoredDataSet(DataSetSettings):
    """What a recipe says under `[data]` of a data set in a folder.

    Attributes:
        folder: holds the official files; by default `$NEURODEPLOY_DATA/<kind>`, or `~/.cache/neurodeploy/<kind>`.
        download: fetch what is missing from the publisher into `folder`.
        train_limit, test_limit: use only the first n samples of every class.
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
        found = self._present(needed, places)
        if found is None and self.download and sources:
            for source in sources:
                install(source, self.root)
            found = self._present(needed, places)
        if found is None:
            here = " or ".join(dict.fromkeys(str(Path(self.root, place)) for place in places))
            way = "set data.download = true, or " if sources and not self.download else ""
            raise UserError(
                f"{self.root}: no {self.kind} data found ({', '.join(needed)} expected in {here}); "
                f"{way}put the official files there ({origin}), or set data.folder"
            )
        return found

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

"""HDF5 files that somebody else wrote: nothing outside the file, nothing larger than expected, one line for each fault."""

from neurodeploy_exporters.hdf5.folder import Folder, LocatedError, opened, printable

__all__ = ["Folder", "LocatedError", "opened", "printable"]

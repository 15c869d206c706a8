"""Data sets, one file each."""

from neurodeploy.data.dataset import DataSet
from neurodeploy.data.digits import Digits

__all__ = ["DataSet", "Digits"]

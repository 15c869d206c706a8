"""The version of the toolkit, as installed."""

from importlib.metadata import version

VERSION = version("neurodeploy")

"""The networks, one file per framework; each has a `SUITE`."""

"""The energy profiles: constants, sources and scope; or the whole TOML of one, to start a profile of your own from."""

EXAMPLE = "neurodeploy profiles"

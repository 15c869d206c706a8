"""What all entries of a manifest share."""

from pydantic import BaseModel, ConfigDict


class ManifestEntry(BaseModel):
    """A JSON object whose fields are all known, and whose numbers are all finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

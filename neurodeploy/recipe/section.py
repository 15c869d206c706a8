"""What all tables of a recipe have in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of a recipe: nothing unknown in it, and never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

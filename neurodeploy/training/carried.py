"""A few test samples in a file beside a checkpoint, for where the data that it was trained on are unavailable."""

from pathlib import Path
from typing import Literal
from warnings import warn

from pydantic import BaseModel, ConfigDict, Field

from neurodeploy.data import DataSet, Normalization
from neurodeploy.data.samples import Normalized, as_stored
from neurodeploy.io import tensors
from neurodeploy.io.errors import Notice, UserError
from neurodeploy.training.header import Header

CARRIED = "samples.safetensors"
_KEY = "neurodeploy-samples"


class CarriedFacts(BaseModel):
    """The header of a file of samples.

    Attributes:
        format: version of this layout.
        name, note: of the data set that they are from.
        classes: K.
        class_names: of the K classes; empty if they have none.
        timed: the samples have a time axis of their own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal[1] = 1
    name: str
    note: str
    classes: int = Field(ge=2)
    class_names: tuple[str, ...] = ()
    timed: bool = False


def carry(path: Path, data: DataSet) -> None:
    """Write the test samples of a data set, as they are stored: before their normalisation.

    Raises:
        UserError, Failure: the file cannot be written.
    """
    samples = as_stored(data.test_samples)
    facts = CarriedFacts(name=data.name, note=data.note, classes=data.classes, class_names=data.class_names, timed=data.timed)
    tensors.write(path, _KEY, facts, {"test": {"samples": samples[:], "labels": data.test_labels}})


def carried(path: Path, normalization: Normalization | None = None) -> DataSet:
    """The samples of a file, as test set and as training set.

    Args:
        path: of the file.
        normalization: that they are to go through.

    Raises:
        UserError: the file is damaged, or none of samples.
    """
    facts, groups = tensors.read(path, _KEY, CarriedFacts.model_validate_json)
    stored, labels = groups.get("test", {}).get("samples"), groups.get("test", {}).get("labels")
    if stored is None or labels is None or len(stored) != len(labels) or not len(labels):
        raise UserError(
            f"{path}: tensors test/samples and test/labels of the same length expected; take it again from where it came"
        )
    if labels.is_floating_point() or int(labels.min()) < 0 or int(labels.max()) >= facts.classes:
        raise UserError(f"{path}: labels from 0 to {facts.classes - 1} expected; take it again from where it came")
    samples = stored if normalization is None else Normalized(stored, normalization, facts.timed)
    note = f"{len(labels)} test samples that come with the model, of: {facts.note}"
    return DataSet(
        name=facts.name,
        train_samples=samples,
        train_labels=labels,
        test_samples=samples,
        test_labels=labels,
        classes=facts.classes,
        note=note,
        timed=facts.timed,
        normalization=normalization,
        class_names=facts.class_names,
    )


def standing_in(path: Path, header: Header, why: str) -> DataSet:
    """The samples of a file for the data that a network was trained on, and a warning that says so.

    Args:
        path: of the file.
        header: of the checkpoint.
        why: those data are unavailable.
    """
    data = carried(path, getattr(header.data_set, "normalize", None))
    warn(f"{header.title}: its own data are unavailable ({why}); used instead: {data.note}", Notice, stacklevel=3)
    return data

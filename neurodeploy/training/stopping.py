"""Early stopping: samples held out of the training set, and the best weights that they have seen."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from neurodeploy.data import DataSet
from neurodeploy.data.splitting import stratified as by_class
from neurodeploy.io.errors import UserError
from neurodeploy.training.parallel import determined


@dataclass(frozen=True, eq=False)
class Split:
    """Which training samples are learned from and which are held out, as numbers into the training set."""

    train: Tensor
    validation: Tensor


def split(data: DataSet, held_out: int, seed: int, *, stratified: bool = False) -> Split:
    """Hold out `held_out` training samples, the same ones for every network of a seed.

    Args:
        data: the training set.
        held_out: their number.
        seed: of the choice.
        stratified: of every class as many as its share of the training set.

    Raises:
        UserError: nothing would be left to train on.
    """
    count = len(data.train_labels)
    if held_out >= count:
        raise UserError(f"training.validation_samples: {held_out} found, fewer than the {count} training samples expected")
    if held_out == 0:
        return Split(torch.arange(count), torch.empty(0, dtype=torch.long))
    with determined(seed, "validation"):
        order = torch.randperm(count)
    if stratified:
        validation = by_class(data.train_labels, held_out, order)
        learned = torch.ones(count, dtype=torch.bool)
        learned[validation] = False
        return Split(learned.nonzero()[:, 0], validation)
    return Split(order[held_out:].sort().values, order[:held_out].sort().values)


@dataclass
class Best:
    """The best validation accuracy so far, and the weights that had it.

    Attributes:
        accuracy: in percent; None before the first epoch.
        epochs_since: without a better one.
        state: of the network.
    """

    accuracy: float | None = None
    epochs_since: int = 0
    state: dict[str, Tensor] = field(default_factory=dict)

    def see(self, accuracy: float, network: nn.Module) -> None:
        """Compare the network's accuracy after an epoch; equal ones do not count as better."""
        if self.accuracy is None or accuracy > self.accuracy:
            self.accuracy, self.epochs_since = accuracy, 0
            self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}
        else:
            self.epochs_since += 1

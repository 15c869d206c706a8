"""A ready model on the test samples that come with it: its answers, spikes and energy; no data set is needed."""

from dataclasses import asdict, dataclass
from typing import Any

from neurodeploy.app.accounting import energy_report
from neurodeploy.app.model import of_checkpoint
from neurodeploy.app.ready import CHECKPOINT, card, checked
from neurodeploy.training import checkpoint
from neurodeploy.training.carried import CARRIED, carried
from neurodeploy.training.evaluation import evaluate
from neurodeploy_energy.report.tables import deployed_line


@dataclass(frozen=True)
class SampleAnswer:
    """One sample.

    Attributes:
        sample: its number.
        label, answer: the class that it has, and the one that it was taken for.
        spikes: fired over all layers and steps.
    """

    sample: int
    label: str
    answer: str
    spikes: int


@dataclass(frozen=True)
class AtWork:
    """All samples.

    Attributes:
        data: what they are.
        answers: one for each.
        energy: as deployed, estimated, in a sentence.
    """

    data: str
    answers: tuple[SampleAnswer, ...]
    energy: str

    @property
    def right(self) -> int:
        """Samples that were taken for what they are."""
        return sum(one.label == one.answer for one in self.answers)

    def as_document(self) -> dict[str, Any]:
        return {"data": self.data, "right": self.right, "energy": self.energy, "samples": [asdict(one) for one in self.answers]}


def at_work(name: str) -> AtWork:
    """The network of a ready model's checkpoint on the samples beside it.

    Raises:
        UserError: there is no such model, or its files are damaged.
    """
    folder, shown = checked(name), card(name)
    loaded = checkpoint.load(folder / CHECKPOINT)
    data = carried(folder / CARRIED, getattr(loaded.progress.data_set, "normalize", None))
    model = of_checkpoint(loaded, data=data)
    classes = data.class_names or tuple(map(str, range(data.classes)))
    answers = []
    for number in range(len(data.test_labels)):
        one = slice(number, number + 1)
        found = evaluate(model.module, data.test_samples[one], data.test_labels[one])
        label, answer = found.confusion.nonzero()
        answers.append(SampleAnswer(number, classes[int(label[0])], classes[int(answer[0])], round(found.spikes_per_sample)))
    report = energy_report(model, data.test_samples, [shown.energy.chip], host=shown.energy.host)
    return AtWork(data.note, tuple(answers), deployed_line(report))

"""The ready models that come with the package: trained students by name, each with its card, its samples and its bundles.

A folder for each is in `neurodeploy/ready_models/`; `benchmarks/ready_models.py` makes them.
"""

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Literal
from warnings import warn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neurodeploy.io.errors import Notice, UserError
from neurodeploy.io.files import sha256
from neurodeploy.training.evaluation import Accuracy

CARD = "card.json"
CHECKPOINT = "checkpoint.safetensors"


class CardPart(BaseModel):
    """An entry of a card: no field but those that it has."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CardAnswers(CardPart):
    """Right answers on the whole test set.

    Attributes:
        correct, samples: their number, and how many were asked.
    """

    correct: int = Field(ge=0)
    samples: int = Field(ge=1)

    @property
    def accuracy(self) -> Accuracy:
        return Accuracy(self.correct, self.samples)


class CardEnergy(CardPart):
    """Estimated µJ per sample.

    Attributes:
        chip, host: profiles of the deployment.
        cut: where the network is cut behind the chip; "" if it has no such choice.
        total_uj, chip_uj, host_uj: as deployed; the total is None if something has no price.
        left_out: what the profiles give no cost for.
        further: other profile → µJ of the whole network.
    """

    chip: str
    host: str
    cut: str
    total_uj: float | None
    chip_uj: float
    host_uj: float
    left_out: tuple[str, ...]
    further: dict[str, float]


class CardTeacher(CardPart):
    """A ReLU network that taught it, or that it was made of.

    Attributes:
        what: which network that is, and where from.
        licence: of its weights.
        answers: on the same test set.
        host_uj: its estimated energy per sample on the host of the deployment alone; None if that has no price.
    """

    what: str
    licence: str
    answers: CardAnswers
    host_uj: float | None


class CardBundle(CardPart):
    """An exported form of it, or why there is none.

    Attributes:
        options: of the export.
        samples, spikes_compared, mismatches: of its verification.
        answers: of the exported files on the whole test set, in the target's runtime; None if the target does not run it.
        refusal: why the target cannot express the network; the other fields are then empty.
    """

    options: dict[str, str] = {}
    samples: int = 0
    spikes_compared: int = 0
    mismatches: int = 0
    answers: CardAnswers | None = None
    refusal: str = ""


class CardOrigin(CardPart):
    """How it was made.

    Attributes:
        recipe, role, seed: which network of which recipe.
        epochs: of its training.
        command: that trained it.
        commit: of the toolkit that trained it; None if nobody noted it.
        neurodeploy, torch: versions that measured it.
    """

    recipe: str
    role: str
    seed: int
    epochs: int
    command: str
    commit: str | None
    neurodeploy: str
    torch: str


class Card(CardPart):
    """`card.json`: what a ready model is and does. Every number was measured by the program that wrote it.

    Attributes:
        format: version of this layout.
        name, description: of the model.
        data: what it was tested on, in a sentence; the whole test set, which nothing was chosen by unless `notes` say so.
        data_licence: of the data, and so of the samples that come with it.
        weights_licence: of the weights.
        steps: T.
        parameters: number of its weights and biases.
        classes: K.
        target: whose network `deployed`, the counts and `energy` are of; any other bundle says where it differs.
        deployed: right answers of its exported files, in the target's runtime.
        trained: of the network as it was trained.
        spikes, synops, macs: per sample, of the network as it is exported; synaptic operations with every synapse counted.
        spikes_by_layer: per sample.
        energy: as deployed.
        teacher: that it was distilled from.
        source: whose weights it began with; None if that is the teacher, or it began with weights of its own.
        bundles: target → its bundle.
        origin: how it was made.
        notes: what a reader must know.
        files: path below the folder → SHA-256.
    """

    format: Literal[1] = 1
    name: str
    description: str
    data: str
    data_licence: str
    weights_licence: str
    steps: int
    parameters: int
    classes: int
    target: str
    deployed: CardAnswers
    trained: CardAnswers
    spikes: float
    synops: float
    macs: float
    spikes_by_layer: dict[str, float]
    energy: CardEnergy
    teacher: CardTeacher
    source: CardTeacher | None = None
    bundles: dict[str, CardBundle]
    origin: CardOrigin
    notes: tuple[str, ...] = ()
    files: dict[str, str]


def root() -> Path:
    """The folder of the ready models."""
    return Path(str(resources.files("neurodeploy"))) / "ready_models"


def names() -> list[str]:
    """Of the ready models, sorted."""
    return sorted(path.parent.name for path in root().glob(f"*/{CARD}"))


def card(name: str) -> Card:
    """What a ready model is.

    Raises:
        UserError: there is none of that name, or its card is damaged.
    """
    if name not in names():
        raise UserError(f"{name}: no ready model of that name (there are: {', '.join(names()) or 'none'})")
    path = root() / name / CARD
    try:
        return Card.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{path}: {field}: {first['msg']}; the card is damaged, install neurodeploy again") from None


def checked(name: str) -> Path:
    """The folder of a ready model, once its files are known to be those of its card.

    Raises:
        UserError: there is none of that name, or a file is missing or another one.
    """
    folder = root() / name
    for file, expected in card(name).files.items():
        path = folder / file
        found = sha256(path) if path.is_file() else None
        if found != expected:
            what = "no such file" if found is None else f"SHA-256 {found[:12]}…"
            raise UserError(f"{path}: {what} found, {expected[:12]}… expected by {CARD}; install neurodeploy again")
    return folder


def is_ready(source: str | Path) -> bool:
    """Whether a model's place is the name of a ready model, or of a bundle of one: `NAME` or `NAME/TARGET`, and no path."""
    return not Path(source).exists() and str(source).partition("/")[0] in names()


def located(source: str | Path, say: Callable[[str], None] | None = None) -> str:
    """A model's place, where the name of a ready model has become the path of its checkpoint, `NAME/TARGET` that of a bundle.

    A path wins over such a name, with a warning.

    Args:
        source: place of a model.
        say: told of that; a warning if None.

    Raises:
        UserError: there is no such bundle, or the model's files are damaged.
    """
    text = str(source)
    name, _, target = text.partition("/")
    if name not in names():
        return text
    if Path(text).exists():
        said = f"{text}: the file or folder of that name here is taken, not the ready model; call it elsewhere to have that"
        (say or (lambda sentence: warn(sentence, Notice, stacklevel=3)))(said)
        return text
    if not target:
        return str(checked(name) / CHECKPOINT)
    bundles = card(name).bundles
    if target not in bundles:
        raise UserError(f"{text}: no such bundle of {name}; there are: {', '.join(f'{name}/{one}' for one in bundles)}")
    if bundles[target].refusal:
        raise UserError(f"{text}: {name} has no form for {target}: {bundles[target].refusal}")
    return str(checked(name) / target)

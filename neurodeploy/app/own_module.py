"""A module of the user's own, a NIR file or a checkpoint that knows no data, ready for export on samples that options name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from neurodeploy.app.deployment import Deployment, split_code, stored
from neurodeploy.app.model import Model, NirChoices, knows_no_data, load_model
from neurodeploy.app.origins import is_chip_file, is_nir
from neurodeploy.app.own_data import DataChoice, data_named, is_module, model_with
from neurodeploy.app.ready import located
from neurodeploy.app.verbs import deploy
from neurodeploy.io.errors import UserError


def any_deployed(
    source: str, choice: DataChoice, nir: NirChoices | None = None, *, samples: int, say: Callable[[str], None] = lambda _: None
) -> Model:
    """A model of whatever origin with its graph, where it has one, and samples: a checkpoint or bundle on its own, if no
    others are named; all else as `deployed_with`.

    Raises:
        UserError: as `deployed_with`.
    """
    source = located(source, say)
    is_file = is_nir(source) or is_chip_file(source)
    if is_module(source) or not (is_file or Path(source).is_dir() or not knows_no_data(Path(source))):
        return deployed_with(source, choice, nir, samples=samples, say=say)
    return model_with(source, choice, nir, say=say)


def deployed_with(
    source: str, choice: DataChoice, nir: NirChoices | None = None, *, samples: int, say: Callable[[str], None] = lambda _: None
) -> Model:
    """A NIR file, a module, or a checkpoint of a module that knows no data, ready for export on samples that the options name.

    A module is traced, and compared with its graph on the first samples. With a data set, its accuracy is known too.

    Args:
        source: see `load_model`.
        choice: what the options say.
        nir: how a NIR file is understood.
        samples: on which a module and its graph are compared.
        say: see `model_with`.

    Raises:
        UserError: the options name no samples, or model and samples do not fit each other.
    """
    model = load_model(source, nir)
    if model.graph is not None or choice.data is None:
        model = model_with(source, choice, nir, say=say)
        if model.test_samples is None:
            raise UserError(f"{model.name}: brings no data of its own; give samples with --input samples.npy, or --data")
        if model.graph is not None or model.stays:
            return model
        return _said(deploy(model.module, model.test_samples[:], name=model.title or source), source, say)
    data = data_named(choice.data)
    plain = stored(data)
    made = deploy(model.module, plain.test_samples[:samples], name=model.title or source, normalization=data.normalization)
    _said(made, source, say)
    assert made.graph is not None
    if split_code(model.module)[1] is not None:  # a host makes its spikes: what follows takes the samples as they were deployed
        return made
    return replace(
        made,
        test_samples=plain.test_samples,
        test_labels=data.test_labels,
        data=data.note,
        workers=data.workers,
        class_names=data.class_names,
        deployment=Deployment(made.graph, plain),
    )


def _said(model: Model, source: str, say: Callable[[str], None]) -> Model:
    """The model, once it has been said what of the network it leaves out."""
    for statement in model.statements:
        say(f"{source}: {statement}")
    return model

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from neurodeploy.data import Cifar10, Fsdd, Mnist
from neurodeploy.data.dataset import first_of_each_class
from neurodeploy.io.errors import UserError
from neurodeploy.recipe import parse, text_of


def test_the_folder_is_the_users_own_or_the_one_of_the_environment_or_the_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("NEURODEPLOY_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Mnist().root == tmp_path / ".cache" / "neurodeploy" / "mnist"
    assert Mnist(folder="~/digits").root == tmp_path / "digits"
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path / "all"))
    assert Cifar10().root == tmp_path / "all" / "cifar10"
    assert Cifar10(folder=tmp_path).root == tmp_path


@pytest.mark.parametrize("settings", [{"train_limit": 0}, {"test_limit": -1}, {"normalise": True}, {"download": "perhaps"}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValidationError):
        Mnist(**settings)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ('kind = "mnist"', Mnist),
        ('kind = "cifar10"\nfolder = "/data/cifar"\ndownload = true\ntrain_limit = 50', Cifar10),
        ('kind = "fsdd"\nfeatures = "mfcc"', Fsdd),
    ],
)
def test_a_recipe_chooses_a_data_set_by_its_kind_and_survives_json(data, kind):
    recipe = parse(text_of("digits").replace('kind = "digits"', data, 1), origin="x")
    assert isinstance(recipe.data, kind)
    assert type(recipe).model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('kind = "imagenet"', r"data\.kind: 'imagenet' found, one of 'cifar10'"),
        ('kind = "mnist"\nlimit = 3', r"data\.mnist\.limit: unknown setting"),
        ('kind = "nmnist"\nbins = 0', r"data\.nmnist\.bins: 0 found"),
        ('kind = "fsdd"\nfeatures = "mfcc"\nbands = 8', "13 coefficients of 8 bands found"),
    ],
)
def test_a_recipe_names_a_fault_in_its_data(data, message):
    with pytest.raises(UserError, match=message):
        parse(text_of("digits").replace('kind = "digits"', data, 1), origin="x")


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 6))
def test_a_limit_takes_the_first_of_every_class_or_says_which_has_too_few(tmp_path_factory, labels, limit):
    source, counts = tmp_path_factory.getbasetemp(), np.bincount(labels, minlength=5)
    assert first_of_each_class(labels, None, 5, source).tolist() == list(range(len(labels)))
    if counts.min() < limit:
        with pytest.raises(UserError, match=f"class {counts.argmin()} has {counts.min()} samples"):
            first_of_each_class(labels, limit, 5, source)
        return
    expected = [place for place, label in enumerate(labels) if labels[:place].count(label) < limit]
    assert first_of_each_class(labels, limit, 5, source).tolist() == expected

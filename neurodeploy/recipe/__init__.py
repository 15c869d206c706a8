"""Recipes: a whole experiment as validated TOML. The methods of the papers are recipes, not code paths."""

from neurodeploy.recipe.reading import built_in as built_in
from neurodeploy.recipe.reading import load as load
from neurodeploy.recipe.reading import parse as parse
from neurodeploy.recipe.reading import parse_json as parse_json
from neurodeploy.recipe.reading import text_of as text_of
from neurodeploy.recipe.reading import with_seeds as with_seeds
from neurodeploy.recipe.recipe import Precision as Precision
from neurodeploy.recipe.recipe import Recipe as Recipe
from neurodeploy.recipe.sections import FinetuneSettings as FinetuneSettings
from neurodeploy.recipe.sections import QuantizedSettings as QuantizedSettings
from neurodeploy.recipe.sections import StudentSettings as StudentSettings

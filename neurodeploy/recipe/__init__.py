"""Recipes: a whole experiment as validated TOML. The methods of the papers are recipes, not code paths."""

from neurodeploy.recipe.reading import built_in, load, parse, parse_json, text_of, with_seeds
from neurodeploy.recipe.recipe import Precision, Recipe
from neurodeploy.recipe.sections import FinetuneSettings, StudentSettings

__all__ = [
    "FinetuneSettings",
    "Precision",
    "Recipe",
    "StudentSettings",
    "built_in",
    "load",
    "parse",
    "parse_json",
    "text_of",
    "with_seeds",
]

"""Which taps a term compares: those that a recipe names, or all that teacher and student share."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field
from torch import Tensor

from neurodeploy.io.errors import UserError

Taps = Mapping[str, Tensor]
"""Tap name → activation `[T, B, …]`, in the order of depth."""


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError(f"{', '.join(names)}: a tap is named twice")
    return names


TapNames = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_each_once)]
"""Names of taps in a recipe, each once; whether they exist shows when the networks do."""
TapPairs = Annotated[dict[str, str], Field(min_length=1)]
"""Student's tap → teacher's tap, of networks that call them otherwise."""


def spatial_taps(kind: str, student: Taps, teacher: Taps, named: Sequence[str] | None = None) -> tuple[str, ...]:
    """As `matching_taps`, of the taps `[T, B, C, H, W]` with more than one pixel in both networks.

    Raises:
        UserError: a name is not that of a shared spatial tap, or no such tap is shared.
    """
    shared = [name for name in student if name in teacher and _has_pixels(student[name]) and _has_pixels(teacher[name])]
    return _chosen(kind, "taps of more than one pixel", shared, named)


def spatial_pairs(kind: str, student: Taps, teacher: Taps, named: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Pairs of a student's and a teacher's tap, both `[T, B, C, H, W]` with more than one pixel.

    Raises:
        UserError: a name is not that of a spatial tap of its network.
    """
    for role, taps, names in (("student", student, named.keys()), ("teacher", teacher, named.values())):
        existing = [name for name in taps if _has_pixels(taps[name])]
        for name in names:
            if name not in existing:
                spatial = ", ".join(existing) or "none"
                raise UserError(f"{kind}: {name!r} is none of the {role}'s taps of more than one pixel: {spatial}")
    return tuple(named.items())


def matching_taps(kind: str, student: Taps, teacher: Taps, named: Sequence[str] | None) -> tuple[str, ...]:
    """`named`, or else all taps that both networks have; their neurons correspond one to one, their time steps need not.

    Args:
        kind: of the term, for the error message.
        student, teacher: their taps.
        named: what the recipe asks for; None for all.

    Raises:
        UserError: a name is not that of a shared tap, no tap is shared, or the shapes of one differ.
    """
    names = _chosen(kind, "taps", [name for name in student if name in teacher], named)
    for name in names:
        seen, wanted = tuple(student[name].shape[2:]), tuple(teacher[name].shape[2:])
        if seen != wanted:
            raise UserError(
                f"{kind}: tap {name} has the shape {seen} in the student and {wanted} in the teacher, equal ones expected; "
                "name other taps, or use the term attention, which compares maps of any size"
            )
    return names


def _has_pixels(tap: Tensor) -> bool:
    return tap.ndim == 5 and tap.shape[-2] * tap.shape[-1] > 1


def _chosen(kind: str, what: str, existing: Sequence[str], named: Sequence[str] | None) -> tuple[str, ...]:
    if not existing:
        raise UserError(f"{kind}: teacher and student share no {what}; remove this term, or distil between other networks")
    for name in named or ():
        if name not in existing:
            raise UserError(f"{kind}: {name!r} is none of the {what} that teacher and student share: {', '.join(existing)}")
    return tuple(named or existing)

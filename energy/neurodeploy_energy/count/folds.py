"""Rows of layers that fold into one: the counts of that one stand at the last of them, and the others have none."""

from dataclasses import dataclass

from neurodeploy_energy.count.tally import Tally


@dataclass(frozen=True)
class Fold:
    """Layers that compute one linear function together.

    Attributes:
        members: their rows, in the order in which they run.
        whole: counts of the one layer that computes the same.
    """

    members: tuple[str, ...]
    whole: Tally


def folds_of(tallies: dict[str, Tally], counted: dict[tuple[str, ...], Tally]) -> list[Fold]:
    """Those that hold for every call of all their layers, the longest first; to be asked before the tallies are settled."""
    found: list[Fold] = []
    taken: set[str] = set()
    for members, whole in sorted(counted.items(), key=lambda one: -len(one[0])):
        calls = {_calls(tallies[name]) for name in members}
        if calls == {_calls(whole)} and not taken & set(members):
            found.append(Fold(members, whole))
            taken |= set(members)
    return found


def _calls(tally: Tally) -> int:
    return sum(part.calls for (_, kind), part in tally.parts.items() if kind != "once")


def fold(tallies: dict[str, Tally], folds: list[Fold], samples: int) -> None:
    """Write the counts of each fold into its rows, once all tallies are settled.

    Analog values are folded where that costs no more, as a toolchain for inference would: a layer of few features between two
    of many is there to save multiply-accumulates. Spikes are folded in any case: a chip for spikes has nothing between.
    """
    for one in folds:
        parts, whole = [tallies[name] for name in one.members], one.whole
        macs, sops = sum(part.analog_macs for part in parts), sum(part.sops for part in parts)
        if not whole.sops and whole.analog_macs > macs:
            continue
        *others, last = one.members
        ending = next((part for part in reversed(parts) if part.drives_last), parts[-1])
        whole.drives, whole.drives_last, whole.leaky = ending.drives, ending.drives_last, ending.leaky
        whole.notes |= parts[-1].notes
        whole.notes.add(
            f"folded with {', '.join(others)} into one layer, as for inference: apart they would cost "
            f"{sops / samples:,.0f} synaptic operations and {macs / samples:,.0f} multiply-accumulates"
        )
        for name, part in zip(others, parts, strict=False):
            tallies[name] = Tally(part.kind, calls=part.calls, samples=part.samples, batch=part.batch)
            tallies[name].notes.add(f"folded into {last}: no operations of its own")
        tallies[last] = whole

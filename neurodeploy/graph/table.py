"""What one place, such as an export target, makes of each operation: a rule, or the reason why there is none."""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from neurodeploy.graph.ops import Operation
from neurodeploy.io.errors import UserError

Rule = TypeVar("Rule", bound=Callable[..., Any])


class Table(Generic[Rule]):
    """Rows by operation. A rule is for one class alone: a class that derives from it computes something else.

    A refusal is also for the classes that derive from the refused one. An operation without any row, as of another package, is
    refused by the name of its node.

    Args:
        place: completes "has no form", such as "in NIR".
        instead: what to do about that.
        error: raised where there is no rule.
    """

    def __init__(self, place: str, instead: str, error: type[UserError] = UserError) -> None:
        self._place, self._instead, self._error = place, instead, error
        self._rules: dict[type[Operation], Rule] = {}
        self._refusals: dict[type[Operation], str] = {}

    def rule(self, *operations: type[Operation]) -> Callable[[Rule], Rule]:
        """Registers the decorated function."""

        def register(rule: Rule) -> Rule:
            self._rules.update(dict.fromkeys(operations, rule))
            return rule

        return register

    def refuse(self, operation: type[Operation], reason: str) -> None:
        """Registers why there is no rule, and what to do; `{kind}` in it stands for the operation's."""
        self._refusals[operation] = reason

    def row(self, operation: type[Operation]) -> Rule | str | None:
        """A rule, a reason, or None where nobody has thought of the operation."""
        if operation in self._rules:
            return self._rules[operation]
        return next((self._refusals[kind] for kind in operation.__mro__ if kind in self._refusals), None)

    def __contains__(self, operation: type[Operation]) -> bool:
        return operation in self._rules

    def __getitem__(self, node: Operation) -> Rule:
        """The rule of a node.

        Raises:
            UserError: there is none; the message names the node and says what to do.
        """
        row = self.row(type(node))
        if row is None:
            raise self._error(f"node {node.name} ({node.kind}): has no form {self._place}; {self._instead}")
        if isinstance(row, str):
            raise self._error(f"node {node.name}: {row.format(kind=node.kind)}")
        return row

    def check(self, nodes: Iterable[Operation]) -> None:
        """Refuse, before any work is done, a network with a node that has no rule.

        Raises:
            UserError: see `__getitem__`.
        """
        for node in nodes:
            self[node]

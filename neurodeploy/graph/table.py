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
        self._without_form = f"node {{name}} ({{kind}}): has no form {place}"
        self._instead, self._error = instead, error
        self._rules: dict[type[Operation], Rule] = {}
        self._refusals: dict[type[Any], str] = {}

    def rule(self, *operations: type[Operation]) -> Callable[[Rule], Rule]:
        """Registers the decorated function."""

        def register(rule: Rule) -> Rule:
            self._rules.update(dict.fromkeys(operations, rule))
            return rule

        return register

    def refuse(self, operation: type[Any], reason: str) -> None:
        """Registers what is wrong with such a node, and what to do."""
        self._refusals[operation] = f"node {{name}}: {reason}"

    def lack(self, operation: type[Any], instead: str) -> None:
        """Registers that there is no form for such nodes, and what to do about that."""
        self._refusals[operation] = f"{self._without_form}; {instead}"

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
        if row is None or isinstance(row, str):
            reason = row or f"{self._without_form}; {self._instead}"
            raise self._error(reason.format(name=node.name, kind=node.kind))
        return row

    def check(self, nodes: Iterable[Operation]) -> None:
        """Refuse, before any work is done, a network with a node that has no rule.

        Raises:
            UserError: see `__getitem__`.
        """
        for node in nodes:
            self[node]

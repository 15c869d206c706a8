"""Updates as data: what each operation means in numpy and torch, what is known of an update, and what is refused."""

import re

import numpy as np
import pytest
import torch

from neurodeploy.dynamics.cells import Cell
from neurodeploy.dynamics.updates import OPERATIONS, Cost, Instruction, Program, Update, initial_states, update_step
from neurodeploy.io.errors import UserError

VALUES = np.float32([-2.5, -1.5, -0.5, -0.3, 0.3, 0.5, 1.0, 1.5, 2.5, 1e30, 1e-30])
V, X, R = ("state", 0), ("input", 0), ("result", 0)
INTEGRATE = (Instruction("add", (V, X)), Instruction("gt", (R, ("number", 1.0))))


def once(operation: str, *operands) -> Update:
    return Update(1, (Instruction(operation, operands),), (), (), R)


def both(update: Update, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One step from the initial states: in numpy, and in torch."""
    found = []
    for inputs in (values, torch.from_numpy(values)):
        output, _ = update_step(update, [inputs], initial_states(update, inputs, []), [])
        found.append(np.asarray(output))
    return found[0], found[1]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("number", [0.7, -1.5])
def test_an_operation_means_the_same_in_numpy_and_torch(operation, number):
    operands = (X, ("number", number), X)[: OPERATIONS[operation].operands]
    for order in (operands, operands[::-1]):
        expected, found = both(once(operation, *order), np.abs(VALUES) if operation in ("log", "sqrt") else VALUES)
        assert expected.dtype == found.dtype == np.float32
        if OPERATIONS[operation].approximate:
            assert np.allclose(found, expected, rtol=1e-6, equal_nan=True)
        else:
            assert np.array_equal(found, expected, equal_nan=True)


def test_halves_are_rounded_to_even_and_truncation_goes_to_zero():
    assert both(once("round", X), VALUES)[1][:9].tolist() == [-2, -2, 0, 0, 0, 0, 1, 2, 2]
    assert both(once("trunc", X), VALUES)[0][:9].tolist() == [-2, -1, 0, 0, 0, 0, 1, 1, 2]


def test_numbers_alone_are_computed_in_float32_too():
    for operation in ("add", "gt", "where"):
        numbers = [("number", 0.1), ("number", 0.2), ("number", 0.3)][: OPERATIONS[operation].operands]
        expected, found = both(once(operation, *numbers), VALUES)
        assert np.array_equal(expected, found)
        assert expected.shape == VALUES.shape


def test_a_number_is_one_of_float32_so_that_equal_updates_compare_equal():
    assert once("add", X, ("number", 0.1)) == once("add", X, ("number", float(np.float32(0.1))))
    assert once("add", X, ("number", 1)).instructions[0].operands == (X, ("number", 1.0))


@pytest.mark.parametrize(
    ("operation", "operands", "binary"),
    [
        ("gt", (X, X), True),
        ("add", (X, X), False),
        ("mul", (X, X), False),
        ("where", (X, ("number", 1), ("number", 0)), True),
        ("where", (X, ("number", 2), ("number", 0)), False),
    ],
)
def test_answers_are_known_to_be_0_or_1_from_the_operations(operation, operands, binary):
    assert once(operation, *operands).binary() == binary


def test_what_is_made_of_comparisons_is_0_or_1_too():
    compare, opposite = Instruction("ge", (X, V)), Instruction("sub", (("number", 1), R))
    product = Instruction("mul", (R, ("result", 1)))
    update = Update(1, (compare, opposite, product), (("number", 0),), (X,), ("result", 2))
    assert update.binary()
    assert not update.binary(("state", 0))
    assert not Update(1, (compare, Instruction("sub", (R, ("number", 1)))), (("number", 0),), (X,), ("result", 1)).binary()


def test_it_is_known_which_results_vary_and_whether_each_bit_is_told():
    constant = Instruction("exp", (("array", 0),))
    update = Update(1, (constant, Instruction("mul", (R, X))), (), (), ("result", 1))
    assert update.varying() == (False, True)
    assert not update.is_exact
    assert update.arrays == 1
    assert once("abs", X).is_exact


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"instructions": (Instruction("erf", (X,)),)}, "operation 'erf' found, one of add, sub,"),
        ({"instructions": (Instruction("add", (X,)),)}, "add with 1 operands found"),
        ({"instructions": (Instruction("neg", (("input", 1),)),)}, "input 1 is read, and there are 1"),
        ({"instructions": (Instruction("neg", (R,)),)}, "result 0 is read, and there are 0"),
        ({"following": (V, V)}, "1 states begin and 2 go on"),
        ({"following": (("state", 1),)}, "state 1 is read, and there are 1"),
        ({"output": ("result", 2)}, "result 2 is read, and there are 2"),
        ({"initial": (X,)}, "a state begins with neither a number nor an array"),
        ({"initial": (("number", float("nan")),)}, "the number nan is read, a finite one expected"),
        ({"output": ("number", float("inf"))}, "the number inf is read, a finite one expected"),
    ],
)
def test_an_update_that_cannot_be_computed_is_refused(fields, message):
    given = {"inputs": 1, "instructions": INTEGRATE, "initial": (("number", 0),), "following": (R,), "output": ("result", 1)}
    with pytest.raises(UserError, match=re.escape(message)):
        Update(**given | fields)


def test_a_layer_computes_its_update_step_by_step_from_the_same_states_in_every_call():
    update = Update(1, INTEGRATE, (("array", 0),), (R,), ("result", 1))
    layer = Cell(update, [np.float32([0.5, 0.0])])
    x = torch.full((3, 1, 2), 0.375)
    for _ in range(2):
        assert layer(x)[:, 0].tolist() == [[0, 0], [1, 0], [1, 1]]
    assert repr(layer) == "Cell(states=1, operations=2, spiking=True, recurrent=False)"


def test_what_a_recurrent_layer_answered_comes_back_in_the_next_step():
    # each neuron is fed by the other one alone, the first in the first step by its input
    swap, fire = np.float32([[0, 1], [1, 0]]), Instruction("gt", (R, ("number", 0.5)))
    update = Update(2, (Instruction("add", (X, ("input", 1))), fire), (), (), ("result", 1))
    layer = Cell(update, recurrent=swap, recurrent_bias=np.float32([0, 0.25]))
    x = torch.zeros(4, 1, 2)
    x[0, 0, 0] = 1
    assert layer(x)[:, 0].tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]


def test_a_program_writes_down_what_is_called():
    step = Program()
    h = step("add", V, X)
    update = step.update(step("gt", h, 1.0), (0.0, h))
    assert update == Update(1, INTEGRATE, (("number", 0),), (R,), ("result", 1))


def test_the_cost_of_an_update_is_that_of_what_varies():
    step, constant = Program(), ("array", 0)
    h = step("add", step("mul", step("exp", constant), V), step("floor", X))
    update = step.update(step("ge", h, constant), (0.0, step("where", step("ge", h, constant), 0.0, h)))
    assert update.cost == Cost(multiplications=1, additions=1, comparisons=3, others=1)
    assert str(update.cost) == "1 multiplication, 1 addition, 3 comparisons, 1 other"
    assert str(Update(1, (), (), (), X).cost) == "no operation"

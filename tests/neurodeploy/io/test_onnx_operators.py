"""Operators of an ONNX file: a list of those that are run, and bounds for what a few bytes can ask for."""

import time

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from neurodeploy.io.errors import UserError
from neurodeploy.io.onnx_operators import ALLOWED, check_operators

OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]


def model(nodes, functions=(), constants=()):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], initializer=constants)
    return helper.make_model(graph, opset_imports=OPSETS, functions=functions)


def function(name, *calls):
    nodes = [
        helper.make_node(call, ["a"], [f"b{i}"], domain="own" if call.startswith("f") else "") for i, call in enumerate(calls)
    ]
    return helper.make_function("own", name, ["a"], ["b0"], nodes, OPSETS)


def call(name):
    return helper.make_node(name, ["x"], ["y"], domain="own")


@pytest.mark.parametrize("operator", ["RandomNormal", "ImageDecoder", "StringConcat", "SequenceMap", "Nothing", "a\nb\x1b[31m"])
def test_operators_that_do_not_compute_with_numbers_are_refused_by_name(operator):
    with pytest.raises(UserError, match=r"m\.onnx: operator .* found, which is not run here") as caught:
        check_operators(model([helper.make_node(operator, ["x"], ["y"])]), "m.onnx")
    assert str(caught.value).isprintable()


def test_an_operator_in_the_body_of_a_loop_or_a_function_is_looked_at_too():
    body = helper.make_graph([helper.make_node("RandomNormal", [], ["z"], shape=[1])], "b", [], [])
    hidden = model([helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body)])
    for one in (hidden, model([call("f0")], [function("f0", "Multinomial")])):
        with pytest.raises(UserError, match=r"operator (RandomNormal|Multinomial) found"):
            check_operators(one, "m.onnx")


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ([function("f0", "Abs"), *(function(f"f{i}", f"f{i - 1}", f"f{i - 1}") for i in range(1, 16))], "more than 10 deep"),
        ([function("f0", *["Abs"] * 200), function("f1", *["f0"] * 200)], "and 40,000 in calls of its functions"),
        ([function("f0", "f1"), function("f1", "f0")], "function f[01] calls itself"),
        ([function("f0", "f0")], "function f0 calls itself"),
    ],
)
def test_functions_that_call_each_other_without_end_are_refused_at_once(functions, message):
    began = time.monotonic()
    with pytest.raises(UserError, match=message):
        check_operators(model([call(functions[-1].name)], functions), "m.onnx")
    assert time.monotonic() - began < 5


def test_a_function_that_a_network_has_is_accepted():
    check_operators(model([call("f1")], [function("f0", "Abs", "Neg"), function("f1", "f0", "f0")]), "m.onnx")


def test_a_loop_with_more_passes_than_any_network_has_steps_is_refused():
    body = helper.make_graph([helper.make_node("Identity", ["c"], ["d"])], "b", [], [])
    for passes, accepted in ((1000, True), (2**62, False)):
        trip = numpy_helper.from_array(np.array(passes, np.int64), "trip")
        looping = model([helper.make_node("Loop", ["trip", "", "x"], ["y"], body=body)], constants=[trip])
        if accepted:
            check_operators(looping, "m.onnx")
            continue
        with pytest.raises(UserError, match="a Loop of 4,611,686,018,427,387,904 passes found, at most 1,000,000 expected"):
            check_operators(looping, "m.onnx")


def test_the_list_names_operators_of_onnx():
    from onnx import defs

    assert {schema.name for schema in defs.get_all_schemas_with_history() if schema.domain == ""} >= ALLOWED

"""The synapses that are listed one by one are those of the convolution or matrix."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from neurodeploy_exporters.lava.connection import Convolution, Matrix
from neurodeploy_exporters.lava.sanafe.synapses import expanded, fan_out, unit_of


@st.composite
def convolutions(draw):
    groups, per_group, out = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(2))
    weight = np.arange(1, 1 + groups * out * per_group * kernel[0] * kernel[1]) % 7 - 2
    pair = st.tuples(st.integers(1, 2), st.integers(1, 2))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    shape = (groups * per_group, draw(st.integers(5, 7)), draw(st.integers(5, 6)))
    connection = Convolution(
        weight=weight.reshape(groups * out, per_group, *kernel),
        stride=draw(pair),
        padding=padding,
        dilation=draw(pair),
        groups=groups,
    )
    return connection, shape


@given(convolutions(), st.integers(0, 2**16))
@settings(max_examples=80, deadline=None)
def test_listed_synapses_of_a_convolution_compute_it(drawn, seed):
    connection, shape = drawn
    x = np.random.default_rng(seed).integers(0, 2, shape)
    pre, post, weight = expanded(connection, shape, np.ones(x.size, np.bool_))
    made = np.zeros(np.prod(connection.output_shape(shape)), np.int64)
    np.add.at(made, post, weight * x.ravel()[pre])
    tensors = torch.from_numpy(x[None]).double(), torch.from_numpy(connection.weight).double()
    wanted = functional.conv2d(*tensors, None, **connection.geometry).numpy().ravel()
    assert np.array_equal(made, wanted)
    assert np.array_equal(fan_out(connection, shape), np.bincount(pre, minlength=x.size))


@given(convolutions())
@settings(max_examples=20, deadline=None)
def test_only_active_neurons_have_their_synapses_listed(drawn):
    connection, shape = drawn
    active = np.arange(np.prod(shape)) % 3 == 0
    whole = expanded(connection, shape, np.ones_like(active))
    part = expanded(connection, shape, active)
    kept = active[whole[0]]
    assert all(np.array_equal(one[kept], other) for one, other in zip(whole, part, strict=True))


def test_a_matrix_of_mostly_zeros_is_a_list_and_another_one_is_full():
    full, sparse = np.array([[2, 0, 4], [6, 8, 0]]), np.array([[0, 0, 4], [0, 8, 0]])
    assert unit_of(Matrix(weight=full)) == "loihi_dense_synapse"
    assert unit_of(Matrix(weight=sparse)) == "loihi_sparse_synapse"
    everyone = np.ones(3, np.bool_)
    assert len(expanded(Matrix(weight=full), (3,), everyone)[0]) == 6
    pre, post, weight = expanded(Matrix(weight=sparse), (3,), everyone)
    assert sorted(zip(pre.tolist(), post.tolist(), weight.tolist(), strict=True)) == [(1, 1, 8), (2, 0, 4)]
    assert fan_out(Matrix(weight=sparse), (3,)).tolist() == [0, 1, 1]
    assert fan_out(Matrix(weight=full), (3,)).tolist() == [2, 2, 2]

"""All that is constant in an ONNX file: its tensors and its operators, each summed so that a change of one is seen."""

from collections.abc import Iterable

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from onnx.external_data_helper import uses_external_data

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Bundle
from neurodeploy_exporters.bundle.constants import weighted_sums
from neurodeploy_exporters.onnx.external import external_weights
from neurodeploy_exporters.onnx.model import one_line


def constants(bundle: Bundle, file: str) -> dict[str, NDArray[np.uint64]]:
    """`tensor NAME` → sums of its parts along the first axis; `operators` → one of each; `interface` → of each tensor that
    enters or leaves, each entry of the metadata and each set of operators.

    Raises:
        UserError: the file is no ONNX model, or lacks its weights.
    """
    path = bundle.path(file)
    try:
        model = ModelProto.FromString(path.read_bytes())
        outside = external_weights(path, model)
        found = {
            f"tensor {one.name}": weighted_sums(
                np.asarray(outside[one.name] if uses_external_data(one) else numpy_helper.to_array(one))
            )
            for one in model.graph.initializer
        }
    except UserError:
        raise
    except Exception as error:  # protobuf and numpy have types of their own for whatever is damaged
        raise UserError(f"{path}: not a readable ONNX model: {one_line(error)}") from None
    graph = model.graph
    rest = [*graph.input, *graph.output, *graph.value_info, *model.metadata_props, *model.opset_import, *model.functions]
    return found | {"operators": _each(graph.node), "interface": _each(rest)}


def _each(messages: Iterable[Message]) -> NDArray[np.uint64]:
    bits = (np.frombuffer(one.SerializeToString(deterministic=True), np.uint8) for one in messages)
    return np.array([weighted_sums(values[None])[0] for values in bits], np.uint64)

"""A small ONNX graph, node by node: the arithmetic of a fitted part with its arrays as constants."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

OPSET, IR_VERSION = 18, 9


class Graph:
    """A graph that grows; tensors are called by name, each of shape ``(n, width)``.

    Args:
        name: of the graph
        dtype: of its inputs, constants and outputs, float32 or float64
    """

    def __init__(self, name: str, dtype: type[np.floating]) -> None:
        self.name, self.dtype = name, np.dtype(dtype)
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, width: int) -> str:
        """Add an input and return its name.

        Args:
            name: of the tensor
            width: of its rows
        """
        self._inputs.append(self._value(name, width))
        return name

    def output(self, name: str, tensor: str, width: int) -> None:
        """Add an output.

        Args:
            name: of the output
            tensor: that it returns
            width: of its rows
        """
        from onnx import helper

        self._nodes.append(helper.make_node("Identity", [tensor], [name]))
        self._outputs.append(self._value(name, width))

    def constant(self, values: Any, dtype: type | np.dtype | None = None) -> str:
        """Add an array and return its name.

        Args:
            values: of any shape
            dtype: None for the graph's
        """
        from onnx import numpy_helper

        name = f"c{len(self._constants)}"
        array = np.ascontiguousarray(values, dtype=self.dtype if dtype is None else dtype)
        self._constants.append(numpy_helper.from_array(array.reshape(np.shape(values)), name))
        return name

    def add(self, kind: str, *tensors: Any, **attributes: Any) -> str:
        """Add a node and return the name of its output; what is no name is a constant.

        Args:
            kind: of the operator
            tensors: names, or arrays and numbers
            attributes: of the operator
        """
        from onnx import helper

        names = [each if isinstance(each, str) else self.constant(each) for each in tensors]
        out = f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, names, [out], **attributes))
        return out

    def total(self, tensor: str) -> str:
        """Return the sums of the rows, shape ``(n, 1)``."""
        return self.add("ReduceSum", tensor, self.constant([1], np.int64), keepdims=1)

    def softmax(self, tensor: str) -> str:
        """Return ``exp`` of the rows scaled to sum to 1."""
        return self.add("Softmax", tensor, axis=1)

    def write(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Check and write the model; the same graph gives the same bytes.

        Args:
            path: the file
            metadata: what stands in the file beside the graph
        """
        import onnx
        from onnx import helper

        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, self._constants)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="speech-emotion-pipeline")
        model.ir_version = IR_VERSION
        helper.set_model_props(model, dict(sorted(metadata.items())))
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString(deterministic=True))

    def _value(self, name: str, width: int) -> Any:
        from onnx import helper

        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(self.dtype), ["n", width])

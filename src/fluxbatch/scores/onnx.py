"""An ONNX file that is run on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from fluxbatch.errors import UsageError
from fluxbatch.plain import plain

Tensor = npt.NDArray[Any]

_KINDS = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}
_ERRORS = tuple(
    getattr(ort.capi.onnxruntime_pybind11_state, name)
    for name in (
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NoSuchFile",
        "NotImplemented",
        "RuntimeException",
    )
)


class Network:
    """Inputs and outputs by their names. Numbers are given as the file wants them and come back as float32."""

    def __init__(self, path: Path) -> None:
        """UsageError when it is no model that this onnxruntime can run."""
        self._path = path
        try:
            self._session = ort.InferenceSession(str(path), _quiet(), providers=["CPUExecutionProvider"])
        except _ERRORS as error:
            raise UsageError(
                f"{path}: {plain(str(error), 400)}; export it again (see `pip show onnxruntime`)"
            ) from None
        self.inputs = {one.name: one for one in self._session.get_inputs()}
        self.outputs = [one.name for one in self._session.get_outputs()]

    def run(self, outputs: Sequence[str], given: Mapping[str, Tensor]) -> list[npt.NDArray[np.float32]]:
        """The outputs of these names. What the network does not ask for is left out; UsageError for what it lacks."""
        lacking = [f"no output {name}" for name in outputs if name not in self.outputs]
        lacking += [f"an input {name} of its own" for name in self.inputs if name not in given]
        if lacking:
            raise UsageError(
                f"{self._path} has {', and '.join(lacking)}; it has the outputs {plain(', '.join(self.outputs), 300)}"
            )
        fed = {name: given[name].astype(_KINDS.get(one.type, np.float32)) for name, one in self.inputs.items()}
        try:
            found = self._session.run(list(outputs), fed)
        except _ERRORS as error:
            raise UsageError(f"{self._path} cannot be run on what it is given: {plain(str(error), 400)}") from None
        return [np.asarray(one, np.float32) for one in found]

    def run_on(self, vectors: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Of a network with one input and one output, whatever they are called."""
        return self.run(self.outputs[:1], dict.fromkeys(self.inputs, vectors))

    def blanks(self, given: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
        """One empty text for each of `count` pictures, where the network has both encoders in one and asks for it."""
        wanted = [name for name in ("input_ids", "attention_mask") if name in self.inputs and name not in given]
        return {name: np.ones((count, 1), np.int64) for name in wanted}


def _quiet() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors are raised; warnings would run into the progress bar
    return options

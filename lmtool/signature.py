"""The inputs and outputs of a graph, written once: export, padding, feeds and bundles use it."""

from __future__ import annotations

import msgspec


class Port(msgspec.Struct, frozen=True):
    """One input or output: `dims` holds a name for a dynamic axis and a number for a fixed one."""

    name: str
    dtype: str
    dims: tuple[str | int, ...]


class Signature(msgspec.Struct, frozen=True):
    """The named inputs and outputs of a graph, in order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs, in order."""
        return [port.name for port in self.inputs]

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs, in order."""
        return [port.name for port in self.outputs]

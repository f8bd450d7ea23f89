"""A merged student as a GGUF file, out of the file that its student came from.

Metadata (tokenizer, chat template, rotary embedding) and the weights that the training left alone are copied
as they are; what it changed is laid out as llama.cpp wants it, in 16 or 8 bits. One weight at a time is in
memory.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from gguf import (
    GGML_QUANT_SIZES,
    GGMLQuantizationType,
    GGUFReader,
    GGUFWriter,
    LlamaFileType,
    ReaderTensor,
    dequantize,
    quantize,
)
from gguf.quants import quant_shape_to_byte_shape
from safetensors import safe_open

from dorpo.merging.gguf_layout import Array, LayoutError, Shape, known, laid_out, places

_KINDS = {
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
# The writer's own, by the name it has in the file.
_NOT_COPIED = ("general.architecture", "general.name", "general.file_type")


def can_write(base: Path) -> bool:
    """Whether models that came from this GGUF file can be written as one here."""
    return known(_value(GGUFReader(base), "general.architecture"))


def write(folder: Path, base: Path, file: Path, *, name: str, kind: str) -> None:
    """Write a model of a transformers folder as a GGUF file.

    Args:
        folder: Its weights as safetensors, float32.
        base: The GGUF file that the model was before it was trained.
        file: The one to make.
        name: What the model is called in it.
        kind: How changed weights are held: "f16" or "q8_0".

    Raises:
        LayoutError: The folder's model is not one that the file can hold.
    """
    reader = GGUFReader(base)
    shape = _shape(reader)
    writer = GGUFWriter(file, shape.architecture)
    writer.data_alignment = reader.alignment
    wanted, file_type = _KINDS[kind]
    _copy_metadata(reader, writer, name, file_type)
    with ExitStack() as stack:
        weights = _Weights.open(folder, shape, stack)
        weights.check(reader)
        kinds = {tensor.name: weights.kind(tensor, wanted) for tensor in reader.tensors}
        for tensor in reader.tensors:
            new = kinds[tensor.name]
            # In bytes, as the writer counts every kind alike.
            size = tensor.data.shape if new is None else quant_shape_to_byte_shape(_rows_first(tensor), new)
            held = tensor.data.dtype if new is None else np.dtype(np.uint8)
            writer.add_tensor_info(
                tensor.name, size, held, math.prod(size) * held.itemsize, new or tensor.tensor_type
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in reader.tensors:
            new = kinds[tensor.name]
            data = tensor.data if new is None else quantize(weights.laid_out(tensor.name), new)
            writer.write_tensor_data(data)
    writer.close()


@frozen
class _Weights:
    """The folder's weights by the names that they have in the file."""

    _files: dict[str, Any]
    _names: dict[str, str]
    _shape: Shape

    @classmethod
    def open(cls, folder: Path, shape: Shape, stack: ExitStack) -> _Weights:
        files: dict[str, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):
            opened: Any = stack.enter_context(safe_open(path, framework="np"))
            files |= dict.fromkeys(opened.keys(), opened)
        return cls(files, places(files, shape), shape)

    def check(self, reader: GGUFReader) -> None:
        """Raise LayoutError where the folder has a weight that the file has not."""
        if lost := set(self._names) - {tensor.name for tensor in reader.tensors}:
            raise LayoutError(
                f"The student's GGUF file has no tensor {min(lost)} that could hold its weight."
            )

    def laid_out(self, place: str) -> Array:
        name = self._names[place]
        return laid_out(place, self._files[name].get_tensor(name), self._shape)

    def kind(self, tensor: ReaderTensor, wanted: GGMLQuantizationType) -> GGMLQuantizationType | None:
        """How a tensor of the original is held now; None where it is what it was."""
        if tensor.name not in self._names:
            return None
        weight = self.laid_out(tensor.name)
        if np.array_equal(weight, dequantize(tensor.data, tensor.tensor_type).reshape(weight.shape)):
            return None
        if weight.ndim == 1:
            # llama.cpp computes with vectors in full precision only.
            return GGMLQuantizationType.F32
        # Only rows of whole blocks can be in blocks.
        whole = weight.shape[-1] % GGML_QUANT_SIZES[wanted][0] == 0
        return wanted if whole else GGMLQuantizationType.F16


def _rows_first(tensor: ReaderTensor) -> tuple[int, ...]:
    """A tensor's shape as numpy has it; GGUF counts from the innermost axis."""
    return tuple(int(length) for length in reversed(tensor.shape))


def _shape(reader: GGUFReader) -> Shape:
    architecture = _value(reader, "general.architecture")
    heads = _value(reader, f"{architecture}.attention.head_count")
    return Shape(
        architecture=architecture,
        layers=_value(reader, f"{architecture}.block_count"),
        heads=heads,
        kv_heads=_value(reader, f"{architecture}.attention.head_count_kv", heads),
    )


def _copy_metadata(reader: GGUFReader, writer: GGUFWriter, name: str, kind: LlamaFileType) -> None:
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in _NOT_COPIED:
            continue
        inner = field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(field.name, field.contents(), field.types[0], inner)
    writer.add_name(name)
    writer.add_file_type(kind)


def _value(reader: GGUFReader, name: str, default: Any = None) -> Any:
    field = reader.get_field(name)
    return default if field is None else field.contents()

"""Flat memory as a Numba type: a pointer and a size, without the reference counts of arrays.

Numba counts references to an array, with atomic additions, wherever one is handed from function to
function: on a network of nine weights that took ten times as long as the arithmetic. The entry
points of `epoch.py` turn their arrays into memory once (`as_memory`) and keep them alive meanwhile.
Under NUMBA_BOUNDSCHECK every access is checked.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, make_attribute_wrapper, models, register_model

from kernels.jit import intrinsic


class MemoryType(types.Type):  # type: ignore[misc]
    """Numba's type of flat memory of a dtype."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Memory({dtype})")


@register_model(MemoryType)
class MemoryModel(models.StructModel):  # type: ignore[misc]
    """A pointer to the first element, and the number of elements behind it."""

    def __init__(self, manager: Any, memory: MemoryType) -> None:
        members = [("data", types.CPointer(memory.dtype)), ("size", types.intp)]
        super().__init__(manager, memory, members)


make_attribute_wrapper(MemoryType, "size", "size")


def element_pointer(
    context: Any, builder: ir.IRBuilder, kind: MemoryType, memory: Any, span: tuple[Any, int]
) -> ir.Value:
    """Pointer to element span[0] of memory, of which span[1] elements are about to be used."""
    struct = cgutils.create_struct_proxy(kind)(context, builder, value=memory)
    offset, count = span
    if config.BOUNDSCHECK:
        for index in (offset, builder.add(offset, offset.type(count - 1))):
            cgutils.do_boundscheck(context, builder, index, struct.size)
    return builder.gep(struct.data, [offset], inbounds=True)


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        memory, index = args
        if isinstance(memory, MemoryType) and isinstance(index, types.Integer):
            return signature(memory.dtype, memory, types.intp)
        return None


@lower_builtin(operator.getitem, MemoryType, types.Integer)  # type: ignore[untyped-decorator]
def _get_item(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    memory, index = args
    return builder.load(element_pointer(context, builder, sig.args[0], memory, (index, 1)))


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        memory, index, _ = args
        if isinstance(memory, MemoryType) and isinstance(index, types.Integer):
            return signature(types.void, memory, types.intp, memory.dtype)
        return None


@lower_builtin(operator.setitem, MemoryType, types.Integer, types.Any)  # type: ignore[untyped-decorator]
def _set_item(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    memory, index, value = args
    builder.store(value, element_pointer(context, builder, sig.args[0], memory, (index, 1)))
    return context.get_dummy_value()


def _memory_of(context: Any, builder: Any, kind: types.Array, array: Any) -> Any:
    """The memory of a C-ordered array."""
    source = context.make_array(kind)(context, builder, array)
    memory = cgutils.create_struct_proxy(MemoryType(kind.dtype))(context, builder)
    memory.data, memory.size = source.data, source.nitems
    return memory._getvalue()


@intrinsic
def as_memory(typingctx: Any, fields: Any) -> Any:
    """A named tuple with its C-ordered arrays as flat memory; its other fields stay as they are."""
    kinds = [MemoryType(t.dtype) if isinstance(t, types.Array) else t for t in fields.types]
    if len(set(kinds)) == 1:
        result = types.NamedUniTuple(kinds[0], len(kinds), fields.instance_class)
    else:  # Numba tells tuples of one type apart from mixed ones
        result = types.NamedTuple(kinds, fields.instance_class)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        values = cgutils.unpack_tuple(builder, args[0], len(kinds))
        memories = [
            _memory_of(context, builder, t, value) if isinstance(t, types.Array) else value
            for t, value in zip(sig.args[0].types, values, strict=True)
        ]
        return context.make_tuple(builder, sig.return_type, memories)

    return result(fields), generate


@intrinsic
def part(typingctx: Any, memory: Any, start: Any, size: Any) -> Any:
    """The `size` elements of memory that begin at `start`."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        whole = cgutils.create_struct_proxy(sig.args[0])(context, builder, value=args[0])
        piece = cgutils.create_struct_proxy(sig.args[0])(context, builder)
        piece.data = builder.gep(whole.data, [args[1]])
        piece.size = args[2]
        return piece._getvalue()

    return memory(memory, types.intp, types.intp), generate

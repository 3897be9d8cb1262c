"""Flat memory as a Numba type: a pointer and a size, without the reference counts of arrays.

Numba counts references to an array, with atomic additions, wherever one is handed from function to
function: on a network of nine weights that took ten times as long as the arithmetic. The entry
points, which `jit` marks, turn their arrays into memory once (`as_memory`) and keep them alive
meanwhile. Under NUMBA_BOUNDSCHECK every access is checked.
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


def _memory_kind(kind: Any) -> Any:
    """The type of what `as_memory` gives for a type."""
    if isinstance(kind, types.Array):
        return MemoryType(kind.dtype)
    if not isinstance(kind, types.BaseNamedTuple):
        return kind
    kinds = [_memory_kind(t) for t in kind.types]
    if len(set(kinds)) == 1:  # Numba tells tuples of one type apart from mixed ones
        return types.NamedUniTuple(kinds[0], len(kinds), kind.instance_class)
    return types.NamedTuple(kinds, kind.instance_class)


def _convert(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """The value of `as_memory` of an array, of a named tuple's fields, or of anything else."""
    if isinstance(kind, types.Array):
        return _memory_of(context, builder, kind, value)
    if not isinstance(kind, types.BaseNamedTuple):
        return value
    fields = zip(kind.types, cgutils.unpack_tuple(builder, value, len(kind.types)), strict=True)
    converted = [_convert(context, builder, t, field) for t, field in fields]
    return context.make_tuple(builder, _memory_kind(kind), converted)


@intrinsic
def as_memory(typingctx: Any, value: Any) -> Any:
    """A C-ordered array as flat memory; a named tuple with its arrays so, all else as it is."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _convert(context, builder, sig.args[0], args[0])

    return _memory_kind(value)(value), generate


@intrinsic
def part(typingctx: Any, memory: Any, start: Any, size: Any) -> Any:
    """The `size` elements of memory that begin at `start`."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        whole = cgutils.create_struct_proxy(sig.args[0])(context, builder, value=args[0])
        if config.BOUNDSCHECK:  # a part may be empty, and begin where the whole ends
            limit = builder.add(whole.size, whole.size.type(1))
            for index in (args[1], builder.add(args[1], args[2])):
                cgutils.do_boundscheck(context, builder, index, limit)
        piece = cgutils.create_struct_proxy(sig.args[0])(context, builder)
        piece.data = builder.gep(whole.data, [args[1]])
        piece.size = args[2]
        return piece._getvalue()

    return memory(memory, types.intp, types.intp), generate

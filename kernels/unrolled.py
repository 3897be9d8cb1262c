"""Small networks: a step of SGD as one stretch of straight code, every parameter in a register.

The loops, strides and tiles of `chunk.py` cost more than the arithmetic where a layer has two or
three units. Here the widths are part of a *type*, so the compiler sees a step without a loop or
an address:

    W, T : the parameters as vectors, lane r = run r; T = W at the start of a batch
    for each sample of the batch:   forward and backward with W;  T += (-eta/B delta) a
    W = T

The exponential of the output makes each step wait for the one before, longer than its arithmetic
takes. So the code of a step holds several groups of lanes, which do not wait for each other:

    group 0   forward  exp ........... delta  backward          dots: waiting
    group 1       forward  exp ........... delta  backward
    group 2           forward  exp ........... delta  backward
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import NativeValue, models, register_model, unbox

from kernels.activations import VALUES
from kernels.jit import inlined, intrinsic, jit
from kernels.layout import BlockLayout, Packing
from kernels.losses import SOFTMAX_CE, elementwise_delta
from kernels.memory import as_memory, element_pointer
from kernels.updates import SGD, Rule
from kernels.vector import VectorType, splat_ir, vector_pointer

# Most parameters of a network that is unrolled. 32 registers hold three groups of the 9 of 2-2-1;
# what is beyond them is spilled, which the loops of `chunk.py` do with everything.
MOST_PARAMS = 64
GROUPS = 3  # in the code of a step: a fourth costs more by spilling than it gains


@dataclass(frozen=True)
class SmallNetwork:
    """What the code of a step follows from: its type, when compiled, says all of it.

    No named tuple: Numba takes two of these for one type where their fields are of equal types.
    """

    widths: tuple[int, ...]
    activation: int
    pair: int

    @property
    def layers(self) -> Iterator[tuple[int, int, int, int]]:
        """(n_in, n_out, place of W, place of b) of each layer: W[i, u] is vector W + u n_in + i.

        Those of `layout.BlockLayout`, in vectors.
        """
        start = 0
        for n_in, n_out in zip(self.widths, self.widths[1:], strict=False):
            yield n_in, n_out, start, start + n_in * n_out
            start += (n_in + 1) * n_out

    @property
    def _numba_type_(self) -> SmallNetworkType:
        return SmallNetworkType(self)

    @property
    def n_params(self) -> int:
        """Number of parameters."""
        return sum((n_in + 1) * n_out for n_in, n_out, _, _ in self.layers)


class SmallNetworkType(types.Type):  # type: ignore[misc]
    """Numba's type of a small network: one for each."""

    def __init__(self, network: SmallNetwork) -> None:
        self.network = network
        super().__init__(name=str(network))


@register_model(SmallNetworkType)
class _SmallNetworkModel(models.OpaqueModel):  # type: ignore[misc]
    """The type says all: the value is nothing."""


@unbox(SmallNetworkType)  # type: ignore[untyped-decorator]
def _unbox(kind: Any, value: Any, c: Any) -> NativeValue:
    return NativeValue(c.context.get_dummy_value())


def small_network(packing: Packing, rule: Rule) -> SmallNetwork | None:
    """The network of a block's layout where it is unrolled, else None; part of the static rule.

    Plain SGD of a network of few parameters, on outputs that do not depend on each other.
    """
    layout = packing.layout
    if not isinstance(layout, BlockLayout) or not isinstance(rule, SGD):
        return None
    if len(packing.places) > MOST_PARAMS or layout.pair == SOFTMAX_CE:
        return None
    widths = (int(layout.inputs[0]), *map(int, layout.units))
    return SmallNetwork(widths, layout.activation, layout.pair)


Values = tuple[Any, ...]  # an LLVM vector for each of the groups


class _Code:
    """Emits arithmetic in the course of an intrinsic: each operation for all groups in turn.

    So groups alternate in the code: a processor looks ahead by some hundred instructions only.
    """

    def __init__(self, context: Any, builder: Any, dtype: Any) -> None:
        self.context, self.builder, self.vector = context, builder, VectorType(dtype)

    def fma(self, a: Values, b: Values, c: Values) -> Values:
        """Emit a b + c."""
        groups = zip(a, b, c, strict=True)
        return tuple(self.vector.call(self.builder, "fma", *group) for group in groups)

    def multiply(self, a: Values, b: Values) -> Values:
        """Emit a b."""
        return tuple(self.builder.fmul(*group) for group in zip(a, b, strict=True))

    def add(self, a: Values, b: Values) -> Values:
        """Emit a + b."""
        return tuple(self.builder.fadd(*group) for group in zip(a, b, strict=True))

    def call(self, function: Callable[..., Any], *arguments: Values) -> Values:
        """Emit a jitted function of vectors."""
        kind = self.vector(*[self.vector] * len(arguments))
        function = getattr(function, "py_func", function)
        return tuple(
            self.context.compile_internal(self.builder, function, kind, group)
            for group in zip(*arguments, strict=True)
        )

    def same(self, value: Any) -> Values:
        """A vector that all groups share."""
        return (value,) * GROUPS

    def numbers(self, kind: Any, memory: Any, start: Any, count: int) -> list[Values]:
        """Numbers start, start + 1, ... of memory, each in all lanes of all groups."""
        found = []
        for i in range(count):
            offset = self.builder.add(start, start.type(i))
            address = element_pointer(self.context, self.builder, kind, memory, (offset, 1))
            number = splat_ir(self.builder, self.vector, self.builder.load(address))
            found.append(self.same(number))
        return found

    def unpack(self, values: Any) -> list[Values]:
        """The vectors of a tuple, those of the groups beside each other."""
        vectors = cgutils.unpack_tuple(self.builder, values)
        return [tuple(vectors[k : k + GROUPS]) for k in range(0, len(vectors), GROUPS)]

    def pack(self, kind: Any, values: list[Values]) -> Any:
        """Inverse of `unpack`."""
        vectors = [vector for groups in values for vector in groups]
        return self.context.make_tuple(self.builder, kind, vectors)


def _forward(code: _Code, network: SmallNetwork, W: list[Values], x: list[Values]) -> Any:
    """F1 and F2: what goes into each layer, and last the logits."""
    activate, _ = VALUES[network.activation]
    inputs = [x]
    for n_in, n_out, w, b in network.layers:
        z = []
        for u in range(n_out):
            total = W[b + u]
            for i in range(n_in):
                total = code.fma(W[w + u * n_in + i], inputs[-1][i], total)
            z.append(total)
        last = len(inputs) == len(network.widths) - 1
        inputs.append(z if last else [code.call(activate, value) for value in z])
    return inputs


def _backward(
    code: _Code, network: SmallNetwork, W: list[Values], T: list[Values], inputs: Any, delta: Any
) -> list[Values]:
    """B2 to B4: T plus the outer products of (scaled) deltas and inputs of each layer."""
    _, times_derivative = VALUES[network.activation]
    T = list(T)
    layers = list(network.layers)
    for layer in range(len(layers) - 1, -1, -1):
        n_in, n_out, w, b = layers[layer]
        below = []
        for i in range(n_in if layer else 0):
            total = code.multiply(W[w + i], delta[0])
            for u in range(1, n_out):
                total = code.fma(W[w + u * n_in + i], delta[u], total)
            below.append(code.call(times_derivative, inputs[layer][i], total))
        for u in range(n_out):
            for i in range(n_in):
                place = w + u * n_in + i
                T[place] = code.fma(delta[u], inputs[layer][i], T[place])
            T[b + u] = code.add(T[b + u], delta[u])
        delta = below
    return T


def _samples(code: _Code, network: SmallNetwork, data: Any, value: Any, index: Any) -> Any:
    """Inputs and targets of a sample of `data`, whose LLVM value is given: numbers in all lanes."""
    fields = cgutils.unpack_tuple(code.builder, value)
    found = []
    for name, count in (("X", network.widths[0]), ("Y", network.widths[-1])):
        k = data.fields.index(name)
        start = code.builder.mul(index, index.type(count))
        found.append(code.numbers(data.types[k], fields[k], start, count))
    return found


@intrinsic
def _step(
    typingctx: Any, small: Any, W: Any, T: Any, data: Any, index: Any, scale: Any, sick: Any
) -> Any:
    """(T + scale times the gradient of sample `index` at W, sick): tuples of vectors.

    A lane of `sick` turns NaN for good once a logit is not finite: 0 * z adds nothing else.
    """
    network: SmallNetwork = small.network
    pair = network.pair

    def delta_of(z: Any, y: Any) -> Any:
        return elementwise_delta(pair, z, y)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        code = _Code(context, builder, W.dtype.dtype)
        x, y = _samples(code, network, data, args[3], args[4])
        before, sums = code.unpack(args[1]), code.unpack(args[2])
        (factor,), (poison,) = code.unpack(args[5]), code.unpack(args[6])
        zero = code.same(code.vector.constant(0.0))
        inputs = _forward(code, network, before, x)
        delta = []
        for z, target in zip(inputs[-1], y, strict=True):
            poison = code.fma(z, zero, poison)
            delta.append(code.multiply(factor, code.call(delta_of, z, target)))
        after = _backward(code, network, before, sums, inputs, delta)
        parts = [code.pack(T, after), code.pack(sick, [poison])]
        return context.make_tuple(builder, sig.return_type, parts)

    return types.Tuple([T, sick])(small, W, T, data, types.intp, scale, sick), generate


def _moves(count: Callable[[SmallNetwork], int]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make load and store, as a tuple, of so many vectors of each of `GROUPS` groups in memory.

    They begin at the group `first`; behind `last`, the last group of all, stands that group again.
    """

    def pointers(context: Any, builder: Any, sig: Any, args: Any) -> Iterator[Any]:
        _, memory, first, last = args[:4]
        vector, n = VectorType(sig.args[1].dtype), count(sig.args[0].network)
        for place in range(n):
            for g in range(GROUPS):
                group = builder.add(first, first.type(g))
                group = builder.select(builder.icmp_signed("<", group, last), group, last)
                index = builder.add(builder.mul(group, group.type(n)), group.type(place))
                offset = builder.mul(index, index.type(vector.lanes))
                yield vector_pointer(context, builder, sig.args[1], memory, offset)

    @intrinsic
    def load_groups(typingctx: Any, small: Any, memory: Any, first: Any, last: Any) -> Any:
        kind = types.UniTuple(VectorType(memory.dtype), GROUPS * count(small.network))
        align = memory.dtype.bitwidth // 8

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            places = pointers(context, builder, sig, args)
            values = [builder.load(place, align=align) for place in places]
            return context.make_tuple(builder, kind, values)

        return kind(small, memory, types.intp, types.intp), generate

    @intrinsic
    def store_groups(
        typingctx: Any, small: Any, memory: Any, first: Any, last: Any, values: Any
    ) -> Any:
        align = memory.dtype.bitwidth // 8

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            vectors = cgutils.unpack_tuple(builder, args[4])
            places = pointers(context, builder, sig, args)
            for value, place in zip(vectors, places, strict=True):
                builder.store(value, place, align=align)
            return context.get_dummy_value()

        return types.void(small, memory, types.intp, types.intp, values), generate

    return load_groups, store_groups


_load_params, _store_params = _moves(lambda network: network.n_params)
_load_lanes, _store_lanes = _moves(lambda network: 1)


@intrinsic
def _times(typingctx: Any, values: Any, factor: Any) -> Any:
    """Each vector of a tuple times a number."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = sig.args[0].dtype
        scalar = context.cast(builder, args[1], sig.args[1], vector.dtype)
        number = splat_ir(builder, vector, scalar)
        scaled = [builder.fmul(v, number) for v in cgutils.unpack_tuple(builder, args[0])]
        return context.make_tuple(builder, sig.return_type, scaled)

    return values(values, factor), generate


@jit
def train_small_runs(small: Any, data: Any, order: Any, stretch: Any, runs: Any) -> None:
    """Train all groups of a small network by SGD on the examples start .. stop, in place.

    order = Order(indices, m); stretch = (start, stop, batch size), ends of updates.
    """
    n_groups = runs.P.shape[0]
    _train(small, as_memory(data), as_memory(order), stretch, (n_groups, as_memory(runs)))


@inlined
def _train(small: Any, data: Any, order: Any, stretch: Any, groups: Any) -> None:
    """Train `GROUPS` groups at a time; where some are missing, the last one over again."""
    start, stop, size = stretch
    n_groups, runs = groups
    last = n_groups - 1
    for g in range(0, n_groups, GROUPS):
        W, eta = _load_params(small, runs.P, g, last), _load_lanes(small, runs.rates, g, last)
        sick = _load_lanes(small, runs.poison, g, last)
        if size == 1:
            scale = _times(eta, -1.0)
            for t in range(start, stop):
                W, sick = _step(small, W, W, data, order.indices[t], scale, sick)
        else:
            t = start
            while t < stop:
                count = min(size, order.m - t % order.m)
                scale = _times(eta, -1.0 / count)
                T = W
                for s in range(t, t + count):
                    T, sick = _step(small, W, T, data, order.indices[s], scale, sick)
                W = T
                t += count
        _store_params(small, runs.P, g, last, W)
        _store_lanes(small, runs.poison, g, last, sick)

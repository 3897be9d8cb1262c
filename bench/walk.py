"""One forward and backward pass of the notes' network, number by number, and a batch of four.

The numbers come from `kernels.reference`, whose equations F1 to U1 are cited beside them. `walk`
computes, `render` writes: a document of equations, matrices, tables and sentences that is built
once and written as text, Markdown or LaTeX; JSON holds the numbers alone, in full precision.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.errors import InputError
from kernels.network import Network, init_params
from kernels.reference import (
    averaged_gradient_reference,
    deltas_reference,
    forward_reference,
    gradient_reference,
    loss_reference,
    relu_slope,
)

Vector = NDArray[np.float64]

LOSSES = ("bce", "half_mse")
XOR_X: Vector = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR_Y = (0, 1, 1, 0)
# The parameters in the order of the flat vector: W row by row, then b, layer by layer
NAMES = ("W1_11", "W1_12", "W1_21", "W1_22", "b1_1", "b1_2", "W2_1", "W2_2", "b2")
# B3 and B4 for each of them
PRODUCTS = (
    *("delta1_1 x_1", "delta1_1 x_2", "delta1_2 x_1", "delta1_2 x_2", "delta1_1", "delta1_2"),
    *("delta2 h1_1", "delta2 h1_2", "delta2"),
)


# The numbers


@dataclass(frozen=True, eq=False)
class Batch:
    """XOR's four samples at the parameters before the update, and two ways to average them."""

    X: Vector
    """Samples, (4, 2)."""
    y: Vector
    """Labels, (4,)."""
    y_hat: Vector
    """Outputs, (4,)."""
    error: Vector
    """y_hat - y of each sample, (4,)."""
    losses: Vector
    """Loss of each sample, (4,)."""
    gradients: Vector
    """Gradient of each sample, (4, 9)."""
    mean_gradient: Vector
    """Mean of the samples' gradients (B5), (9,): what mini-batch training uses."""
    averaged_error_gradient: Vector
    """What back-propagating the mean error gives instead, (9,)."""
    loss: float
    """Mean loss before an update."""
    loss_after: float
    """Mean loss after an update by the mean gradient."""
    loss_after_averaged_error: float
    """Mean loss after an update by the averaged error's gradient."""


@dataclass(frozen=True, eq=False)
class Walk:
    """One update of the notes' 2-2-1 network on one sample, and its gradients on XOR."""

    loss_name: str
    """"bce" or "half_mse"."""
    learning_rate: float
    params: Vector
    """W1 row by row, b1, W2, b2: (9,)."""
    source: str
    """Where the parameters come from, in words."""
    x: Vector
    """The sample, (2,)."""
    y: int
    """Its label, 0 or 1."""
    z1: Vector
    """Pre-activations of the hidden layer, (2,)."""
    h1: Vector
    """Hidden activations, (2,)."""
    z2: float
    """The logit."""
    y_hat: float
    """The output."""
    loss: float
    """Loss before the update."""
    delta1: Vector
    """dL/dz1, (2,)."""
    delta2: float
    """dL/dz2."""
    gradient: Vector
    """dL/dw of each parameter, (9,)."""
    updated: Vector
    """Parameters after the update, (9,)."""
    loss_after: float
    """Loss of the same sample after the update."""
    batch: Batch


def walk(
    params: ArrayLike | None = None,
    x: ArrayLike | None = None,
    y: int | None = None,
    learning_rate: float = 0.5,
    seed: int = 0,
    loss: str = "bce",
) -> Walk:
    """Take one step of the notes' network on one sample, keeping every number on the way.

    Parameters
    ----------
    params
        Nine numbers: W1 row by row, b1, W2, b2; None draws them (He) from `seed`.
    x
        Two numbers; None is (1, 0).
    y
        0 or 1; None is the label of XOR, for an x that is one of its corners.
    learning_rate
        Eta, 0 or more.
    seed
        Of the parameters, where none are given.
    loss
        "bce" (binary cross-entropy) or "half_mse" (half squared error).

    Raises
    ------
    InputError
        For another loss, a count or value that cannot be, or numbers so large that they overflow.
    """
    if loss not in LOSSES:
        raise InputError(f"--loss must be one of {', '.join(LOSSES)}, got {loss!r}")
    network = Network((2, 2, 1), loss=loss)
    w = _drawn(network, seed) if params is None else _params(params)
    point = _x(XOR_X[2] if x is None else x)
    label = _xor_label(point) if y is None else _y(y)
    rate = _finite("--learning-rate", learning_rate, "one number of 0 or more", ())
    if rate < 0:
        raise InputError(f"--learning-rate: expected one number of 0 or more, got {rate}")
    (z1, z2), (h1, y_hat) = forward_reference(network, w, point)
    delta1, delta2 = deltas_reference(network, w, point, label)
    gradient = gradient_reference(network, w, point, label)
    with np.errstate(over="ignore", invalid="ignore"):  # told by _no_overflow
        updated = w - rate * gradient  # U1: w <- w - eta g
    result = Walk(
        loss_name=loss,
        learning_rate=float(rate),
        params=w,
        source=f"drawn from seed {seed} (He)" if params is None else "as given",
        x=point,
        y=label,
        z1=_plain(z1),
        h1=h1,
        z2=float(z2[0]),
        y_hat=float(y_hat[0]),
        loss=loss_reference(network, w, [point], [label]),
        delta1=_plain(delta1),
        delta2=float(delta2[0]),
        gradient=_plain(gradient),
        updated=_plain(updated),
        loss_after=loss_reference(network, updated, [point], [label]),
        batch=_xor_batch(network, w, float(rate)),
    )
    _no_overflow(result)
    return result


def averaged_error_gradient(network: Network, params: Vector, X: Vector, y: Vector) -> Vector:
    """Back-propagate the mean error through mean activations: the mistake of claim C5, (9,).

    Everything that the backward pass of the 2-2-1 network uses is replaced by its mean over the
    batch: y_hat - y, y_hat, h1, z1 and x. A product of means is not the mean of the products.
    """
    passes = [forward_reference(network, params, x_i) for x_i in X]
    z1 = np.mean([z[0] for z, _ in passes], axis=0)
    h1 = np.mean([a[0] for _, a in passes], axis=0)
    outputs = np.array([a[1] for _, a in passes])
    y_hat = np.mean(outputs, axis=0)
    delta2 = np.mean(outputs - np.reshape(y, (-1, 1)), axis=0)
    if network.loss == "half_mse":
        delta2 = delta2 * y_hat * (1.0 - y_hat)
    (_, _), (W2, _) = network.unpack(params)
    delta1 = (W2.T @ delta2) * relu_slope(z1)
    dW1 = np.outer(delta1, np.mean(X, axis=0))
    return np.concatenate([dW1.ravel(), delta1, delta2 * h1, delta2])


@np.errstate(over="ignore", invalid="ignore")  # told by _no_overflow
def _xor_batch(network: Network, params: Vector, learning_rate: float) -> Batch:
    """Each sample's gradient on XOR, their mean, and the averaged error's."""
    X, y = XOR_X, np.array(XOR_Y, dtype=np.float64)
    y_hat = np.array([forward_reference(network, params, x_i)[1][-1][0] for x_i in X])
    mean_gradient = averaged_gradient_reference(network, params, X, y)
    mistaken = averaged_error_gradient(network, params, X, y)
    return Batch(
        X=X,
        y=y,
        y_hat=y_hat,
        error=y_hat - y,
        losses=np.array([loss_reference(network, params, [X[i]], [y[i]]) for i in range(len(X))]),
        gradients=_plain(
            np.array([gradient_reference(network, params, X[i], y[i]) for i in range(len(X))])
        ),
        mean_gradient=_plain(mean_gradient),
        averaged_error_gradient=_plain(mistaken),
        loss=loss_reference(network, params, X, y),
        loss_after=loss_reference(network, params - learning_rate * mean_gradient, X, y),
        loss_after_averaged_error=loss_reference(network, params - learning_rate * mistaken, X, y),
    )


def _plain(values: Vector) -> Vector:
    """The same numbers without negative zeros, which puzzle a reader."""
    return values + 0.0


# What the options mean


def parse_params(text: str) -> Vector:
    """Nine numbers from the text of --params: W1 row by row, b1, W2, b2, separated by commas.

    Raises
    ------
    InputError
        For another count, or an entry that is not a finite number.
    """
    return _params(_split("--params", text))


def parse_x(text: str) -> Vector:
    """Two numbers from the text of --x, separated by a comma.

    Raises
    ------
    InputError
        For another count, or an entry that is not a finite number.
    """
    return _x(_split("--x", text))


def parse_y(text: str) -> int:
    """0 or 1 from the text of --y.

    Raises
    ------
    InputError
        For anything else.
    """
    values = _split("--y", text)
    return _y(values[0] if len(values) == 1 else values)


def _split(option: str, text: str) -> list[float]:
    values = []
    for entry in text.split(","):
        try:
            values.append(float(entry))
        except ValueError:
            raise InputError(
                f"{option}: {entry.strip()!r} in {text!r} is not a number; "
                f"write numbers like -0.5, separated by commas"
            ) from None
    return values


def _finite(option: str, values: ArrayLike, expected: str, shape: tuple[int, ...]) -> Vector:
    """The values as float64 if they have that shape and are finite."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{option}: expected {expected}, got {values!r}") from None
    if array.shape != shape:
        raise InputError(f"{option}: expected {expected}, got {array.tolist()}")
    if not np.isfinite(array).all():
        raise InputError(
            f"{option}: expected {expected}, not NaN or infinite, got {array.tolist()}"
        )
    return array


def _params(values: ArrayLike) -> Vector:
    return _finite("--params", values, "9 numbers (W1 row by row, b1, W2, b2)", (9,))


def _x(values: ArrayLike) -> Vector:
    return _finite("--x", values, "2 numbers", (2,))


def _y(value: ArrayLike) -> int:
    label = _finite("--y", value, "0 or 1", ())
    if label not in (0, 1):
        raise InputError(f"--y: expected 0 or 1, got {label:g}")
    return int(label)


def _xor_label(x: Vector) -> int:
    """The label of XOR where x is one of its corners."""
    for corner, label in zip(XOR_X, XOR_Y, strict=True):
        if np.array_equal(corner, x):
            return label
    raise InputError(f"--y: give 0 or 1, because x = {_vector(x)} is not one of XOR's four samples")


def _drawn(network: Network, seed: int) -> Vector:
    try:
        return np.asarray(init_params(network, seed), dtype=np.float64)
    except ValueError as error:
        raise InputError(f"--{error}") from None


def _no_overflow(result: Walk) -> None:
    parts = {**vars(result), **vars(result.batch)}
    numbers = [v for v in parts.values() if isinstance(v, float | np.ndarray)]
    if not all(np.isfinite(v).all() for v in numbers):
        raise InputError(
            "--params, --x, --learning-rate: a result is too large for a 64-bit number; "
            "give smaller ones"
        )


# The document: what is said, apart from how it is written. Text between backticks is mathematics.


class Line(NamedTuple):
    """One number of a vector: its symbol, the equation with numbers put in, the result."""

    symbol: str
    substituted: str
    value: float


class Equation(NamedTuple):
    """An equation by its number in `kernels.reference`, with the numbers that it gives here."""

    number: str
    formula: str
    lines: list[Line]


class Matrices(NamedTuple):
    """Named matrices, side by side."""

    items: list[tuple[str, Vector]]


class Table(NamedTuple):
    """Column heads and rows; numbers are written alike in a column."""

    head: list[str]
    rows: list[list[str | float]]


class Paragraph(NamedTuple):
    """Sentences."""

    text: str


class Heading(NamedTuple):
    """Title of a section."""

    text: str


Block = Heading | Paragraph | Matrices | Equation | Table


def _document(w: Walk) -> list[Block]:
    return [*_given(w), *_forward(w), *_backward(w), *_update(w), *_batch(w)]


def _given(w: Walk) -> list[Block]:
    loss = {"bce": "binary cross-entropy", "half_mse": "half squared error"}[w.loss_name]
    W1, b1, W2, b2 = w.params[:4], w.params[4:6], w.params[6:8], w.params[8:]
    return [
        Heading("The notes' network (2-2-1), one step, number by number"),
        Paragraph(
            f"One sample: `x = {_vector(w.x)}`, label `y = {w.y}`. Learning rate "
            f"`eta = {_short(w.learning_rate)}`, loss: {loss}. Equations are numbered as in "
            f"kernels/reference.py. Parameters {w.source}:"
        ),
        Matrices([("W1", W1.reshape(2, 2)), ("b1", b1.reshape(2, 1))]),
        Matrices([("W2", W2.reshape(1, 2)), ("b2", b2.reshape(1, 1))]),
    ]


def _forward(w: Walk) -> list[Block]:
    W1, (W2, b2) = w.params[:4].reshape(2, 2), (w.params[6:8], w.params[8])
    hidden = [
        Line(f"z1_{i + 1}", _sum_of_products(W1[i], w.x, w.params[4 + i]), w.z1[i]) for i in (0, 1)
    ]
    relus = [Line(f"h1_{i + 1}", f"max({_short(w.z1[i])}, 0)", w.h1[i]) for i in (0, 1)]
    y_hat, rest = _short(w.y_hat), _short(_one_minus_y_hat(w))
    if w.loss_name == "bce":
        number, formula = "L1", "L = -[y log y_hat + (1 - y) log(1 - y_hat)]"
        loss = f"-[{w.y} log {y_hat} + {1 - w.y} log {rest}]"
    else:
        number, formula = "L3", "L = 1/2 (y - y_hat)^2"
        loss = f"1/2 ({w.y} - {y_hat})^2"
    return [
        Heading("Forward: from the input to the loss"),
        Equation("F1", "z1 = W1 x + b1", hidden),
        Equation("F2", "h1 = ReLU(z1)", relus),
        Equation("F1", "z2 = W2 h1 + b2", [Line("z2", _sum_of_products(W2, w.h1, b2), w.z2)]),
        Equation(
            "F3", "y_hat = sigmoid(z2)", [Line("y_hat", f"1 / (1 + exp({_short(-w.z2)}))", w.y_hat)]
        ),
        Equation(number, formula, [Line("L", loss, w.loss)]),
    ]


def _one_minus_y_hat(w: Walk) -> float:
    """1 - y_hat = sigmoid(-z2), which is not rounded to 0 where y_hat is close to 1."""
    return float(np.exp(-np.logaddexp(0.0, w.z2)))


def _backward(w: Walk) -> list[Block]:
    y_hat = _short(w.y_hat)
    if w.loss_name == "bce":
        number, formula, numbers = "B1a", "delta2 = y_hat - y", f"{y_hat} - {w.y}"
    else:
        number, formula = "B1b", "delta2 = (y_hat - y) y_hat (1 - y_hat)"
        numbers = f"({y_hat} - {w.y}) * {y_hat} * {_short(_one_minus_y_hat(w))}"
    hidden = [
        Line(
            f"delta1_{i + 1}",
            f"{_factor(w.params[6 + i])} * {_factor(w.delta2)} * {int(w.z1[i] > 0)}",
            w.delta1[i],
        )
        for i in (0, 1)
    ]
    return [
        Heading("Backward: from the loss to the deltas"),
        Paragraph("A delta is the slope of the loss by a `z`: what that neuron contributed to it."),
        Equation(number, formula, [Line("delta2", numbers, w.delta2)]),
        Equation("B2", "delta1 = (W2^T delta2) * [z1 > 0]", hidden),
    ]


def _update(w: Walk) -> list[Block]:
    rows: list[list[str | float]] = [
        [f"`{name}`", value, f"`{product}`", slope, new]
        for name, value, product, slope, new in zip(
            NAMES, w.params, PRODUCTS, w.gradient, w.updated, strict=True
        )
    ]
    change = "rises" if w.loss_after > w.loss else "falls" if w.loss_after < w.loss else "stays"
    return [
        Heading("Gradient and update: every weight"),
        Paragraph(
            "B3: `dL/dW_ij = delta_i a_j`, the delta behind the weight times the input before it. "
            "B4: `dL/db_i = delta_i`. U1: `w <- w - eta dL/dw`."
        ),
        Table(["weight", "`w`", "product", "`dL/dw`", "`w - eta dL/dw`"], rows),
        Paragraph(
            f"With the updated weights the loss of this sample {change}: "
            f"{_short(w.loss)} before, {_short(w.loss_after)} after."
        ),
    ]


def _batch(w: Walk) -> list[Block]:
    b = w.batch
    samples: list[list[str | float]] = [
        [f"`{_vector(b.X[i])}`", f"{b.y[i]:g}", b.y_hat[i], b.error[i], b.losses[i]]
        for i in range(4)
    ]
    samples.append(["mean", "", float(b.y_hat.mean()), float(b.error.mean()), b.loss])
    gradients: list[list[str | float]] = [
        [f"`{NAMES[j]}`", *b.gradients[:, j], b.mean_gradient[j], b.averaged_error_gradient[j]]
        for j in range(9)
    ]
    heads = [f"`{_vector(x)}`" for x in b.X]
    return [
        Heading("A batch of four: XOR"),
        Paragraph("The same weights as above, before the update, on XOR's four samples:"),
        Table(["`x`", "`y`", "`y_hat`", "`y_hat - y`", "loss"], samples),
        Paragraph(
            "The gradient of each sample, their mean (B5), which is what one update with this "
            "batch uses, and, beside it, what comes out if the errors `y_hat - y` are averaged "
            "first and that mean is sent back through the mean activations (claim C5):"
        ),
        Table(["`dL/dw`", *heads, "mean", "mean error"], gradients),
        Paragraph(_comparison(w)),
    ]


def _comparison(w: Walk) -> str:
    """What the last two columns show on these numbers."""
    b = w.batch
    same = np.allclose(b.mean_gradient, b.averaged_error_gradient, rtol=1e-12, atol=0)
    head = (
        "Here the last two columns agree, which is a coincidence of these weights: in general the "
        "mean of products is not the product of means. "
        if same
        else "The last two columns differ: the mean of products is not the product of means. "
    )
    losses = (
        f"The mean loss, {_short(b.loss)}, goes to {_short(b.loss_after)} with one update by the "
        f"mean gradient, and to {_short(b.loss_after_averaged_error)} with the mean error. "
    )
    if (b.y_hat == 0.5).all():
        contrast = "" if same else ", while the mean of the gradients is not 0"
        return (
            f"{head}{losses}Every `y_hat` is 1/2, so the errors 1/2, -1/2, -1/2, 1/2 average to "
            f"exactly 0: whoever averages the errors first learns nothing here{contrast}."
        )
    board = ",".join(_short(v) for v in w.params[:6])
    return (
        f"{head}{losses}To see it at its plainest, make every `y_hat` 1/2, so that the errors "
        f"average to exactly 0: `--params={board},0,0,0`."
    )


def _sum_of_products(weights: Vector, inputs: Vector, bias: float) -> str:
    products = [f"{_factor(a)} * {_factor(b)}" for a, b in zip(weights, inputs, strict=True)]
    return " + ".join([*products, _factor(bias)])


# Numbers as text


def _short(value: float) -> str:
    """Up to six decimals, without trailing zeros; four digits and a power of ten for the rest."""
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e4:
        mantissa, exponent = f"{value:.3e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _factor(value: float) -> str:
    """The number as a factor or summand: negative ones in brackets."""
    return f"({_short(value)})" if value < 0 else _short(value)


def _fixed(value: float) -> str:
    """Six decimals in 11 characters, so that decimal points align; an exact 0 is a bare 0."""
    if value == 0:
        return "   0       "
    short = _short(value)
    return short.rjust(11) if "e" in short else f"{value:11.6f}"


def _vector(values: Vector) -> str:
    return f"({', '.join(_short(v) for v in values)})"


# Writers: one class a format


class Writer(Protocol):
    """A method for each kind of block, each giving the block's text."""

    def heading(self, block: Heading) -> str: ...  # noqa: D102
    def paragraph(self, block: Paragraph) -> str: ...  # noqa: D102
    def matrices(self, block: Matrices) -> str: ...  # noqa: D102
    def equation(self, block: Equation) -> str: ...  # noqa: D102
    def table(self, block: Table) -> str: ...  # noqa: D102


def _write(writer: Writer, blocks: Sequence[Block]) -> str:
    methods: dict[type, Callable[..., str]] = {
        Heading: writer.heading,
        Paragraph: writer.paragraph,
        Matrices: writer.matrices,
        Equation: writer.equation,
        Table: writer.table,
    }
    return "\n\n".join(methods[type(block)](block) for block in blocks) + "\n"


class TextWriter:
    """Plain text, no line above 100 columns."""

    width = 100

    def heading(self, block: Heading) -> str:
        """A title, underlined."""
        return f"{block.text}\n{'-' * len(block.text)}"

    def paragraph(self, block: Paragraph) -> str:
        """Wrapped sentences."""
        # A formula or a list of numbers is not broken at its hyphens
        return textwrap.fill(block.text.replace("`", ""), self.width - 2, break_on_hyphens=False)

    def matrices(self, block: Matrices) -> str:
        """Matrices drawn with brackets, side by side, the symbol on the first row."""
        lines = [""] * max(len(matrix) for _, matrix in block.items)
        for symbol, matrix in block.items:
            cells = [[_short(v) for v in row] for row in matrix]
            width = max(len(cell) for row in cells for cell in row)
            for i, row in enumerate(cells):
                head = f"{symbol} = " if i == 0 else " " * len(f"{symbol} = ")
                lines[i] += f"       {head}[ {'  '.join(cell.rjust(width) for cell in row)} ]"
        return "\n".join(lines)

    def equation(self, block: Equation) -> str:
        """The equation, then a line for each number."""
        lines = [f"  {block.number:<4} {block.formula}"]
        lefts = [f"       {line.symbol} = {line.substituted}" for line in block.lines]
        column = max(60, *(len(left) for left in lefts))
        for left, line in zip(lefts, block.lines, strict=True):
            value = f" = {_fixed(line.value).rstrip()}"
            if column + len(value) <= self.width:
                lines.append(f"{left:<{column}}{value}")
            else:
                lines += [left, f"{'':<60}{value}"]
        return "\n".join(lines)

    def table(self, block: Table) -> str:
        """Columns padded to their widest cell, numbers aligned at the point."""
        cells = [[c.replace("`", "") for c in block.head]]
        cells += [
            [c.replace("`", "") if isinstance(c, str) else _fixed(c) for c in row]
            for row in block.rows
        ]
        numeric = [isinstance(c, float) for c in block.rows[0]]
        widths = [max(len(row[j]) for row in cells) for j in range(len(block.head))]
        return "\n".join(
            "  "
            + "  ".join(
                c.rjust(width) if right else c.ljust(width)
                for c, width, right in zip(row, widths, numeric, strict=True)
            ).rstrip()
            for row in cells
        )


class MarkdownWriter:
    """Markdown: tables and code spans."""

    def heading(self, block: Heading) -> str:
        """A second-level heading."""
        return f"## {block.text}"

    def paragraph(self, block: Paragraph) -> str:
        """Sentences, with code spans."""
        return block.text

    def matrices(self, block: Matrices) -> str:
        """A bullet a matrix, its rows in brackets."""
        return "\n".join(
            f"- `{symbol} = [{', '.join(_vector(row) for row in matrix)}]`"
            for symbol, matrix in block.items
        )

    def equation(self, block: Equation) -> str:
        """A table: the equation as its head, a row for each number."""
        rows: list[list[str | float]] = [
            [f"`{line.symbol}`", f"`{line.substituted}`", line.value] for line in block.lines
        ]
        return self.table(Table([block.number, f"`{block.formula}`", "value"], rows))

    def table(self, block: Table) -> str:
        """A pipe table, numbers to the right."""
        rule = ["---:" if isinstance(c, float) else "---" for c in block.rows[0]]
        body = [[c if isinstance(c, str) else _short(c) for c in row] for row in block.rows]
        return "\n".join(f"| {' | '.join(row)} |" for row in [block.head, rule, *body])


# Each in turn; an index is written as W^{(1)}_{12}, the layer in brackets
LATEX = (
    (r"y_hat", r"\\hat{y}"),
    (r"sigmoid", r"\\sigma"),
    (r"ReLU", r"\\operatorname{ReLU}"),
    (r"\bW2\^T", r"{W^{(2)}}^{\\top}"),
    (r"\bdL/d(\w+)", r"\\partial L / \\partial \1"),
    (r"\bdelta(\d)", r"\\delta^{(\1)}"),
    (r"\bdelta_", r"\\delta_"),
    (r"\b([Wzhb])(\d)", r"\1^{(\2)}"),
    (r"_(\d+|ij)", r"_{\1}"),
    (r"\b(log|exp|max)\b ?", r"\\\1 "),
    (r"\beta\b", r"\\eta"),
    (r"1/2", r"\\tfrac{1}{2}"),
    (r"<-", r"\\leftarrow"),
    (r"(\d)e(-?\d+)", r"\1 \\cdot 10^{\2}"),
)


def _latex(mathematics: str) -> str:
    for pattern, replacement in LATEX:
        mathematics = re.sub(pattern, replacement, mathematics)
    return mathematics


class LatexWriter:
    """LaTeX to paste into a document that loads amsmath."""

    def heading(self, block: Heading) -> str:
        """A section without number."""
        return rf"\section*{{{block.text}}}"

    def paragraph(self, block: Paragraph) -> str:
        """Sentences; options in typewriter, other code spans as mathematics."""
        text = re.sub(r"`(--[^`]*)`", r"\\path{\1}", block.text)
        return re.sub(r"`([^`]*)`", lambda span: f"${_latex(span[1])}$", text)

    def matrices(self, block: Matrices) -> str:
        """Matrices in one display."""
        shown = [
            f"{_latex(symbol)} = \\begin{{pmatrix}} {_matrix_rows(matrix)} \\end{{pmatrix}}"
            for symbol, matrix in block.items
        ]
        return "\\begin{equation*}\n" + ", \\quad\n".join(shown) + "\n\\end{equation*}"

    def equation(self, block: Equation) -> str:
        """The equation with its number as tag, then a line for each number."""
        left, right = block.formula.split(" = ", 1)
        right = right.replace(" * ", r" \odot ")  # elementwise, where vectors are multiplied
        lines = [rf"{_latex(left)} &= {_latex(right)} \tag{{{block.number}}}"]
        for symbol, numbers, value in block.lines:
            product = _latex(numbers).replace(" * ", r" \cdot ")
            lines.append(f"{_latex(symbol)} &= {product} = {_latex(_short(value))}")
        return "\\begin{align*}\n" + " \\\\\n".join(lines) + "\n\\end{align*}"

    def table(self, block: Table) -> str:
        """A tabular, numbers to the right."""
        columns = "".join("r" if isinstance(c, float) else "l" for c in block.rows[0])
        rows = [[c if isinstance(c, str) else f"`{_short(c)}`" for c in row] for row in block.rows]
        lines = [
            " & ".join(self.paragraph(Paragraph(c)) for c in row) for row in [block.head, *rows]
        ]
        lines[0] += r" \\ \hline"
        body = lines[0] + "\n" + " \\\\\n".join(lines[1:])
        return (
            f"\\begin{{center}}\n\\begin{{tabular}}{{{columns}}}\n{body}\n"
            "\\end{tabular}\n\\end{center}"
        )


def _matrix_rows(matrix: Vector) -> str:
    return r" \\ ".join(" & ".join(_latex(_short(v)) for v in row) for row in matrix)


# JSON: the numbers alone


def _named(w: Vector) -> dict[str, object]:
    """The flat vector as W1, b1, W2 and b2."""
    return {
        "W1": w[:4].reshape(2, 2).tolist(),
        "b1": w[4:6].tolist(),
        "W2": w[6:8].tolist(),
        "b2": float(w[8]),
    }


def _json(w: Walk) -> str:
    numbers = {
        "network": {"widths": [2, 2, 1], "activation": "relu", "output": "sigmoid"},
        "loss_name": w.loss_name,
        "learning_rate": w.learning_rate,
        "params": _named(w.params),
        "params_source": w.source,
        "x": w.x.tolist(),
        "y": w.y,
        "z1": w.z1.tolist(),
        "h1": w.h1.tolist(),
        "z2": w.z2,
        "y_hat": w.y_hat,
        "loss": w.loss,
        "delta1": w.delta1.tolist(),
        "delta2": w.delta2,
        "gradient": _named(w.gradient),
        "updated": _named(w.updated),
        "loss_after": w.loss_after,
        "batch": _batch_numbers(w.batch),
    }
    return json.dumps(numbers, indent=2, allow_nan=False) + "\n"


def _batch_numbers(b: Batch) -> dict[str, object]:
    return {
        "X": b.X.tolist(),
        "y": [int(v) for v in b.y],
        "y_hat": b.y_hat.tolist(),
        "error": b.error.tolist(),
        "losses": b.losses.tolist(),
        "gradients": [_named(g) for g in b.gradients],
        "mean_gradient": _named(b.mean_gradient),
        "averaged_error_gradient": _named(b.averaged_error_gradient),
        "loss": b.loss,
        "loss_after": b.loss_after,
        "loss_after_averaged_error": b.loss_after_averaged_error,
    }


FORMATS: dict[str, Callable[[Walk], str]] = {
    "text": lambda w: _write(TextWriter(), _document(w)),
    "markdown": lambda w: _write(MarkdownWriter(), _document(w)),
    "latex": lambda w: "% needs \\usepackage{amsmath,url}\n" + _write(LatexWriter(), _document(w)),
    "json": _json,
}


def render(walk: Walk, format: str = "text") -> str:
    """Write a walk as "text", "markdown", "latex" or "json", ending in a line break.

    Raises
    ------
    InputError
        For another format.
    """
    if format not in FORMATS:
        raise InputError(f"--format must be one of {', '.join(FORMATS)}, got {format!r}")
    return FORMATS[format](walk)

"""The walk's numbers against hand work and the reference, its four formats, and its errors."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from bench.errors import InputError
from bench.walk import (
    FORMATS,
    LOSSES,
    Walk,
    averaged_error_gradient,
    parse_params,
    parse_x,
    parse_y,
    render,
    walk,
)
from kernels.network import Network, init_params
from kernels.reference import gradient_reference, loss_reference, train_reference

# Worked by hand: z1 = (1, -1/4), h1 = (1, 0), z2 = ln 3, y_hat = 3/4
BOARD = [1, 0.5, -1, 0.25, -1, 0.25, 2, -1, np.log(3) - 2]
XOR_X = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
XOR_Y = np.array([0.0, 1, 1, 0])
# Hidden activations on XOR: (0, 3/2), (1, 1/2), (1, 1/2), (2, 0); W2 = 0, so y_hat = sigmoid(b2)
FLAT_OUTPUT = [1, 1, -1, -1, 0, 1.5, 0, 0]

board_numbers = st.floats(-1e6, 1e6) | st.floats(-2, 2) | st.floats(-1e-9, 1e-9)


@pytest.fixture(scope="module")
def board() -> Walk:
    """The hand-worked step with cross-entropy and eta = 1/2."""
    return walk(BOARD, [1, 2], 1, learning_rate=0.5)


# The numbers


def test_forward_by_hand(board: Walk) -> None:
    """The board's network has z1 = (1, -1/4), h1 = (1, 0), z2 = ln 3 and y_hat = 3/4."""
    np.testing.assert_allclose([*board.z1, *board.h1], [1, -0.25, 1, 0], rtol=1e-15)
    np.testing.assert_allclose([board.z2, board.y_hat], [np.log(3), 0.75], rtol=1e-15)


def test_backward_by_hand(board: Walk) -> None:
    """delta2 = 3/4 - 1 and delta1 = (2 delta2, 0)."""
    np.testing.assert_allclose([*board.delta1, board.delta2], [-0.5, 0, -0.25], rtol=1e-14)


def test_gradient_by_hand(board: Walk) -> None:
    """Each weight's gradient is its delta times its input."""
    np.testing.assert_allclose(
        board.gradient, [-0.5, -1, 0, 0, -0.5, 0, -0.25, 0, -0.25], rtol=1e-14
    )


def test_update_by_hand(board: Walk) -> None:
    """Each weight moves by minus half its gradient."""
    np.testing.assert_allclose(
        board.updated, [1.25, 1, -1, 0.25, -0.75, 0.25, 2.125, -1, np.log(3) - 1.875], rtol=1e-15
    )


def test_losses_by_hand(board: Walk) -> None:
    """The loss goes from ln(4/3) to ln(1 + exp(-55/16) / 3)."""
    np.testing.assert_allclose(
        [board.loss, board.loss_after], [np.log(4 / 3), np.log1p(np.exp(-55 / 16) / 3)], rtol=1e-14
    )


def test_half_squared_error_by_hand() -> None:
    """Half squared error has L = 1/32 and delta2 = (-1/4)(3/4)(1/4) at y_hat = 3/4, y = 1."""
    w = walk(BOARD, [1, 2], 1, loss="half_mse")
    np.testing.assert_allclose([w.loss, w.delta2], [1 / 32, -3 / 64], rtol=1e-14)


def test_defaults_are_the_networks_of_a_seed() -> None:
    """Without parameters the walk starts from the He network of its seed."""
    np.testing.assert_array_equal(walk(seed=3).params, init_params(Network((2, 2, 1)), seed=3))


@pytest.mark.parametrize(("x", "y"), [((0, 0), 0), ((0, 1), 1), ((1, 0), 1), ((1, 1), 0)])
def test_a_corner_of_xor_needs_no_label(x: tuple[int, int], y: int) -> None:
    """The label of a corner is XOR's where none is given."""
    assert walk(x=x).y == y


@pytest.mark.parametrize("loss", LOSSES)
def test_the_step_is_that_of_training(loss: str) -> None:
    """The updated weights are those of one per-sample update in the reference."""
    w = walk(seed=5, x=[0, 1], loss=loss, learning_rate=0.2)
    trained = train_reference(
        Network((2, 2, 1), loss=loss),
        w.params,
        [[0, 1]],
        [1],
        batch_size=1,
        learning_rate=0.2,
        order=[[0]],
    )
    np.testing.assert_allclose(w.updated, trained.params, rtol=1e-15)


# The batch


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_of_the_batch_are_single_walks(loss: str) -> None:
    """Each sample's gradient in the batch is what a walk of that sample alone gives."""
    batch = walk(seed=1, loss=loss).batch
    for x, gradient in zip(batch.X, batch.gradients, strict=True):
        np.testing.assert_array_equal(gradient, walk(seed=1, x=x, loss=loss).gradient)


@pytest.mark.parametrize("loss", LOSSES)
def test_mean_gradient_is_the_mean_of_the_rows(loss: str) -> None:
    """The mean gradient is the mean of the four rows beside it."""
    batch = walk(seed=1, loss=loss).batch
    np.testing.assert_allclose(
        batch.mean_gradient, batch.gradients.mean(axis=0), rtol=1e-14, atol=1e-17
    )


def test_errors_average_to_zero_where_every_output_is_one_half() -> None:
    """With y_hat = 1/2 on all of XOR the averaged error's gradient is exactly 0."""
    batch = walk([*FLAT_OUTPUT, 0]).batch
    assert not batch.averaged_error_gradient.any()


def test_the_mean_gradient_is_not_zero_where_every_output_is_one_half() -> None:
    """There dL/dW2_2 = (3/2 - 1/2 - 1/2 + 0) / 2 / 4 = 1/16, and only that moves."""
    batch = walk([*FLAT_OUTPUT, 0]).batch
    assert batch.mean_gradient.tolist() == [0, 0, 0, 0, 0, 0, 0, 1 / 16, 0]


def test_averaged_error_by_hand() -> None:
    """With y_hat = 3/4 the mean error 1/4 meets mean h1 = (1, 5/8): dW2 = (1/4, 5/32)."""
    batch = walk([*FLAT_OUTPUT, np.log(3)]).batch
    np.testing.assert_allclose(
        batch.averaged_error_gradient, [0, 0, 0, 0, 0, 0, 1 / 4, 5 / 32, 1 / 4], rtol=1e-14
    )
    np.testing.assert_allclose(batch.mean_gradient[6:], [1 / 4, 7 / 32, 1 / 4], rtol=1e-14)


@pytest.mark.parametrize("loss", LOSSES)
def test_averaged_error_of_equal_samples_is_their_gradient(loss: str) -> None:
    """In a batch of copies of one sample each mean is the sample's own value: no mistake shows."""
    network = Network((2, 2, 1), loss=loss)
    params = init_params(network, seed=7, scheme="uniform_fan_in").astype(np.float64)
    np.testing.assert_allclose(
        averaged_error_gradient(network, params, np.tile([0.3, -1.2], (3, 1)), np.ones(3)),
        gradient_reference(network, params, [0.3, -1.2], 1),
        rtol=1e-13,
    )


def test_batch_losses_follow_their_updates() -> None:
    """The two losses after are those of the weights moved by the two gradients."""
    w = walk(seed=2, learning_rate=0.3)
    network = Network((2, 2, 1))
    assert w.batch.loss == loss_reference(network, w.params, XOR_X, XOR_Y)
    assert [w.batch.loss_after, w.batch.loss_after_averaged_error] == [
        loss_reference(network, w.params - 0.3 * gradient, XOR_X, XOR_Y)
        for gradient in (w.batch.mean_gradient, w.batch.averaged_error_gradient)
    ]


# Formats


def numbers_of(w: Walk) -> list[float]:
    """Every number that a reader is shown."""
    b = w.batch
    return [
        *(w.params, w.z1, w.h1, [w.z2, w.y_hat, w.loss, w.loss_after], w.delta1, [w.delta2]),
        *(w.gradient, w.updated, b.y_hat, b.error, b.losses, *b.gradients),
        *(b.mean_gradient, b.averaged_error_gradient),
    ]


@pytest.mark.parametrize("format", ["text", "markdown", "latex"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_number_is_shown(format: str, loss: str) -> None:
    """Each number of the walk stands in each written format, to six decimals."""
    w = walk(seed=0, loss=loss)
    shown = {abs(float(n)) for n in re.findall(r"\d+(?:\.\d+)?", render(w, format))}
    for value in np.concatenate(numbers_of(w)):
        assert abs(round(float(value), 6)) in shown


@given(
    params=arrays(np.float64, 9, elements=board_numbers),
    x=arrays(np.float64, 2, elements=board_numbers),
    y=st.sampled_from([0, 1]),
    loss=st.sampled_from(LOSSES),
)
@settings(max_examples=60, deadline=None)
def test_text_fits_100_columns(
    params: NDArray[np.float64], x: NDArray[np.float64], y: int, loss: str
) -> None:
    """No line of the text is longer than 100 columns, whatever the numbers."""
    text = render(walk(params, x, y, loss=loss))
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("y", [0, 1])
def test_numbers_put_into_an_equation_give_the_value_beside_it(loss: str, y: int) -> None:
    """Whoever types an equation's numbers into a calculator gets the number after its last =."""
    text = render(walk([0.3, -0.6, -2.1, 0.9, 0.1, -0.2, 0.5, 0.7, -0.4], [1, -0.5], y, loss=loss))
    lines = re.findall(r"^ {7}(\w+) = (.+?) += +(\S+)$", text, re.M)
    assert [symbol for symbol, _, _ in lines] == [
        *("z1_1", "z1_2", "h1_1", "h1_2", "z2", "y_hat", "L", "delta2", "delta1_1", "delta1_2")
    ]
    for _, equation, value in lines:
        typed = re.sub(r" log ([\d.]+)", r" * log(\1)", equation)
        for written, python in (("[", "("), ("]", ")"), ("1/2 (", "1/2 * ("), ("^", "**")):
            typed = typed.replace(written, python)
        assert eval(typed, {"exp": np.exp, "log": np.log}) == pytest.approx(float(value), abs=2e-6)


def test_text_is_ascii() -> None:
    """The text needs no encoding beyond ASCII."""
    assert render(walk()).isascii()


def test_decimal_points_of_a_table_stand_under_each_other() -> None:
    """The decimal points of the updated weights share one column of the page."""
    lines = render(walk(BOARD, [1, 2], 1)).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("  weight"))
    assert len({lines[i].rindex(".") for i in range(start + 1, start + 10)}) == 1


def test_the_hint_of_the_text_makes_every_output_one_half() -> None:
    """The parameters that the text proposes give y_hat = 1/2 on all four samples."""
    hint = re.search(r"--params=(\S+)\.\n", render(walk(seed=4)))
    assert hint is not None
    assert (walk(parse_params(hint[1])).batch.y_hat == 0.5).all()


def test_text_says_what_the_averaged_errors_do_at_one_half() -> None:
    """With y_hat = 1/2 everywhere the text says that the averaged errors learn nothing."""
    text = " ".join(render(walk([*FLAT_OUTPUT, 0])).split())
    assert "average to exactly 0: whoever averages the errors first learns nothing here" in text


def test_markdown_tables_have_as_many_cells_in_each_row() -> None:
    """Within a Markdown table each row has the cells of its head."""
    blocks = [b for b in render(walk(), "markdown").split("\n\n") if b.startswith("|")]
    assert len(blocks) >= 9
    for block in blocks:
        assert len({row.count("|") for row in block.splitlines()}) == 1


@pytest.mark.parametrize("loss", LOSSES)
def test_latex_environments_and_braces_close(loss: str) -> None:
    """Each LaTeX environment and brace that opens closes, in order."""
    latex = render(walk(loss=loss), "latex")
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+\*?)\}", latex):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened
    depths = np.cumsum([{"{": 1, "}": -1}.get(c, 0) for c in latex])
    assert depths.min() == 0
    assert depths[-1] == 0


def test_latex_keeps_subscripts_inside_mathematics() -> None:
    """Outside of displays, mathematics and paths there is no underscore, caret or backtick."""
    latex = render(walk(), "latex")
    prose = re.sub(r"\\begin\{(align|equation)\*\}.*?\\end\{\1\*\}", "", latex, flags=re.S)
    prose = re.sub(r"\$[^$]*\$|\\path\{[^}]*\}", "", prose)
    assert not re.search(r"[_^`$&]", prose.replace(" & ", " "))


def test_latex_rows_of_a_table_have_as_many_cells_as_columns() -> None:
    """Each row of a LaTeX table has a cell for each declared column."""
    tables = re.findall(r"\\begin\{tabular\}\{(\w+)\}\n(.*?)\n\\end", render(walk(), "latex"), re.S)
    assert len(tables) == 3
    for columns, body in tables:
        for row in body.splitlines():
            assert row.count(" & ") == len(columns) - 1


def test_latex_writes_symbols_as_mathematics() -> None:
    """B2 is written with its layer indices, transpose and elementwise product."""
    assert (
        r"\delta^{(1)} &= ({W^{(2)}}^{\top} \delta^{(2)}) \odot [z^{(1)} > 0] \tag{B2}"
    ) in render(walk(), "latex")


def test_json_holds_the_numbers_in_full_precision(board: Walk) -> None:
    """Numbers read back from JSON equal the walk's to the bit."""
    read = json.loads(render(board, "json"))
    assert [read["z2"], read["y_hat"], read["loss"]] == [board.z2, board.y_hat, board.loss]
    assert flat(read["updated"]) == board.updated.tolist()
    assert [flat(g) for g in read["batch"]["gradients"]] == board.batch.gradients.tolist()


def flat(layers: dict[str, Any]) -> list[float]:
    """JSON's W1, b1, W2, b2 in the order of the parameter vector."""
    return [*layers["W1"][0], *layers["W1"][1], *layers["b1"], *layers["W2"], layers["b2"]]


def test_json_has_every_field_of_the_walk() -> None:
    """Each field of the walk and of its batch is a key in JSON."""
    w = walk()
    read = json.loads(render(w, "json"))
    assert {*vars(w)} - {"source"} <= {*read}
    assert {*vars(w.batch)} == {*read["batch"]}


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_ends_in_one_line_break(format: str) -> None:
    """Each format ends in a line break and no blank line."""
    text = render(walk(), format)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


# Options


def test_numbers_of_the_board_are_read() -> None:
    """Nine numbers with blanks, exponents and signs are read in order."""
    assert parse_params("1, .5,-1,2.5e-1,+3,0,2,-1,-2").tolist() == [
        *(1, 0.5, -1, 0.25, 3, 0, 2, -1, -2)
    ]


def test_x_and_y_are_read() -> None:
    """Two numbers of x and the label are read."""
    assert (parse_x("1,-0.5").tolist(), parse_y(" 1")) == ([1, -0.5], 1)


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (parse_params, "1,2,3", "--params: expected 9 numbers (W1 row by row, b1, W2, b2), got [1"),
        (parse_params, "1,2,3,4,5,6,7,8,nan", "--params: expected 9 numbers"),
        (parse_params, "1,2,3,4,x,6,7,8,9", "--params: 'x' in '1,2,3,4,x,6,7,8,9' is not a number"),
        (parse_params, "", "--params: '' in '' is not a number"),
        (parse_x, "1", "--x: expected 2 numbers, got [1.0]"),
        (parse_x, "1,inf", "--x: expected 2 numbers, not NaN or infinite, got [1.0, inf]"),
        (parse_x, "1;2", "--x: '1;2' in '1;2' is not a number; write numbers like -0.5"),
        (parse_y, "2", "--y: expected 0 or 1, got 2"),
        (parse_y, "0,1", "--y: expected 0 or 1, got [0.0, 1.0]"),
        (parse_y, "nan", "--y: expected 0 or 1, not NaN or infinite, got nan"),
        (parse_y, "yes", "--y: 'yes' in 'yes' is not a number"),
    ],
)
def test_text_that_cannot_be_read(parse: Any, text: str, message: str) -> None:
    """Text of an option that cannot be is refused in one line with the option and the reason."""
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"params": np.zeros((3, 3))}, "--params: expected 9 numbers"),
        ({"params": "abc"}, "--params: expected 9 numbers"),
        ({"x": [np.nan, 0], "y": 1}, "--x: expected 2 numbers, not NaN or infinite"),
        ({"x": [0.5, 0]}, "--y: give 0 or 1, because x = (0.5, 0) is not one of XOR's four"),
        ({"y": 0.5}, "--y: expected 0 or 1, got 0.5"),
        ({"loss": "ce"}, "--loss must be one of bce, half_mse, got 'ce'"),
        ({"seed": -1}, "--seed must be a whole number of 0 or more, got -1"),
        ({"learning_rate": -1}, "--learning-rate: expected one number of 0 or more, got -1"),
        ({"learning_rate": np.nan}, "--learning-rate: expected one number of 0 or more"),
        ({"learning_rate": [1, 2]}, "--learning-rate: expected one number of 0 or more"),
        ({"params": [1e200] * 9}, "a result is too large for a 64-bit number"),
        (
            {"params": [*FLAT_OUTPUT[:6], 100, 0, -100], "learning_rate": 1e307},
            "a result is too large for a 64-bit number",
        ),
    ],
)
def test_walk_errors(arguments: dict[str, Any], message: str) -> None:
    """An argument that cannot be is refused in one line with its option."""
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        walk(**arguments)
    assert "\n" not in str(caught.value)


def test_unknown_format() -> None:
    """Another format is refused with those that there are."""
    with pytest.raises(InputError, match="--format must be one of text, markdown, latex, json"):
        render(walk(), "html")

"""Hessians of a network's loss without the matrix: products with vectors, and the sharpness.

Pearlmutter (1994), "Fast exact multiplication by the Hessian": the R-operator, the derivative of
everything that a forward and a backward pass compute (F1 to B5 of `kernels.reference`) when the
parameters move along a direction (V, c); R{W} = V, R{b} = c, R{x} = 0. In NumPy float64,
vectorized over samples and over directions.

    R1   R{z(l)} = V(l) a(l-1) + c(l) + W(l) R{a(l-1)}                       from F1
    R2   R{a(l)} = f'(z(l)) * R{z(l)}                                        from F2
    R3   R{delta(L)} = (d delta(L) / dz(L)) R{z(L)}                          from B1
    R4   R{delta(l-1)} = (V(l)^T delta(l) + W(l)^T R{delta(l)}) * f'(z(l-1))
                         + (W(l)^T delta(l)) * f''(z(l-1)) * R{z(l-1)}       from B2
    R5   R{dL/dW(l)} = R{delta(l)} a(l-1)^T + delta(l) R{a(l-1)}^T           from B3
    R6   R{dL/db(l)} = R{delta(l)}                                           from B4

The second derivative f'' of ReLU and leaky ReLU is 0, at their kink too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.sparse.linalg import LinearOperator, eigsh

from bench.analysis import layers
from bench.streams import stream
from kernels import Network
from kernels.reference import HIDDEN

Floats = NDArray[np.float64]

TOLERANCE = 1e-3  # relative, of an eigenvalue
LANCZOS_VECTORS = 10


class _Moved(NamedTuple):
    """What a layer's gradient is made of, and its derivatives along k directions.

    Parameters
    ----------
    delta, inputs
        (n, n_out) and (n, n_in).
    r_delta
        R{delta}, (k, n, n_out).
    r_inputs
        R{a} of what goes into the layer, (k, n, n_in); None for the first: its inputs stay.
    """

    delta: Floats
    inputs: Floats
    r_delta: Floats
    r_inputs: Floats | None


class Hessian:
    """The Hessian of the mean loss over samples at one point, as an operator.

    Parameters
    ----------
    network
        Any network.
    params
        (n_params,): where; taken as float64.
    X, y
        Samples (n, n_inputs), and classes or targets as `kernels.train` takes them.
    """

    def __init__(
        self, network: Network, params: NDArray[Any], X: NDArray[Any], y: NDArray[Any]
    ) -> None:
        self.network = network
        point = np.asarray(params, np.float64)
        self._weights = [W for W, _ in network.unpack(point)]
        zs, inputs = layers.forward(network, point[None], X)
        deltas, _ = layers.deltas(network, point[None], X, y)
        self._inputs, self._deltas = [a[0] for a in inputs], [d[0] for d in deltas]
        _, slope = HIDDEN[network.activation]
        self._slopes = [slope(z[0]) for z in zs[:-1]]
        self._bends = [
            # B2 without its last factor, times f''(z): R4's second line but for R{z}
            (delta @ W) * _tanh_bend(z[0]) if network.activation == "tanh" else None
            for z, delta, W in zip(zs[:-1], self._deltas[1:], self._weights[1:], strict=True)
        ]
        self._outputs = _outputs(network, zs[-1][0])
        self._curvature = _output_curvature(network, self._outputs, layers.target_rows(network, y))

    @property
    def n_samples(self) -> int:
        """Number of samples, n."""
        return len(self._inputs[0])

    def times(self, vectors: Floats) -> Floats:
        """Products H v: vectors (n_params,) or (k, n_params), the same shape back."""
        rows = np.atleast_2d(vectors)
        products = np.empty(rows.shape)
        views = self.network.unpack(products)
        for (W, b), moved in zip(views, self._moved(rows), strict=True):
            W[...] = np.swapaxes(moved.r_delta, 1, 2) @ moved.inputs  # R5
            if moved.r_inputs is not None:
                W += moved.delta.T @ moved.r_inputs
            b[...] = moved.r_delta.sum(axis=1)  # R6
        products /= self.n_samples
        return products.reshape(np.shape(vectors))

    def matrix(self) -> Floats:
        """The Hessian itself, (n_params, n_params), for networks of few parameters."""
        return self.times(np.eye(self.network.n_params))

    def gauss_newton_factors(self) -> Floats:
        """Factors F_i of each sample's Gauss-Newton matrix F_i^T F_i, (n, n_outputs, n_params).

        F_i^T F_i = J_i^T S_i J_i, with J_i the Jacobian of the logits (of y_hat for a squared
        error) and S_i the Hessian of the loss by them (Schraudolph 2002). It is the whole Hessian
        of the sample where the loss cannot fall further by any change of the logits (at an
        interpolating minimum), and where they are linear in the parameters.
        """
        delta = self._output_roots()
        factors = np.empty((*delta.shape[:2], self.network.n_params))
        views = self.network.unpack(factors)
        for layer in range(len(views) - 1, -1, -1):
            W, b = views[layer]
            W[...] = delta[..., None] * self._inputs[layer][:, None, None, :]  # B3
            b[...] = delta  # B4
            if layer > 0:
                delta = (delta @ self._weights[layer]) * self._slopes[layer - 1][:, None, :]  # B2
        return factors

    def _output_roots(self) -> Floats:
        """Roots R_i with R_i^T R_i = S_i, (n, n_outputs, n_outputs)."""
        y_hat = self._outputs
        n_outputs = self.network.n_outputs
        if self.network.output == "softmax":
            return np.sqrt(y_hat)[..., None] * (np.eye(n_outputs) - y_hat[:, None, :])
        slope = np.ones_like(y_hat)
        if self.network.output == "sigmoid":
            slope = y_hat * (1.0 - y_hat)
        root = np.sqrt(slope) if self.network.loss == "bce" else slope
        return np.asarray(root[..., None] * np.eye(n_outputs))

    def _moved(self, vectors: Floats) -> list[_Moved]:
        """Each layer's deltas and inputs with their derivatives along vectors (k, n_params)."""
        directions = self.network.unpack(np.asarray(vectors, np.float64))
        r_zs: list[Floats] = []
        r_inputs: list[Floats | None] = [None]
        for layer, ((V, c), a) in enumerate(zip(directions, self._inputs, strict=True)):
            r_z = a @ np.swapaxes(V, 1, 2) + c[:, None, :]  # R1
            before = r_inputs[-1]
            if before is not None:
                r_z += before @ self._weights[layer].T
            r_zs.append(r_z)
            if layer < len(self._slopes):
                r_inputs.append(self._slopes[layer] * r_z)  # R2
        r_delta = self._curvature * r_zs[-1]  # R3
        if self.network.output == "softmax":
            mean = (self._outputs * r_zs[-1]).sum(axis=-1, keepdims=True)
            r_delta -= self._outputs * mean
        r_deltas = [r_delta]
        for layer in range(len(directions) - 1, 0, -1):
            V, _ = directions[layer]
            r_delta = self._deltas[layer] @ V + r_delta @ self._weights[layer]
            r_delta *= self._slopes[layer - 1]  # R4
            bend = self._bends[layer - 1]
            if bend is not None:
                r_delta += bend * r_zs[layer - 1]
            r_deltas.append(r_delta)
        parts = zip(self._deltas, self._inputs, r_deltas[::-1], r_inputs, strict=True)
        return [_Moved(*part) for part in parts]


def _tanh_bend(z: Floats) -> Floats:
    """f''(z) = -2 tanh(z) (1 - tanh(z)^2)."""
    a = np.tanh(z)
    return np.asarray(-2.0 * a * (1.0 - a**2))


def _outputs(network: Network, logits: Floats) -> Floats:
    """F3: y_hat of each sample, (n, n_outputs)."""
    if network.output == "softmax":
        return np.asarray(special.softmax(logits, axis=1))
    return np.asarray(special.expit(logits)) if network.output == "sigmoid" else logits


def _output_curvature(network: Network, y_hat: Floats, targets: Floats) -> Floats:
    """Derivative of delta_k by z_k of each sample, (n, n_outputs), from B1a to B1c.

    Of a softmax without its second term: d delta_k / dz_j = y_hat_k [j = k] - y_hat_k y_hat_j.
    """
    if network.output == "softmax":
        return y_hat
    if network.output == "linear":
        return np.ones_like(y_hat)
    slope = y_hat * (1.0 - y_hat)
    if network.loss == "bce":
        return slope
    return np.asarray(slope * (slope + (y_hat - targets) * (1.0 - 2.0 * y_hat)))


def sharpness(hessian: Hessian) -> float:
    """Largest eigenvalue of a Hessian to a relative tolerance of 1e-3, at finite parameters.

    From a random start: one that begins with the eigenvector of a point nearby can miss another
    that has overtaken it.
    """
    n_params = hessian.network.n_params
    operator = LinearOperator((n_params, n_params), matvec=hessian.times, dtype=np.float64)
    return largest_eigenvalue(operator, stream("sharpness").normal(size=n_params))


def largest_eigenvalue(operator: LinearOperator, start: Floats) -> float:
    """Largest eigenvalue of a symmetric operator (m, m), m > 1, by Lanczos iteration (ARPACK).

    Parameters
    ----------
    operator
        What multiplies vectors.
    start
        (m,), not orthogonal to the eigenvector that is looked for.

    Raises
    ------
    scipy.sparse.linalg.ArpackNoConvergence
        Where the iteration does not come to an end.
    """
    if not operator.matvec(start).any():  # flat, of which ARPACK makes an error
        return 0.0
    (value,) = eigsh(
        operator,
        1,
        which="LA",
        v0=start,
        ncv=min(len(start), LANCZOS_VECTORS),
        tol=TOLERANCE,
        return_eigenvectors=False,
    )
    return float(value)

"""The nets, in plain jax: an LSTM and a linear head with four outputs, trained by AdamW; and their folds.

Protocol (written before any number was seen; the model cards repeat it):
- Groups are machines (engines): five folds, every machine wholly in one fold. The five nets make the ensemble; each
  window's out-of-fold prediction comes from the one net that never saw its machine.
- Loss 4 MSE + pinball(.05, .5, .95) on the target divided by its cap, target capped. AdamW 2e-3, cosine to 0 after one
  epoch of warm-up, weight decay 1e-4, batch 256, input noise and dropout on the last state, weights averaged (EMA .97).
- Seeds are arguments; a run is deterministic on one machine. Epochs and sizes are fixed, there is no early stopping.
"""

from __future__ import annotations

import os

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

from twinloom.prognostics.train.windows import Windows

FOLDS = 5
LOG_FLOOR = 1e-3
_QUANTILES = (0.05, 0.5, 0.95)
Params = dict[str, Any]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Sizes and rates; `noise` in standard deviations of the scaled inputs."""

    hidden: int = 32
    epochs: int = 10
    batch: int = 256
    rate: float = 2e-3
    noise: float = 0.2
    dropout: float = 0.2
    average: float = 0.97


@dataclass(frozen=True, slots=True)
class Scaling:
    """How inputs are scaled, all arrays (F,): the natural logarithm where `log` is 1, then (x - mean) / std."""

    log: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32]
    std: npt.NDArray[np.float32]

    @classmethod
    def of(cls, x: npt.NDArray[np.float32], log_columns: Sequence[int], scale_as: Sequence[int] = ()) -> Scaling:
        """Fitted to windows x (N, W, F). scale_as (F,): the column whose mean and std each column takes."""
        log = np.zeros(x.shape[2], np.float32)
        log[list(log_columns)] = 1
        flat = _logged(x, log).reshape(-1, x.shape[2]).astype(np.float64)
        taken = list(scale_as) or list(range(x.shape[2]))
        mean, std = flat.mean(axis=0)[taken], flat.std(axis=0)[taken] + 1e-6
        return cls(log, mean.astype(np.float32), std.astype(np.float32))

    def __call__(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        scaled: npt.NDArray[np.float32] = (_logged(x, self.log) - self.mean) / self.std
        return scaled


def _logged(x: npt.NDArray[np.float32], log: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    logs = np.log(np.maximum(x, np.float32(LOG_FLOOR)))
    return (x * (1 - log) + logs * log).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Trained:
    """One net a fold, in ONNX's own order of gates (i, o, f, c): w (4H, F), r (4H, H), b (4H,), v (H, 4), c (4,).
    out_of_fold (N, 4): predictions in target units."""

    nets: tuple[dict[str, npt.NDArray[np.float32]], ...]
    scaling: Scaling
    cap: float
    out_of_fold: npt.NDArray[np.float64]


def folds_of(groups: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """The fold of each row: groups shuffled by `seed` and dealt out, so that no group is in two folds."""
    names = np.unique(groups)
    dealt = np.random.default_rng(seed).permutation(len(names)) % FOLDS
    fold: npt.NDArray[np.int64] = dealt[np.searchsorted(names, groups)]
    return fold


def forward(params: Params, x: Any, drop: Any = None) -> Any:
    """(B, W, F) scaled inputs -> (B, 4): mean and three quantiles, as shares of the cap."""
    h = params["r"].shape[1]

    def cell(state: Any, row: Any) -> Any:
        hidden, memory = state
        gates = row @ params["w"].T + hidden @ params["r"].T + params["b"]
        i, o, f = (jax.nn.sigmoid(gates[:, k * h : (k + 1) * h]) for k in range(3))
        memory = f * memory + i * jnp.tanh(gates[:, 3 * h :])
        return (o * jnp.tanh(memory), memory), None

    zero = jnp.zeros((x.shape[0], h))
    (hidden, _), _ = jax.lax.scan(cell, (zero, zero), x.transpose(1, 0, 2))
    if drop is not None:
        hidden = hidden * drop
    return hidden @ params["v"] + params["c"]


def _start(features: int, hidden: int, seed: int) -> Params:
    keys = jax.random.split(jax.random.PRNGKey(seed), 3)
    bound = hidden**-0.5

    def drawn(key: Any, shape: tuple[int, ...]) -> Any:
        return jax.random.uniform(key, shape, minval=-bound, maxval=bound)

    bias = jnp.zeros(4 * hidden).at[2 * hidden : 3 * hidden].set(1.0)
    return {
        "w": drawn(keys[0], (4 * hidden, features)),
        "r": drawn(keys[1], (4 * hidden, hidden)),
        "b": bias,
        "v": drawn(keys[2], (hidden, 4)),
        "c": jnp.array([0.6, 0.4, 0.6, 0.8]),
    }


def _loss(params: Params, x: Any, y: Any, drop: Any) -> Any:
    out = forward(params, x, drop)
    square = ((out[:, 0] - y) ** 2).mean()
    error = y[:, None] - out[:, 1:]
    q = jnp.array(_QUANTILES)
    pinball = jnp.maximum(q * error, (q - 1) * error).sum(axis=1).mean()
    return 4 * square + pinball


def fit(x: npt.NDArray[np.float32], y: npt.NDArray[np.float32], recipe: Recipe, seed: int) -> Params:
    """One net on scaled inputs x (N, W, F) and targets y (N,) as shares of the cap; averaged weights."""
    steps = len(x) // recipe.batch
    schedule = optax.warmup_cosine_decay_schedule(0.0, recipe.rate, steps, steps * recipe.epochs)
    optimizer = optax.adamw(schedule, weight_decay=1e-4)
    params = _start(x.shape[2], recipe.hidden, seed)
    state, average = optimizer.init(params), params

    def step(params: Params, state: Any, average: Params, x: Any, y: Any, key: Any) -> Any:
        noise, dropped = jax.random.split(key)
        x = x + recipe.noise * jax.random.normal(noise, x.shape)
        keep = jax.random.bernoulli(dropped, 1 - recipe.dropout, (x.shape[0], recipe.hidden)) / (1 - recipe.dropout)
        gradient = jax.grad(_loss)(params, x, y, keep)
        change, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, change)
        average = jax.tree.map(lambda a, p: recipe.average * a + (1 - recipe.average) * p, average, params)
        return params, state, average

    jitted = jax.jit(step)
    order, key = np.random.default_rng(seed), jax.random.PRNGKey(seed + 1)
    for _ in range(recipe.epochs):
        shuffled = order.permutation(len(x))
        for i in range(steps):
            rows = shuffled[i * recipe.batch : (i + 1) * recipe.batch]
            key, use = jax.random.split(key)
            params, state, average = jitted(params, state, average, x[rows], y[rows], use)
    return {name: np.asarray(value) for name, value in average.items()}


def predict(params: Params, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(N, 4) for scaled inputs, in pieces."""
    run = jax.jit(forward)
    parts = []
    for i in range(0, len(x), 4096):
        part = x[i : i + 4096]
        padded = np.zeros((4096, *x.shape[1:]), np.float32)
        padded[: len(part)] = part
        parts.append(np.asarray(run(params, padded))[: len(part)])
    return np.concatenate(parts)


def train_folds(
    data: Windows,
    cap: float,
    recipe: Recipe,
    seed: int,
    *,
    log_columns: Sequence[int] = (),
    scale_as: Sequence[int] = (),
    fit_on: npt.NDArray[np.bool_] | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Five nets, each without one fold of the groups. `fit_on` bool (N,): rows that may be trained on (default all);
    the others get out-of-fold predictions all the same."""
    scaling = Scaling.of(data.x, log_columns, scale_as)
    x = scaling(data.x)
    y = (np.minimum(data.y, cap) / cap).astype(np.float32)
    fold = folds_of(data.group, seed)
    usable = np.ones(len(data), np.bool_) if fit_on is None else fit_on
    nets = []
    out = np.zeros((len(data), 4))
    for k in range(FOLDS):
        inside = (fold != k) & usable
        params = fit(x[inside], y[inside], recipe, seed + 100 * (k + 1))
        out[fold == k] = predict(params, x[fold == k]) * cap
        nets.append(params)
        if progress is not None:
            progress(k + 1, FOLDS)
    return Trained(tuple(nets), scaling, cap, np.clip(out, 0.0, cap))

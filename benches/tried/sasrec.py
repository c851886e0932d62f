"""SASRec (Kang & McAuley, ICDM 2018) with the loss of gSASRec (Petrov & Macdonald, RecSys 2023), in JAX on the CPU.

A causal transformer over the last LENGTH items of a history; the score of an item is the product of its embedding and the last state. The loss is
gBCE: with K negatives of n items, alpha = K / (n - 1) and beta = alpha * (t * (1 - 1/alpha) + 1/alpha), each position pays
-(beta * log sigmoid(positive) + sum of log(1 - sigmoid(negative))) / (K + 1). Negatives are uniform, and shared by the positions of a sequence.
"""
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

LENGTH, WIDTH, LAYERS, HEADS, BATCH, RATE = 64, 64, 2, 2, 32, 1e-3


def start(items, seed):
    draw = np.random.default_rng(seed)
    normal = lambda *shape: jnp.asarray(draw.normal(0, 0.02, shape), jnp.float32)
    dense = lambda a, b: jnp.asarray(draw.normal(0, a**-0.5, (a, b)), jnp.float32)
    layer = lambda: dict(norm1=jnp.ones(WIDTH), norm2=jnp.ones(WIDTH), shift1=jnp.zeros(WIDTH), shift2=jnp.zeros(WIDTH),
                         attend=dense(WIDTH, 3 * WIDTH), out=dense(WIDTH, WIDTH), up=dense(WIDTH, WIDTH), bias1=jnp.zeros(WIDTH),
                         down=dense(WIDTH, WIDTH), bias2=jnp.zeros(WIDTH))
    # Row 0 stands for what comes before a history.
    return dict(items=normal(items + 1, WIDTH), places=normal(LENGTH, WIDTH), norm=jnp.ones(WIDTH), shift=jnp.zeros(WIDTH),
                layers=[layer() for _ in range(LAYERS)])


def normed(x, scale, shift):
    x = x - x.mean(-1, keepdims=True)
    return scale * x / jnp.sqrt((x * x).mean(-1, keepdims=True) + 1e-8) + shift


def states(weights, history, key, dropout):
    """history: batch by LENGTH, padded with 0 at the left. Gives batch by LENGTH by WIDTH."""
    keys = iter(jax.random.split(key, 1 + 2 * LAYERS)) if dropout else None

    def drop(x):
        return x * jax.random.bernoulli(next(keys), 1 - dropout, x.shape) / (1 - dropout) if dropout else x

    batch = history.shape[0]
    real = (history > 0)[..., None]
    x = drop(weights["items"][history] * WIDTH**0.5 + weights["places"]) * real
    seen = jnp.tril(jnp.ones((LENGTH, LENGTH), bool)) & (history > 0)[:, None, None, :]
    for layer in weights["layers"]:
        q, k, v = jnp.split(normed(x, layer["norm1"], layer["shift1"]) @ layer["attend"], 3, -1)
        heads = lambda y: y.reshape(batch, LENGTH, HEADS, -1).transpose(0, 2, 1, 3)
        q, k, v = heads(q), heads(k), heads(v)
        share = jax.nn.softmax(jnp.where(seen, q @ k.swapaxes(2, 3) * (WIDTH / HEADS) ** -0.5, -1e9), -1)
        x = x + drop((share @ v).transpose(0, 2, 1, 3).reshape(batch, LENGTH, WIDTH) @ layer["out"])
        y = normed(x, layer["norm2"], layer["shift2"])
        x = (x + drop(jax.nn.relu(y @ layer["up"] + layer["bias1"]) @ layer["down"] + layer["bias2"])) * real
    return normed(x, weights["norm"], weights["shift"])


def loss(weights, history, target, negatives, beta, key, dropout):
    state = states(weights, history, key, dropout)
    positive = (state * weights["items"][target]).sum(-1)
    negative = jnp.einsum("bld,bkd->blk", state, weights["items"][negatives])
    each = -(beta * jax.nn.log_sigmoid(positive) + jax.nn.log_sigmoid(-negative).sum(-1)) / (negatives.shape[1] + 1)
    real = target > 0
    return (each * real).sum() / real.sum()


@partial(jax.jit, static_argnames="dropout")
def step(weights, first, second, count, history, target, negatives, beta, key, dropout):
    """One step of Adam."""
    slope = jax.grad(loss)(weights, history, target, negatives, beta, key, dropout)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, slope)
    second = jax.tree.map(lambda v, g: 0.98 * v + 0.02 * g * g, second, slope)
    move = lambda w, m, v: w - RATE * (m / (1 - 0.9**count)) / (jnp.sqrt(v / (1 - 0.98**count)) + 1e-9)
    return jax.tree.map(move, weights, first, second), first, second


@jax.jit
def answer(weights, history):
    return states(weights, history, jax.random.key(0), 0.0)[:, -1] @ weights["items"][1:].T


def padded(sequence):
    return np.concatenate([np.zeros(max(0, LENGTH - len(sequence)), int), np.asarray(sequence[-LENGTH:], int) + 1])


def scores(weights, histories):
    """Lists of item columns, oldest first; gives histories by items."""
    return np.concatenate([np.asarray(answer(weights, np.stack([padded(h) for h in histories[at : at + 256]])))
                           for at in range(0, len(histories), 256)])


def train(sequences, items, dropout, negatives, t, epochs, seed=0):
    """Yields the weights after each fifth epoch. Longer sequences are cut into pieces, at other places in each epoch."""
    draw = np.random.default_rng(seed)
    weights = start(items, seed)
    first = second = jax.tree.map(jnp.zeros_like, weights)
    alpha = negatives / (items - 1)
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
    count = 0
    for epoch in range(1, epochs + 1):
        pieces = []
        for sequence in sequences:
            end = len(sequence) - (draw.integers(LENGTH) if len(sequence) > LENGTH else 0)
            ends = [len(sequence), *range(end, 1, -LENGTH)] if end < len(sequence) else range(end, 1, -LENGTH)
            pieces += [(padded(sequence[max(0, e - 1 - LENGTH) : e - 1]), padded(sequence[max(0, e - LENGTH) : e])) for e in ends]
        order = draw.permutation(len(pieces))
        order = np.concatenate([order, order[: -len(order) % BATCH]])
        for at in range(0, len(order), BATCH):
            count += 1
            history, target = (np.stack(side) for side in zip(*(pieces[n] for n in order[at : at + BATCH])))
            wrong = draw.integers(1, items + 1, (BATCH, negatives))
            # Where there is no history yet, nothing is to be foreseen.
            target = np.where(history > 0, target, 0)
            weights, first, second = step(weights, first, second, count, history, target, wrong, beta, jax.random.key(count), dropout)
        if epoch % 5 == 0:
            yield epoch, weights

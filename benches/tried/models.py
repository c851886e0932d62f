"""The models: each gives cases by items of scores (float32) for a split."""
import numpy as np
import scipy.sparse as sp


def liked(matrix):
    """1 for each item liked."""
    out = matrix.copy()
    out.data = (out.data > 0).astype(np.float32)
    out.eliminate_zeros()
    return out


def supporters(split):
    return np.asarray(liked(split.train).sum(0)).ravel()


def damped(matrix, exponent):
    """Strengths divided by the mean of the person's positive ones, to a power."""
    out = matrix.copy()
    positive = np.maximum(out.data, 0)
    row = np.repeat(np.arange(out.shape[0]), np.diff(out.indptr))
    number = np.bincount(row, positive > 0, out.shape[0])
    mean = np.where(number > 0, np.bincount(row, positive, out.shape[0]) / np.maximum(number, 1), 1)
    out.data = (np.sign(out.data) * (np.abs(out.data) / mean[row]) ** exponent).astype(np.float32)
    return out


def head(rows, k):
    """The k greatest of each row of a dense matrix, sparse."""
    if k >= rows.shape[1]:
        return sp.csr_matrix(rows)
    columns = np.argpartition(-rows, k, axis=1)[:, :k]
    out = sp.csr_matrix((np.take_along_axis(rows, columns, 1).ravel(), columns.ravel(), np.arange(rows.shape[0] + 1) * k), shape=rows.shape)
    out.eliminate_zeros()
    return out


# References: what the engine has


def ease_weights(split, penalty=100, dropout=0.4):
    """EASE (Steck, WWW 2019) with the penalty of EDLAE (Steck, NeurIPS 2020), for items with three supporters or more."""
    columns = np.where(supporters(split) >= 3)[0]
    x = damped(split.train, 0.25)[:, columns]
    gram = np.asarray((x.T @ x).todense(), np.float32)
    gram[np.diag_indices_from(gram)] += penalty + dropout / (1 - dropout) * np.diag(gram)
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return columns, weights


def ease(split, fitted, half=None):
    """`half`: after so many newer items of the history an item says half as much; None: all say the same."""
    columns, weights = fitted
    histories = damped(split.histories, 0.25)
    if half:
        # Disliked items have no place in the sequence; they keep what they say.
        places = sp.lil_matrix(histories.shape, dtype=np.float32)
        for case, (sequence, _) in enumerate(split.asked):
            for age, (item, _) in enumerate(reversed(sequence)):
                places[case, item] = 1 - 0.5 ** (age / half)
        histories = (histories - histories.multiply(places.tocsr())).tocsr()
    out = np.zeros(histories.shape, np.float32)
    out[:, columns] = histories[:, columns] @ weights
    return out


def ials(split, k=128, penalty=0.04, unobserved=0.1, power=0.75, epochs=10):
    """iALS (Rendle et al., RecSys 2022), exact solves; short rows in the dual form."""
    confidences = damped(split.train, 0.5)
    factors = np.random.default_rng(0).normal(0, 0.1 / k**0.5, (split.train.shape[1], k)).astype(np.float32)
    by_item = confidences.T.tocsr()
    for _ in range(epochs):
        people = solve(confidences, factors, penalty, unobserved, power)
        factors = solve(by_item, people, penalty, unobserved, power)
    return solve(damped(split.histories, 0.5), factors, penalty, unobserved, power) @ factors.T


def solve(confidences, other, penalty, unobserved, power):
    k = other.shape[1]
    values, turn = np.linalg.eigh(other.T @ other)
    other = other @ turn
    out = np.zeros((confidences.shape[0], k), np.float32)
    for row in range(len(out)):
        part = slice(confidences.indptr[row], confidences.indptr[row + 1])
        n = part.stop - part.start
        if n == 0:
            continue
        shared = unobserved * np.maximum(values, 0) + penalty * (n + unobserved * len(other)) ** power
        y, signed = other[confidences.indices[part]], confidences.data[part]
        c, target = np.clip(np.abs(signed), 0.05, 20), (signed > 0).astype(np.float32)
        if n < k:
            small = (y / shared) @ y.T
            small[np.diag_indices(n)] += 1 / c
            out[row] = (y / shared).T @ np.linalg.solve(small, target)
        else:
            large = (y * c[:, None]).T @ y
            large[np.diag_indices(k)] += shared
            out[row] = np.linalg.solve(large, y.T @ (c * target))
    return out @ turn.T


# Candidates


def user_knn(split, k, power):
    """Cosine between people over items weighted by IDF; the k nearest vote with their likeness to a power."""
    train, histories = liked(split.train), liked(split.histories)
    idf = sp.diags(np.log(train.shape[0] / np.maximum(supporters(split), 1)).astype(np.float32))
    unit = lambda x: sp.diags(1 / np.maximum(np.sqrt(np.asarray(x.multiply(x).sum(1)).ravel()), 1e-9)) @ x
    likeness = np.asarray((unit(histories @ idf) @ unit(train @ idf).T).todense(), np.float32)
    known = split.rows >= 0
    likeness[np.where(known)[0], split.rows[known]] = 0
    near = head(likeness, k)
    near.data **= power
    return np.asarray((near @ train).todense(), np.float32)


def rp3beta(split, alpha, beta, k=200):
    """RP3beta (Paudel et al., TiiS 2017): three steps of a random walk, popular items held back by a power; k items an item."""
    train = liked(split.train)
    of_people, of_items = np.asarray(train.sum(1)).ravel(), supporters(split)
    onward = sp.diags(1 / np.maximum(of_people, 1) ** alpha) @ train
    back = (sp.diags(1 / np.maximum(of_items, 1) ** alpha) @ train.T).tocsr()
    held = 1 / np.maximum(of_items, 1) ** beta
    blocks = []
    for at in range(0, train.shape[1], 2000):
        block = np.asarray((back[at : at + 2000] @ onward).todense(), np.float32) * held
        block[np.arange(len(block)), at + np.arange(len(block))] = 0
        blocks.append(head(block, k))
    return np.asarray((liked(split.histories) @ sp.vstack(blocks)).todense(), np.float32)


def sequential_rules(split, window, half, power):
    """Sequential rules (Ludewig & Jannach, UMUAI 2018): `j` follows `i` within `window` places, counting 1/distance.

    `half` 0 asks for the newest item alone, as the paper does; more: items of the history count half after so many newer ones.
    `power`: rules are divided by the supporters of what follows to this power (0 in the paper)."""
    items = split.train.shape[1]
    order = np.array([item for sequence in split.sequences for item, _ in sequence])
    whose = np.repeat(np.arange(len(split.sequences)), [len(sequence) for sequence in split.sequences])
    rules = sp.csr_matrix((items, items), dtype=np.float32)
    for distance in range(1, window + 1):
        same = whose[distance:] == whose[:-distance]
        first, then = order[:-distance][same], order[distance:][same]
        rules += sp.csr_matrix((np.full(len(first), 1 / distance, np.float32), (first, then)), shape=(items, items))
    rules = rules @ sp.diags((1 / np.maximum(supporters(split), 1) ** power).astype(np.float32))
    weigh = lambda age: float(age == 0) if half == 0 else 0.5 ** (age / half)
    asked = sp.csr_matrix(np.array([weights_of(sequence, weigh, items) for sequence, _ in split.asked]))
    return np.asarray((asked @ rules).todense(), np.float32)


def weights_of(sequence, weigh, items):
    out = np.zeros(items, np.float32)
    for age, (item, _) in enumerate(reversed(sequence)):
        out[item] = weigh(age)
    return out


def session_neighbours(split, k, place, days, spread, rare):
    """VSTAN (Ludewig et al., UMUAI 2021: STAN of Garg et al., SIGIR 2019, with VSKNN's IDF), a person's history as the session.

    `place`: items of the history decay by exp(-newer items / place); `days`: neighbours by exp(-days since they were last there / days);
    `spread`: a neighbour's items by exp(-distance in their history to the newest item in common / spread); `rare`: the power that the IDF of what they vote for is brought to."""
    items = split.train.shape[1]
    people = split.sequences
    idf = np.log(len(people) / np.maximum(supporters(split), 1)).astype(np.float32)
    position = np.full((len(people), items), -1, np.int32)
    for row, sequence in enumerate(people):
        position[row, [item for item, _ in sequence]] = np.arange(len(sequence))
    has = sp.csr_matrix((position >= 0).astype(np.float32))
    length = np.sqrt(np.maximum(np.asarray(has.sum(1)).ravel(), 1))
    last = np.array([sequence[-1][1] if sequence else -np.inf for sequence in people])
    out = np.zeros((len(split.asked), items), np.float32)
    for case, (sequence, moment) in enumerate(split.asked):
        weights = weights_of(sequence, lambda age: np.exp(-age / place), items)
        near = has @ (weights * idf) / length * np.exp(-np.maximum(moment - last, 0) / 86_400 / days)
        if split.rows[case] >= 0:
            near[split.rows[case]] = 0
        chosen = np.argsort(-near, kind="stable")[:k]
        chosen = chosen[near[chosen] > 0]
        if np.isinf(spread):
            out[case] = (near[chosen] @ has[chosen]) * idf**rare
            continue
        places = position[chosen]
        newest_first = [item for item, _ in reversed(sequence)]
        common = places[:, newest_first]
        met = common[np.arange(len(chosen)), (common >= 0).argmax(1)]
        votes = np.where(places >= 0, np.exp(-np.abs(places - met[:, None]) / spread), 0)
        out[case] = (near[chosen] @ votes) * idf**rare
    return out

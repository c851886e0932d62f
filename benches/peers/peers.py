"""Accuracy of peers (implicit: ALS, BM25, TF-IDF, cosine) on a published train/test split.

Full ranking over all training items but the user's own, ties by item order; nDCG and recall at 20 as means over the test
users that the training file knows. Hyper-parameters are searched on a tenth of the training rows, with equal budgets, and
the winner is fitted again on all of them.
"""
import sys
import time

import numpy as np
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender

K = 20


def read(path):
    rows = []
    with open(path) as lines:
        for line in lines:
            parts = line.split()
            if len(parts) >= 2:
                rows.append((parts[0], parts[1], float(parts[2]) if len(parts) > 2 else 1.0))
    return rows


def evaluate(model, train, held_out):
    """Mean nDCG@20 and recall@20; `held_out`: user row -> set of item columns."""
    users = np.array(sorted(held_out))
    ranked, _ = model.recommend(users, train[users], N=K, filter_already_liked_items=True)
    discounts = 1 / np.log2(np.arange(2, K + 2))
    ndcg, recall = [], []
    for user, items in zip(users, ranked):
        relevant = held_out[user]
        hits = np.array([item in relevant for item in items])
        ndcg.append((hits * discounts[: len(hits)]).sum() / discounts[: min(K, len(relevant))].sum())
        recall.append(hits.sum() / len(relevant))
    return float(np.mean(ndcg)), float(np.mean(recall))


def main(train_file, test_file):
    rows, test = read(train_file), read(test_file)
    users = {user: n for n, user in enumerate(dict.fromkeys(row[0] for row in rows))}
    items = {item: n for n, item in enumerate(dict.fromkeys(row[1] for row in rows))}
    matrix = lambda part, value: sp.csr_matrix(
        ([value(w) for _, _, w in part], ([users[u] for u, _, _ in part], [items[i] for _, i, _ in part])),
        shape=(len(users), len(items)), dtype=np.float32)

    def truth(part):
        held = {}
        for user, item, _ in part:
            if user in users:
                # An item that training never saw still counts as missed.
                held.setdefault(users[user], set()).add(items.get(item, -1))
        return held

    chosen = np.random.default_rng(42).random(len(rows)) < 0.1
    fit = [row for row, out in zip(rows, chosen) if not out]
    validation = truth([row for row, out in zip(rows, chosen) if out])
    values = {"binary": lambda w: 1.0, "1+ln": lambda w: 1.0 + np.log(max(w, 1.0))}
    search = {
        "implicit ALS": [(AlternatingLeastSquares, dict(factors=f, regularization=r, alpha=a, iterations=15, random_state=42))
                         for f in (64, 128) for r in (0.1, 1.0, 10.0) for a in (1.0, 10.0)],
        "implicit BM25": [(BM25Recommender, dict(K=k, K1=k1, B=b)) for k in (20, 100, 400) for k1 in (0.2, 1.2) for b in (0.2, 0.75)],
        "implicit TF-IDF": [(TFIDFRecommender, dict(K=k)) for k in (20, 50, 100, 200, 400, 800)],
        "implicit cosine": [(CosineRecommender, dict(K=k)) for k in (20, 50, 100, 200, 400, 800)],
    }
    print(f"{len(users)} users, {len(items)} items, {len(rows)} training rows, {len(test)} test rows")
    print(f"{'model':<18} {'nDCG@20':>8} {'recall@20':>10} {'seconds':>8}  parameters")
    for name, grid in search.items():
        trials = []
        for label, value in values.items():
            train = matrix(fit, value)
            for kind, parameters in grid:
                model = kind(**parameters)
                model.fit(train, show_progress=False)
                trials.append((evaluate(model, train, validation)[0], len(trials), kind, parameters, label))
        _, _, kind, parameters, label = max(trials)
        train = matrix(rows, values[label])
        model = kind(**parameters)
        start = time.perf_counter()
        model.fit(train, show_progress=False)
        took = time.perf_counter() - start
        ndcg, recall = evaluate(model, train, truth(test))
        print(f"{name:<18} {ndcg:>8.4f} {recall:>10.4f} {took:>8.1f}  {label} {parameters}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])

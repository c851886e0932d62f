"""Accuracy of peers on a train/test split, and of Medley on the same one, in one table.

Peers: implicit (ALS, BM25, TF-IDF, cosine) and RecTools (EASE, PureSVD). RecTools' SASRec and LightFM are left out: they need
torch or a compiler. All are judged alike: full ranking over all training items but the user's own; nDCG and recall at 20 as means over the
test users that training knows, where a test item that training never saw counts as missed. Each model gets the same budget: TRIALS sets
of hyper-parameters, the library's own first and the rest drawn by a fixed seed, tried on a tenth of the training rows, and no new one after SECONDS; the
winner is fitted again on all of them. Medley searches with
as many trials a model (`--tune`) and never sees the test file before it is asked.

    peers.py TRAIN TEST MEDLEY      lines of: user item [weight], separated by tabs or spaces
"""
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender
from rectools.dataset import Dataset
from rectools.models import EASEModel, PureSVDModel
from threadpoolctl import threadpool_limits

warnings.filterwarnings("ignore")
K = 20
TRIALS = 15
SECONDS = 180


def read(path):
    rows = []
    with open(path) as lines:
        for line in lines:
            parts = line.split("\t") if "\t" in line else line.split()
            if len(parts) >= 2:
                rows.append((parts[0], parts[1].strip(), float(parts[2]) if len(parts) > 2 else 1.0))
    return rows


class Implicit:
    """A model of implicit: fitted on a matrix of users by items."""

    def __init__(self, kind, parameters):
        self.model = kind(**parameters)

    def fit(self, train):
        self.train = train
        # implicit has threads of its own; those of BLAS beside them slow it down.
        with threadpool_limits(1, "blas"):
            self.model.fit(train, show_progress=False)

    def rank(self, users):
        return self.model.recommend(users, self.train[users], N=K, filter_already_liked_items=True)[0]


class Rectools:
    """A model of RecTools: fitted on a table of interactions."""

    def __init__(self, kind, parameters):
        self.model = kind(**parameters)

    def fit(self, train):
        rows = train.tocoo()
        table = pd.DataFrame({"user_id": rows.row, "item_id": rows.col, "weight": rows.data, "datetime": "2020-01-01"})
        self.dataset = Dataset.construct(table)
        self.model.fit(self.dataset)

    def rank(self, users):
        found = self.model.recommend(users=users, dataset=self.dataset, k=K, filter_viewed=True)
        by_user = {user: group["item_id"].to_numpy() for user, group in found.groupby("user_id")}
        return [by_user.get(user, np.array([], dtype=int)) for user in users]


def evaluate(model, held_out):
    """Mean nDCG@20 and recall@20; `held_out`: user row -> set of item columns."""
    users = np.array(sorted(held_out))
    discounts = 1 / np.log2(np.arange(2, K + 2))
    ndcg, recall = [], []
    for user, items in zip(users, model.rank(users)):
        relevant = held_out[user]
        hits = np.array([item in relevant for item in items], dtype=float)
        ndcg.append((hits * discounts[: len(hits)]).sum() / discounts[: min(K, len(relevant))].sum())
        recall.append(hits.sum() / len(relevant))
    return float(np.mean(ndcg)), float(np.mean(recall))


def search_spaces(draw):
    """By name: what builds a model, and what draws its hyper-parameters."""
    pick = lambda *values: values[draw.integers(len(values))]
    log = lambda low, high: float(np.exp(draw.uniform(np.log(low), np.log(high))))
    neighbours = lambda: dict(K=pick(20, 50, 100, 200, 400, 800))
    return {
        "implicit ALS": (Implicit, AlternatingLeastSquares, lambda: dict(
            factors=pick(32, 64, 96, 128), regularization=log(0.01, 30), alpha=log(0.5, 40), iterations=15, random_state=42)),
        "implicit BM25": (Implicit, BM25Recommender, lambda: dict(**neighbours(), K1=log(0.1, 100), B=float(draw.uniform(0, 1)))),
        "implicit TF-IDF": (Implicit, TFIDFRecommender, neighbours),
        "implicit cosine": (Implicit, CosineRecommender, neighbours),
        "RecTools EASE": (Rectools, EASEModel, lambda: dict(regularization=log(10, 2000))),
        "RecTools PureSVD": (Rectools, PureSVDModel, lambda: dict(factors=pick(16, 32, 64, 96, 128, 256))),
    }


def medley(binary, rows, test, known):
    """What Medley reaches on the same users: the test file without those whom training does not know."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, "train.tsv"), Path(folder, "test.tsv")]
        for file, part in zip(files, [rows, [row for row in test if row[0] in known]]):
            file.write_text("".join(f"{user}\t{item}\t{weight}\n" for user, item, weight in part))
        start = time.perf_counter()
        command = [binary, "--json", "evaluate", "--tune", "--at", str(K), "--train", files[0], "--test", files[1]]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={"MEDLEY_LOG__LEVEL": "error"})
        took = time.perf_counter() - start
    for model in json.loads(done.stdout)["models"]:
        metrics = model["metrics"]
        yield (f"Medley {model['name']}", metrics[f"ndcg@{K}"]["mean"], metrics[f"recall@{K}"]["mean"], took, "tuned, all models together")


def main(train_file, test_file, binary):
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
                held.setdefault(users[user], set()).add(items.get(item, (item,)))
        return held

    chosen = np.random.default_rng(42).random(len(rows)) < 0.1
    fit = [row for row, out in zip(rows, chosen) if not out]
    validation = truth([row for row, out in zip(rows, chosen) if out])
    # RecTools recommends to those only whom it was fitted on.
    fitted = {users[row[0]] for row in fit}
    validation = {user: held for user, held in validation.items() if user in fitted}
    values = {"binary": lambda w: 1.0, "log": lambda w: float(np.log2(1.0 + w))}
    print(f"{len(users)} users, {len(items)} items, {len(rows)} training rows, {len(test)} test rows")
    table = list(medley(binary, rows, test, users))
    draw = np.random.default_rng(42)
    for name, (wrapper, kind, parameters) in search_spaces(draw).items():
        start, trials = time.perf_counter(), []
        for trial in range(TRIALS):
            if time.perf_counter() - start > SECONDS:
                break
            label, chosen_parameters = list(values)[trial % 2], parameters() if trial else {}
            model = wrapper(kind, chosen_parameters)
            model.fit(matrix(fit, values[label]))
            trials.append((evaluate(model, validation)[0], -trial, chosen_parameters, label))
        _, _, best, label = max(trials, key=lambda trial: trial[:2])
        model = wrapper(kind, best)
        model.fit(matrix(rows, values[label]))
        ndcg, recall = evaluate(model, truth(test))
        table.append((name, ndcg, recall, time.perf_counter() - start, f"{len(trials)} trials: {label} {best or 'its defaults'}"))
    print(f"{'model':<24} {'nDCG@20':>8} {'recall@20':>10} {'seconds':>8}  parameters")
    for name, ndcg, recall, took, note in sorted(table, key=lambda row: -row[1]):
        print(f"{name:<24} {ndcg:>8.4f} {recall:>10.4f} {took:>8.1f}  {note}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4])

"""Models that the engine does not have, alone and blended with those it has, in one table.

    tried.py DATA [WORD]       the folder of data sets; only splits whose name holds WORD

nDCG@20 and recall@20 over the full catalogue without what the person had, and the difference in nDCG@20 with its 95 % interval (paired bootstrap over
people). The order in time is split at three moments, so that there are enough people: each part that is to be foreseen ends where the next one begins, and
models know nothing from after their own moment. Hyper-parameters, and the weight in the blend, are those that are best on a split of the same kind inside the training part; a blend may choose
the weight 0. Every model is fitted again on the whole training part, and the test part is asked once.
"""
import sys
import time
from itertools import product

import numpy as np

import models
import sasrec
from splits import PERIODS, splits

K = 20
WEIGHTS = [0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2.5, 5]
SAMPLES = 2000
EPOCHS = 30


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def judged(scores, split):
    """nDCG@20 and recall@20 of each case."""
    scores = scores.copy()
    scores[split.histories.nonzero()] = -np.inf
    top = np.argpartition(-scores, K, axis=1)[:, :K]
    top = np.take_along_axis(top, np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable"), 1)
    rows = np.arange(len(top))[:, None]
    hits = np.asarray(split.relevant[np.broadcast_to(rows, top.shape).ravel(), top.ravel()]).reshape(top.shape) > 0
    wanted = np.diff(split.relevant.indptr)
    discounts = 1 / np.log2(np.arange(2, K + 2))
    return (hits * discounts).sum(1) / np.cumsum(discounts)[np.minimum(wanted, K) - 1], hits.sum(1) / wanted


def ndcg(scores, split):
    return judged(scores, split)[0].mean()


def interval(difference, people):
    """Mean difference and its 95 % interval: people are drawn, with all their cases."""
    _, whose = np.unique(people, return_inverse=True)
    sums, cases = np.bincount(whose, difference), np.bincount(whose)
    drawn = np.random.default_rng(42).integers(len(cases), size=(SAMPLES, len(cases)))
    means = sums[drawn].sum(1) / cases[drawn].sum(1)
    return difference.mean(), *np.quantile(means, [0.025, 0.975])


def scaled(scores):
    """Scores around each case's median, brought to where the tenth best of a typical case has 1."""
    middle = np.median(scores, axis=1, keepdims=True)
    tenth = -np.partition(-scores, 9, axis=1)[:, 9:10] - middle
    return (scores - middle) / np.median(tenth[tenth > 0])


def chosen_weight(base, scores, split):
    return max(WEIGHTS, key=lambda weight: ndcg(base + weight * scores, split))


def grid(**values):
    return [dict(zip(values, choice)) for choice in product(*values.values())]


def searched(model, candidates, split):
    """The best of the candidates on the validation split; gives its scores there and on the test split, and itself."""
    results = [model(split.validation, **candidate) for candidate in candidates[:1]]
    best, value, kept = candidates[0], ndcg(results[0], split.validation), results[0]
    for candidate in candidates[1:]:
        scores = model(split.validation, **candidate)
        reached = ndcg(scores, split.validation)
        if reached > value:
            best, value, kept = candidate, reached, scores
    return kept, model(split, **best), best


def coordinates(model, start, values, split):
    """As `searched`, one parameter after the other."""
    best = dict(start)
    for name, choices in values.items():
        *_, best = searched(model, [best] + [{**best, name: choice} for choice in choices], split)
    return model(split.validation, **best), model(split, **best), best


def self_attention(split):
    """SASRec with the loss of gSASRec: settings and the number of epochs by validation."""
    lists = lambda sequences: [[item for item, _ in sequence] for sequence in sequences]
    items = split.train.shape[1]
    candidates = [dict(dropout=0.2, negatives=256, t=0.75), dict(dropout=0.5, negatives=256, t=0.75), dict(dropout=0.5, negatives=64, t=0.25)]
    best = (-1,)
    asked = lists(sequence for sequence, _ in split.validation.asked)
    for candidate in candidates:
        for epoch, weights in sasrec.train(lists(split.validation.sequences), items, **candidate, epochs=EPOCHS):
            scores = sasrec.scores(weights, asked)
            reached = ndcg(scores, split.validation)
            say(f"  SASRec {candidate} after {epoch} epochs: {reached:.4f}")
            if reached > best[0]:
                best = reached, candidate, epoch, scores
    _, candidate, epochs, validation = best
    for epoch, weights in sasrec.train(lists(split.sequences), items, **candidate, epochs=epochs):
        pass
    return validation, sasrec.scores(weights, lists(sequence for sequence, _ in split.asked)), {**candidate, "epochs": epochs}


def candidates_of(split, fitted):
    """Yields (name, scores on the validation split, scores on the test split, settings)."""
    if split.asked:
        recent = lambda part, half: models.ease(part, fitted[part is split.validation], half)
        yield "EASE, recent items first", *searched(recent, grid(half=[10, 30, 100, 300]), split)
        yield "sequential rules", *searched(models.sequential_rules, grid(window=[10, 50], half=[0, 5, 20, 100], power=[0, 0.5]), split)
        yield "VSTAN", *coordinates(
            models.session_neighbours, dict(k=100, place=np.inf, days=np.inf, spread=np.inf, rare=0),
            dict(rare=[0.5, 1], place=[10, 30, 100], days=[300, 1000], spread=[20, 100], k=[25, 50, 200]), split)
        yield "SASRec, gBCE", *self_attention(split)
    else:
        yield "user-kNN", *searched(models.user_knn, grid(k=[25, 50, 100, 200, 400, 800], power=[1, 2]), split)
        yield "RP3beta", *searched(models.rp3beta, grid(alpha=[0.6, 1.0], beta=[0.2, 0.35, 0.5]), split)


def measured(split):
    """By model: nDCG@20 and recall@20 of each case of the test part, and what was chosen on the validation part."""
    parts = (split.validation, split)
    fitted = {part is split.validation: models.ease_weights(part) for part in parts}
    ease = [scaled(models.ease(part, fitted[part is split.validation])) for part in parts]
    ials = [scaled(models.ials(part)) for part in parts]
    weight = chosen_weight(ease[0], ials[0], split.validation)
    both = [scaled(ease[n] + weight * ials[n]) for n in (0, 1)]
    out = {"EASE": (judged(ease[1], split), ""), "iALS": (judged(ials[1], split), ""),
           "EASE + iALS": (judged(both[1], split), f"iALS × {weight}")}
    for model, validation, test, settings in candidates_of(split, fitted):
        out[model] = judged(test, split), ", ".join(f"{key} {value}" for key, value in settings.items())
        validation, test = scaled(validation), scaled(test)
        for base, label in [(ease, "EASE"), (both, "EASE + iALS")]:
            weight = chosen_weight(base[0], validation, split.validation)
            out[f"{label} + {model}"] = judged(base[1] + weight * test, split), f"× {weight}"
    return out


def show(name, results, people):
    """`results`: as `measured` gives them; one line a model."""
    print(f"| **{name}** | | | | | {len(people)} cases of {len(set(people))} people |")
    for model, (values, note) in results.items():
        differences = ""
        for reference in ("EASE", "EASE + iALS"):
            mean, low, high = interval(values[0] - results[reference][0][0], people)
            differences += " |" if model == reference else f" {mean:+.4f} [{low:+.4f}, {high:+.4f}] |"
        print(f"| {model} | {values[0].mean():.4f} | {values[1].mean():.4f} |{differences} {note} |", flush=True)


def main(folder, word=""):
    print("| model | nDCG@20 | recall@20 | nDCG@20 − EASE | nDCG@20 − (EASE + iALS) | chosen on the validation part |")
    print("| --- | --- | --- | --- | --- | --- |")
    periods = []
    for name, split in splits(folder):
        if word not in name:
            continue
        start = time.perf_counter()
        results = measured(split)
        show(name, results, split.people)
        say(f"{name}: {time.perf_counter() - start:.0f} s")
        if split.asked:
            periods.append((results, split.people))
        if len(periods) == PERIODS:
            pooled = {model: (np.concatenate([[*results[model][0]] for results, _ in periods], 1), "") for model in results}
            show("ml-latest-small, the three periods together", pooled, np.concatenate([people for _, people in periods]))
            periods = []


if __name__ == "__main__":
    main(*sys.argv[1:3])

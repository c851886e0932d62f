"""The same jobs as `cargo bench --bench training`, by implicit and by numpy: see run."""
import json
import sys
import time

import numpy as np
import scipy.sparse as sp


def read(path, items):
    rows = np.loadtxt(path, dtype=np.int32)
    return sp.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows[:, 0], rows[:, 1])), shape=(rows[:, 0].max() + 1, items))


def ials(data, dimensions):
    """implicit weighs what was not observed by 1 and what was by its confidence; dividing its loss by 10 gives the weights of ours: 0.1 and 1,
    up to what the observed add to the term of all pairs. Its regularisation of 100 is our 10."""
    from implicit.als import AlternatingLeastSquares

    data = data * 10
    out = []
    for epochs in [1, 2, 3, 4, 6, 8, 12, 16, 30]:
        model = AlternatingLeastSquares(factors=dimensions, regularization=100.0, alpha=1.0, iterations=epochs, random_state=42, use_cg=True)
        start = time.perf_counter()
        model.fit(data, show_progress=False)
        seconds = time.perf_counter() - start
        items = np.asarray(model.item_factors, dtype=np.float64)
        # People folded in exactly, as for ours.
        gram = items.T @ items
        loss = 100.0 * (items**2).sum()
        for user in range(data.shape[0]):
            own = items[data.indices[data.indptr[user] : data.indptr[user + 1]]]
            person = np.linalg.solve(gram + 9 * own.T @ own + 100.0 * np.eye(dimensions), 10 * own.sum(0))
            scores = own @ person
            loss += 100.0 * (person**2).sum() + person @ gram @ person + (10 * (1 - scores) ** 2 - scores**2).sum()
        out.append({"epochs": epochs, "seconds": seconds, "loss": loss / 10})
    return out


def ease(data):
    """As most write it with numpy: the Gram matrix, its inverse, the weights."""
    start = time.perf_counter()
    gram = (data.T @ data).toarray()
    gram[np.diag_indices_from(gram)] += 200.0
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "squares": float((weights.astype(np.float64) ** 2).sum()), "dtype": str(inverse.dtype)}


if __name__ == "__main__":
    what, path, items = sys.argv[1], sys.argv[2], int(sys.argv[3])
    matrix = read(path, items)
    print(json.dumps(ials(matrix, int(sys.argv[4])) if what == "ials" else ease(matrix)))

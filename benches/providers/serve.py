"""Serves a GGUF file by llama.cpp, with OpenAI's protocol on loopback: serve.py FILE PORT [embeddings]."""

import sys
import time

import xllamacpp

path, port, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
parameters = xllamacpp.CommonParams()
parameters.model.path = path
parameters.hostnames = ["127.0.0.1"]
parameters.port = port
parameters.n_ctx = 8192
parameters.n_parallel = 2
parameters.cpuparams.n_threads = 2
parameters.cpuparams_batch.n_threads = 2
if mode == ["embeddings"]:
    parameters.embedding = True
    parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
server = xllamacpp.Server(parameters)
print("listening on", server.listening_address, flush=True)
while True:
    time.sleep(60)

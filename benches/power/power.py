"""Cuts the power under a service: power.py MEDLEY DATABASE CUTS; see run."""

import fcntl
import glob
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

medley, database, cuts = os.path.abspath(sys.argv[1]), sys.argv[2], int(sys.argv[3])
SENDERS = 4
SHUTDOWN, WITHOUT_LOG = 0x8004587D, 2  # _IOR('X', 125, __u32), EXT4_GOING_FLAGS_NOLOGFLUSH
address, port = "127.0.0.1:18085", 18086
work = pathlib.Path(tempfile.mkdtemp())
work.chmod(0o755)  # The database server is another user.
disk = work / "disk"
draw = random.Random(11)
running = []


def run(*command, **more):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, **more)


def call(path, body=None, timeout=20):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(f"http://{address}{path}", data=data), timeout=timeout) as answer:
        return json.load(answer)


def start():
    """The database, if it is one of its own, and the service; until both answer."""
    environment = dict(os.environ, MEDLEY_LOG__LEVEL="error", MEDLEY_DATABASE__TIMEOUT_MS="10000")
    if database.startswith("postgres"):
        programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        cluster = disk / "postgres"
        if not cluster.exists():
            cluster.mkdir()
            shutil.chown(cluster, "postgres")
            run(f"{programs}/initdb", "-D", cluster, "--auth=trust", "--username=medley", user="postgres")
        synced = "off" if database.endswith("unsynced") else "on"
        server = [f"{programs}/postgres", "-D", cluster, "-p", port, "-k", "", "-c", f"synchronous_commit={synced}"]
        running.append(subprocess.Popen([str(part) for part in server], user="postgres", stderr=subprocess.DEVNULL))
        environment["MEDLEY_DATABASE__URL"] = f"postgres://medley@127.0.0.1:{port}/postgres"
    elif database.endswith("unsynced"):
        environment["SQLITE_SYNCHRONOUS"] = "NORMAL"
    service = [medley, "serve", "--no-demo", "--data-dir", disk / "data", "--address", address]
    log = open(work / "log", "ab")
    running.append(subprocess.Popen(service, env=environment, stdout=log, stderr=log))
    until = time.time() + 60
    while True:
        try:
            call("/readyz", timeout=1)
            return
        except OSError:
            if time.time() > until:
                raise SystemExit(f"it does not start:\n{(work / 'log').read_text()[-2000:]}")
            time.sleep(0.1)


def children(parent):
    """The processes that it has started; those of Postgres have groups of their own."""
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            if int(pathlib.Path(stat).read_text().rpartition(")")[2].split()[1]) == parent:
                yield int(stat.split("/")[2])
        except OSError:
            pass


def kill():
    """All at once: nobody gets to write anything more."""
    for process in reversed(running):
        for one in [process.pid, *children(process.pid)]:
            try:
                os.kill(one, signal.SIGKILL)
            except ProcessLookupError:
                pass
        process.wait()
    running.clear()


def unmount():
    """Those who were killed leave a moment later."""
    for _ in range(200):
        if subprocess.run(["umount", disk], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return
        time.sleep(0.1)
    raise SystemExit("somebody is still on the disk")


def send(sender, cut, acknowledged, sent, stop):
    """Batches, one after the other, each of events that were never sent before; in `acknowledged`: those that were answered with 200."""
    own = random.Random(sender * 1000 + cut)
    number = 0
    while not stop.is_set():
        ids = [f"{sender}-{cut}-{number + n}" for n in range(own.choice([1, 10, 100]))]
        number += len(ids)
        sent.update(ids)
        events = [{"event_id": name, "user_id": f"user-{sender}", "item_id": f"item-{draw.randrange(50)}", "type": "play"} for name in ids]
        try:
            call("/api/events", {"events": events})
            acknowledged.update(ids)
        except (OSError, urllib.error.HTTPError, ValueError):
            pass


try:
    disk.mkdir()
    image = work / "image"
    run("truncate", "-s", "600M", image)
    run("mkfs.ext4", "-q", image)
    run("mount", "-o", "loop", image, disk)
    start()
    items = [{"id": f"item-{n}", "domain": "music", "title": f"Title {n}", "genres": ["rock"]} for n in range(50)]
    call("/api/items", items)
    acknowledged, sent = set(), set()
    for cut in range(cuts):
        stop, parts = threading.Event(), [(set(), set()) for _ in range(SENDERS)]
        senders = [threading.Thread(target=send, args=(n, cut, *parts[n], stop)) for n in range(SENDERS)]
        for sender in senders:
            sender.start()
        time.sleep(draw.uniform(0.5, 3.0))
        root = os.open(disk, os.O_RDONLY)
        fcntl.ioctl(root, SHUTDOWN, struct.pack("I", WITHOUT_LOG))
        os.close(root)
        stop.set()
        kill()
        for sender in senders:
            sender.join()
        for known, all_of_it in parts:
            acknowledged |= known
            sent |= all_of_it
        unmount()
        run("mount", "-o", "loop", image, disk)
        start()
    stored = []
    for sender in range(SENDERS):
        stored += [event["event_id"] for event in call(f"/api/users/user-{sender}/export")["events"]]
    lost, doubled, invented = len(acknowledged - set(stored)), len(stored) - len(set(stored)), len(set(stored) - sent)
    print(f"{database:<18} {cuts} cuts  {len(acknowledged)} acknowledged  {lost} lost  {doubled} doubled  {invented} never sent  "
          f"{len(sent - acknowledged)} without an answer, {len(set(stored) - acknowledged)} of them stored", flush=True)
    if (lost > 0) != database.endswith("unsynced") or doubled or invented:
        sys.exit(1)
finally:
    kill()
    if os.path.ismount(disk):
        unmount()
    shutil.rmtree(work, ignore_errors=True)

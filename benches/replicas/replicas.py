"""Three replicas behind HAProxy on one Postgres; started by `run`."""

import argparse, glob, http.client, itertools, json, os, pwd, re, shutil, signal, socket, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def call(port, method, path, body=None, timeout=20):
    """(status, JSON) of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def until(what, condition, patience=120, pause=0.02):
    """Seconds until the condition holds."""
    start = time.monotonic()
    while True:
        try:
            if condition():
                return time.monotonic() - start
        except (OSError, http.client.HTTPException):
            pass
        if time.monotonic() - start > patience:
            sys.exit(f"after {patience} s still not: {what}")
        time.sleep(pause)


class Processes:
    """What was started, ended at the end by its id."""

    def __init__(self, work):
        self.work, self.all = work, []

    def start(self, name, command, user=None, **more):
        log = open(os.path.join(self.work, f"{name}.log"), "ab")
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=user, **more)
        self.all.append(process)
        return process

    def end(self):
        for process in reversed(self.all):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()


def start_postgres(processes):
    """As tests/support/postgres.rs does it, but with fsync; its port."""
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]), reverse=True)
    programs = os.path.dirname(shutil.which("postgres") or "") or next(iter(folders), None) or sys.exit("no Postgres")
    user = None
    data = os.path.join(processes.work, "postgres")
    os.mkdir(data)
    if os.getuid() == 0:
        user = "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"
        shutil.chown(data, user)
    os.chmod(data, 0o700)
    initdb = [f"{programs}/initdb", "--pgdata", data, "--username=medley", "--auth=trust", "--encoding=UTF8", "--locale=C"]
    subprocess.run(initdb, user=user, check=True, stdout=subprocess.DEVNULL, cwd="/")
    port = free_port()
    processes.start("postgres", [f"{programs}/postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", ""], user=user, cwd="/")
    until("Postgres accepts connections", lambda: socket.create_connection(("127.0.0.1", port), 1))
    until("Postgres is ready", lambda: open(f"{data}/postmaster.pid").read().rstrip().endswith("ready"))
    return port


def start_pgbouncer(processes, postgres):
    """(port, what it is)"""
    program = os.environ.get("PGBOUNCER", "pgbouncer")
    version = re.search(r"(\d+)\.(\d+)", subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout)
    version = tuple(map(int, version.groups()))
    mode = "transaction" if version >= (1, 21) else "session"
    port, folder = free_port(), os.path.join(processes.work, "pgbouncer")
    os.mkdir(folder)
    settings = ["[databases]", f"medley = host=127.0.0.1 port={postgres} dbname=postgres user=medley", "[pgbouncer]",
                "listen_addr = 127.0.0.1", f"listen_port = {port}", "unix_socket_dir =", "auth_type = any",
                f"pool_mode = {mode}", f"default_pool_size = {10 if mode == 'transaction' else 60}", "max_client_conn = 500"]
    if mode == "transaction":
        settings.append("max_prepared_statements = 200")
    with open(f"{folder}/pgbouncer.ini", "w") as file:
        file.write("\n".join(settings) + "\n")
    user = "nobody" if os.getuid() == 0 else None
    processes.start("pgbouncer", [program, f"{folder}/pgbouncer.ini"], user=user)
    until("PgBouncer accepts connections", lambda: socket.create_connection(("127.0.0.1", port), 1))
    return port, f"PgBouncer {version[0]}.{version[1]}, pool_mode={mode}"


class Replica:
    def __init__(self, name, binary, processes):
        self.name, self.binary, self.processes, self.port = name, binary, processes, free_port()
        self.process = None

    def start(self, url):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDLEY_")}
        environment |= {"MEDLEY_DATABASE_URL": url, "MEDLEY_DEMO__CATALOGUE": "always", "MEDLEY_SERVER__LEAVE_DELAY_MS": "2000",
                        "MEDLEY_LOG__LEVEL": "warn"}
        command = [self.binary, "serve", "--address", f"127.0.0.1:{self.port}", "--data-dir", f"{self.processes.work}/shared"]
        self.process = self.processes.start(f"replica-{self.name}", command, env=environment)
        until(f"{self.name} is ready", lambda: call(self.port, "GET", "/readyz")[0] == 200)

    def restart(self, url):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.start(url)
        time.sleep(1.5)  # HAProxy has looked again

    def kill(self):
        self.process.kill()
        self.process.wait()

    def version(self):
        status, answer = call(self.port, "POST", "/api/recommend", {})
        return answer["model"]["version"] if status == 200 else None


class Load:
    """Clients that keep their connections and never try anything twice."""

    def __init__(self, port, clients):
        self.port, self.lock, self.done = port, threading.Lock(), threading.Event()
        self.sent, self.failed, self.degraded, self.acknowledged = 0, [], 0, []
        self.threads = [threading.Thread(target=self.client, args=(n,), daemon=True) for n in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()

    def client(self, number):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        for n in itertools.count():
            if self.done.is_set():
                break
            event_id = f"{id(self)}-{number}-{n}"
            if n % 3 == 2:
                path, body = "/api/events", {"events": [{"event_id": event_id, "user_id": f"load-{number}", "item_id": f"item-{n % 50}", "type": "play"}]}
            else:
                path, body = "/api/recommend", {"user_id": f"demo-listener-{n % 100:03}", "movie": ["horror"]}
            problem, answer = None, None
            try:
                connection.request("POST", path, json.dumps(body))
                response = connection.getresponse()
                answer = json.loads(response.read())
                if response.status != 200:
                    problem = f"{path}: {response.status} {answer}"
            except (OSError, http.client.HTTPException, ValueError) as error:
                problem = f"{path}: {error!r}"
                connection.close()
            with self.lock:
                self.sent += 1
                if problem:
                    self.failed.append(problem)
                elif n % 3 == 2:
                    self.acknowledged.append((f"load-{number}", event_id))
                else:
                    self.degraded += bool(answer["degraded"])
            time.sleep(0.01)
        connection.close()

    def report(self, what):
        print(f"{what}: {self.sent} requests, {len(self.failed)} failed, {self.degraded} answers degraded", flush=True)
        for problem in sorted(set(self.failed))[:5]:
            print(f"    {self.failed.count(problem)} times {problem}"[:300], flush=True)


def lost(port, loads):
    """How many acknowledged events are not there exactly once."""
    wanted = [pair for load in loads for pair in load.acknowledged]
    wrong = 0
    for user in sorted({user for user, _ in wanted}):
        events = [event["event_id"] for event in call(port, "GET", f"/api/users/{user}/export", timeout=60)[1]["events"]]
        times = {event: 0 for event in events}
        for event in events:
            times[event] += 1
        wrong += sum(times.get(event, 0) != 1 for owner, event in wanted if owner == user)
    return len(wanted), wrong


def round_of_faults(name, replicas, front, url, arguments, loads):
    """Restarts, a killed trainer, activations; whether no request failed in the restarts."""
    with Load(front, arguments.clients) as load:
        time.sleep(arguments.seconds / 4)
        for replica in replicas:
            replica.restart(url)
            time.sleep(arguments.seconds / 4)
    load.report(f"{name}: each of three restarted in turn")
    loads.append(load)
    right = not load.failed

    a, b, c = replicas
    with Load(front, arguments.clients) as load:
        status, job = call(a.port, "POST", "/api/models/train")
        assert status == 202, (status, job)
        assert call(b.port, "POST", "/api/models/train")[0] == 409, "one trains at a time"
        time.sleep(0.3)
        a.kill()
        killed = time.monotonic()
        heard = call(b.port, "GET", f"/api/jobs/{job['id']}")[1]
        assert heard["state"] == "running", heard
        until("the job is taken over", lambda: call(b.port, "GET", f"/api/jobs/{job['id']}")[1]["updated_at"] != heard["updated_at"])
        taken = time.monotonic() - killed
        until("the job ends", lambda: call(b.port, "GET", f"/api/jobs/{job['id']}")[1]["state"] != "running", 600)
        ended = time.monotonic() - killed
        result = call(b.port, "GET", f"/api/jobs/{job['id']}")[1]
        assert result["state"] == "succeeded", result
        a.start(url)
    print(f"{name}: trainer killed; taken over after {taken:.1f} s, trained after {ended:.1f} s")
    load.report(f"{name}: meanwhile, one replica gone by kill -9")
    loads.append(load)

    versions = sorted({model["version"] for model in call(b.port, "GET", "/api/models")[1]["data"]})[-2:]
    times = []
    with Load(front, arguments.clients) as load:
        for n in range(10):
            version = versions[n % 2]
            start = time.monotonic()
            assert call(replicas[n % 3].port, "POST", f"/api/models/{version}/activate")[0] == 200
            until("all serve it", lambda: all(replica.version() == version for replica in replicas))
            times.append(time.monotonic() - start)
    print(f"{name}: 10 activations, each until all three serve it: at most {max(times):.1f} s, median {sorted(times)[5]:.1f} s")
    load.report(f"{name}: meanwhile")
    loads.append(load)
    return right and not load.failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--seconds", type=float, default=20, help="of load around the restarts of a round")
    parser.add_argument("--clients", type=int, default=6)
    arguments = parser.parse_args()
    work = tempfile.mkdtemp(prefix="medley-replicas-")
    os.chmod(work, 0o755)  # what runs as another user has its folder here
    processes = Processes(work)
    right = False
    try:
        postgres = start_postgres(processes)
        url = f"postgres://medley@127.0.0.1:{postgres}/postgres?sslmode=disable"
        replicas = [Replica(name, os.path.abspath(arguments.binary), processes) for name in "abc"]
        for replica in replicas:
            replica.start(url)
        until("all have a model", lambda: all(replica.version() for replica in replicas))
        front = free_port()
        ports = {f"REPLICA_{replica.name.upper()}": str(replica.port) for replica in replicas}
        processes.start("haproxy", ["haproxy", "-db", "-f", f"{HERE}/haproxy.cfg"], env=os.environ | ports | {"FRONT": str(front)})
        until("HAProxy answers", lambda: call(front, "GET", "/readyz")[0] == 200)
        loads = []
        right = round_of_faults("Postgres", replicas, front, url, arguments, loads)

        port, bouncer = start_pgbouncer(processes, postgres)
        through = f"postgres://medley@127.0.0.1:{port}/medley?sslmode=disable"
        for replica in replicas:
            replica.restart(through)
        right &= round_of_faults(bouncer, replicas, front, through, arguments, loads)
        count, wrong = lost(replicas[0].port, loads)
        print(f"{count} acknowledged events, {wrong} of them not there exactly once")
        right &= wrong == 0
    finally:
        processes.end()
        if right:
            shutil.rmtree(work)
        else:
            print(f"logs are in {work}", file=sys.stderr)
    sys.exit(0 if right else 1)


main()

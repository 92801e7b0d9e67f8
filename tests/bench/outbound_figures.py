"""What an application asks for and waits for: lookups by the API, many partners in one call, flows of several steps."""

import json
import shutil
import statistics
import subprocess
import time

import requests

from harness import Sandbox, Worker, wait_until
from harness.daemons import Scheduler
from measuring import ROOT, Failed, children_cpu_us, cpu_us, per_s

LOOKUPS = 40000
CONNECTIONS = 64
FAN = 5
CALLS = 40
FLOWS, STEPS, IN_FLIGHT, STEP_MS = 1500, 3, 500, 20


def driver(folder, partner, name):
    """The driver under another name, without limits."""
    manifest = json.loads((ROOT / "drivers" / partner / "manifest.json").read_text())
    manifest.pop("limits", None)
    manifest.pop("limit_headers", None)
    manifest |= {"partner": name}
    manifest["api"] |= {"concurrency": {"partner": IN_FLIGHT, "integration": IN_FLIGHT}}
    manifest |= {"jobs": {"in_flight": {"partner": IN_FLIGHT, "integration": IN_FLIGHT}}}
    (folder / name).mkdir(parents=True)
    (folder / name / "manifest.json").write_text(json.dumps(manifest))


class Stage:
    """A scheduler, and what it asks; made once for all parts."""

    def __init__(self, s):
        self.s, folder = s, s.folder / "asked"
        for n in range(FAN):
            driver(folder, "weather", f"weather{n}")
        driver(folder, "maintenance", "maintenance")
        key = s.folder / "asked.key"
        key.write_text("bench " + "A" * 43 + "=\n")
        key.chmod(0o600)
        self.env = {**s.env(), "LONGSHORE_DRIVERS": str(folder), "LONGSHORE_SECRET_KEY_FILE": str(key)}
        s.longshore.env = self.env
        for n in range(FAN):
            s.longshore("integration", "add", "--partner", f"weather{n}", "--base-url", s.sandbox.url + "/open-meteo/v1")
        self.steps = s.add(Sandbox(s.sub("steps"), s.env(), latency=f"{STEP_MS}ms"))
        s.longshore("company", "add", "Flows")
        self.maintenance = int(s.longshore("integration", "add", "--company", "Flows", "--partner", "maintenance", "--base-url", self.steps.url + "/maintenance/v1",
                                           "--credentials", "-", input='{"api_key": "maint-1"}').out.split()[-1])
        self.token = s.longshore("token", "add", "bench", "--per-minute", "10000000").out.strip()
        s.longshore.env = s.env()
        self.scheduler = s.add(Scheduler(s.sub("asking"), self.env, import_every=0, log_level="warn")).wait_ready()
        self.url = f"http://127.0.0.1:{self.scheduler.port}/api/v1"
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {self.token}"


def stage(s):
    if not hasattr(s, "asked"):
        s.asked = Stage(s)
    return s.asked


def load(s, pid, port, path, token, n, rate=0):
    used, redis = cpu_us(pid), s.redis_cpu_us()
    got = s.program("bench_webhook", "get", port, path, token, n, CONNECTIONS, rate)
    return {**got, "server_us": (cpu_us(pid) - used) / n, "redis_us": (s.redis_cpu_us() - redis) / n}


def constant(s, n):
    server = subprocess.Popen([str(s.programs / "bench_webhook"), "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        return load(s, server.pid, int(server.stdout.readline()), "/", "t", n)
    finally:
        server.stdin.close()
        server.wait(10)


def lookups(s, f):
    a = stage(s)
    path = "/lookup/weather0/current?lat=52.52&lon=13.405"
    first = a.session.get(a.url + path, timeout=20)
    if first.status_code != 200 or first.json()["state"] != "fresh":
        raise Failed(f"the lookup was not answered: {first.text}")
    take = lambda rate=0: load(s, a.scheduler.pid, a.scheduler.port, "/api/v1" + path, a.token, LOOKUPS, rate)
    beneath = f.measure("evhttp, a constant answer", lambda: constant(s, LOOKUPS))
    most = f.measure("lookups from the cache", take)
    half = f.measure("lookups, half the load", lambda: take(max(1, int(most["per_s"] / 2))))
    f.row("lookups from the cache, by the API, one scheduler", per_s(most["per_s"]), per_s(beneath["per_s"]), most["per_s"] / beneath["per_s"],
          f"evhttp with a constant answer; here scheduler {most['server_us']:.0f}, Redis {most['redis_us']:.0f} us a lookup, there {beneath['server_us']:.0f}")
    f.row("lookup to its answer, all it bears, p99", f"{most['p99_ms']:.2f} ms", f"{beneath['p99_ms']:.2f} ms", None, f"median {most['p50_ms']:.2f} ms, there {beneath['p50_ms']:.2f} ms")
    f.row("lookup to its answer, half of that, p99", f"{half['p99_ms']:.2f} ms", "", None, f"median {half['p50_ms']:.2f} ms, at {per_s(half['per_s'])}")


def fanout(s, f):
    """Each asks for places nobody asked for before: every part is a call of 100 ms."""
    a, place = stage(s), iter(range(10 ** 9))

    def ask(parts):
        body = {"parts": {f"p{n}": {"partner": f"weather{n}", "name": "current", "params": {"lat": round(next(place) % 8000 / 100, 2), "lon": 10}} for n in range(parts)}}
        began = time.perf_counter()
        answer = a.session.post(a.url + "/lookup?wait=10s", json=body, timeout=20)
        took = (time.perf_counter() - began) * 1000
        states = [p.get("state") for p in answer.json().get("parts", {}).values()]
        if answer.status_code != 200 or states != ["fresh"] * parts:
            raise Failed(f"a part was not fresh: {answer.text[:400]}")
        return took

    def calls():
        ask(FAN)  # connections
        return {"one_ms": statistics.median(ask(1) for _ in range(CALLS)), "all_ms": statistics.median(ask(FAN) for _ in range(CALLS))}
    got = f.measure("fan-out", calls)
    f.row(f"{FAN} partners of 100 ms in one call", f"{got['all_ms']:.1f} ms", "100.0 ms", got["all_ms"] / 100, f"the slowest of them; one partner in one call {got['one_ms']:.1f} ms")


def flows(s, f):
    a, done = stage(s), 0

    def run():
        nonlocal done
        s.flush()
        jobs = [json.dumps({"task": "request_service", "integration_id": a.maintenance, "args": {"title": f"Flow {done + n}", "location": "x"}}) for n in range(FLOWS)]
        for n in range(0, FLOWS, 500):
            s.redis.client.lpush("queue:{maintenance}", *jobs[n:n + 500])
        done += FLOWS
        worker = Worker(s.sub(f"flows{done}"), a.env, "worker", concurrency=1000, partners="maintenance", log_level="warn")
        worker.start()
        try:
            (pid,) = wait_until(worker.children, 10, "the worker's process")
            client = s.redis.client
            began, used, postgres = time.perf_counter(), cpu_us(pid), children_cpu_us(s.postgres.pid)
            # Members of a lane may hold many jobs: they tell that there are none, not how many.
            left = lambda: client.llen("queue:{maintenance}") + sum(client.zcard(k) for k in ("ready:{maintenance}:normal", "delayed:{maintenance}")) + client.hlen("flight:{maintenance}")
            wait_until(lambda: left() == 0, 110, lambda: worker.log_tail(3), every=0.02)
            seconds = time.perf_counter() - began
            if (ended := s.sql("SELECT count(*) FROM outbound_requests WHERE state = 'done'")[0][0]) != done:
                raise Failed(f"{ended} flows of {done} are done")
            return {"per_s": FLOWS / seconds, "worker_us": (cpu_us(pid) - used) / FLOWS, "postgres_us": (children_cpu_us(s.postgres.pid) - postgres) / FLOWS}
        finally:
            worker.stop()
    got = f.measure("flows", run)
    bound = IN_FLIGHT / (STEPS * STEP_MS / 1000)
    f.row(f"flows of {STEPS} steps of {STEP_MS} ms, {IN_FLIGHT} in flight, one process", per_s(got["per_s"]), per_s(bound), got["per_s"] / bound,
          f"what so many steps under way allow; worker {got['worker_us']:.0f}, Postgres {got['postgres_us']:.0f} us a flow")
    s.flush()

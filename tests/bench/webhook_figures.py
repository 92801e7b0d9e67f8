"""Webhooks on their way in: one scheduler beside the same evhttp with a constant answer, and beside a bare LPUSH."""

import json
import os
import resource
import secrets
import socket
import subprocess

from harness.daemons import Scheduler
from harness.webhooks import hooked
from measuring import Failed, cpu_us, open_files, per_s, resident_kib
from queue_figures import push_rate

EVENTS = 100000
CONNECTIONS = 64
IDLE = 10000
SECRET = secrets.token_hex(16)


def start(s):
    """A scheduler that serves one integration of a partner that signs as GitHub does; with its path."""
    hooked(s.folder / "hooked", "hooked", "github")
    key = s.folder / "webhooks.key"
    key.write_text("bench " + "A" * 43 + "=\n")
    key.chmod(0o600)
    env = {**s.env(), "LONGSHORE_DRIVERS": str(s.folder / "hooked"), "LONGSHORE_SECRET_KEY_FILE": str(key)}
    s.longshore.env = env
    s.longshore("company", "add", "Webhooks")
    out = s.longshore("integration", "add", "--company", "Webhooks", "--partner", "hooked", "--credentials", "-",
                      input=json.dumps({"webhook_secret": SECRET})).out
    s.longshore.env = s.env()
    scheduler = s.add(Scheduler(s.sub("scheduler"), env, import_every=0)).wait_ready()
    return scheduler, f"/webhooks/hooked/{out.split()[-1]}"


def load(s, pid, port, path, n, rate=0):
    used, redis = cpu_us(pid), s.redis_cpu_us()
    got = s.program("bench_webhook", "load", port, path, SECRET, n, CONNECTIONS, rate)
    return {**got, "server_us": (cpu_us(pid) - used) / n, "redis_us": (s.redis_cpu_us() - redis) / n}


def taken_in(s, scheduler, path, n, rate=0):
    s.flush()
    got = load(s, scheduler.pid, scheduler.port, path, n, rate)
    if s.redis.client.zcard("ready:{hooked}:normal") != n:
        raise Failed(f"{n} webhooks were accepted, {s.redis.client.zcard('ready:{hooked}:normal')} are queued")
    return got


def constant(s, n):
    server = subprocess.Popen([str(s.programs / "bench_webhook"), "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        return load(s, server.pid, int(server.stdout.readline()), "/", n)
    finally:
        server.stdin.close()
        server.wait(10)


def idle_kib(s, scheduler, path):
    """Resident memory of a connection that has had an answer and says no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    lines, before, files = [], resident_kib(scheduler.pid), open_files(scheduler.pid)
    request = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    try:
        for _ in range(min(IDLE, hard - 500)):
            lines.append(socket.create_connection(("127.0.0.1", scheduler.port)))
            lines[-1].sendall(request)
            if not lines[-1].recv(4096).startswith(b"HTTP/1.1 401"):
                raise Failed("an unsigned webhook was not refused")
        held = open_files(scheduler.pid) - files  # on a busy machine the first are cut off, idle for 10 s, before the last come
        return {"connections": held, "kib": (resident_kib(scheduler.pid) - before) / held}
    finally:
        for line in lines:
            line.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def webhooks(s, f):
    scheduler, path = start(s)
    beneath = f.measure("evhttp, a constant answer", lambda: constant(s, EVENTS))
    most = f.measure("webhooks", lambda: taken_in(s, scheduler, path, EVENTS))
    push = f.measure("redis-benchmark 500 B", lambda: push_rate(s, 500))
    half = f.measure("webhooks, half the load", lambda: taken_in(s, scheduler, path, EVENTS // 2, max(1, int(most["per_s"] / 2))))
    f.row("webhooks accepted, 500 B, one scheduler", per_s(most["per_s"]), per_s(beneath["per_s"]), most["per_s"] / beneath["per_s"],
          f"evhttp with a constant answer; here scheduler {most['server_us']:.0f}, Redis {most['redis_us']:.0f}, client "
          f"{most['client_us']:.0f} us a webhook, there {beneath['server_us']:.0f} and {beneath['client_us']:.0f}")
    f.row("", per_s(1e6 / most["server_us"]), per_s(1e6 / beneath["server_us"]), beneath["server_us"] / most["server_us"],
          "a whole core, by processor time")
    f.row("", "", per_s(push["jobs_per_s"]), most["per_s"] / push["jobs_per_s"], "redis-benchmark -t lpush -P 100")
    f.row("webhook to its 202, all it bears, median", f"{most['p50_ms']:.2f} ms", f"{beneath['p50_ms']:.2f} ms", None, f"p99 {most['p99_ms']:.2f} ms, there {beneath['p99_ms']:.2f} ms")
    f.row("webhook to its 202, half of that, p99", f"{half['p99_ms']:.2f} ms", "", None, f"median {half['p50_ms']:.2f} ms, at {per_s(half['per_s'])}")
    idle = f.measure("idle connections", lambda: idle_kib(s, scheduler, path), 1)
    f.row("memory of an idle connection", f"{idle['kib']:.1f} KiB", "", None, f"{idle['connections']:.0f} open")
    s.flush()

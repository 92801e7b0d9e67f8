"""The queue: noop, pickup, idle."""

import json
import subprocess
import time

from harness import Worker, wait_until
from measuring import ROOT, Drain, Failed, cpu_us, per_s, resident_kib

NOOP_JOBS = 300_000


def push_rate(s, size):
    """LPUSH as the redis-benchmark program does it: 50 connections, 100 in the pipeline."""
    s.flush()
    out = subprocess.run(["redis-benchmark", "-p", str(s.redis.port), "-t", "lpush", "-P", "100", "-n", "1000000",
                          "-d", str(size), "--csv"], capture_output=True, text=True, timeout=120)
    rows = [line.split(",") for line in out.stdout.splitlines() if line.startswith('"LPUSH"')]
    if not rows:
        raise Failed(f"redis-benchmark: {out.stderr.strip() or out.stdout.strip() or out.returncode}")
    return {"jobs_per_s": float(rows[0][1].strip('"'))}


def noop_rounds(s, f, size, label):
    """One worker process beside the bare loop."""
    def program(*words):
        s.flush()
        return s.program(*words, s.redis.port, NOOP_JOBS, size)

    def drain():
        program("bench_queue", "push")
        return Drain(s, "longshore", NOOP_JOBS, 2000).run()

    worker = f.measure(f"noop {label}", drain)
    bare = f.measure(f"bare loop {label}", lambda: program("bench_bare"))
    f.row(f"noop jobs, {label}, one process", per_s(worker["jobs_per_s"]), per_s(bare["jobs_per_s"]),
          worker["jobs_per_s"] / bare["jobs_per_s"],
          f"bare claim + HDEL loop, Redis {bare['redis_us']:.1f} us a job; here worker {worker['worker_us']:.1f}, "
          f"Redis {worker['redis_us']:.1f} us")
    return worker


def noop(s, f):
    for size in (15, 250):
        worker = noop_rounds(s, f, size, f"{size} B")

        def program(mode):
            s.flush()
            return s.program("bench_queue", mode, s.redis.port, NOOP_JOBS, size)

        push = f.measure(f"redis-benchmark {size} B", lambda: push_rate(s, size))
        scripts = f.measure(f"scripts {size} B", lambda: program("scripts"))
        lists = f.measure(f"list {size} B", lambda: program("list"))
        f.row("", "", per_s(push["jobs_per_s"]), worker["jobs_per_s"] / push["jobs_per_s"], "redis-benchmark -t lpush -P 100")
        f.row("", "", per_s(scripts["jobs_per_s"]), worker["jobs_per_s"] / scripts["jobs_per_s"],
              f"admit+claim+finish scripts in a plain loop, Redis {scripts['redis_us']:.1f} us a job")
        f.row("", "", per_s(lists["jobs_per_s"]), worker["jobs_per_s"] / lists["jobs_per_s"], "bare LPUSH + RPOP, pipelined")
    s.flush()


def aof(s, f):
    """The same with an append-only file, synced each second."""
    with s.appending():
        for size in (15, 250):
            noop_rounds(s, f, size, f"{size} B, AOF")
        s.flush()


def children(s, f):
    """Jobs left behind by jobs, through settle.lua; beside one ZADD of the same members a parent."""
    for parents, each in ((1000, 200), (10_000, 10), (30_000, 1)):
        def program(mode):
            s.flush()
            return s.program("bench_children", mode, s.redis.port, parents, each)

        m = f.measure(f"children {each}", lambda: program("settle"))
        bare = f.measure(f"bare children {each}", lambda: program("bare"))
        f.row(f"children enqueued, {each} a job", per_s(m["children_per_s"]), per_s(bare["children_per_s"]),
              m["children_per_s"] / bare["children_per_s"],
              f"bare ZADD of as many, Redis {bare['redis_us']:.1f} us; here client {m['cpu_us']:.1f}, Redis {m['redis_us']:.1f} us a child")
    s.flush()


def flat(s, f):
    """Cost grows with work, not with what lies around: the claim's, and the worker's and Redis' memory."""
    n = 1_000_000
    for queues, integrations in ((1, 1), (300, 1), (1, 300)):
        def program():
            s.flush()
            return s.program("bench_flat", s.redis.port, queues, integrations, n)

        m = f.measure(f"claim, {queues} queues of {integrations}", program, rounds=1)
        where = f"{queues} queues" if queues > 1 else f"1 queue of {integrations} integrations" if integrations > 1 else "1 queue"
        f.row(f"claim, a job of 10, {where}", f"{m['many_0']:.1f} us", f"{m['few_0']:.1f} us", m["many_0"] / m["few_0"],
              f"Redis, {n:,} queued beside 10; with 10,000 in flight {m['many_10000']:.1f} and {m['few_10000']:.1f} us")
        if integrations == 1 and queues == 1:
            ready = m["bytes_a_job"]
    raw = memory_of_raw(s)
    f.rounds["bytes of Redis' memory a job of 36 B"] = {"raw": raw, "ready": ready}
    f.row("Redis' memory a waiting job of 36 B", f"{ready:.0f} B", f"{raw:.0f} B", ready / raw, "a raw push, in the list")
    few, many = worker_memory(s, 10_000, n)
    f.rounds["worker's resident KiB"] = {"10000": few, str(n): many}
    f.row(f"worker's memory after {n:,} jobs", f"{many / 1024:.1f} MiB", f"{few / 1024:.1f} MiB", many / few, "after 10,000, same process")
    s.flush()


def memory_of_raw(s):
    n = 100_000
    s.flush()
    before = s.redis.client.info("memory")["used_memory"]
    s.program("bench_queue", "push", s.redis.port, n, 36)
    return (s.redis.client.info("memory")["used_memory"] - before) / n


def worker_memory(s, few, many):
    """Resident KiB of one process after so many jobs, and after so many."""
    s.flush()
    worker = Worker(s.folder, s.env(), "worker-memory", concurrency=2000, partners="longshore", log_level="warn").start()

    def left():
        client = s.redis.client
        return client.llen("queue:{longshore}") + client.zcard("ready:{longshore}:normal") + client.hlen("flight:{longshore}")

    def after(n):
        s.program("bench_queue", "push", s.redis.port, n, 36)
        wait_until(lambda: not left(), 120, "the last job", every=0.1)
        time.sleep(1)
        return resident_kib(pid)

    try:
        (pid,) = wait_until(worker.children, 10, "the worker's process")
        result = after(few), after(many - few)
    finally:
        worker.stop()
    if worker.check():
        raise Failed("\n".join(worker.check()))
    return result


def latency(s, f):
    """How soon an idle worker of 40 partners takes a raw push, and what it asks Redis while it has nothing to do."""
    partners = ["longshore", *many_partners(s, 39)]
    worker = Worker(s.folder, {**s.env(), "LONGSHORE_DRIVERS": str(s.folder / "many")}, "idle-worker", partners=",".join(partners),
                    log_level="warn").start()
    try:
        (pid,) = wait_until(worker.children, 10, "the worker's process")
        m = f.measure("pickup", lambda: s.program("bench_latency", "worker", s.redis.port, 700, s.redis.pid, pid))
        time.sleep(2.5)  # past the last job's beat: what follows is idle
        before, used, began = s.redis.commands(), cpu_us(pid), time.perf_counter()
        time.sleep(10)
        seconds = time.perf_counter() - began
        after = s.redis.commands()
        busy = (cpu_us(pid) - used) / seconds / 1e4
    finally:
        worker.stop()
    bare = f.measure("bare pickup", lambda: s.program("bench_latency", "bare", s.redis.port, 250, s.redis.pid))
    each = {name.removeprefix("cmdstat_"): (n - before.get(name, 0)) / seconds for name, n in after.items() if n > before.get(name, 0)}
    f.rounds["idle commands a second"] = each
    for what, key in (("median", "median_us"), ("p99", "p99_us"), ("p99 where nobody waited for a core", "undisturbed_p99_us")):
        f.row(f"raw push to claim, idle worker, {what}", f"{m[key] / 1000:.2f} ms", f"{bare[key] / 1000:.2f} ms", m[key] / bare[key],
              "a bare client woken the same way" if key != "undisturbed_p99_us" else f"{m['undisturbed'] * 100:.0f} % of the samples, the longest {m['undisturbed_max_us'] / 1000:.1f} ms")
    f.row("commands of an idle worker, 40 partners", f"{sum(each.values()):.1f}/s",
          note=f"{', '.join(f'{name} {n:.1f}' for name, n in sorted(each.items()))}; {busy:.2f} % of a core")


def many_partners(s, n):
    """A folder of drivers that differ by their names alone."""
    manifest = json.loads((ROOT / "tests/bench/drivers/bench/manifest.json").read_text())
    names = [f"bench{i:02}" for i in range(n)]
    for name in names:
        folder = s.folder / "many" / name
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({**manifest, "partner": name}))
    return names

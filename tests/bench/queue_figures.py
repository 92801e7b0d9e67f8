"""The queue: noop, pickup, idle."""

import subprocess
import time

from harness import Worker, wait_until
from measuring import Drain, Failed, cpu_us, per_s

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
    """One worker process, the bare loop and redis-benchmark's LPUSH, turn by turn."""
    def program(*words):
        s.flush()
        return s.program(*words, s.redis.port, NOOP_JOBS, size)

    def drain():
        program("bench_queue", "push")
        return Drain(s, "longshore", NOOP_JOBS, 2000).run()

    worker = f.measure(f"noop {label}", drain)
    bare = f.measure(f"bare loop {label}", lambda: program("bench_bare"))
    push = f.measure(f"redis-benchmark {label}", lambda: push_rate(s, size))
    f.row(f"noop jobs, {label}, one process", per_s(worker["jobs_per_s"]), per_s(bare["jobs_per_s"]),
          worker["jobs_per_s"] / bare["jobs_per_s"],
          f"bare claim + HDEL loop, Redis {bare['redis_us']:.1f} us a job; here worker {worker['worker_us']:.1f}, "
          f"Redis {worker['redis_us']:.1f} us")
    f.row("", "", per_s(push["jobs_per_s"]), worker["jobs_per_s"] / push["jobs_per_s"], "redis-benchmark -t lpush -P 100")
    return worker


def noop(s, f):
    for size in (15, 250):
        worker = noop_rounds(s, f, size, f"{size} B")

        def program(mode):
            s.flush()
            return s.program("bench_queue", mode, s.redis.port, NOOP_JOBS, size)

        scripts = f.measure(f"scripts {size} B", lambda: program("scripts"))
        lists = f.measure(f"list {size} B", lambda: program("list"))
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


def latency(s, f):
    worker = Worker(s.folder, s.env(), "idle-worker", partners="longshore,bench", log_level="warn").start()
    try:
        (pid,) = wait_until(worker.children, 10, "the worker's process")
        m = f.measure("pickup", lambda: s.program("bench_latency", s.redis.port, 100))
        time.sleep(2.5)  # past the last job's beat: what follows is idle
        before, used, began = sum(s.redis.commands().values()), cpu_us(pid), time.perf_counter()
        time.sleep(5)
        seconds = time.perf_counter() - began
        commands = (sum(s.redis.commands().values()) - before) / seconds
        busy = (cpu_us(pid) - used) / seconds / 1e4
    finally:
        worker.stop()
    f.rounds["idle commands a second"] = commands
    f.row("raw push to claim, idle worker", f"{m['median_us'] / 1000:.2f} ms", note=f"median; p99 {m['p99_us'] / 1000:.2f} ms")
    f.row("commands of an idle worker, 2 partners", f"{commands:.1f}/s", note=f"{busy:.2f} % of a core")



"""Starts by the clock: what one costs, how evenly they are spread, how much memory the scheduler has meanwhile."""

import time
from collections import Counter

from harness import Scheduler, wait_until
from measuring import Failed, cpu_us, peak_kib, per_s

INTEGRATIONS = 20000
EVERY_S = 60
LONGEST_S = 60


def prepare(s):
    """20,000 integrations that have been imported before, so that each waits for its own place in the minute."""
    s.flush()
    s.sql("DELETE FROM integrations WHERE id > 1000000")
    s.sql("INSERT INTO companies (name) VALUES ('Scheduled') ON CONFLICT DO NOTHING")
    s.sql(f"""INSERT INTO integrations (id, company_id, partner, settings, last_success_at) OVERRIDING SYSTEM VALUE
              SELECT 1000000 + n, (SELECT id FROM companies WHERE name = 'Scheduled'), 'bench',
                     '{{"every": "{EVERY_S}s"}}', now() FROM generate_series(1, {INTEGRATIONS}) n""")
    s.sql("ANALYZE integrations, import_schedules")


def start(s):
    scheduler = Scheduler(s.folder, s.env(), log_level="warn", lane_bound=1000000).start()
    wait_until(lambda: s.sql("SELECT 1 FROM import_schedules HAVING count(*) FILTER (WHERE plan IS NULL) = 0"), LONGEST_S,
               "the plans")
    return scheduler


def started(s):
    return max(0, s.redis.client.hlen("beat:{bench}") - 1)


def burst_round(s):
    """All due at once, as after an outage."""
    prepare(s)
    s.sql("INSERT INTO scheduling (paused) VALUES (true) ON CONFLICT (one) DO UPDATE SET paused = true")
    scheduler = start(s)
    try:
        s.sql("UPDATE import_schedules SET next_at = now() - interval '1 s'")
        before, redis = cpu_us(scheduler.pid), s.redis_cpu_us()
        s.sql("UPDATE scheduling SET paused = false")
        wait_until(lambda: started(s), LONGEST_S, "the first start")
        began = time.perf_counter()
        wait_until(lambda: started(s) >= INTEGRATIONS, LONGEST_S, "the last start", every=0.005)
        seconds = time.perf_counter() - began
        wait_until(lambda: not s.sql("SELECT 1 FROM import_schedules WHERE next_at <= now() - interval '0.5 s' LIMIT 1"),
                   LONGEST_S, "Postgres to have them")
        after, redis_after = cpu_us(scheduler.pid), s.redis_cpu_us()
        jobs = s.redis.client.zcard("ready:{bench}:normal")
        if jobs < INTEGRATIONS:
            raise Failed(f"{INTEGRATIONS} starts made {jobs} jobs")
        return {"per_s": INTEGRATIONS / seconds, "scheduler_us": (after - before) / jobs,
                "redis_us": (redis_after - redis) / jobs, "peak_kib": peak_kib(scheduler.pid)}
    finally:
        scheduler.stop()


def spread_round(s):
    """A third of the minute, each integration at its own place."""
    prepare(s)
    scheduler = start(s)
    try:
        time.sleep(2)
        before, redis, first = cpu_us(scheduler.pid), s.redis_cpu_us(), started(s)
        time.sleep(20)
        after, redis_after, last = cpu_us(scheduler.pid), s.redis_cpu_us(), started(s)
        slots = s.redis.client.hgetall("beat:{bench}")
        slots.pop(b"token")
        seconds = Counter(int(slot) // 1000 for slot in slots.values())
        whole = [seconds[t] for t in sorted(seconds)[1:-2]]  # the last were not all started yet
        n = last - first
        return {"starts": n, "least": min(whole), "most": max(whole), "scheduler_us": (after - before) / n,
                "redis_us": (redis_after - redis) / n, "peak_kib": peak_kib(scheduler.pid)}
    finally:
        scheduler.stop()


def schedule(s, f):
    m = f.measure("schedule burst", lambda: burst_round(s))
    f.row(f"starts by the clock, {INTEGRATIONS:,} due at once", per_s(m["per_s"]), "", None,
          f"scheduler {m['scheduler_us']:.1f}, Redis {m['redis_us']:.1f} us a start; peak {m['peak_kib'] / 1024:.1f} MiB")
    m = f.measure("schedule spread", lambda: spread_round(s), 1)
    f.row(f"starts by the clock, {INTEGRATIONS:,} each {EVERY_S} s", f"{m['starts'] / 20:.0f}/s", f"{INTEGRATIONS / EVERY_S:.0f}/s",
          m["starts"] / 20 / (INTEGRATIONS / EVERY_S),
          f"{m['least']:.0f} to {m['most']:.0f} in each second; scheduler {m['scheduler_us']:.1f}, Redis {m['redis_us']:.1f} us"
          f" a start, all else it does included; peak {m['peak_kib'] / 1024:.1f} MiB")

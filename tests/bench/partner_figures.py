"""Imports through a partner, the sink, the limiter."""

import json
from pathlib import Path

from harness import Worker, wait_until
from measuring import Drain, Failed, open_files, per_s, resident_kib

ROOT = Path(__file__).resolve().parents[2]
INTEGRATIONS = 20
ROWS_A_JOB = 5


def push_imports(s, ids, n, first):
    """Each job fetches, and stores, rows of its own."""
    lane = "queue:{bench}"
    with s.redis.client.pipeline(transaction=False) as p:
        for i in range(n):
            p.lpush(lane, json.dumps({"task": "import_resources", "integration_id": ids[i % len(ids)],
                                      "args": {"collection": "items", "parents": [str(first + ROWS_A_JOB * i)]}}))
            if i % 1000 == 999:
                p.execute()
        p.execute()


def import_round(s, ids, n, concurrency, fresh):
    s.redis.client.flushall()
    if fresh:
        s.sql("TRUNCATE resources, runs")
    push_imports(s, ids, n, ROWS_A_JOB)
    result = Drain(s, "bench", n, concurrency).run()
    ((stored, right),) = s.sql("SELECT count(*), count(*) FILTER (WHERE city = 'Lisbon' AND price_minor = 11250) FROM resources")
    if stored != right or stored != ROWS_A_JOB * n:
        raise Failed(f"{n} imports stored {stored} rows, {right} of them right")
    return result


def waiting_round(s, ids, n):
    """Memory of jobs that have all sent their call and wait for a partner that takes 4 s."""
    s.flush()
    s.sql("TRUNCATE resources, runs")
    s.sandbox.settings(latency_ms=4000)
    worker = Worker(s.folder, s.env(), "worker", concurrency=n, partners="bench", log_level="warn").start()
    try:
        (pid,) = wait_until(worker.children, 10, "the worker's process")
        wait_until(lambda: s.redis.client.zcard("workers:{longshore}"), 10, "the first beat")
        before, sockets = resident_kib(pid), open_files(s.sandbox.pid)
        push_imports(s, ids, n, ROWS_A_JOB)
        wait_until(lambda: open_files(s.sandbox.pid) - sockets >= n, 10, "a connection of each call")
        after = resident_kib(pid)
        if s.redis.client.hlen("flight:{bench}") < n:
            raise Failed("the first jobs have ended before the last ones waited")
        wait_until(lambda: not s.redis.client.hlen("flight:{bench}"), 20, "the jobs to end")
    finally:
        worker.stop()
        s.sandbox.settings(latency_ms=100)
    return {"kib_a_job": (after - before) / n}


def imports(s, f):
    s.longshore("company", "add", "Bench")
    ids = [int(s.longshore("integration", "add", "--company", "Bench", "--partner", "bench", "--base-url",
                           s.sandbox.bench_url).out.split()[-1]) for _ in range(INTEGRATIONS)]
    url = f"{s.sandbox.bench_url}/bench/items?rows={ROWS_A_JOB}&start=5"
    server = f.measure("sandbox", lambda: s.program("bench_http", "sockets", url, 2000, 2))
    curl = f.measure("curl", lambda: s.program("bench_http", "curl", url, 2000, 2))
    f.row("sandbox alone, 2,000 under way", per_s(server["requests_per_s"]), note="bare sockets, 100 ms latency")
    f.row("libcurl alone, 2,000 under way", per_s(curl["requests_per_s"]), per_s(server["requests_per_s"]),
          curl["requests_per_s"] / server["requests_per_s"], f"client {curl['cpu_us']:.0f} us a request")
    idle = f.measure("idle", lambda: import_round(s, ids, 20, 1000, True))
    for concurrency, n, fresh in ((1000, 20_000, True), (2000, 30_000, True), (2000, 30_000, False), (5000, 40_000, True)):
        kind = "new rows" if fresh else "known rows"
        if not fresh:
            import_round(s, ids, n, concurrency, True)
        m = f.measure(f"imports {concurrency} {kind}", lambda: import_round(s, ids, n, concurrency, fresh))
        each = (m["peak_kib"] - idle["peak_kib"]) / m["in_flight"]
        f.row(f"imports, {concurrency:,} jobs at once, {kind}", per_s(m["jobs_per_s"]), per_s(curl["requests_per_s"]),
              m["jobs_per_s"] / curl["requests_per_s"],
              f"libcurl alone; worker {m['worker_us']:.0f}, Redis {m['redis_us']:.0f}, Postgres {m['postgres_us']:.0f}, "
              f"sandbox {m['sandbox_us']:.0f} us a job; {m['in_flight']:.0f} in flight; peak {m['peak_kib'] / 1024:.0f} MiB, "
              f"{each:.1f} KiB a job in flight")
    for n in (1000, 5000):
        m = f.measure(f"{n} waiting", lambda: waiting_round(s, ids, n))
        f.row(f"memory of a job that waits for its partner, {n:,} at once", f"{m['kib_a_job']:.1f} KiB",
              note="resident memory of the worker, less that before the first job")
    s.redis.client.flushall()


def sink(s, f):
    """Beside what anybody would write: a plain guarded upsert into a plain table, and COPY.  A round measures all of them in turn, so that a
    machine that slows down slows them all."""
    rows, page, coroutines = 60_000, 100, 100
    kinds = {"copy": ("copy", s.database, rows), "raw": ("raw", s.database, rows, 3),
             "sink, no history": ("sink", s.database, rows, page, coroutines, 0), "sink, history": ("sink", s.database, rows, page, coroutines, 1),
             "sink of pages of 5, no history": ("sink", s.database, rows, 5, 1000, 0)}

    def together():
        return {f"{kind} {k}": v for kind, words in kinds.items() for k, v in s.program("bench_sink", *words).items()}

    m = f.measure("rows", together, rounds=max(f.n_rounds, 5))

    def row(kind, what, beside):
        limit, is_it = (m[f"{k} {what}_per_s"] for k in (beside, kind))
        f.row(f"{kind}: {what}", per_s(is_it), per_s(limit), is_it / limit,
              f"{beside}; Postgres {m[f'{kind} {what}_server_us']:.1f} us ({m[f'{kind} {what}_server_us'] / m[f'{beside} {what}_server_us']:.2f} of it), "
              f"{m[f'{kind} {what}_wal']:.0f} B of WAL (of {m[f'{beside} {what}_wal']:.0f}), client {m[f'{kind} {what}_cpu_us']:.1f} us a row"
              + (f"; {100 * m[f'{kind} {what}_hot']:.0f} % HOT" if what in ("updated", "unchanged") else ""))

    f.row("COPY into a plain table: added", per_s(m["copy added_per_s"]), note=f"Postgres {m['copy added_server_us']:.1f} us, {m['copy added_wal']:.0f} B of WAL a row")
    row("raw", "added", "copy")
    for what in ("updated", "unchanged", "stale"):
        f.row(f"raw: {what}", per_s(m[f"raw {what}_per_s"]), note=f"Postgres {m[f'raw {what}_server_us']:.1f} us, {m[f'raw {what}_wal']:.0f} B of WAL a row")
    for kind in list(kinds)[2:]:
        for what in ("added", "updated", "unchanged", "stale"):
            row(kind, what, "raw")
    s.sql("TRUNCATE resources, resource_changes; DROP TABLE bench_raw; UPDATE history_settings SET enabled = true WHERE table_name = 'resources'")


def listing(n):
    """As Guesty's lists have them: a tenth of what is in it has a column."""
    pictures = [{"_id": f"{n:08x}{k:016x}", "original": f"https://assets.example.com/{n}/{k}.jpg", "thumbnail": f"https://assets.example.com/{n}/{k}-s.jpg",
                 "caption": f"Room {k}"} for k in range(8)]
    return {"_id": f"{n:024x}", "nickname": f"Harbour {n}", "title": f"Sunny flat number {n} by the harbour", "isListed": n % 3 > 0, "type": "SINGLE",
            "propertyType": "Apartment", "roomType": "Entire home/apt", "accommodates": 4, "bedrooms": 2, "beds": 3, "bathrooms": 1.5, "timezone": "Europe/Lisbon",
            "address": {"full": f"Rua {n}, 1100 Lisboa, Portugal", "street": f"Rua {n}", "city": "Lisboa", "state": "Lisboa", "zipcode": "1100-001",
                        "country": "Portugal", "lat": 38.71 + n / 1e5, "lng": -9.13},
            "prices": {"basePrice": 112.5, "cleaningFee": 40, "currency": "EUR"}, "terms": {"minNights": 2, "maxNights": 30},
            "defaultCheckInTime": "15:00", "defaultCheckOutTime": "11:00", "tags": ["sea", "lift"], "amenities": ["WiFi", "Kitchen", "Heating", "Washer"],
            "pictures": pictures, "publicDescription": {"summary": "Two rooms and a view. " * 12}, "customFields": [{"fieldId": "5f1", "value": "x"}],
            "createdAt": "2025-03-01T10:00:00.000Z", "lastUpdatedAt": "2026-01-05T08:30:00.000Z"}


def mapping(s, f):
    page = s.folder / "listings.json"
    page.write_text(json.dumps({"results": [listing(n) for n in range(100)], "count": 100}))
    manifest = ROOT / "drivers" / "guesty" / "manifest.json"
    m = f.measure("mapping", lambda: s.program("bench_map", manifest, "listings", page, 300))
    f.row("mapping an item, 100 listings of a page", f"{m['map_us_an_item']:.2f} us", f"{m['parse_us_an_item']:.2f} us",
          m["map_us_an_item"] / m["parse_us_an_item"], f"cJSON's own parse of it; {m['bytes_an_item']:,.0f} bytes an item")
    if m["rows"] != m["items"] or m["map_us_an_item"] > m["parse_us_an_item"]:
        raise Failed(f"of {m['items']:.0f} items {m['rows']:.0f} became rows; mapping must cost less than reading: {m}")


def limiter(s, f):
    script = f.measure("acquire script", lambda: s.program("bench_limiter", "script", s.redis.port, 2))
    agent = f.measure("limiter", lambda: s.program("bench_limiter", "agent", s.redis.port, 2, 1000))
    f.row("limiter permits, 3 tiers, 1,000 waiting", per_s(agent["permits_per_s"]), per_s(script["permits_per_s"]),
          agent["permits_per_s"] / script["permits_per_s"],
          f"acquire script, one permit a call, pipelined; client {agent['cpu_us']:.1f} us a permit")
    for entries in (100, 5000, 50000):
        def filled():
            s.flush()
            return s.program("bench_limiter", "filled", s.redis.port, entries)

        m = f.measure(f"acquire {entries}", filled)
        f.row(f"acquire script, a log of {entries:,}", f"{m['us']:.1f} us", f"{m['empty_us']:.1f} us", m["us"] / m["empty_us"],
              f"Redis' own time; an empty script; {m['bytes'] / 1024:.0f} KiB")
    s.redis.client.flushall()
    m = f.measure("use of a limit", lambda: s.program("bench_limit_use", s.redis.port, 12, 4))
    f.row("calls of 50/s and 200 in 5 s, 4 processes", f"{m['calls']:.0f}", f"{m['allowed']:.0f}", m["calls"] / m["allowed"],
          "what the tiers as stated allow in that time to one who knows it all")
    s.redis.client.flushall()

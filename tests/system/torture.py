"""The queue under torture: thousands of jobs with known effects, everything around them dying, then a ledger.

    make torture SECONDS=60 SEED=n        or        /usr/bin/python3 tests/system/torture.py --seconds 60 --seed n

Prints what it did, a verdict and the seed; exit code 1 if a promise was broken (the logs are kept then and named).
The seed decides what is pushed and what dies when; what meets what is left to the machine, so a seed makes a finding
likely again, not certain.  test_torture.py runs a short one.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from datetime import timedelta
from pathlib import Path

import psycopg2
import redis

from harness import Cluster, Longshore, Postgres
from harness.guesty import differences, expected, listing_row, reservation_row
from harness.keys import documented_keys
from harness.process import ROOT, SLOWER, wait_until

PARTNERS = ("guesty", "longshore")
PARTNER_CAP, INTEGRATION_CAP = 40, 8
COMPANIES, INTEGRATIONS = 2, 3  # of each company
LISTINGS, RESERVATIONS = 60, 12
CLOCKS = timedelta(seconds=1)  # a worker's idea of Redis' clock is off by half a round trip, or more while all is frozen
AWAY = (redis.ConnectionError, redis.BusyLoadingError, redis.TimeoutError)

# What holds at every instant within one slot: caps, busy = leases, whoever may run stands in the ring.
AUDIT = """
local control, busy, leases, total, wrong = {}, {}, {}, 0, {}
local raw = redis.call('HGETALL', KEYS[3])
for n = 1, #raw, 2 do control[raw[n]] = raw[n + 1] end
raw = redis.call('HGETALL', KEYS[2])
for n = 1, #raw, 2 do busy[raw[n]] = tonumber(raw[n + 1]) end
local function say(text) wrong[#wrong + 1] = text end
for _, lease in ipairs(redis.call('HKEYS', KEYS[1])) do
	local i = string.match(lease, ':(%d+)$')
	leases[i] = (leases[i] or 0) + 1
	total = total + 1
end
for i, n in pairs(leases) do
	if busy[i] ~= n then say('integration ' .. i .. ': ' .. n .. ' leases, busy ' .. tostring(busy[i])) end
end
for i, n in pairs(busy) do
	if not leases[i] then say('integration ' .. i .. ': busy ' .. n .. ', no lease') end
end
if not control.partner then return {total, unpack(wrong)} end
if total > tonumber(control.partner) then say(total .. ' in flight, the partner may have ' .. control.partner) end
local function cap(i) return tonumber(control[i] or control.default) end
for i, n in pairs(leases) do
	if i ~= '0' and n > cap(i) then say('integration ' .. i .. ': ' .. n .. ' in flight, cap ' .. cap(i)) end
end
for lane = 1, 3 do
	local after = '-inf'
	while not control.open do
		local e = redis.call('ZRANGEBYSCORE', KEYS[3 + lane], after, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
		if not e[2] then break end
		local i = e[2]
		if (i == '0' or (busy[i] or 0) < cap(i)) and not redis.call('ZSCORE', KEYS[6 + lane], i) then
			say('integration ' .. i .. ' may run in lane ' .. lane .. ' and is not in its ring')
		end
		after = '(' .. i
	end
end
return {total, unpack(wrong)}
"""


class Torture:
    def __init__(self, cluster, seconds, seed, say=print, rate=None, workers=3):
        self.cluster, self.seconds, self.seed, self.say = cluster, seconds, seed, say
        self.rate = rate or 150 // SLOWER  # jobs a second
        self.pushes = random.Random(f"{seed} pushes")
        self.chaos = random.Random(f"{seed} chaos")
        self.n_workers = workers
        self.pushed = Counter()    # id -> how many times (again where Redis died before it answered)
        self.bad = set()           # ids that must end as dead letters
        self.companies = {}        # company job id -> its integrations
        self.changed = Counter()   # (account, listing) -> how often the partner changed it
        self.events = Counter()
        self.wrong = []            # broken promises, in words
        self.samples = self.fullest = self.rows = self.calls = 0
        self.resume_at = []        # (when, what): stopped processes
        self.done = Counter()      # id -> how often it ended well
        self.end = threading.Event()

    # ---- the stage ----

    def prepare(self):
        c = self.cluster
        # Written before it is answered, which is all that a kill -9 asks for: fsync is for hosts that die.
        c.redis.argv += ["--appendfsync", "no"]
        c.redis.client.config_set("appendfsync", "no")
        folder = c.folder / "drivers" / "guesty"
        shutil.copytree(ROOT / "drivers" / "guesty", folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["limits"] = [{"scope": "integration", "rate": 50, "window": "1s"},
                              {"scope": "integration", "rate": 1500, "window": "60s"}]
        manifest.pop("limit_headers", None)
        manifest["jobs"] = {"in_flight": {"partner": PARTNER_CAP, "integration": INTEGRATION_CAP}}
        # A killed worker's calls count as in flight for the total timeout.
        manifest["api"]["timeout"] = {"connect": "2s", "read": "3s", "total": "4s"}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        c.add_drivers(folder.parent)
        self.sandbox = c.sandbox(listings=LISTINGS, reservations=RESERVATIONS, clean=True, latency="20ms,20ms",
                                 limits="50/1s,1500/60s")
        self.accounts, self.by_company = {}, {}
        for k in range(COMPANIES):
            company = c.company(f"Company {k}")
            for n in range(INTEGRATIONS):
                account = f"acct-{k * INTEGRATIONS + n + 1}"
                self.accounts[account] = c.integration(self.sandbox, account, company=company)
                self.by_company.setdefault(company, []).append(self.accounts[account])
        self.items = {a: [i["id"] for i in self.sandbox.items("listing", a)] for a in self.accounts}
        self.schedulers = [c.scheduler(), c.scheduler()]
        self.workers = [c.worker(processes=2) for _ in range(self.n_workers)]
        for worker in self.workers:
            worker.wait_for_log("event=started", 20 * SLOWER)
        self.audit = c.redis.client.register_script(AUDIT)

    # ---- pushing ----

    def push(self, job, partner="guesty", lanes=(":high", "", "", ":low")):
        """Until Redis has said that it has it; then it must be done, whatever happens."""
        queue = f"queue:{{{partner}}}{self.pushes.choice(lanes)}"
        while True:
            self.pushed[job["id"]] += 1
            try:
                self.cluster.redis.client.lpush(queue, json.dumps(job))
                return
            except AWAY:
                time.sleep(0.05)

    def push_one(self, n):
        r = self.pushes
        kind = r.random()
        if n % 400 == 7:
            company = r.choice(list(self.by_company))
            self.companies[f"company-{n}"] = self.by_company[company]
            self.push({"task": "import_company_resources", "id": f"company-{n}",
                       "args": {"company_id": company, "on_done": {"task": "noop"}}}, "longshore")
        elif kind < 0.01:
            self.bad.add(f"bad-{n}")
            self.push({"task": "import_resuorce", "id": f"bad-{n}"}, r.choice(PARTNERS))
        elif kind < 0.40:
            job = {"task": "noop", "id": f"noop-{n}"}
            if r.random() < 0.2:
                job["run_at"] = int(time.time() * 1000) + r.randrange(3000)
            if r.random() < 0.3:
                job["integration_id"] = r.choice(list(self.accounts.values()))
            self.push(job, "guesty" if "integration_id" in job else r.choice(PARTNERS))
        else:
            account = r.choice(list(self.accounts))
            item = r.choice(self.items[account])
            if kind < 0.45:
                self.changed[account, item] += 1
                self.sandbox.update(item, account, nickname=f"Name {n}", accommodates=1 + n % 16)
            self.push({"task": "import_resource", "id": f"item-{n}", "integration_id": self.accounts[account],
                       "args": {"external_id": item}, "max_retries": 20})

    def push_all(self):
        n, began = 0, time.monotonic()
        while not self.end.is_set():
            while n < (time.monotonic() - began) * self.rate and not self.end.is_set():
                self.push_one(n)
                n += 1
            time.sleep(0.02)

    # ---- watching ----

    def look(self):
        for p in PARTNERS:
            keys = [f"flight:{{{p}}}", f"busy:{{{p}}}", f"control:{{{p}}}"]
            keys += [f"{what}:{{{p}}}:{lane}" for what in ("ready", "ring") for lane in ("high", "normal", "low")]
            try:
                total, *wrong = self.audit(keys=keys)
            except AWAY:
                return
            self.samples += 1
            if p == "guesty":
                self.fullest = max(self.fullest, total)
            self.wrong += [f"{p}, sample {self.samples}: {w.decode()}" for w in wrong]

    def watch_all(self):
        while not self.end.is_set():
            self.look()
            time.sleep(0.02)

    # ---- what happens to them ----

    def later(self, seconds, what):
        self.resume_at.append((time.monotonic() + seconds, what))

    def some_child(self):
        alive = [pid for w in self.workers if w.is_running() for pid in w.children()]
        return self.chaos.choice(alive) if alive else None

    def signal_child(self, number):
        pid = self.some_child()
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pid

    def kill_process(self):
        self.signal_child(signal.SIGKILL)

    def stop_process(self):
        pid = self.signal_child(signal.SIGSTOP)
        if pid:
            self.later(self.chaos.choice([1, 2, 9, 10]), lambda: os.kill(pid, signal.SIGCONT))

    def kill_worker(self):
        worker = self.chaos.choice(self.workers)
        worker.kill9()
        worker.start()

    def stop_worker(self):
        worker = self.chaos.choice(self.workers)
        worker.pause()
        self.later(self.chaos.choice([1, 3, 9]), worker.resume)

    def kill_scheduler(self):
        scheduler = self.chaos.choice(self.schedulers)
        scheduler.kill9()
        scheduler.start()

    def cut_all(self):
        self.cluster.redis.client.execute_command("CLIENT", "KILL", "TYPE", "normal")

    def cut_one(self):
        redis_ = self.cluster.redis.client
        named = [x["id"] for x in redis_.client_list() if x.get("name", "").startswith("longshore")]
        for one in self.chaos.sample(named, min(len(named), 3)):
            redis_.execute_command("CLIENT", "KILL", "ID", one)

    def restart_redis(self):
        self.cluster.redis.restart(down_s=self.chaos.choice([0, 0.5]))

    def crash_redis(self):
        self.cluster.redis.crash(down_s=self.chaos.choice([0, 0.5]))

    def freeze_redis(self):
        self.cluster.redis.pause()
        time.sleep(self.chaos.choice([0.5, 2]))
        self.cluster.redis.resume()

    def restart_postgres(self):
        self.cluster.postgres.restart(how=self.chaos.choice([signal.SIGINT, signal.SIGQUIT]))

    def torment(self):
        often = [self.kill_process, self.kill_process, self.stop_process, self.kill_worker, self.cut_all, self.cut_one]
        once = [self.stop_worker, self.kill_scheduler, self.restart_redis, self.crash_redis, self.freeze_redis,
                self.restart_postgres]
        deck, until = [], time.monotonic() + self.seconds
        pause = min(2.0, self.seconds / 14)
        while time.monotonic() < until:
            if not deck:
                deck = often + once
                self.chaos.shuffle(deck)
            act = deck.pop()
            self.events[act.__name__] += 1
            began = time.monotonic()
            with contextlib.suppress(*AWAY):
                act()
            if time.monotonic() - began > 5:
                self.say(f"{act.__name__} took {time.monotonic() - began:.1f} s")
            self.resume_due(time.monotonic())
            time.sleep(pause * self.chaos.uniform(0.5, 1.5))
        self.resume_due(None)

    def resume_due(self, now):
        due = [e for e in self.resume_at if now is None or e[0] <= now]
        self.resume_at = [e for e in self.resume_at if e not in due]
        for _, resume in due:
            with contextlib.suppress(ProcessLookupError):
                resume()

    # ---- the end ----

    def hurry(self):
        """A retry in half a minute is due now: the clock is moved on for what waits long."""
        for p in PARTNERS:
            now = time.time() * 1000
            late = self.cluster.redis.client.zrangebyscore(f"delayed:{{{p}}}", now + 5000, "+inf")
            if late:
                self.cluster.redis.client.zadd(f"delayed:{{{p}}}", {m: now for m in late}, xx=True)

    def is_idle(self):
        self.hurry()
        runs = [key for p in PARTNERS for key in self.cluster.redis.client.keys(f"*:{{{p}}}*") if key.startswith((b"run:", b"ended:"))]
        return not runs and self.cluster.busy(PARTNERS) == 0

    def threads(self):
        def run(what):
            try:
                what()
            except Exception as e:  # noqa: BLE001: a thread's failure is the run's
                self.wrong.append(f"{what.__name__} failed: {type(e).__name__}: {e}")

        threads = [threading.Thread(target=run, args=(f,), daemon=True) for f in (self.push_all, self.watch_all)]
        for t in threads:
            t.start()
        return threads

    def run(self):
        self.prepare()
        threads = self.threads()
        try:
            self.torment()
        finally:
            self.end.set()
            for t in threads:
                t.join(30)
        self.settle_down()
        self.ledger()
        return self.wrong

    def settle_down(self):
        for process in self.workers + self.schedulers:
            if not process.is_running():
                self.wrong.append(f"{process.name} ended by itself:\n{process.log_tail(10)}")
        # What changed while everything died may have been asked for by nobody since: one more look at each.
        for n, (account, item) in enumerate(sorted(self.changed)):
            self.push({"task": "import_resource", "id": f"last-{n}", "integration_id": self.accounts[account],
                       "args": {"external_id": item}})
        try:
            wait_until(self.is_idle, 45 * SLOWER, self.cluster.describe, 0.1)
        except AssertionError as e:
            self.wrong.append(str(e))

    def ledger(self):
        self.look()
        ends = job_ends(self.workers)
        self.done = Counter(id for id, event in ends if event == "job_done")
        self.check_ids(ends)
        self.check_rows()
        self.check_children()
        self.check_runs()
        self.check_keys()
        self.rows = self.cluster.one("SELECT count(*) FROM resources")
        statuses = self.sandbox.statuses()
        self.calls, refused = sum(statuses.values()), statuses.get(429, 0)
        if refused:
            self.wrong.append(f"{refused} calls were over the partner's limits (429)")

    def check_ids(self, ends):
        ended = {id for id, _ in ends}
        lost = sorted(set(self.pushed) - ended)
        if lost:
            self.wrong.append(f"{len(lost)} jobs were lost: {lost[:10]}")
        letters = Counter()
        for p in PARTNERS:
            for letter in self.cluster.redis.client.zrange(f"dead:{{{p}}}", 0, -1):
                letters[json.loads(letter)["job"]] += 1
        for id in sorted(set(letters) | self.bad):
            if id not in self.bad:
                self.wrong.append(f"{id} became a dead letter")
            elif not 1 <= letters[id] <= self.pushed[id]:
                self.wrong.append(f"{id}: {letters[id]} dead letters of {self.pushed[id]} pushes")

    def check_rows(self):
        for account, integration in self.accounts.items():
            rows = self.cluster.sql("SELECT * FROM resources WHERE integration_id = %s", integration)
            wanted = expected(self.sandbox.items("listing", account), listing_row)[0]
            if not self.companies_of(integration):  # then only what was asked for by itself is there
                there = {r["external_id"] for r in rows}
                wanted = {k: v for k, v in wanted.items() if k in there}
            else:
                transactions = self.cluster.sql("SELECT * FROM transactions WHERE integration_id = %s", integration)
                self.wrong += [f"{account}, reservations: {d}" for d in differences(
                    transactions, expected(self.sandbox.items("reservation", account), reservation_row)[0])]
            self.wrong += [f"{account}, listings: {d}" for d in differences(rows, wanted)]
            for row in rows:
                most = 1 + self.changed[account, row["external_id"]]
                if not 1 <= row["version"] <= most:
                    self.wrong.append(f"{account} {row['external_id']}: version {row['version']}, at most {most}")

    def companies_of(self, integration):
        return [job for job, integrations in self.companies.items() if integration in integrations]

    def check_children(self):
        """Each company's job has queued each of its imports once, and they were done, or skipped because a later one was."""
        skipped = superseded(self.workers)
        runs = self.cluster.sql(
            "SELECT root.job_id AS root, run.job_id AS child, run.integration_id AS i FROM runs run"
            " JOIN runs root ON root.id = run.root_id AND root.task = 'import_company_resources'"
            " WHERE run.task = 'import_resources' GROUP BY 1, 2, 3")
        for job, integrations in self.companies.items():
            for i in integrations:
                children = [r["child"] for r in runs if r["root"] == job and r["i"] == i]
                if not children and skipped[i]:
                    skipped[i].pop()
                elif not 1 <= len(children) <= self.pushed[job]:
                    self.wrong.append(f"{job}: {len(children)} imports of integration {i}, {self.pushed[job]} pushes")
                self.wrong += [f"{job}: its child {c} did not end" for c in children if not self.done[c]]

    def check_runs(self):
        """Each fan-out's run has ended after its last part, and its on_done was queued and done."""
        runs = self.cluster.sql(
            "SELECT r.id, r.job_id, r.ended, r.ended_at, r.on_done_at, r.descendants_done AS n, count(p.id) AS parts,"
            " max(p.finished_at) AS last FROM runs r LEFT JOIN runs p ON p.root_id = r.id AND p.id <> r.id"
            " WHERE r.task = 'import_company_resources' GROUP BY r.id")
        for r in runs:
            if not r["parts"]:
                continue  # of an attempt that died before it queued anything
            if r["ended"] != "done" or not r["on_done_at"]:
                self.wrong.append(f"run {r['id']} of {r['job_id']} has not ended: {dict(r)}")
            elif r["last"] and r["last"] > r["ended_at"] + CLOCKS or r["n"] < len(self.companies[r["job_id"]]):
                self.wrong.append(f"run {r['id']} of {r['job_id']} ended early: {dict(r)}")
            elif not self.done[f"run-{r['id']}-done"]:
                self.wrong.append(f"run {r['id']} of {r['job_id']}: its on_done was not done")

    def check_keys(self):
        """No key that common/README.md does not name; nothing that waits; whatever ends by itself has an end."""
        names, client = documented_keys(), self.cluster.redis.client
        for key in sorted(k.decode() for k in client.scan_iter(count=1000)):
            known = [k for k in names if k.pattern.fullmatch(key)]
            if not known:
                self.wrong.append(f"{key} is not in common/README.md")
            elif all(k.has_ttl for k in known) and client.ttl(key) == -1:
                self.wrong.append(f"{key} has no end, common/README.md says it has")
            elif re.match(r"(queue|ready|ring|flight|busy|outbox|delayed|run|ended):", key):
                self.wrong.append(f"{key} is left over: {client.type(key).decode()}")

    def verdict(self):
        again = sum(n - 1 for n in self.done.values() if n > 1)
        self.say(f"pushed {sum(self.pushed.values())} jobs ({len(self.pushed)} ids, {len(self.bad)} bad, {len(self.companies)} "
                 f"fan-outs); {sum(self.done.values())} ended well, {again} of them not for the first time; {self.rows} rows")
        self.say("what happened: " + ", ".join(f"{k} {v}" for k, v in sorted(self.events.items())))
        self.say(f"audited {self.samples} times, at most {self.fullest} of {PARTNER_CAP} in flight; {self.calls} calls")
        for w in self.wrong[:40]:
            self.say(f"BROKEN: {w}")
        self.say(f"torture: {'FAILED' if self.wrong else 'every promise was kept'}; seed {self.seed}, {self.seconds:g} s")


def job_ends(workers):
    """(job id, event) of each attempt that came to an end of its own, from the workers' logs."""
    found = []
    for worker in workers:
        for line in worker.log_text().splitlines():
            event = re.search(r"\bevent=(job_done|job_dead)\b", line)
            job = re.search(r"\bjob=(\S+)", line)
            if event and job:
                found.append((job.group(1), event.group(1)))
    return found


def superseded(workers):
    """integration -> the jobs that were skipped for a later import's success, from the workers' logs."""
    found = defaultdict(set)
    for worker in workers:
        for line in worker.log_text().splitlines():
            if "event=job_superseded" in line:
                job, i = (re.search(rf"\b{name}=(\S+)", line) for name in ("job", "integration"))
                if job and i:
                    found[int(i.group(1))].add(job.group(1))
    return found


@contextlib.contextmanager
def stage():
    """What the fixtures give to a test, without pytest."""
    folder = Path(tempfile.mkdtemp(prefix="longshore-torture-"))
    folder.chmod(0o755)
    (folder / "postgres").mkdir(mode=0o755)
    postgres = Postgres(folder / "postgres").start()
    cluster = None
    try:
        database = postgres.create_database()
        Longshore(folder, {"LONGSHORE_DATABASE_URL": postgres.url(database), "PATH": "/usr/bin:/bin"})("migrate")
        (folder / "cluster").mkdir()
        cluster = Cluster(folder / "cluster", postgres, database)
        cluster.redis.start()
        yield cluster, folder
    finally:
        if cluster:
            cluster.close()
        postgres.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 31) if options.seed is None else options.seed
    print(f"torture: seed {seed}, {options.seconds:g} s", flush=True)
    with stage() as (cluster, folder):
        torture = Torture(cluster, options.seconds, seed)
        try:
            torture.run()
            torture.wrong += cluster.close()
        except (AssertionError, psycopg2.Error) as e:
            torture.wrong.append(f"{type(e).__name__}: {e}")
        torture.verdict()
    if torture.wrong:
        print(f"logs: {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

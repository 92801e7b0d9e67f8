"""A walk over every step: a process dies before and after each Redis, Postgres, HTTP and SMTP step of a job's life, one by one.

    make failpoints SEED=n        or        /usr/bin/python3 tests/system/failpoints.py --seed n [--only 'pg insert runs']

The programs under test are those of `make FAIL=1` (common/base/failpoint.h).  A scenario that has a job's whole life in it is run
once undisturbed: what it passes is the list of points, so a step that is new is walked without being told of.  Then, for each
point, from a fresh state: one process dies there, others take over, and the ledger is looked at when all is done.
Prints a table, a verdict and the seed; exit code 1 if a promise was broken.  test_failpoints.py walks a sample.
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
from collections import Counter, namedtuple
from datetime import timedelta
from pathlib import Path

from harness import Cluster, Longshore, MailServer, Postgres
from harness.guesty import differences, expected, listing_row, photo_rows, reservation_row
from harness.keys import documented_keys
from harness.process import BIN, ROOT, wait_until
from test_notify import KEY, pem
from test_outbound import Partners, quick
from torture import job_ends

FAIL_BIN = BIN.parent.parent / "fail" / "bin"
LISTINGS, PAGE, RESERVATIONS = 24, 10, 12
TABLES = "resources, transactions, media, runs, dead_letters, rejected_items, checkpoints, alerts, token_mints, outcomes, webhook_events, outbound_steps, outbound_requests, notifications, notification_attempts"
CHANNELS = ("fcm", "sendgrid", "slack", "smtp", "twilio")
OUTBOUND = ("stripe", "maintenance", *CHANNELS)
PARTNERS = ("guesty", "longshore", *OUTBOUND)
# Outbound requests: a donation with what follows it, another that is taken back, a ticket and a later word on it, notifications.
ASKED = sorted([("stripe", "charge", "done"), ("stripe", "charge", "undone"), ("stripe", "receipt", "done"), ("stripe", "tokenise", "done"),
                ("maintenance", "request_service", "done"), ("maintenance", "push_status", "done"), *((c, "send", "done") for c in CHANNELS)])
WALK = {"email": {"subject": "Walk {n}", "text": "t"}, "sms": {"text": "Walk {n}"}, "slack": {"text": "Walk {n}"}, "push": {"title": "Walk {n}", "body": "b"}}
PROGRESS_S = 30
# Where: "worker" is the process that runs the jobs, "supervisor" its parent, which has something to do only when one died.
Point = namedtuple("Point", "role name when nth")


def programs(process):
    """Lets a worker or scheduler be the one that can be told to die."""
    process.argv[0] = str(FAIL_BIN / Path(process.argv[0]).name)
    return process


class Lane:
    """A stage on which one run follows another: a Redis, a database, the partners, and integrations with them."""

    def __init__(self, cluster):
        self.cluster = c = cluster
        c.redis.argv += ["--appendfsync", "no"]
        c.redis.start()
        folder = c.folder / "drivers" / "guesty"
        shutil.copytree(ROOT / "drivers" / "guesty", folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["limits"] = [{"scope": "integration", "rate": 1000, "window": "100ms"}]
        manifest.pop("limit_headers")
        manifest["pagination"]["size"] = PAGE
        photos = manifest["collections"]["photos"]
        del photos["embedded"]  # a call each, so that there are children of a page
        photos |= {"get": "/listings/{parent.id}/photos", "records": "data"}
        # A killed worker's calls count as in flight for the total timeout.
        manifest["api"]["timeout"] = {"connect": "2s", "read": "2s", "total": "3s"}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        for partner in OUTBOUND:
            quick(folder.parent, partner, lambda m: m.pop("limit_headers", None))
        c.add_drivers(folder.parent)
        self.partners = Partners(c, listings=LISTINGS, reservations=RESERVATIONS, clean=True, latency="3ms", limits="none")
        self.sandbox = self.partners.sandbox
        self.mail = c.add(MailServer(c.folder, secured=True)).start()
        company, other = c.company("Walked"), c.company("Beside it")
        self.company, self.beside = company, other
        self.add_channels(folder.parent)
        self.accounts = {a: c.integration(self.sandbox, a, company=company) for a in ("acct-1", "acct-2")}
        self.other = c.integration(self.sandbox, "acct-3", company=other)
        self.items = {a: self.sandbox.items("listing", a) for a in (*self.accounts, "acct-3")}
        self.runs = 0

    def add_channels(self, drivers):
        """One of each; mails by SMTP are the other company's, which has no other."""
        c, url = self.cluster, self.sandbox.url
        manifest = json.loads((drivers / "fcm" / "manifest.json").read_text())
        manifest["auth"]["token_url"] = url + "/fcm/token"
        (drivers / "fcm" / "manifest.json").write_text(json.dumps(manifest))
        known = {
            "sendgrid": (url + "/sendgrid/v3", {"api_key": "SG.1"}, "from=desk@example.com"),
            "twilio": (url + "/twilio/2010-04-01", {"username": "AC1", "password": "token-1"}, "account=AC1", "from=+15005550006"),
            "fcm": (url + "/fcm/v1", {"client_email": "svc-1@p.iam.example.com", "private_key": pem(KEY)}, "project=p"),
            "slack": (url + "/slack/services", {"api_key": "T1/B1/X1"}),
            "smtp": (f"smtp://localhost:{self.mail.port}", {"username": "desk", "password": "s3cret"}, "from=desk@example.com"),
        }
        ids = {}
        for partner, (base, credentials, *settings) in known.items():
            ids[partner] = int(c.longshore("integration", "add", "--company", self.beside if partner == "smtp" else self.company, "--partner", partner, "--base-url", base,
                                           *[w for s in settings for w in ("--set", s)], "--credentials", "-", input=json.dumps(credentials)).out.split()[-1])
        c.longshore("notify", "template", "walk", "-", input=json.dumps(WALK))
        c.longshore("notify", "channels", ids.pop("smtp"), "--company", self.beside)
        c.longshore("notify", "channels", *ids.values(), "--company", self.company)

    # ---- one run ----

    def reset(self):
        c = self.cluster
        c.redis.client.flushall()
        c.sql(f"TRUNCATE {TABLES}")
        c.sql("UPDATE integrations SET last_success_at = NULL")
        self.sandbox.reset("log", "faults", "limits", "tokens")
        self.runs += 1
        self.started, self.said_since = [], set()
        self.log = c.folder / f"points{self.runs}"

    def push_all(self):
        """Every way that a job can go; ids -> how it ends."""
        c, s, now = self.cluster, self.sandbox, int(time.time() * 1000)
        a = self.accounts["acct-1"]
        retried, throttled = (self.items["acct-3"][n]["id"] for n in (3, 5))
        s.fault(match=f"/v1/listings/{retried}", status=500, times=1)
        s.fault(match=f"/v1/listings/{throttled}", status=429, retry_after=4, times=1)
        jobs = [({"id": "company", "task": "import_company_resources", "record": True, "result_ttl": 600,
                  "args": {"company_id": self.company, "on_done": {"task": "noop"}}}, "longshore")]
        jobs += [({"id": f"noop{n}", "task": "noop"}, q) for n, q in enumerate(("guesty:high", "guesty", "guesty:low", "longshore"))]
        # The books outlast a run: by what each asks for they are told apart.
        paid = {"customer": f"c-{self.runs}", "invoice": f"i-{self.runs}", "amount": 1250, "currency": "EUR", "payment_method": "pm_card_visa"}
        given = {"intent": "walk", "email": "giver@example.com", "save_card": f"giver{self.runs}@example.com", "name": "A. Giver"}
        to = [{"email": f"walker{self.runs}@example.com"}, {"phone": self.phone()}, {"token": f"device-{self.runs}"}, {"id": "room"}]
        jobs += [({"id": "donation", "task": "charge", "integration_id": self.partners.stripe, "args": {**paid, **given}}, "stripe"),
                 ({"id": "mistake", "task": "charge", "integration_id": self.partners.stripe, "args": {**paid, "intent": "walk back"}}, "stripe"),
                 ({"id": "ticket", "task": "request_service", "integration_id": self.partners.maintenance,
                   "args": {"title": f"Walk {self.runs}", "location": "Room 12"}}, "maintenance")]
        jobs += [({"id": f"told-{company}", "task": "notify", "args": {"company_id": int(company), "template": "walk", "to": who, "values": {"n": self.runs}}}, "longshore")
                 for company, who in ((self.company, to), (self.beside, to[0]))]
        jobs += [({"id": "later", "task": "noop", "run_at": now + 700}, "guesty"),
                 ({"id": "unknown", "task": "no_such_task"}, "guesty"),
                 ({"id": "missing", "task": "import_resource", "integration_id": a, "args": {"external_id": "nobody"}}, "guesty"),
                 ({"id": "retried", "task": "import_resource", "integration_id": self.other,
                   "args": {"external_id": retried}}, "guesty"),
                 ({"id": "throttled", "task": "import_resource", "integration_id": self.other,
                   "args": {"external_id": throttled}}, "guesty"),
                 ({"id": "only", "task": "noop", "unique": "one", "run_at": now + 300}, "guesty"),
                 ({"id": "only2", "task": "noop", "unique": "one", "run_at": now + 300}, "guesty"),
                 ({"id": "once", "task": "noop", "idempotency_key": "once"}, "guesty")]
        for job, queue in jobs:
            partner, _, lane = queue.partition(":")
            c.push(job, f"queue:{{{partner}}}{':' + lane if lane else ''}")
        self.wanted = {job["id"]: "job_dead" if job["id"] in ("unknown", "missing") else "job_done" for job, _ in jobs}

    def phone(self):
        return f"+3519{self.runs:08}"

    def say_more(self):
        """What a person, and another program, say when they have seen the first of it: the mistake is taken back, and the ticket gets news."""
        c = self.cluster
        for r in c.sql("SELECT id, action, external_id, args ->> 'intent' AS intent FROM outbound_requests WHERE state = 'done'"):
            if r["intent"] == "walk back" and "undo" not in self.said_since:
                c.longshore("request", "undo", r["id"])
                self.said_since.add("undo")
            elif r["action"] == "request_service" and "news" not in self.said_since:
                c.push({"id": "news", "task": "push_status", "integration_id": self.partners.maintenance,
                        "args": {"ticket_id": r["external_id"], "status": "seen to"}}, "queue:{maintenance}")
                self.said_since.add("news")
                self.wanted["news"] = "job_done"

    def start(self, kind, spec=None):
        c = self.cluster
        if kind == "worker":
            process = c.make_worker(grace="2s")
        else:
            process = c.make_scheduler(import_every="0")
        programs(process)
        process.env = {**process.env, "LONGSHORE_FAILPOINT_LOG": str(self.log) + kind, "SSL_CERT_FILE": str(self.mail.cert)}
        if spec:
            process.env["LONGSHORE_FAILPOINT"] = spec
            process.exits |= {1, -signal.SIGKILL}
        process.start()
        self.started.append(process)
        return process

    def hurry(self):
        """A retry in half a minute is due now, the partner's Retry-After over, a dead process's lock on a token too."""
        now, client = time.time() * 1000, self.cluster.redis.client
        for partner in ("guesty", *OUTBOUND):
            late = client.zrangebyscore(f"delayed:{{{partner}}}", now + 1500, "+inf")
            if late:
                for hold in client.scan_iter(f"limit:{{{partner}}}:*:hold", 1000):
                    client.delete(hold)
                client.zadd(f"delayed:{{{partner}}}", {m: now for m in late}, xx=True)
        if not self.unlocked and self.fired("worker"):  # at once: who comes after it has not begun
            self.unlocked = True
            for lock in client.scan_iter("tokenlock:*", 1000):
                client.delete(lock)

    def replace_dead(self):
        for process in list(self.started):
            if process.process and not process.is_running() and process not in self.replaced:
                process.signal_group(signal.SIGKILL)
                self.replaced.append(process)
                self.start("worker" if "worker" in process.name else "scheduler")

    def fired(self, role, nth=1):
        return Path(f"{self.log}{'scheduler' if role == 'scheduler' else 'worker'}.{nth}").exists()

    def is_drained(self):
        self.hurry()
        self.replace_dead()
        open_runs = [k for k in self.cluster.redis.client.scan_iter(count=1000) if k.startswith((b"run:", b"ended:"))]
        self.say_more()
        return not open_runs and self.cluster.busy(PARTNERS) == 0 and self.cluster.one(
            "SELECT count(*) FROM dead_letters") == 2 and self.cluster.redis.client.zcard("dead:{guesty}") == 2 and self.cluster.one(
            "SELECT count(*) FILTER (WHERE state IN ('done', 'unknown')) >= %s AND count(*) FILTER (WHERE state = 'undone') = 1 FROM outbound_requests",
            len(ASKED) - 1) and self.cluster.one(
            "SELECT count(*) FROM notification_outcomes WHERE state IN ('sent', 'unknown')") == len(CHANNELS)

    def run(self, point=None, first=()):
        """What was wrong, in words, and whether it died.  `first`: the deaths of workers that bring it about."""
        self.reset()
        self.replaced, self.unlocked = [], False
        self.push_all()
        deaths = {"worker": list(first), "scheduler": []}
        if point:
            deaths["scheduler" if point.role == "scheduler" else "worker"].append(point)
        spec = {kind: ",".join(f"{p.name}:{p.when}:{p.nth}" for p in points) for kind, points in deaths.items()}
        scheduler, worker = self.start("scheduler", spec["scheduler"]), self.start("worker", spec["worker"])
        self.pids = {"scheduler": scheduler.pid, "supervisor": worker.pid}
        try:
            wait_until(self.is_drained, 45, self.cluster.describe, 0.03)
            met = not point or self.wait_death(point, len(first) + 1 if point.role != "scheduler" else 1, scheduler, worker)
            wait_until(self.is_drained, 45, self.cluster.describe, 0.03)
            wrong = self.ledger(point)
        except AssertionError as e:
            wrong, met = [str(e)], True
        return wrong + self.stop(), met

    def wait_death(self, point, nth, scheduler, worker):
        """What has not come when all is done comes at a later look, or when the process stops."""
        with contextlib.suppress(AssertionError):
            wait_until(lambda: self.fired(point.role, nth), 1.5, "the death", 0.02, patience=1)
            return True
        process = scheduler if point.role == "scheduler" else worker
        if process.is_running():
            process.term()
        return self.fired(point.role, nth)

    def stop(self):
        problems = []
        for process in reversed(self.started):
            process.stop()
            problems += process.check()
            self.cluster.processes.remove(process)
        return problems

    def passed(self):
        """(role, name) -> how often it was passed, of the run before."""
        found = Counter()
        roles = {pid: role for role, pid in self.pids.items()}
        for kind in ("worker", "scheduler"):
            for line in Path(str(self.log) + kind).read_text().splitlines():
                pid, _, rest = line.partition(" ")
                name, _, when = rest.rpartition(":")
                if when == "before":
                    found[roles.get(int(pid), kind), name] += 1
        return found

    # ---- the ledger ----

    def ledger(self, point=None):
        wrong = []
        self.check_ends(wrong)
        for account, integration in self.accounts.items():
            self.check_rows(wrong, account, integration)
        self.check_runs(wrong)
        self.check_requests(wrong, point)
        self.check_keys(wrong)
        self.check_doctor(wrong)
        extra = [e for e in self.sandbox.log() if e["status"] not in (200, 201, 202, -1) and not e["fault"]]
        wrong += [f"the partner said {e['status']} to {e['path']}" for e in extra if "nobody" not in e["path"]]
        return wrong

    def check_ends(self, wrong):
        workers = [p for p in self.started if "worker" in p.name]
        ends = job_ends(workers)
        for id, how in self.wanted.items():
            events = {event for i, event in ends if i == id}
            if id in ("only", "only2"):
                events |= {event for i, event in ends if i in ("only", "only2")}
            if events != {how}:
                wrong.append(f"{id} ended as {sorted(events)}, not as {how}")
        dead = sorted(id for id, how in self.wanted.items() if how == "job_dead")
        letters = sorted(letter["job"] for letter in self.cluster.dead())
        if letters != dead:
            wrong.append(f"dead letters in Redis: {letters}")
        stored = sorted(r["letter"]["job"] for r in self.cluster.sql("SELECT letter FROM dead_letters"))
        if stored != dead:
            wrong.append(f"dead letters in Postgres: {stored}")
        # One page of the scenario has items that fit nowhere; of a message whose answer was lost nobody can know.
        wrong += [f"alert {a['kind']}: {a['what']}" for a in self.cluster.sql("SELECT kind, what FROM alerts WHERE kind <> 'schema_changed'")
                  if not (a["kind"] == "outbound_unknown" and "(send of " in a["what"])]

    def check_rows(self, wrong, account, integration):
        c = self.cluster
        for table, noun, row_of in (("resources", "listing", listing_row), ("transactions", "reservation", reservation_row)):
            rows = c.sql(f"SELECT * FROM {table} WHERE integration_id = %s", integration)
            items = self.sandbox.items(noun, account)
            wrong += [f"{account} {table}: {d}" for d in differences(rows, expected(items, row_of)[0])]
            wrong += [f"{account} {r['external_id']}: version {r['version']}" for r in rows if r["version"] != 1]
        pictures = [p for i in self.items[account] for p in i["item"]["pictures"]]
        photos = [r["external_id"] for i in self.items[account] for r in photo_rows(i["item"])[0] if "external_id" in r]
        rows = c.sql("SELECT external_id, version FROM media WHERE integration_id = %s", integration)
        if sorted(r["external_id"] for r in rows) != sorted(photos) or any(r["version"] != 1 for r in rows):
            wrong.append(f"{account}: {len(rows)} photos of {len(photos)}, versions {Counter(r['version'] for r in rows)}")
        aside = c.one("SELECT count(*) FROM rejected_items WHERE integration_id = %s", integration)
        if aside != len(pictures) - len(photos):  # in a list of its own a picture without an id is none
            wrong.append(f"{account}: {aside} items set aside, not {len(pictures) - len(photos)}")

    def check_runs(self, wrong):
        """Whatever is queued with a settlement is there once, and every run has its end, and one row."""
        c = self.cluster
        for r in c.sql("SELECT task, job_id, count(*) AS n FROM runs GROUP BY 1, 2 HAVING count(*) > 1"):
            wrong.append(f"{r['n']} runs of {r['task']} {r['job_id']}")
        for task in ("import_resources", "import_transactions"):
            for account, integration in self.accounts.items():
                jobs = c.sql("SELECT DISTINCT job_id FROM runs WHERE task = %s AND integration_id = %s", task, integration)
                if len(jobs) != 1:
                    wrong.append(f"{len(jobs)} jobs {task} of {account}: a child was {'doubled' if jobs else 'lost'}")
        for r in c.sql("SELECT task, job_id, state FROM runs WHERE state <> 'done' AND job_id <> 'missing'"):
            wrong.append(f"the run of {r['task']} {r['job_id']} stays {r['state']}")
        self.check_company(wrong)

    def check_requests(self, wrong, point):
        """Each is done, or taken back, and in the partners' books once; with a key or a way to look for it none stays unknown.  A message has
        neither: of that it may be said that nobody knows, with the reason, and then it is in the books once or not at all.  Of a mail that
        may not be said before its end was written."""
        rows = self.cluster.sql("SELECT partner, action, state, error FROM outbound_requests")
        unknown = {r["partner"] for r in rows if r["action"] == "send" and r["state"] == "unknown" and r["error"]}
        if point and point.name.startswith("smtp ") and point.name not in ("smtp end", "smtp QUIT"):
            unknown.discard("smtp")
        if sorted((r["partner"], r["action"], "done" if r["action"] == "send" and r["partner"] in unknown else r["state"]) for r in rows) != ASKED:
            wrong.append(f"requests: {sorted((r['partner'], r['action'], r['state'], r['error']) for r in rows)}")
        books, text = self.sandbox.control("GET", "/books").json(), f"Walk {self.runs}"

        def count(kind, **fields):
            return [b["id"] for b in books.get(kind, []) if all(b.get(k) in (v if isinstance(v, list) else [v]) for k, v in fields.items())]
        payments, customers = count("payments", invoice=f"i-{self.runs}"), count("customers", email=f"giver{self.runs}@example.com")
        walker = f"walker{self.runs}@example.com"
        found = {"charges beside that taken back": payments[1:], "customers": customers, "receipts": count("receipts", payment_intent=payments),
                 "attached": count("attached", customer=customers), "refunds": count("refunds", payment_intent=payments),
                 "tickets": count("tickets", title=text), "tickets that are seen to": count("tickets", title=text, location="Room 12", status="seen to")}
        sent = {"sendgrid": count("mails", to=walker), "twilio": count("texts", to=self.phone()), "fcm": count("pushes", token=f"device-{self.runs}"),
                "slack": count("posts", text=text), "smtp": [e for e in self.mail.log("taken") if e["to"] == walker]}
        for channel, messages in sent.items():
            if channel not in unknown or len(messages) > 1:
                found[f"messages by {channel}"] = messages
        wrong += [f"{len(ids)} {kind} in the partner's books, not one" for kind, ids in found.items() if len(ids) != 1]

    def check_company(self, wrong):
        """Its run ended once, after all its parts; on_done was queued and done; whoever asked for the outcome has it."""
        c = self.cluster
        runs = c.sql("SELECT r.id, r.ended, r.ended_at, r.on_done_at, r.descendants_done AS n, max(p.finished_at) AS last"
                     " FROM runs r JOIN runs p ON p.root_id = r.id AND p.id <> r.id WHERE r.job_id = 'company' GROUP BY r.id")
        if [r["ended"] for r in runs] != ["done"] or not runs[0]["on_done_at"]:
            wrong.append(f"the company's run has not ended once: {runs}")
            return
        (run,) = runs
        # Listings, reservations, and the photos of each page.  A worker's own idea of Redis' clock is off by half a round trip.
        least = (2 + -(-LISTINGS // PAGE)) * len(self.accounts)
        if run["last"] > run["ended_at"] + timedelta(seconds=1) or run["n"] < least:
            wrong.append(f"the company's run ended early: {run}")
        ends = job_ends([p for p in self.started if "worker" in p.name])
        if (f"run-{run['id']}-done", "job_done") not in ends:
            wrong.append("the company's on_done was not done")
        if c.sql("SELECT state FROM outcomes WHERE job_id = 'company'") != [{"state": "done"}]:
            wrong.append("the company's outcome is not on record")
        result = json.loads(c.redis.client.get("result:{longshore}:company") or "{}")
        if result.get("state") != "done" or result.get("run_id") != run["id"]:
            wrong.append(f"the company's result is {result}")

    def check_keys(self, wrong):
        names, client = documented_keys(), self.cluster.redis.client
        for key in sorted(k.decode() for k in client.scan_iter(count=1000)):
            known = [k for k in names if k.pattern.fullmatch(key)]
            if not known:
                wrong.append(f"{key} is not in common/README.md")
            elif all(k.has_ttl for k in known) and client.ttl(key) == -1:
                wrong.append(f"{key} has no end")
            elif re.match(r"(queue|ready|ring|flight|busy|outbox|delayed|run|ended):", key):
                wrong.append(f"{key} is left over")

    def check_doctor(self, wrong):
        found = self.cluster.longshore.run("doctor", "--json").json()
        ours = ("queue", "busy", "ring", "flight", "queues", "keys", "postgres", "schema", "credentials")
        wrong += [f"doctor: {f['check']}: {f['found']}" for f in found if f["check"] in ours and f["state"] != "ok"]


class Walk:
    def __init__(self, clusters, seed, depth=10, say=print):
        self.random, self.depth, self.say = random.Random(seed), depth, say
        self.clusters, self.lanes = clusters, []
        self.table = {}   # (role, name, when) -> [died, not met]
        self.wrong = []
        self.lock = threading.Lock()
        self.points = []

    def prepare(self):
        for cluster in self.clusters:
            self.lanes.append(Lane(cluster))

    def spread(self, count):
        """Which of count times: all, or the first and then at even distances."""
        return sorted({1 + count * k // self.depth for k in range(self.depth)})

    def learn(self):
        """The points of a life in which nobody dies, and those that only a death brings about."""
        lane = self.lanes[0]
        wrong, _ = lane.run()
        assert not wrong, "undisturbed:\n" + "\n".join(wrong)
        calm = lane.passed()
        first = Point("worker", "pg insert checkpoints", "after", 2)
        wrong, _ = lane.run(first=[first])
        assert not wrong, "after one death:\n" + "\n".join(wrong)
        after = lane.passed()
        both = ("before", "after")
        steps = [(Point(role, name, when, nth), []) for (role, name), count in sorted(calm.items()) if role != "supervisor"
                 for when in both for nth in self.spread(count)]
        steps += [(Point(role, name, when, 1), [first]) for role, name in sorted(after) for when in both
                  if role == "supervisor" or (role, name) not in calm]
        # Where the supervisor dies too, nobody is left to give the jobs back: ten seconds later the schedulers do, and die of it.
        alone = [first, Point("supervisor", "redis reap", "before", 1)]
        steps += [(Point("scheduler", "redis reap", when, 1), alone) for when in both]
        self.points = steps
        return steps

    def one(self, lane, point, first):
        began = time.monotonic()
        wrong, met = lane.run(point, first)
        with self.lock:
            row = self.table.setdefault((point.role, point.name, point.when), [0, 0, 0])
            row[0 if met else 1] += 1
            row[2] = max(row[2], time.monotonic() - began)
            found = [f"{point.role} {point.name}, {point.when} the {point.nth}. time: {w}" for w in wrong]
            self.wrong += found
            for w in found:
                self.say(f"BROKEN: {w[:3000]}")
        if not wrong:
            for kind in ("worker", "scheduler"):
                for path in lane.cluster.folder.glob(f"points{lane.runs}*"):
                    path.unlink(missing_ok=True)

    def walk(self, steps, seconds=None, at_least=0):
        """All steps, over all lanes; with `seconds` as many as begin in that time, and at_least so many however slow the machine."""
        until = time.monotonic() + seconds if seconds else None
        left = list(steps)
        walked, told = [], [time.monotonic()]

        def tell():
            if time.monotonic() - told[0] >= PROGRESS_S:
                told[0] = time.monotonic()
                self.say(f"failpoints: {len(walked)} of {len(steps)}, {len(self.wrong)} broken so far")

        def go(lane):
            while True:
                with self.lock:
                    if not left or (until and time.monotonic() > until and len(walked) >= at_least):
                        return
                    step = left.pop()
                    tell()
                    walked.append(step)
                try:
                    self.one(lane, *step)
                except Exception as e:  # noqa: BLE001: a thread's failure is the walk's
                    with self.lock:
                        self.wrong.append(f"{step}: {type(e).__name__}: {e}")

        threads = [threading.Thread(target=go, args=(lane,), daemon=True) for lane in self.lanes]
        for t in threads:
            t.start()
        try:
            for t in threads:
                t.join()
        finally:  # interrupted: each lane ends its run, and stops what it started
            left.clear()
            for t in threads:
                t.join(90)
        return walked

    def verdict(self, seed):
        self.say(f"{'where':10} {'step':44} {'':6} {'died':>4} {'not met':>7} {'s':>5}")
        for (role, name, when), (died, missed, took) in sorted(self.table.items()):
            self.say(f"{role:10} {name:44} {when:6} {died:4} {missed:7} {took:5.1f}")
        never = sorted({k for k, row in self.table.items() if not row[0]})
        deaths = sum(row[0] for row in self.table.values())
        for role, name, when in never:
            self.say(f"never met: {role} {name}:{when}")
        self.say(f"failpoints: {'FAILED' if self.wrong else 'nothing was lost, nothing doubled'}; {deaths} deaths at "
                 f"{len(self.table) - len(never)} points; seed {seed}")


@contextlib.contextmanager
def stage(lanes):
    folder = Path(tempfile.mkdtemp(prefix="longshore-failpoints-"))
    folder.chmod(0o755)
    (folder / "postgres").mkdir(mode=0o755)
    postgres = Postgres(folder / "postgres").start()
    clusters = []
    try:
        template = postgres.create_database()
        Longshore(folder, {"LONGSHORE_DATABASE_URL": postgres.url(template), "PATH": "/usr/bin:/bin"})("migrate")
        for n in range(lanes):
            (folder / f"lane{n}").mkdir()
            clusters.append(Cluster(folder / f"lane{n}", postgres, postgres.create_database(template)))
        yield clusters, folder
    finally:
        for cluster in clusters:
            cluster.close()
        postgres.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--lanes", type=int, default=2 * (os.cpu_count() or 1))
    parser.add_argument("--depth", type=int, default=10, help="at how many of its times, at most, a step is died at")
    parser.add_argument("--only", help="steps whose name holds this")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 31) if options.seed is None else options.seed
    with stage(options.lanes) as (clusters, folder):
        walk = Walk(clusters, seed, options.depth, lambda text: print(text, flush=True))
        walk.prepare()
        steps = [s for s in walk.learn() if not options.only or options.only in s[0].name]
        print(f"failpoints: {len(steps)} deaths to die, {options.lanes} at a time, seed {seed}", flush=True)
        walk.random.shuffle(steps)
        walk.walk(steps)
        walk.verdict(seed)
    if walk.wrong:
        print(f"logs: {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

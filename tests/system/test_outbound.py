"""Outbound actions: steps done once, whatever happens half-way; the partners' own books say so."""

import json
import os
import shutil

import pytest

from harness import wait_until
from harness.process import ROOT, SLOWER


class Partners:
    """A sandbox that keeps books, and an integration with each partner that it plays."""

    def __init__(self, cluster, drivers=None, **flags):
        self.cluster = cluster
        self.sandbox = cluster.sandbox(**flags)
        self.maintenance = self.add("maintenance", "/maintenance/v1", "maint-1")
        self.stripe = self.add("stripe", "/stripe/v1", "sk_test_1")

    def add(self, partner, base, key, *words):
        c = self.cluster
        c.company_id = c.company_id or c.company()
        return int(c.longshore("integration", "add", "--company", c.company_id, "--partner", partner, "--base-url", self.sandbox.url + base,
                               "--credentials", "-", *words, input=json.dumps({"api_key": key})).out.split()[-1])

    def books(self, kind):
        return self.sandbox.control("GET", "/books").json().get(kind, [])

    def ticket(self, **more):
        args = {"title": "Boiler leaks", "description": "Since this morning", "location": "Room 12", **more.pop("args", {})}
        self.cluster.push({"task": "request_service", "integration_id": self.maintenance, "args": args, **more}, "queue:{maintenance}")

    def charge(self, **more):
        args = {"customer": "c-1", "invoice": "i-1", "intent": "n-1", "amount": 1250, "currency": "EUR", "payment_method": "pm_card_visa",
                **more.pop("args", {})}
        self.cluster.push({"task": "charge", "integration_id": self.stripe, "args": args, **more}, "queue:{stripe}")

    def requests(self, action=None):
        rows = self.cluster.sql("SELECT * FROM outbound_requests ORDER BY id")
        return [r for r in rows if not action or r["action"] == action]

    def wait_state(self, state, n=1, action=None, timeout=20):
        wait_until(lambda: [r["state"] for r in self.requests(action)] == [state] * n, timeout * SLOWER,
                   lambda: f"{n} requests {state}: {[(r['action'], r['state'], r['error']) for r in self.requests()]}\n{self.cluster.describe()}")
        return self.requests(action)


@pytest.fixture
def partners(cluster):
    return Partners(cluster)


def test_ticket_is_made_and_described(cluster, partners, tmp_path):
    cluster.worker(partners="maintenance").wait_for_log("event=started", 20 * SLOWER)
    partners.ticket()
    (row,) = partners.wait_state("done")
    (ticket,) = partners.books("tickets")
    assert ticket["title"] == "Boiler leaks" and ticket["location"] == "Room 12" and ticket["updates"] == 2
    assert row["external_id"] == ticket["id"] and row["kept"] == {"ticket_id": ticket["id"]} and row["steps_done"] == 3
    steps = cluster.sql("SELECT name, state, how FROM outbound_steps ORDER BY step")
    assert [(s["name"], s["state"], s["how"]) for s in steps] == [(n, "done", "answered") for n in ("create", "describe", "assign")]
    # The partner's later word moves the same record.
    partners.sandbox.control("POST", "/books", {"kind": "tickets", "id": ticket["id"], "fields": {"status": "resolved"}})
    cluster.push({"task": "import_resources", "integration_id": partners.maintenance}, "queue:{maintenance}")
    wait_until(lambda: [r["partner_status"] for r in cluster.sql("SELECT partner_status FROM outbound_status")] == ["resolved"],
               20 * SLOWER, "the ticket's state beside its request")
    # An action as a cassette: done for real, so not in production; replayed from the folder alone.
    mine = tmp_path / "maintenance"
    shutil.copytree(ROOT / "drivers" / "maintenance", mine, ignore=shutil.ignore_patterns("cassettes"))
    record = ("driver", "record", "maintenance", "--action", "request_service", "--params", '{"title": "Lamp", "location": "Hall"}',
              "--out", mine / "cassettes", "--integration")
    refused = cluster.longshore.run(*record, partners.maintenance)
    assert refused.code == 2 and "is of production" in refused.err and len(partners.books("tickets")) == 1, refused
    trial = partners.add("maintenance", "/maintenance/v1", "maint-2", "--environment", "sandbox")
    cluster.longshore(*record, trial)
    made = partners.books("tickets")[1]
    assert (made["title"], made["updates"], len(partners.requests())) == ("Lamp", 2, 1)
    rows = json.loads((mine / "cassettes" / "request_service.action.rows.json").read_text())
    assert rows == {"state": "done", "kept": {"ticket_id": made["id"]}, "external_id": made["id"]}
    assert "3 calls, done" in cluster.longshore("driver", "check", mine).out


def test_donation(cluster, partners):
    cluster.worker(partners="stripe").wait_for_log("event=started", 20 * SLOWER)
    partners.charge(args={"email": "giver@example.com", "save_card": "giver@example.com", "name": "A. Giver"})
    wait_until(lambda: sorted((r["action"], r["state"]) for r in partners.requests()) ==
               [("charge", "done"), ("receipt", "done"), ("tokenise", "done")], 20 * SLOWER,
               lambda: f"all three: {partners.requests()}")
    (payment,) = partners.books("payments")
    assert (payment["amount"], payment["currency"], payment["invoice"]) == (1250, "eur", "i-1")
    assert len(partners.books("receipts")) == len(partners.books("customers")) == len(partners.books("attached")) == 1
    charge, *rest = partners.requests()
    assert all(r["parent_id"] == charge["id"] for r in rest)
    # The same customer, invoice, amount and intent: the same charge, whoever asks, as often as they like.
    partners.charge(args={"email": "giver@example.com", "save_card": "giver@example.com", "name": "A. Giver"})
    cluster.wait_idle(partners=("stripe",))
    assert len(partners.books("payments")) == 1 and len(partners.requests()) == 3
    # Of an address alone there is a card to keep, and no receipt to send.
    partners.charge(args={"intent": "n-2", "save_card": "giver@example.com"})
    wait_until(lambda: len(partners.books("payments")) == len(partners.books("customers")) == 2, 20 * SLOWER, "a second honest charge")
    assert [r["action"] for r in partners.requests()].count("tokenise") == 2 and len(partners.books("receipts")) == 1
    # Taken back, once.
    cluster.longshore("request", "undo", charge["id"])
    wait_until(lambda: partners.requests()[0]["state"] == "undone", 20 * SLOWER, lambda: str(partners.requests()))
    assert [r["payment_intent"] for r in partners.books("refunds")] == [payment["id"]]
    assert cluster.longshore.run("request", "undo", charge["id"]).code == 1
    # A refusal is final, until a person asks again: under another key, since the old one is told the old refusal.
    partners.charge(args={"payment_method": "pm_card_chargeDeclined", "intent": "declined"})
    last = "SELECT id, state, attempts, class, error, letter_id FROM outbound_requests ORDER BY id DESC LIMIT 1"
    wait_until(lambda: cluster.sql(last)[0]["state"] == "failed", 20 * SLOWER, lambda: str(cluster.sql(last)))
    (row,) = cluster.sql(last)
    assert row["class"] == "client" and "declined" in row["error"] and row["letter_id"]
    cluster.longshore("request", "resolve", row["id"], "retry")
    wait_until(lambda: (cluster.sql(last)[0]["attempts"], cluster.sql(last)[0]["state"]) == (2, "failed"), 10 * SLOWER, "refused again")
    assert cluster.one("SELECT round FROM outbound_steps WHERE request_id = %s", row["id"]) == 1
    cluster.longshore("dead", "replay", row["letter_id"])
    wait_until(lambda: (cluster.sql(last)[0]["attempts"], cluster.sql(last)[0]["state"]) == (3, "failed"), 10 * SLOWER, "a replay goes on with the same request")
    assert len(partners.books("payments")) == 2 and not cluster.sql("SELECT 1 FROM alerts WHERE kind = 'internal_error'")


def test_what_follows_outlasts_redis(cluster, partners):
    """What follows a charge stands in Postgres before the charge is said to be done: the loss of Redis loses no receipt."""
    worker = cluster.worker(partners="stripe", jobs=1)  # the charge alone
    partners.charge(args={"email": "giver@example.com", "save_card": "giver@example.com", "name": "A. Giver"})
    worker.wait(20 * SLOWER)
    assert [(r["action"], r["state"]) for r in partners.requests()] == [("charge", "done"), ("tokenise", "pending"), ("receipt", "pending")]
    cluster.redis.client.flushall()
    # Whoever does not know an action leaves it to those who do: here to one of another version, whose word is all there is of it.
    cluster.push({"task": "refund_all", "id": "newer", "integration_id": partners.stripe}, "queue:{stripe}")
    def beats():
        cluster.redis.client.zadd("workers:{longshore}", {"newer-1": int(cluster.redis.client.time()[0]) * 1000})
        return True
    beats()
    cluster.redis.client.set("worker:{longshore}:newer-1", json.dumps({"host": "newer", "tasks": [], "actions": {"stripe": ["refund_all"]}}))
    cluster.scheduler()
    cluster.worker(partners="stripe").wait_for_log("event=started", 20 * SLOWER)
    wait_until(lambda: [r["state"] for r in partners.requests()] == ["done"] * 3, 30 * SLOWER, lambda: f"{partners.requests()}{cluster.describe()}")
    assert len(partners.books("payments")) == len(partners.books("receipts")) == len(partners.books("attached")) == 1
    wait_until(lambda: beats() and cluster.redis.client.zcard("delayed:{stripe}") == 1, 20 * SLOWER, "it waits for the one who knows it")
    assert not cluster.redis.client.exists("dead:{stripe}")
    cluster.redis.client.delete("worker:{longshore}:newer-1")
    wait_due(cluster, "stripe", lambda: cluster.redis.client.zcard("dead:{stripe}") == 1, 20, "nobody knows it any more")


# ---- half-way ----


def quick(folder, partner, change=lambda manifest: None):
    """The driver with shorter waits: what tests cannot wait for."""
    shutil.copytree(ROOT / "drivers" / partner, folder / partner)
    path = folder / partner / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["api"]["timeout"] = {"connect": "1s", "read": "1s", "total": "2s"}
    manifest["breaker"] = {"failures": 1000}
    manifest.pop("limits")
    for action in manifest["actions"].values():
        for step in action["steps"]:
            if "find_first" in step:
                step["find_first"]["after"] = "2s"  # longer than the sandbox takes in any test
    change(manifest)
    path.write_text(json.dumps(manifest))


def due(cluster, partner):
    """What is delayed is due now."""
    key = f"delayed:{{{partner}}}"
    for member in cluster.redis.client.zrange(key, 0, -1):
        cluster.redis.client.zadd(key, {member: 1}, xx=True)


def wait_due(cluster, partner, condition, timeout, what):
    """Until that holds, with every retry made due meanwhile."""
    def look():
        due(cluster, partner)
        return condition()
    wait_until(look, timeout * SLOWER, what, 0.1)


def make_quick(cluster, tmp_path, partner, change=lambda manifest: None):
    folder = tmp_path / "quick"
    folder.mkdir(exist_ok=True)
    quick(folder, partner, change)
    if str(folder) not in cluster.drivers:
        cluster.add_drivers(folder)
    return Partners(cluster)


def forget_find(manifest):
    for action in manifest["actions"].values():
        for step in action["steps"]:
            step.pop("find_first", None)


FAULTS = {"lost": {"abort": True}, "late": {"abort": True, "late": True}, "500 before": {"status": 500},
          "500 after": {"status": 500, "late": True}, "slow": {"delay_ms": 1500}, "garbled": {"body": '{"ticket": {"id": '}, "429": {"status": 429, "retry_after": 1}}


def all_done(p, partner, n, action=None, timeout=25):
    """n requests, all of which come to be done though each met a fault."""
    done = "SELECT count(*) = %s AND bool_and(state = 'done') FROM outbound_requests WHERE action = coalesce(%s, action)"
    wait_due(p.cluster, partner, lambda: p.cluster.one(done, n, action), timeout,
             lambda: f"{n} done: {[(r['state'], r['at_step'], r['error']) for r in p.requests(action)]}{p.cluster.describe()}")


def test_each_fault_at_each_step(cluster, tmp_path):
    """One ticket a request, whatever became of which answer."""
    p = make_quick(cluster, tmp_path, "maintenance")
    cluster.worker(partners="maintenance").wait_for_log("event=started", 20 * SLOWER)
    cluster.scheduler()
    n = 0
    for step in ("POST /maintenance/v1/tickets", "PUT /maintenance"):
        for fault in FAULTS.values():
            p.sandbox.fault(match=step, times=1, **fault)
        for name in FAULTS:
            p.ticket(args={"title": f"{name} {step}"})
        n += len(FAULTS)
        all_done(p, "maintenance", n)
        p.sandbox.clear_faults()
    tickets = p.books("tickets")
    assert sorted(t["title"] for t in tickets) == sorted(r["args"]["title"] for r in p.requests()), "each ticket once"
    assert all(t["status"] == "reported" for t in tickets)
    # What nobody knows to be done is looked for before it is taken back.
    for title, fault in (("taken back", {}), ("never made", {"status": 200})):
        p.sandbox.fault(match="POST /maintenance/v1/tickets", times=1, body='{"ok": true}', **fault)
        p.ticket(args={"title": title})
        wait_until(lambda: p.requests()[-1]["state"] == "unknown", 15 * SLOWER, lambda: str(p.requests()))
        cluster.longshore("request", "resolve", p.requests()[-1]["id"], "undo")
        wait_due(cluster, "maintenance", lambda: p.requests()[-1]["state"] == "undone", 20, lambda: f"{p.requests()[-1]}{cluster.describe()}")
    assert [(t["title"], t["status"]) for t in p.books("tickets")[n:]] == [("taken back", "cancelled")]
    # What was accepted goes on, though its job's numbers look like a card's: a partner's own number may, and a door of an older version.
    job = {"task": "request_service", "integration_id": p.maintenance, "args": {"title": CARDS[0]}}
    for entry, key in (("one", None), ("two", "then:1:request_service")):
        cluster.sql("INSERT INTO outbound_requests (partner, integration_id, action, state, job, entry, idempotency_key, fingerprint, source, lane, steps, deadline_at, queued_at)"
                    " VALUES ('maintenance', %s, 'request_service', 'pending', %s, %s, %s, '', 'http', 'normal', 3, now() + interval '1 day', CASE WHEN %s IS NOT NULL THEN now() END)",
                    p.maintenance, json.dumps(job), entry, key, key)
    cluster.push({**job, "idempotency_key": "then:1:request_service", "parent_request": 1}, "queue:{maintenance}")
    wait_due(cluster, "maintenance", lambda: [r["state"] for r in p.requests()[-2:]] == ["done", "done"], 20, lambda: f"{p.requests()[-2:]}{cluster.describe()}")


def test_without_a_way_to_look_a_person_decides(cluster, tmp_path):
    p = make_quick(cluster, tmp_path, "maintenance", forget_find)
    cluster.worker(partners="maintenance").wait_for_log("event=started", 20 * SLOWER)
    for n, title in enumerate(("made", "not made", "given up"), 1):
        late = title == "made"
        p.sandbox.fault(match="POST /maintenance/v1/tickets", times=1, abort=True, late=late)
        p.ticket(args={"title": title})
        wait_until(lambda: len(p.requests()) == n and p.requests()[-1]["state"] == "unknown", 15 * SLOWER, lambda: str(p.requests()))
        p.sandbox.clear_faults()
    rows = p.requests()

    def alerted():
        return cluster.sql("SELECT scope, severity FROM alerts WHERE kind = 'outbound_unknown' AND state = 'open' ORDER BY scope")

    wait_until(lambda: len(alerted()) >= 3, 20 * SLOWER, cluster.describe)
    alerts = alerted()
    assert [a["scope"] for a in alerts] == [f"request:{r['id']}" for r in rows] and alerts[0]["severity"] == "critical"
    assert "reset" in rows[0]["error"] or "lost" in rows[0]["error"] or "network" in rows[0]["rule"]
    cluster.wait_idle(partners=("maintenance",))
    made, not_made, given_up = (r["id"] for r in rows)
    refused = cluster.longshore.run("request", "resolve", made, "done")
    assert refused.code == 2 and "ticket_id" in refused.err
    ticket = p.books("tickets")[0]["id"]
    cluster.longshore("request", "resolve", made, "done", "--kept", json.dumps({"ticket_id": ticket}))
    cluster.longshore("request", "resolve", not_made, "retry")
    cluster.longshore("request", "resolve", given_up, "undo")
    wait_until(lambda: [r["state"] for r in p.requests()] == ["done", "done", "undone"], 15 * SLOWER, lambda: str(p.requests()))
    assert sorted(t["title"] for t in p.books("tickets")) == ["made", "not made"]
    wait_until(lambda: not cluster.sql("SELECT 1 FROM alerts WHERE kind = 'outbound_unknown' AND state = 'open'"), 20 * SLOWER, "no alert")
    assert cluster.longshore.run("request", "resolve", made, "retry").code == 1


def test_killed_around_the_call(cluster, tmp_path):
    """kill -9 while the partner has the request, before and after it did the work; of each step."""
    p = make_quick(cluster, tmp_path, "maintenance")
    worker = cluster.worker(partners="maintenance")
    worker.wait_for_log("event=started", 20 * SLOWER)
    cluster.scheduler()
    titles = []
    for step in ("POST /maintenance", "PUT /maintenance"):
        for how in ({"delay_ms": 700}, {"abort": True, "late": True}):
            titles.append(f"killed {len(titles)}")
            p.sandbox.reset("log")
            p.sandbox.fault(match=step, times=1, **how)
            p.ticket(args={"title": titles[-1]})
            wait_until(lambda: any(e["fault"] for e in p.sandbox.log(path="/maintenance")), 10 * SLOWER, "it is there")
            worker.kill9_child()
            wait_due(cluster, "maintenance", lambda: p.requests()[-1]["state"] == "done", 20, lambda: f"{p.requests()}{cluster.describe()}")
            p.sandbox.clear_faults()
    assert sorted(t["title"] for t in p.books("tickets")) == titles


def test_charges_under_faults(cluster, tmp_path):
    p = make_quick(cluster, tmp_path, "stripe")
    cluster.worker(partners="stripe").wait_for_log("event=started", 20 * SLOWER)
    cluster.scheduler()
    for fault in FAULTS.values():
        p.sandbox.fault(match="POST /stripe/v1/payment_intents", times=1, **fault)
    for name in FAULTS:
        p.charge(args={"intent": name})
    all_done(p, "stripe", len(FAULTS), "charge")
    assert len(p.books("payments")) == len(FAULTS)


def test_stores_restart(cluster, tmp_path):
    """Redis and Postgres go away while the partner has the request in its hands: what was answered is not asked again."""
    p = make_quick(cluster, tmp_path, "maintenance", forget_find)
    cluster.worker(partners="maintenance").wait_for_log("event=started", 20 * SLOWER)
    cluster.scheduler()
    for store in ("redis", "postgres"):
        p.sandbox.fault(match="POST /maintenance/v1/tickets", times=1, delay_ms=600)
        p.ticket(args={"title": store})
        wait_until(lambda: any(e["fault"] for e in p.sandbox.log(path="/maintenance")), 10 * SLOWER, "it is there")
        if store == "redis":
            cluster.redis.restart()
        else:
            cluster.postgres.restart()
        p.sandbox.reset("log")
        wait_due(cluster, "maintenance", lambda: p.requests()[-1:] and p.requests()[-1]["state"] == "done", 30,
                 lambda: f"{store}: {p.requests()}{cluster.describe()}")
        p.sandbox.clear_faults()
    assert sorted(t["title"] for t in p.books("tickets")) == ["postgres", "redis"]


# LONGSHORE_DOWN=10000: as many as that, by hand (a minute).
DOWN = int(os.environ.get("LONGSHORE_DOWN") or 40)


@pytest.mark.timeout(120 + DOWN // 5)
def test_many_against_a_partner_that_is_down(cluster, tmp_path):
    """Nothing is lost, and nobody storms it when it is back."""
    p = make_quick(cluster, tmp_path, "maintenance", lambda m: m.update(breaker={"failures": 5}))
    cluster.worker(partners="maintenance").wait_for_log("event=started", 20 * SLOWER)
    cluster.scheduler()
    p.sandbox.fault(match="/maintenance", status=503)
    for n in range(DOWN):
        p.ticket(args={"title": f"t{n}"})
    wait_until(lambda: len(p.sandbox.log(path="/maintenance")) >= 5, 20 * SLOWER, "it was called")
    wait_until(lambda: "maintenance" in cluster.longshore("breaker", "list").out and "open" in cluster.longshore("breaker", "list").out, 10 * SLOWER, "its breaker")
    assert len(p.sandbox.log(path="/maintenance")) < 30, "left alone once it is known to be down"
    p.sandbox.clear_faults()
    cluster.longshore("breaker", "close", "maintenance")
    all_done(p, "maintenance", DOWN, timeout=25 + DOWN // 20)
    assert sorted(t["title"] for t in p.books("tickets")) == sorted(f"t{n}" for n in range(DOWN))
    assert max(e["in_flight"] for e in p.sandbox.log(path="/maintenance")) <= 8, "as many calls at once as its manifest says"


CARDS = ["4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004", "3400 000000 00009", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"]


def test_what_is_refused(cluster, partners):
    worker = cluster.worker(partners="stripe")
    worker.wait_for_log("event=started", 20 * SLOWER)
    cluster.scheduler()
    wrong = [{"amount": 12.5}, {"amount": -5}, {"amount": 0}, {"amount": "12,50"}, {"amount": 1e15}, {"currency": "EURO"}, {"currency": "ABC"},
             {"amont": 5}, {"customer": None}]
    for args in wrong:
        partners.charge(args=args)
    partners.charge(args={"amount": 500, "currency": "jpy", "intent": "yen"})
    wait_until(lambda: len(partners.requests()) == len(wrong) + 1 and not cluster.busy(("stripe",)), 20 * SLOWER, lambda: str(partners.requests()))
    assert sorted(r["state"] for r in partners.requests()) == ["done"] + ["failed"] * len(wrong)
    assert [(b["amount"], b["currency"]) for b in partners.books("payments")] == [(500, "jpy")]
    errors = " ".join(r["error"] or "" for r in partners.requests())
    assert "args.amount must be a whole number" in errors and 'did you mean "amount"' in errors and "ISO 4217" in errors
    # Card numbers come nowhere: no row, no log, no value of Redis, and a letter that is masked.
    for card in CARDS:
        partners.charge(args={"payment_method": card})
    partners.charge(args={"amount": int(CARDS[0])}, id=CARDS[0])
    # Nor where the job is wrong otherwise: mistyped, cut off, of no JSON.
    slips = [json.dumps(job) for job in ({"task": "charge_card", "integration_id": partners.stripe, "args": {"card": CARDS[0]}},
                                         {"task": "charge", "integration_id": str(partners.stripe), "args": {"card": CARDS[0]}},
                                         {"task": "charge", "integration_id": int(CARDS[0]), "args": {}}, {"task": CARDS[0], "args": {}},
                                         {"task": "charge", "integration_id": partners.stripe, "args": CARDS[0]})]
    slips += [slips[0][:-1], slips[0][:-1].replace(CARDS[0], "\\u003" + CARDS[0]), f"a card: {CARDS[0]}", "\x01" + slips[0]]
    for text in slips:
        cluster.redis.client.lpush("queue:{stripe}", text)
    refused = len(wrong) + len(CARDS) + 1 + len(slips)
    wait_until(lambda: cluster.one("SELECT count(*) FROM dead_letters") == refused, 20 * SLOWER, "refused, each")
    assert len(partners.requests()) == len(wrong) + 1 and len(partners.books("payments")) == 1, "no row, no call"
    told = worker.log_text() + json.dumps(cluster.sql("SELECT letter FROM dead_letters"), default=str)
    for key in cluster.redis.client.scan_iter():
        kind = cluster.redis.client.type(key).decode()
        told += str({"none": lambda: "", "zset": lambda: cluster.redis.client.zrange(key, 0, -1), "hash": lambda: cluster.redis.client.hgetall(key),
                     "list": lambda: cluster.redis.client.lrange(key, 0, -1), "string": lambda: cluster.redis.client.get(key)}[kind]())
    assert not [c for c in CARDS if c in told or c[1:] in told], told
    letter = cluster.sql("SELECT letter FROM dead_letters WHERE rule = 'card number' LIMIT 1")[0]["letter"]
    assert "*" * 4 in letter["payload"] and letter["rule"] == "card number"


def test_key_of_the_callers_own(cluster, partners):
    cluster.worker(partners="maintenance").wait_for_log("event=started", 20 * SLOWER)
    cluster.scheduler()
    for _ in range(3):
        partners.ticket(idempotency_key="k-1")
    partners.wait_state("done")
    cluster.wait_idle(partners=("maintenance",))
    cluster.redis.client.flushall()  # our own record lasts
    partners.ticket(idempotency_key="k-1")
    partners.ticket(idempotency_key="k-1", args={"title": "another"})
    wait_until(lambda: cluster.redis.client.zcard("dead:{maintenance}") == 1, 20 * SLOWER, lambda: f"one key, one request: {partners.requests()}{cluster.describe()}")
    assert len(partners.books("tickets")) == 1 and len(partners.requests()) == 1
    # 200 that their queue does not take now hold up nobody behind them; and go in as soon as it does.
    cluster.redis.client.set("ready:{stripe}:low", "of another type")
    sql = """INSERT INTO outbound_requests (partner, integration_id, action, state, job, entry, fingerprint, source, lane, steps, deadline_at)
             SELECT x.partner, 1, 'none', 'pending', '{"task": "noop"}', 'turn' || n, '', 'http', 'normal', 1, now() + interval '1 hour'
             FROM (SELECT 'stripe' AS partner, n FROM generate_series(1, 200) n UNION ALL SELECT 'cloudbeds', 201) x ORDER BY n RETURNING id"""
    cluster.sql(sql)
    queued = "SELECT partner, count(*) AS n FROM outbound_requests WHERE queued_at IS NOT NULL AND action = 'none' GROUP BY 1 ORDER BY 1"
    wait_until(lambda: [(r["partner"], r["n"]) for r in cluster.sql(queued)] == [("cloudbeds", 1)], 20 * SLOWER, lambda: f"{cluster.sql(queued)}{cluster.describe()}")
    cluster.redis.client.delete("ready:{stripe}:low")
    wait_until(lambda: [(r["partner"], r["n"]) for r in cluster.sql(queued)] == [("cloudbeds", 1), ("stripe", 200)], 20 * SLOWER, lambda: f"{cluster.sql(queued)}")


def test_a_partner_without_lists_is_not_imported(cluster, partners):
    cluster.worker().wait_for_log("event=started", 20 * SLOWER)
    cluster.push({"task": "import_company_resources", "args": {"company_id": cluster.company_id}}, "queue:{longshore}")
    cluster.wait_idle(partners=("longshore", "maintenance", "stripe"))
    wait_until(lambda: cluster.sql("SELECT 1 FROM runs WHERE task = 'import_resources' AND state = 'done'"), 20 * SLOWER, "the other's import")
    assert not cluster.redis.client.exists("dead:{stripe}", "dead:{longshore}")

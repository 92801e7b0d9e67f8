"""Outbound actions: steps done once, whatever happens half-way; the partners' own books say so."""

import json

import pytest

from harness import wait_until
from harness.process import SLOWER


class Partners:
    """A sandbox that keeps books, and an integration with each partner that it plays."""

    def __init__(self, cluster, drivers=None, **flags):
        self.cluster = cluster
        self.sandbox = cluster.sandbox(**flags)
        self.maintenance = self.add("maintenance", "/maintenance/v1", "maint-1")
        self.stripe = self.add("stripe", "/stripe/v1", "sk_test_1")

    def add(self, partner, base, key):
        c = self.cluster
        c.company_id = c.company_id or c.company()
        return int(c.longshore("integration", "add", "--company", c.company_id, "--partner", partner, "--base-url", self.sandbox.url + base,
                               "--credentials", "-", input=json.dumps({"api_key": key})).out.split()[-1])

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


def test_ticket_is_made_and_described(cluster, partners):
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
    partners.charge(args={"intent": "n-2"})
    wait_until(lambda: len(partners.books("payments")) == 2, 20 * SLOWER, "a second honest charge")

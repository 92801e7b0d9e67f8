"""The queries of sql/README.md, as they stand there, on rows that were really imported."""

import re
from collections import defaultdict

from harness import wait_until
from harness.process import ROOT, SLOWER

README = (ROOT / "sql" / "README.md").read_text()


def queries():
    """title -> (the migration it needs, or None; the text)."""
    return {title: (need and int(need), text) for title, need, text in
            re.findall(r"^\*\*(.+?)\*\*[^\n]*\n\n```sql ?(\d*)\n(.*?)```", README, re.S | re.M)}


def test_the_queries_of_the_readme_answer_on_real_rows(cluster):
    assert README.count("```sql") == len(queries()) >= 20
    sandbox = cluster.sandbox(listings=40, reservations=60, limits="none")
    first = cluster.integration(sandbox)
    second = cluster.integration(sandbox)
    other = cluster.integration(sandbox, "acct-2", company=cluster.company("Alpine Homes"))
    stale = cluster.integration(sandbox, "acct-3", company=cluster.company("Sleepy Stays"))
    assert first == 1, "as the queries name it"
    scheduler = cluster.scheduler()
    cluster.worker()
    for integration in (first, second, other):
        cluster.push({"task": "import_resources", "integration_id": integration})
    cluster.push("not json")
    wait_until(lambda: cluster.one("SELECT count(*) FROM runs WHERE task = 'import_transactions' AND state = 'done'") == 3 and
               cluster.sql("SELECT 1 FROM dead_letters"), 40 * SLOWER, cluster.describe)
    # What only time brings about.
    for row, days in enumerate((1, 0)):
        cluster.sql("UPDATE transactions t SET status = 'confirmed', starts_on = day + %s, ends_on = day + %s FROM (SELECT o.external_id AS id,"
                    " (now() AT TIME ZONE coalesce(o.timezone, r.timezone, 'UTC'))::date AS day FROM transactions o LEFT JOIN resources r"
                    " ON r.integration_id = o.integration_id AND r.external_id = o.resource_external_id WHERE o.integration_id = 1"
                    " ORDER BY o.external_id OFFSET %s LIMIT 1) first WHERE t.integration_id = 1 AND t.external_id = first.id", days, days + 2, row)
    cluster.sql("UPDATE resources SET deleted_at = now() WHERE (integration_id, external_id) ="
                " (SELECT integration_id, min(external_id) FROM resources WHERE integration_id = 2 GROUP BY 1)")
    cluster.sql("UPDATE integrations SET created_at = now() - interval '2 days' WHERE id = %s", stale)
    cluster.sql("INSERT INTO runs (id, root_id, integration_id, task, state, started_at, processed, total)"
                " VALUES (1000000, 1000000, 2, 'import_resources', 'running', now() - interval '1 minute', 100, 400)")
    cluster.sql("INSERT INTO alerts (kind, severity, scope, what, todo) VALUES ('schema_changed', 'critical', 'integration:2', 'w', 't')")
    cluster.sql("INSERT INTO id_links (integration_id, table_name, old_external_id, new_external_id) VALUES (1, 'resources', 'first', 'second'),"
                " (1, 'resources', 'second', (SELECT max(external_id) FROM resources WHERE integration_id = 1))")

    have = {row["number"] for row in cluster.sql("SELECT number FROM schema_migrations")}
    found = {}
    for title, (need, text) in queries().items():
        if need and need not in have:
            continue
        found[title] = cluster.sql(text)
        # Of what is told by the partner's webhooks, and of notifications, there is none here: that it can be asked is all.
        assert found[title] or need in (17, 24), f"{title} says nothing"

    def rows(title):
        return next(v for k, v in found.items() if title in k)

    health = {r["integration_id"]: r["health"] for r in rows("How are the integrations")}
    assert set(health) == {first, second, other, stale} and health[second] == "down"
    fresh = rows("How fresh")
    assert fresh[0]["integration_id"] == stale and fresh[0]["resources"] == 0
    assert [r["integration_id"] for r in rows("gone stale")] == [stale]
    assert any(r["kind"] == "schema_changed" for r in rows("What is wrong now"))
    assert any(r["class"] == "bad_job" for r in rows("What failed today"))
    patterns = {r["source"] for r in rows("fails in the same way")}
    assert patterns == {"dead_letter", "rejected_item"}
    assert sum(r["count"] for r in rows("cannot be stored")) == cluster.one(
        "SELECT count(*) FROM rejected_items WHERE integration_id = 1")
    assert any(r["nights"] for r in rows("arrives tomorrow"))
    assert all(0 < r["nights"] and r["percent"] > 0 for r in rows("How full"))
    earned = defaultdict(int)
    for item in (i["item"] for a in ("acct-1", "acct-1", "acct-2") for i in sandbox.items("reservation", a)):
        earned[(item.get("money") or {}).get("currency")] += 1
    assert {r["currency"] for r in rows("earned by month")} <= set(earned)
    for r in rows("earned by month"):
        digits = {"JPY": 0, "ISK": 0, "KWD": 3}.get(r["currency"], 2)
        assert r["amount"] is None or r["amount"] * 10 ** digits == r["minor"], r
    assert all(r["balance_minor"] > 0 for r in rows("owes"))
    live = cluster.one("SELECT count(*) FROM resources")
    assert len(rows("changed since")) == live and sum(r["new_resources"] for r in rows("new this week")) == live
    assert [r["integration_id"] for r in rows("deleted this week")] == [2]
    assert [(r["run_id"], r["percent"]) for r in rows("How far")] == [(1000000, 25)]
    assert rows("Which runs are slow")[0]["took"] >= rows("Which runs are slow")[-1]["took"]
    assert all(r["state"] == "done" for r in rows("last imports"))
    assert sum(r["items"] for r in rows("calls does each")) == cluster.one("SELECT sum(processed) FROM runs WHERE integration_id > 0")
    biggest = rows("biggest customers")
    assert biggest[0]["company"] == "Harbour Homes" and biggest[0]["integrations"] == 2
    assert all(len(r["rows"]) >= 2 for r in rows("several partners"))
    assert [(r["asked"], r["steps"], r["is_itself"]) for r in rows("merged or split")] == [("first", 1, False), ("first", 2, True), ("second", 1, True)]
    assert [r["position"] for r in rows("photos")] == sorted(r["position"] for r in rows("photos"))
    assert scheduler.is_running()

"""Partners are told where to send webhooks: once, found again by whoever died, looked at daily, taken back."""

import json

import pytest

from harness.process import wait_until
from harness.webhooks import post, standard, whsec

URL = "https://hooks.example"


@pytest.fixture
def told(cluster):
    sandbox = cluster.sandbox(listings=3, clean=True, limits="none", latency="1ms")
    integration = cluster.integration(sandbox)

    def webhook(*words, code=0):
        done = cluster.longshore.run("webhook", *words, "--json", env={"LONGSHORE_PUBLIC_URL": URL})
        assert done.code == code, done
        return json.loads(done.out) if code == 0 else done.err

    def at_partner():
        return sandbox.get("/v1/webhooks", token=sandbox.token()).json()

    return cluster, sandbox, integration, webhook, at_partner


def secret_is_kept(cluster, sandbox, integration, url):
    key = sandbox.get("/v1/webhooks-v2/secret", token=sandbox.token(), url=url).json()["key"]
    sealed = cluster.one("SELECT sealed FROM credentials WHERE integration_id = %s", integration)
    assert key.startswith("whsec_") and key not in sealed
    return key


def test_registered_once_and_taken_back(told):
    cluster, sandbox, integration, webhook, at_partner = told
    address = f"{URL}/webhooks/guesty/{integration}"
    first = webhook("register", integration)
    assert (first["result"], first["callback_url"], first["state"]) == ("registered", address, "registered")
    (there,) = at_partner()
    assert there["url"] == address and there["_id"] == first["webhook_id"] and "listing.removed" in there["events"]
    secret_is_kept(cluster, sandbox, integration, address)
    # Calls still go with what they went with.
    assert cluster.longshore("integration", "verify", integration).out.strip().endswith("valid")
    assert webhook("register", integration)["result"] == "found"
    assert len(at_partner()) == 1
    # Killed between the partner's answer and our note.
    cluster.sql("DELETE FROM webhook_registrations; SELECT 1")
    assert webhook("register", integration)["result"] == "found"
    assert webhook("verify", integration)["result"] == "stands"
    (row,) = webhook("list")
    assert (row["integration_id"], row["partner"], row["state"]) == (integration, "guesty", "registered")

    assert webhook("remove", integration)["result"] == "removed"
    assert at_partner() == [] and webhook("list") == []
    assert "none with our address" in webhook("verify", integration, code=1)
    assert "public-url" in cluster.longshore.run("webhook", "register", integration).err


def test_daily_look_repairs(told):
    cluster, sandbox, integration, webhook, at_partner = told
    registered = webhook("register", integration)
    token = sandbox.token()
    sandbox.session.delete(f"{sandbox.url}/v1/webhooks/{registered['webhook_id']}", headers={"Authorization": f"Bearer {token}"}, timeout=5)
    sandbox.session.post(f"{sandbox.url}/v1/webhooks", json={"url": registered["callback_url"], "events": ["listing.new"]},
                         headers={"Authorization": f"Bearer {token}"}, timeout=5)
    assert "lacks the event" in webhook("verify", integration, code=1)
    cluster.sql("UPDATE webhook_registrations SET check_after = now() - interval '1 s'")
    scheduler = cluster.scheduler(public_url=URL)
    wait_until(lambda: cluster.one("SELECT state || ' ' || (check_after > now() + interval '23 h') FROM webhook_registrations") == "registered true", 40, cluster.describe)
    (there,) = at_partner()
    assert "listing.removed" in there["events"] and there["_id"] != registered["webhook_id"]
    assert scheduler.log_text().count("event=webhook_repaired") == 1
    secret_is_kept(cluster, sandbox, integration, registered["callback_url"])
    # What cannot be repaired is told.
    sandbox.fault(match="GET /v1/webhooks", status=403, times=50)
    cluster.sql("UPDATE webhook_registrations SET check_after = now() - interval '1 s'")
    wait_until(lambda: cluster.sql("SELECT * FROM alerts WHERE kind = 'webhook_registration' AND state = 'open'"), 40, cluster.describe)
    sandbox.clear_faults()
    cluster.sql("UPDATE webhook_registrations SET check_after = now() - interval '1 s'")
    wait_until(lambda: cluster.sql("SELECT * FROM alerts WHERE kind = 'webhook_registration' AND state = 'resolved'"), 40, cluster.describe)
    scheduler.stop()


def test_from_the_partner_to_the_row(cluster):
    """The whole way: registered, changed at the partner, signed and sent, taken in, read again, in Postgres."""
    sandbox = cluster.sandbox(listings=5, clean=True, limits="none", latency="1ms")
    integration = cluster.integration(sandbox)
    scheduler, worker = cluster.scheduler(), cluster.worker()
    register = ["webhook", "register", integration, "--public-url", f"http://127.0.0.1:{scheduler.port}", "--json"]
    refused = cluster.longshore.run(*register)
    assert refused.code == 2 and "127.0.0.1 is a loopback address" in refused.err and not sandbox.log(path="/v1/webhooks"), refused
    cluster.longshore.env["LONGSHORE_PRIVATE_TARGETS"] = "127.0.0.1"
    done = cluster.longshore(*register).json()
    key = secret_is_kept(cluster, sandbox, integration, done["callback_url"])
    path = done["callback_url"].split(str(scheduler.port))[1]
    id = sandbox.items("listing")[2]["id"]

    def tell(name, what, key=key, code=202, **headers):
        body = json.dumps({"event": name, "listing": {"_id": what}}).encode()
        answer = post(scheduler, path, body, {**standard(key, body), **headers})
        assert answer.status_code == code, answer.text
        return answer.json()

    # What changes there the partner tells by itself, and again where nobody took it in.
    scheduler.term()
    sandbox.update(id, nickname="Foghorn Cottage")
    scheduler.start()
    wait_until(lambda: cluster.sql("SELECT * FROM resources WHERE external_id = %s AND name = 'Foghorn Cottage'", id), 60, cluster.describe)
    sandbox.remove(id)
    wait_until(lambda: cluster.one("SELECT deleted_at IS NOT NULL FROM resources WHERE external_id = %s", id), 30, cluster.describe)
    tell("listing.updated", id, key=whsec(), code=401)
    # The subscription is made anew, with another secret: fetched by the repair, and the old one is still good.
    webhooks = sandbox.get("/v1/webhooks", token=sandbox.token()).json()
    sandbox.session.delete(f"{sandbox.url}/v1/webhooks/{webhooks[0]['_id']}", headers={"Authorization": f"Bearer {sandbox.token()}"}, timeout=5)
    cluster.longshore(*register)
    fresh = secret_is_kept(cluster, sandbox, integration, done["callback_url"])
    assert fresh != key
    wait_until(lambda: post(scheduler, path, b'{"event": "x"}', standard(fresh, b'{"event": "x"}')).status_code == 202, 20)
    tell("listing.updated", id)
    wait_until(lambda: cluster.one("SELECT count(*) FROM webhook_events WHERE processed_at IS NOT NULL") == 4, 30, cluster.describe)
    assert cluster.one("SELECT count(*) FROM webhook_events WHERE state = 'unknown'") == 1
    worker.stop()
    scheduler.stop()

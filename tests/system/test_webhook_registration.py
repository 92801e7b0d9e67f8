"""Partners are told where to send webhooks: once, found again by whoever died, looked at daily, taken back."""

import json
import shutil

import pytest

from harness.process import ROOT, SLOWER, wait_until
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
    sandbox.session.delete(f"{sandbox.url}/v1/webhooks/{registered['webhook_id']}", headers={"Authorization": f"Bearer {token}"}, timeout=30)
    sandbox.session.post(f"{sandbox.url}/v1/webhooks", json={"url": registered["callback_url"], "events": ["listing.new"]},
                         headers={"Authorization": f"Bearer {token}"}, timeout=30)
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
    sandbox.session.delete(f"{sandbox.url}/v1/webhooks/{webhooks[0]['_id']}", headers={"Authorization": f"Bearer {sandbox.token()}"}, timeout=30)
    cluster.longshore(*register)
    fresh = secret_is_kept(cluster, sandbox, integration, done["callback_url"])
    assert fresh != key
    wait_until(lambda: post(scheduler, path, b'{"event": "x"}', standard(fresh, b'{"event": "x"}')).status_code == 202, 20)
    tell("listing.updated", id)
    wait_until(lambda: cluster.one("SELECT count(*) FROM webhook_events WHERE processed_at IS NOT NULL") == 4, 30, cluster.describe)
    assert cluster.one("SELECT count(*) FROM webhook_events WHERE state = 'unknown'") == 1
    worker.stop()
    scheduler.stop()


@pytest.fixture
def hurried(cluster, tmp_path):
    """Hostaway and Cloudbeds whose limits nobody waits for."""
    for name in ("hostaway", "cloudbeds"):
        folder = tmp_path / "drivers" / name
        shutil.copytree(ROOT / "drivers" / name, folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        del manifest["limits"]
        (folder / "manifest.json").write_text(json.dumps(manifest))
    cluster.add_drivers(tmp_path / "drivers")


@pytest.mark.timeout(120 * SLOWER)
def test_others_tell_in_their_own_ways(cluster, hurried):
    """Hostaway by one registration and a password, Cloudbeds by one for each event and a secret in the address."""
    sandbox = cluster.sandbox(listings=3, reservations=6, clean=True, limits="none")
    hostaway = cluster.integration(sandbox, partner="hostaway", base="/hostaway/v1")
    cloudbeds = int(cluster.longshore(
        "integration", "add", "--company", cluster.company_id, "--partner", "cloudbeds", "--base-url", sandbox.url + "/cloudbeds", "--set",
        "property_id=1", "--credentials", "-", input=json.dumps({"api_key": "cbat_secret-1"})).out.split()[-1])
    scheduler, worker = cluster.scheduler(), cluster.worker()
    cluster.longshore.env |= {"LONGSHORE_PRIVATE_TARGETS": "127.0.0.1", "LONGSHORE_PUBLIC_URL": f"http://127.0.0.1:{scheduler.port}"}

    def webhook(verb, integration):
        return cluster.longshore("webhook", verb, integration, "--json").json()["result"]

    def at_cloudbeds(method="GET", path="getWebhooks", **query):
        return sandbox.session.request(method, f"{sandbox.url}/cloudbeds/api/v1.3/{path}", params=query, timeout=20,
                                       headers={"x-api-key": "cbat_secret-1", "X-PROPERTY-ID": "1"}).json()["data"]

    assert (webhook("register", hostaway), webhook("register", cloudbeds)) == ("registered", "registered")
    assert (webhook("register", hostaway), webhook("register", cloudbeds)) == ("found", "found")
    subscribed = at_cloudbeds()
    assert {s["event"]["entity"] for s in subscribed} == {"reservation"} and len({s["event"]["action"] for s in subscribed}) == len(subscribed) == 6
    (secret,) = {s["subscriptionData"]["endpoint"].rsplit("/", 1)[1] for s in subscribed}
    noted = cluster.one("SELECT callback_url FROM webhook_registrations WHERE integration_id = %s", cloudbeds)
    assert len(secret) > 40 and noted.endswith(f"/webhooks/cloudbeds/{cloudbeds}/*")

    stay = sandbox.items("reservation")[2]["id"]
    sandbox.update(stay, status="canceled", guest={"fullName": "Ada Lovelace"})
    told = ("SELECT count(*) FROM webhook_events e JOIN transactions t USING (integration_id, external_id) WHERE e.integration_id = %s"
            " AND e.event = %s AND e.state IN ('done', 'coalesced') AND t.guest_name = 'Ada Lovelace' AND t.status = 'cancelled'")
    wait_until(lambda: cluster.one(told, hostaway, "reservation.updated") == 1, 20 * SLOWER, cluster.describe)
    wait_until(lambda: cluster.one(told, cloudbeds, "reservation/status_changed") == 1, 20 * SLOWER, cluster.describe)
    assert cluster.one("SELECT count(*) FROM webhook_events WHERE integration_id IN (%s, %s)", hostaway, cloudbeds) == 2
    assert secret not in scheduler.log_text() + worker.log_text()

    # Gone: of the two only Cloudbeds says so, and what it is asked for answers with a 200.
    sandbox.remove(stay)
    gone = "SELECT deleted_at IS NOT NULL FROM transactions WHERE integration_id = %s AND guest_name = 'Ada Lovelace'"
    wait_until(lambda: cluster.one(gone, cloudbeds), 20 * SLOWER, cluster.describe)
    assert not cluster.one(gone, hostaway)

    # Each has lost something: one switched it off, as Hostaway does after days of failures, one forgot an event.
    form = {"grant_type": "client_credentials", "scope": "general", "client_id": "acct-1", "client_secret": "secret-1"}
    token = sandbox.session.post(f"{sandbox.url}/hostaway/v1/accessTokens", data=form, timeout=20).json()["access_token"]
    path = f"{sandbox.url}/hostaway/v1/webhooks/unifiedWebhooks"
    ask = lambda method, path, **more: sandbox.session.request(method, path, headers={"Authorization": f"Bearer {token}"}, timeout=20, **more)
    wait_until(lambda: ask("GET", path).status_code == 200, 20 * SLOWER)
    (there,) = ask("GET", path).json()["result"]
    assert there["isEnabled"] == 1
    ask("PUT", f"{path}/{there['id']}", json={**there, "isEnabled": 0})
    at_cloudbeds("DELETE", "deleteWebhook", subscriptionID=subscribed[0]["id"])
    for integration, why in (hostaway, "switched it off"), (cloudbeds, "lacks the event reservation/"):
        done = cluster.longshore.run("webhook", "verify", integration)
        assert done.code == 1 and why in done.err, done
        assert (webhook("register", integration), webhook("verify", integration)) == ("replaced", "stands")
    assert [w["isEnabled"] for w in ask("GET", path).json()["result"]] == [1]
    anew = at_cloudbeds()
    assert len(anew) == 6 and all(secret not in s["subscriptionData"]["endpoint"] for s in anew)
    assert (webhook("remove", hostaway), webhook("remove", cloudbeds)) == ("removed", "removed")
    assert at_cloudbeds() == [] == ask("GET", path).json()["result"]
    worker.stop()
    scheduler.stop()

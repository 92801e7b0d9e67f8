"""Airbnb, as far as anybody outside knows it: a person allows it, tokens are renewed, lists are paged, 200 calls in ten minutes."""

import base64
import hashlib
import json
import time

import requests

from harness import lease_port, wait_until


def connect(cluster, sandbox):
    """An integration that a person has allowed."""
    outside = f"http://127.0.0.1:{lease_port()}"
    cluster.longshore.env["LONGSHORE_PUBLIC_URL"] = outside + "/"
    cluster.longshore.env["LONGSHORE_PRIVATE_TARGETS"] = "127.0.0.1"
    cluster.scheduler(public_listen=outside.removeprefix("http://"), public_url=outside, private_targets="127.0.0.1")
    integration = int(cluster.longshore(
        "integration", "add", "--company", cluster.company(), "--partner", "airbnb", "--base-url", sandbox.url + "/airbnb/v2",
        "--credentials", "-", input=json.dumps({"client_id": "acct-1", "client_secret": "secret-1"})).out)
    link = cluster.longshore("integration", "authorize", integration).out.strip()
    with requests.Session() as browser:
        browser.trust_env = False
        asked = browser.get(link, allow_redirects=False, timeout=20).headers["Location"]
        assert asked.startswith("https://www.airbnb.com/oauth2/auth?"), asked
        done = browser.get(asked.replace("https://www.airbnb.com", sandbox.url + "/airbnb"), timeout=20)
        assert done.status_code == 200 and "connected" in done.text
    return integration


def test_import(cluster):
    sandbox = cluster.sandbox(listings=60, reservations=55, clean=True)
    sandbox.settings(token_life_s=1)
    integration = connect(cluster, sandbox)
    over = time.time() + 1.1  # the first token's end: it is renewed
    sandbox.settings(token_life_s=86400)
    worker = cluster.worker(partners="airbnb")
    wait_until(lambda: time.time() > over)
    cluster.push({"task": "import_resources", "integration_id": integration}, "queue:{airbnb}")
    wait_until(lambda: cluster.busy(("airbnb", "longshore")) == 0, 40, cluster.describe, 0.1)
    cluster.longshore("driver", "check", "airbnb", "--live", "--integration", integration)  # what checks.daily does
    rows = {r["external_id"]: r for r in cluster.sql("SELECT * FROM resources")}
    for item in sandbox.items("listing"):
        tree = item["item"]
        row = rows.pop(str(700000 + (int(item["id"][6:12], 16) & 0x7FFFFF)))
        assert (row["name"], row["city"], row["capacity"], row["status"], row["currency"]) == (
            tree["title"], tree["address"]["city"], tree["accommodates"], "active" if tree["isListed"] else "inactive", tree["prices"]["currency"])
    stored = {r["external_id"]: r for r in cluster.sql("SELECT * FROM transactions")}
    for item in sandbox.items("reservation"):
        tree = item["item"]
        row = stored.pop(tree["confirmationCode"])
        assert (str(row["starts_on"]), row["guests"], row["guest_email"]) == (
            tree["checkInDateLocalized"], tree["guestsCount"], tree["guest"]["email"])
    assert not rows and not stored and cluster.one("SELECT count(*) FROM rejected_items") == 0
    grants = [(e["path"], e["status"]) for e in sandbox.log(path="/airbnb/v2/oauth2/authorizations")]
    assert len(grants) == 2 and all(status == 200 for _, status in grants), grants
    text = worker.log_text()
    assert "secret-1" not in text and "ref-1-" not in text and "sbx-1-" not in text

    # The partner by itself: tokens that are spent, and 200 calls in ten minutes.
    def ask(**form):
        form |= {"client_id": "acct-2", "client_secret": "secret-2"}
        return sandbox.session.post(f"{sandbox.url}/airbnb/v2/oauth2/authorizations", json=form, timeout=20)

    challenge = base64.urlsafe_b64encode(hashlib.sha256(b"verifier").digest()).decode().rstrip("=")
    said = sandbox.session.get(f"{sandbox.url}/airbnb/oauth2/auth", allow_redirects=False, timeout=20, params={
        "client_id": "acct-2", "redirect_uri": "http://127.0.0.1/back", "state": "s", "code_challenge": challenge})
    code = said.headers["Location"].split("code=")[1].split("&")[0]
    assert ask(grant_type="authorization_code", code=code, code_verifier="another").status_code == 400
    pair = ask(grant_type="authorization_code", code=code, code_verifier="verifier").json()
    newer = ask(grant_type="refresh_token", refresh_token=pair["refresh_token"]).json()
    assert ask(grant_type="refresh_token", refresh_token=pair["refresh_token"]).json()["error"] == "invalid_grant"
    assert sandbox.get("/airbnb/v2/listings", pair["access_token"]).status_code == 401
    statuses = [sandbox.get("/airbnb/v2/listings", newer["access_token"], _limit=1).status_code for _ in range(201)]
    assert statuses == [200] * 200 + [429]

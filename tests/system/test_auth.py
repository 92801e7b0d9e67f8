"""Signing in at a partner, and what a kill -9 between the partner's answer and our store leaves of a grant."""

import json
import threading

import pytest
import requests

from harness import lease_port, wait_until
from harness.oauth import OAuthPartner
from harness.process import SLOWER


@pytest.fixture
def partner():
    server = OAuthPartner()
    yield server
    server.stop()


def driver(cluster, kind, **auth):
    """A partner of that kind of auth, on an address that --base-url moves."""
    folder = cluster.folder / "oauth-drivers" / "pier"
    folder.mkdir(parents=True)
    base = "https://api.pier.example"
    manifest = {
        "partner": "pier", "manifest": 1, "api": {"base": {"production": base}},
        "auth": {"kind": kind, "token_url": f"{base}/token", **{name: base + path for name, path in auth.items()}},
        "collections": {"piers": {"get": "/piers", "id": "id", "table": "resources", "map": {"name": "name"}}},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    cluster.add_drivers(folder.parent)


def add(cluster, partner, **credentials):
    done = cluster.longshore("integration", "add", "--company", cluster.company(), "--partner", "pier", "--base-url",
                             partner.url, "--credentials", "-", input=json.dumps(credentials))
    assert f"longshore integration authorize {done.out.strip()}\n" in done.err
    return int(done.out)


def status(cluster, integration):
    shown = cluster.longshore("integration", "show", integration, "--json").json()
    return shown["status"], shown["status_reason"]


def browse(url):
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, allow_redirects=False, timeout=20)


def test_a_code(cluster, partner):
    """Two calls of a refresh token that is good for one, since a worker died in between: marked, told, mended by signing in."""
    driver(cluster, "oauth2_code", authorize_url="/authorize")
    outside = f"http://127.0.0.1:{lease_port()}"
    cluster.longshore.env["LONGSHORE_PUBLIC_URL"] = outside + "/"
    cluster.longshore.env["LONGSHORE_PRIVATE_TARGETS"] = "127.0.0.1"
    cluster.scheduler(public_listen=outside.removeprefix("http://"), public_url=outside, private_targets="127.0.0.1")
    partner.newest, partner.hold = 1, threading.Event()
    pier = add(cluster, partner, client_id="us", client_secret="sesame-and-more", refresh_token="refresh-1")
    worker = cluster.worker(partners="pier")
    job = cluster.longshore("push", "pier", "import_resources", "--integration", pier).out.strip()
    assert partner.held.wait(20 * SLOWER)
    worker.kill9_child()  # the partner has spent refresh-1; what it answers reaches nobody
    partner.hold.set()
    wait_until(lambda: status(cluster, pier)[0] == "auth_broken", 60 * SLOWER, lambda: worker.log_tail(), every=0.2)
    reason = status(cluster, pier)[1]
    assert "the refresh token was sent at" in reason and f"longshore integration authorize {pier}" in reason
    assert "event=token_lock_of_a_dead_worker" in worker.log_text()
    assert [form["refresh_token"] for form in partner.calls] == ["refresh-1", "refresh-1"]
    assert "authorize" in cluster.one("SELECT todo FROM alerts WHERE kind = 'auth_broken' AND state = 'open'")

    assert browse(f"{outside}/oauth/start/{pier}").status_code == 403  # nobody asked for it
    assert browse(f"{outside}/metrics").status_code == 404
    refused = cluster.longshore.run("integration", "authorize", pier, "--private-targets", "10.0.0.0/8")
    assert refused.code == 2 and "127.0.0.1 is a loopback address" in refused.err, refused
    link = cluster.longshore("integration", "authorize", pier).out.strip()
    assert link.startswith(f"{outside}/oauth/start/{pier}?ticket=")
    with requests.Session() as browser:  # one that keeps its cookie
        browser.trust_env = False
        back = partner.sign_in(browser.get(link, allow_redirects=False, timeout=20).headers["Location"])
        done = browser.get(back, timeout=20)
    assert done.status_code == 200 and "connected" in done.text
    assert browse(back).status_code == 404  # once
    wait_until(lambda: cluster.sql("SELECT name FROM resources"), 30 * SLOWER, lambda: worker.log_tail())
    assert status(cluster, pier) == ("active", None)
    assert cluster.one("SELECT count(*) FROM alerts WHERE kind = 'auth_broken' AND state = 'open'") == 0
    assert cluster.one("SELECT count(*) FROM dead_letters") == 0, job
    for name in ("sesame-and-more", "refresh-", "access-", "code-1", "ticket="):
        assert name not in worker.log_text(), name


def test_a_device(cluster, partner):
    driver(cluster, "oauth2_device", device_url="/device")
    pier = add(cluster, partner, client_id="us")
    partner.pending = 1
    done = cluster.longshore("integration", "authorize", pier)
    assert done.out == "authorized\n" and "WDJB-MJHT" in done.err and "device-secret" not in done.err
    assert [form["grant_type"].rsplit(":", 1)[-1] for form in partner.calls] == ["device_code"] * 2
    assert cluster.one("SELECT generation FROM grants") == 1
    other = cluster.longshore.run("integration", "authorize", 99)
    assert other.code == 3

"""Lookups by the programs: the three partners as the sandbox plays them, from the cache and from stale to missing."""

import json
import re

import pytest
import requests

from harness import lease_port, wait_until
from harness.process import ROOT, SLOWER

BERLIN = {"lat": 52.52, "lon": 13.405}


def lookup(cluster, partner, name, params, wait="20s", **more):
    """The result of `longshore push … lookup … --wait`: the whole of it."""
    args = json.dumps({"name": name, "params": params})
    out = cluster.longshore.run("push", partner, "lookup", args, "--wait", wait, "--json", *more.get("words", ()))
    return json.loads(out.out), out.code


def answer(cluster, partner, name, params):
    result, code = lookup(cluster, partner, name, params)
    assert code == 0 and result["state"] == "done", result
    return result["result"]


@pytest.fixture
def partners(cluster):
    sandbox = cluster.sandbox(anchor="2026-11-21T00:00:00Z")  # a Saturday
    for partner, base, settings in (("weather", "/open-meteo/v1", ()), ("frankfurter", "/frankfurter/v1", ()),
                                    ("nominatim", "/nominatim", ("--set", "app=Longshore tests", "--set", "contact=ops@example.com"))):
        cluster.longshore("integration", "add", "--partner", partner, "--base-url", sandbox.url + base, *settings)
    return sandbox


def test_three_partners(cluster, partners):
    sandbox = partners
    cluster.worker().wait_for_log("event=started", 20 * SLOWER)
    first = answer(cluster, "weather", "current", BERLIN)
    assert first["state"] == "fresh" and first["fresh"] is True and first["cached"] is False and first["age_s"] == 0
    assert isinstance(first["data"]["temperature_c"], float) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d", first["data"]["time"])
    # The same place, written otherwise: text, digits that round away, another order.
    again = answer(cluster, "weather", "current", {"lon": "13.4049", "lat": "52.5200001"})
    assert again["cached"] is True and again["data"] == first["data"]
    assert len(sandbox.log(path="/open-meteo/")) == 1

    place = answer(cluster, "nominatim", "search", {"q": "  Berlin "})
    assert place["data"]["lat"] == 52.5173885 and place["data"]["country_code"] == "de" and "OpenStreetMap" in place["data"]["licence"]
    assert answer(cluster, "nominatim", "search", {"q": "berlin"})["cached"] is True
    nowhere = answer(cluster, "nominatim", "search", {"q": "zzyzx"})
    assert nowhere["state"] == "missing" and nowhere["data"] is None and nowhere["reason"] == "not found"
    assert answer(cluster, "nominatim", "search", {"q": "zzyzx"})["cached"] is True
    assert answer(cluster, "nominatim", "reverse", {"lat": 0, "lon": 0})["state"] == "missing"
    assert answer(cluster, "nominatim", "reverse", {"lat": 38.7077, "lon": -9.1366})["data"]["name"] == "Lisboa"
    asked = sandbox.log(path="/nominatim/")
    assert [e["status"] for e in asked] == [200] * 4, "one a second, by name"
    assert all(b["at_us"] - a["at_us"] >= 1_000_000 for a, b in zip(asked, asked[1:]))

    rates = answer(cluster, "frankfurter", "latest", {"base": "usd", "symbols": "eur,gbp"})
    assert rates["state"] == "fresh" and rates["data"]["date"] == "2026-11-20" and set(rates["data"]["rates"]) == {"EUR", "GBP"}
    assert answer(cluster, "frankfurter", "on", {"date": "2026-11-02"})["data"]["date"] == "2026-11-02"
    assert answer(cluster, "frankfurter", "latest", {"base": "EEK"})["state"] == "missing"

    refused, code = lookup(cluster, "weather", "current", {"lat": 91, "lon": 0})
    assert code == 1 and refused["class"] == "bad_job" and "-90 to 90" in refused["error"]
    unknown, _ = lookup(cluster, "weather", "curent", BERLIN)
    assert 'did you mean "current"' in unknown["error"]
    assert cluster.longshore.run("doctor").out.count("not a name") == 0
    second = cluster.longshore.run("integration", "add", "--partner", "weather")
    assert second.code == 1 and "of no company already" in second.err
    homeless, _ = lookup(cluster, "guesty", "x", {})
    assert homeless["class"] == "bad_job" and "integration add --partner guesty" in homeless["error"]


def is_open(cluster, partner):
    return any(b["state"] == "open" for b in cluster.longshore("breaker", "list", partner, "--json").json())


def brief(cluster, **changes):
    """The partners with a cache that is soon over its time and a breaker that opens soon."""
    folder = cluster.folder / "drivers"
    for partner, name in (("weather", "current"), ("frankfurter", "latest")):
        manifest = json.loads((ROOT / "drivers" / partner / "manifest.json").read_text())
        manifest["cache"][name] = "50ms"
        manifest["lookups"][name].update({"stale": "1h", "revalidate": False, **changes})
        manifest["breaker"] = {"failures": 2, "open": "10m", "slow_start": "0s"}
        (folder / partner).mkdir(parents=True)
        (folder / partner / "manifest.json").write_text(json.dumps(manifest))
    cluster.add_drivers(folder)


def test_a_partner_that_fails(cluster, partners):
    """Optional: stale, or missing, told so.  Critical: stale, or the error.  The breaker changes nothing in that."""
    sandbox = partners
    brief(cluster)
    address = f"127.0.0.1:{lease_port()}"
    worker = cluster.worker(metrics=address)
    worker.wait_for_log("event=started", 20 * SLOWER)
    for partner, name, params in (("weather", "current", BERLIN), ("frankfurter", "latest", {"base": "USD"})):
        before = answer(cluster, partner, name, params)
        assert before["state"] == "fresh"
        sandbox.fault(match="/v1/", status=503)
        wait_until(lambda: answer(cluster, partner, name, params)["state"] == "stale", 20 * SLOWER, cluster.describe)
        # Other questions open the breaker; critical ones end as dead letters.
        ends = []
        other = {"lat": 1, "lon": 0} if partner == "weather" else {"base": "CHF"}
        wait_until(lambda: ends.append(lookup(cluster, partner, name, other)) or is_open(cluster, partner), 20 * SLOWER, cluster.describe)
        ends.append(lookup(cluster, partner, name, other))
        if partner == "weather":
            assert all(code == 0 and r["result"]["state"] == "missing" and r["result"]["data"] is None and r["result"]["reason"]
                       for r, code in ends), ends
        else:
            assert all(code == 1 and r["state"] == "dead" and r["class"] == "transient" for r, code in ends), ends
            # What has just failed is told for a second more.
            wait_until(lambda: "breaker" in lookup(cluster, partner, name, other)[0]["error"], 20 * SLOWER, cluster.describe)
        wait_until(lambda: "breaker" in answer(cluster, partner, name, params)["reason"], 20 * SLOWER, cluster.describe)
        calls = len(sandbox.log())
        # Claimed behind the open breaker, whether the job names the integration or not.
        integration = cluster.one("SELECT id FROM integrations WHERE partner = %s", partner)
        for words in ((), ("--integration", str(integration))):
            result, code = lookup(cluster, partner, name, params, words=words)
            old = result["result"]
            assert code == 0 and old["state"] == "stale" and old["fresh"] is False and old["data"] == before["data"], old
            assert "breaker" in old["reason"] and isinstance(old["age_s"], int)
        assert len(sandbox.log()) == calls, "nobody is called"
        sandbox.clear_faults()
        cluster.longshore("breaker", "close", partner, sandbox.url.split("//")[1])
        wait_until(lambda: answer(cluster, partner, name, params)["state"] == "fresh", 20 * SLOWER, cluster.describe)
    dead = cluster.redis.client.zcard("dead:{frankfurter}")
    assert dead >= 2 and cluster.redis.client.zcard("dead:{weather}") == 0
    text = requests.get(f"http://{address}/metrics", timeout=5).text
    assert re.search(r'integration_cache_total\{name="current",outcome="stale",partner="weather"\} \d', text), text[:2000]
    assert re.search(r'integration_cache_total\{name="current",outcome="missing",partner="weather"\} \d', text)


def test_one_calls_for_all_even_if_it_dies(cluster, partners):
    sandbox = partners
    manifest = json.loads((ROOT / "drivers" / "weather" / "manifest.json").read_text())
    manifest["api"]["timeout"] = {"read": "60s", "total": "60s"}
    (cluster.folder / "drivers" / "weather").mkdir(parents=True)
    (cluster.folder / "drivers" / "weather" / "manifest.json").write_text(json.dumps(manifest))
    cluster.add_drivers(cluster.folder / "drivers")
    sandbox.fault(match="/open-meteo/", delay_ms=55000, times=1)  # the first call; it will not live to see its answer
    workers = [cluster.worker(processes=2) for _ in range(2)]
    for worker in workers:
        worker.wait_for_log("event=started", 20 * SLOWER)
    ids = [f"many-{n}" for n in range(200)]
    for id in ids:
        cluster.push({"task": "lookup", "id": id, "result_ttl": 600, "args": {"name": "current", "params": BERLIN}}, "queue:{weather}")
    wait_until(lambda: len(sandbox.log(path="/open-meteo/")) == 1, 20 * SLOWER, cluster.describe)
    (lease,) = cluster.redis.client.keys("cache:{weather}:*:lease")
    owner = cluster.redis.client.get(lease)
    owner = (owner.decode() if isinstance(owner, bytes) else owner).removeprefix("job:")
    flight = cluster.redis.client.hgetall("flight:{weather}")
    text = {(k.decode() if isinstance(k, bytes) else k): (v.decode() if isinstance(v, bytes) else v) for k, v in flight.items()}
    (held,) = [k for k, v in text.items() if f" {owner} " in v.split("\n")[0]]
    pid = int(re.search(r"-(\d+)-", held).group(1))
    victim = next(w for w in workers if pid in w.children())
    victim.kill9_child(victim.children().index(pid))
    cluster.wait_idle(40, partners=("weather",))
    results = [json.loads(cluster.redis.client.get(f"result:{{weather}}:{id}")) for id in ids]
    assert {r["state"] for r in results} == {"done"} and {r["result"]["state"] for r in results} == {"fresh"}
    assert len(sandbox.log(path="/open-meteo/")) == 2, "the one that died, and the one that took it up"

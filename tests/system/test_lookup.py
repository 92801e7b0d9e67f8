"""Lookups by the programs: the three partners as the sandbox plays them, from the cache and from stale to missing."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import wait_until
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
    assert answer(cluster, "frankfurter", "latest", {"base": "XXX"})["state"] == "missing"

    refused, code = lookup(cluster, "weather", "current", {"lat": 91, "lon": 0})
    assert code == 1 and refused["class"] == "bad_job" and "-90 to 90" in refused["error"]
    unknown, _ = lookup(cluster, "weather", "curent", BERLIN)
    assert 'did you mean "current"' in unknown["error"]
    assert cluster.longshore.run("doctor").out.count("not a name") == 0

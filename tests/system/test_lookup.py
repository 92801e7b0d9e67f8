"""Lookups by the programs: the three partners as the sandbox plays them, from the cache and from stale to missing."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from harness import lease_port, wait_until
from harness.process import ROOT, SLOWER
from test_api import Api

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


def raw(cluster, jobs):
    """The results of lookups pushed as redis-cli does: {id: (queue, args)}."""
    for id, (queue, args) in jobs.items():
        cluster.push({"task": "lookup", "id": id, "result_ttl": 600, "args": args}, f"queue:{{{queue}}}")
    keys = [f"result:{{{queue}}}:{id}" for id, (queue, _) in jobs.items()]
    wait_until(lambda: cluster.redis.client.exists(*keys) == len(keys), 20 * SLOWER, cluster.describe)
    return [json.loads(cluster.redis.client.get(k)) for k in keys]


def nobody_reaches_meteo(cluster):
    """Another one for the weather, who is always down."""
    meteo = cluster.folder / "mine" / "meteo"
    meteo.mkdir(parents=True)
    (meteo / "manifest.json").write_text((ROOT / "drivers" / "weather" / "manifest.json").read_text().replace('"partner": "weather"', '"partner": "meteo"'))
    cluster.add_drivers(meteo.parent)
    cluster.longshore("integration", "add", "--partner", "meteo", "--base-url", f"http://127.0.0.1:{lease_port()}/v1")
    return "weather=weather/current,sky=meteo/current:weather/current,none=meteo/current"


@pytest.fixture
def partners(cluster):
    sandbox = cluster.sandbox(anchor="2026-11-21T00:00:00Z")  # a Saturday
    for partner, base, settings in (("weather", "/open-meteo/v1", ()), ("frankfurter", "/frankfurter/v1", ()),
                                    ("nominatim", "/nominatim", ("--set", "app=Longshore tests", "--set", "contact=ops@example.com"))):
        cluster.longshore("integration", "add", "--partner", partner, "--base-url", sandbox.url + base, *settings)
    return sandbox


def test_three_partners(cluster, partners):
    sandbox = partners
    cluster.worker(lookup_kinds=nobody_reaches_meteo(cluster)).wait_for_log("event=started", 20 * SLOWER)
    first = answer(cluster, "weather", "current", BERLIN)
    assert first["state"] == "fresh" and first["fresh"] is True and first["cached"] is False and first["age_s"] == 0
    assert isinstance(first["data"]["temperature_c"], float) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d", first["data"]["time"])
    # The same place, written otherwise: text, digits that round away, another order.
    again = answer(cluster, "weather", "current", {"lon": "13.4049", "lat": "52.5200001"})
    assert again["cached"] is True and again["data"] == first["data"]
    assert len(sandbox.log(path="/open-meteo/")) == 1

    # By kind, in the queue of no partner: whom the setting names, and the next where he has no answer.
    weather, sky, none, *refused = raw(cluster, {
        "k1": ("longshore", {"kind": "weather", "params": BERLIN}), "k2": ("longshore", {"kind": "sky", "params": BERLIN}),
        "k3": ("longshore", {"kind": "none", "params": BERLIN}), "k4": ("longshore", {"kind": "skye"}), "k5": ("weather", {"kind": "sky"}),
        "k6": ("longshore", {"kind": "sky", "params": {"lat": 91, "lon": 0}}), "k7": ("longshore", {"kind": "sky", "name": "current"})})
    assert [r["result"]["partner"] for r in (weather, sky, none)] == ["weather", "weather", "meteo"] and none["result"]["state"] == "missing", none
    assert set(sky["result"]) == set(again) and sky["result"]["cached"] is True and sky["result"]["data"] == first["data"], sky
    assert len(sandbox.log(path="/open-meteo/")) == 1
    for r, says in zip(refused, ('did you mean "sky"', "push it to queue:{longshore}", "meteo/current: params.lat", "exclude each other"), strict=True):
        assert r["class"] == "bad_job" and says in r["error"], r

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
    api = Api(cluster, cluster.scheduler())
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
        # By HTTP the same, of whoever asks: what is kept, else what the partner is to its callers.
        address_of = f"/lookup/{partner}/{name}?"
        told = api.call("GET", address_of + "&".join(f"{k}={v}" for k, v in params.items()), token="read")
        assert told.status_code == 200 and told.json()["state"] == "stale" and told.json()["data"] == before["data"], told.text
        told = api.call("GET", address_of + "&".join(f"{k}={v}" for k, v in other.items()), token="read")
        assert (told.status_code, "breaker" in told.text) == (200 if partner == "weather" else 502, True), told.text
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


def test_by_http(cluster, partners):
    """Without a worker: the scheduler asks by its own door, and what it learns is everybody's."""
    sandbox = partners
    api = Api(cluster, cluster.scheduler(lookup_kinds=nobody_reaches_meteo(cluster)))
    assert not cluster.redis.client.keys("cache:*")

    def ask(parts, wait="20s", **more):
        return api.call("POST", f"/lookup?wait={wait}", {"parts": parts}, token="read", **more)

    # One question, of many at once: one call.
    with ThreadPoolExecutor(8) as many:
        answers = list(many.map(lambda n: api.session.get(api.url + "/lookup/weather/current?lat=52.52&lon=13.405&wait=20s", timeout=60,
                                                          headers={"Authorization": f"Bearer {api.tokens['read']}"}).json(), range(8)))
    assert {a["state"] for a in answers} == {"fresh"} and len({json.dumps(a["data"]) for a in answers}) == 1
    assert len(sandbox.log(path="/open-meteo/")) == 1
    again = api.call("GET", "/lookup/weather/current?lon=13.4049&lat=52.5200001", token="read").json()
    assert again["cached"] is True and again["data"] == answers[0]["data"]

    # By kind: whom the setting names, and the next where he has no answer.
    same = api.call("GET", "/lookup/weather?lat=52.52&lon=13.405", token="read").json()
    assert (same["partner"], same["name"], same["cached"], same["data"]) == ("weather", "current", True, again["data"])
    other = api.call("GET", "/lookup/sky?lat=52.52&lon=13.405&wait=20s", token="read").json()
    assert (other["partner"], other["state"], other["cached"], other["data"]) == ("weather", "fresh", True, again["data"])
    answer = ask({"sky": {"kind": "sky", "params": BERLIN}, "none": {"kind": "none", "params": BERLIN}}).json()
    assert answer["missing"] == ["none"] and answer["parts"]["sky"]["data"] == again["data"], answer
    for parts, status, field in (({"a": {"kind": "ski"}}, 422, "parts.a.kind"), ({"a": {"kind": "sky", "partner": "weather"}}, 400, "parts.a.partner"),
                                 ({"a": {"kind": "sky", "params": {"lat": 91, "lon": 0}}}, 422, "parts.a.params.lat")):
        told = ask(parts)
        assert (told.status_code, told.json()["field"]) == (status, field), told.text
    assert api.call("GET", "/lookup/ski?lat=1&lon=2", token="read").status_code == 404

    # Parts are asked at once: each is there before the first is answered.
    sandbox.fault(match="/", delay_ms=2000)
    sandbox.reset("log")
    here = {"partner": "weather", "name": "current", "params": {"lat": 1, "lon": 2}}
    fx = {"partner": "frankfurter", "name": "latest", "params": {"base": "USD"}}
    where = {"partner": "nominatim", "name": "search", "params": {"q": "Berlin"}}
    answer = ask({"here": here, "again": {**here, "params": {"lat": "1.001", "lon": 2}}, "fx": fx, "where": where}).json()
    assert answer["missing"] == answer["stale"] == [] and {p["state"] for p in answer["parts"].values()} == {"fresh"}, answer
    assert list(answer["parts"]) == ["here", "again", "fx", "where"] and answer["parts"]["where"]["data"]["country_code"] == "de"
    assert answer["parts"]["here"]["data"] == answer["parts"]["again"]["data"]
    asked = sandbox.log()
    assert len(asked) == 3 and max(e["at_us"] for e in asked) < min(e["answered_us"] for e in asked), asked

    # Not in time: missing of an optional partner, 504 of a critical one; the call goes on, for the next one who asks.
    late = {**here, "params": {"lat": 3, "lon": 4}}
    slow_fx = {**fx, "params": {"base": "CHF"}}
    sandbox.reset("log")
    answer = ask({"late": late, "where": where, "fx": slow_fx}, wait="100ms")
    assert (answer.status_code, answer.json()["field"]) == (504, "parts.fx"), answer.text
    told = answer.json()["parts"]
    assert told["late"]["state"] == "missing" and "within the time" in told["late"]["reason"] and told["where"]["cached"] is True
    answer = ask({"late": late, "fx": slow_fx}).json()
    assert {p["state"] for p in answer["parts"].values()} == {"fresh"} and len(sandbox.log()) == 2, "the calls that were left alone"

    # Which parts are critical the caller may say.
    sandbox.clear_faults()
    sandbox.fault(match="/", delay_ms=60000)
    late, slow_fx = {**late, "params": {"lat": 5, "lon": 6}}, {**fx, "params": {"base": "SEK"}}
    answer = ask({"late": {**late, "critical": True}, "fx": {**slow_fx, "critical": False}}, wait="100ms")
    assert (answer.status_code, answer.json()["field"]) == (504, "parts.late"), answer.text
    answer = ask({"late": late, "fx": {**slow_fx, "critical": False}}, wait="100ms")
    assert answer.status_code == 200 and answer.json()["missing"] == ["late", "fx"], answer.text
    assert api.call("GET", "/lookup/frankfurter/latest?base=SEK&wait=100ms", token="read").status_code == 504
    sandbox.clear_faults()

    # The partner's word that there is none is an answer, and kept as one; a critical part may be told so too.
    nowhere = {"where": {**where, "params": {"q": "zzyzx"}, "critical": True}}
    assert ask(nowhere).json()["parts"]["where"]["reason"] == "not found" and ask(nowhere).json()["parts"]["where"]["cached"] is True

    bad = [({}, 400, "parts"), ({"a": {"partner": "weather"}}, 400, "parts.a.name"), ({"a": {**here, "parms": {}}}, 400, "parts.a.parms"),
           ({"a": {**here, "name": "curent"}}, 422, "parts.a.name"), ({"a": {**here, "partner": "wether"}}, 422, "parts.a.partner"),
           ({"a": {**here, "params": {"lat": 91, "lon": 0}}}, 422, "parts.a.params.lat"), ({"a": {**here, "integration_id": 999}}, 422, "parts.a.integration_id"),
           ({"a": {**where, "params": {"q": "4111 1111 1111 1111"}}}, 422, "parts.a.params.q"),
           ({f"p{n}": here for n in range(33)}, 400, "parts")]
    for parts, status, field in bad:
        answer = ask(parts)
        assert (answer.status_code, answer.json().get("field")) == (status, field), f"{parts}: {answer.text}"
    for path, status in (("weather/curent?lat=1&lon=2", 404), ("wether/current", 404), ("guesty/x", 404), ("weather/", 404), ("weather/current?lat=1", 422),
                         ("weather/current?lat=1&lon=2&x=3", 422), ("weather/current?lat=1&lon=2&wait=1h", 400), ("weather/current?lat=x&lon=2", 422)):
        answer = api.call("GET", "/lookup/" + path, token="read")
        assert answer.status_code == status, f"{path}: {answer.text}"
    assert api.call("GET", "/lookup/weather/current?lat=1&lon=2", token="push").status_code == 403

    # Whoever is paused is not called, within moments; what is kept is told.
    cluster.longshore("pause", "weather", "--reason", "tidying")
    places = iter(range(10, 90))
    wait_until(lambda: "weather is paused: tidying" in ask({"a": {**here, "params": {"lat": next(places), "lon": 0}}}).text, 20 * SLOWER, "paused", 0.5)
    told = ask({"a": {**here, "params": {"lat": 90, "lon": 0}}, "b": here}).json()
    assert told["missing"] == ["a"] and told["parts"]["b"]["state"] == "fresh" and "paused" in told["parts"]["a"]["reason"], told

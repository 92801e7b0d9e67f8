"""What one integration has otherwise than its partner's manifest: checked when it is set, heeded by workers that run."""

import json

from harness import wait_until
from harness.process import SLOWER


def names(cluster, integration):
    return {row["name"] for row in cluster.sql("SELECT name FROM resources WHERE integration_id = %s", integration)}


def test_overrides_are_heeded_without_a_restart(cluster):
    sandbox = cluster.sandbox(listings=3)
    mine, other = cluster.integration(sandbox), cluster.integration(sandbox, "acct-2")
    cluster.worker()

    def imported(integration):
        cluster.push({"task": "import_resources", "integration_id": integration})
        cluster.wait_idle(60)
        return names(cluster, integration)

    before = imported(mine)
    assert len(before) == 3
    cluster.longshore("integration", "set", mine, "--map", json.dumps({"listings": {"name": {"const": "Overlaid"}}}),
                      "--limits", '[{"rate": 50, "window": "1s", "share": 0.5}]')
    shown = cluster.longshore("integration", "show", mine, "--json").json()["overrides"]
    assert shown["collections"]["listings"]["map"]["name"] == {"const": "Overlaid"}
    tiers = cluster.longshore("limit", "show", mine, "--json").json()
    assert [(t["window"], t["limit"]) for t in tiers if t["scope"] == "integration"] == [("1s", 25), ("60s", 96), ("3600s", 4000)]
    wait_until(lambda: imported(mine) == {"Overlaid"}, 60 * SLOWER, "the worker to read the integration anew")
    assert "Overlaid" not in imported(other)
    assert cluster.longshore("integration", "show", other, "--json").json()["overrides"] is None
    cluster.longshore("integration", "set", mine, "--clear")
    assert cluster.longshore("integration", "show", mine, "--json").json()["overrides"] is None


def test_overrides_are_refused_with_path_line_and_nearest_name(cluster, tmp_path):
    sandbox = cluster.sandbox(listings=1)
    integration = cluster.integration(sandbox)
    file = tmp_path / "o.json"
    file.write_text('{\n "limits": [\n  {"rate": 5, "windw": "1s"}],\n "collections": {"listing": {}}}')

    def refused(*words):
        result = cluster.longshore.run("integration", "set", integration, *words)
        assert result.code == 2, result
        return result.err

    said = refused("--overrides", file)
    assert f'{file}:3: limits[0].windw: unknown key; did you mean "window"?' in said
    assert f"{file}:3: limits[0].window: missing" in said
    assert f'{file}:4: collections.listing: there is no collection "listing"; did you mean "listings"?' in said
    assert "limits[0].scope" in refused("--limits", '[{"scope": "partner", "rate": 9, "window": "1s"}]')
    assert "--limits is not JSON" in refused("--limits", "[")
    assert "--map" in refused("--map", "[]")
    assert "nothing to set" in refused()
    assert "http://" in refused("--base-url", "ftp://x")
    assert "unknown setting" in refused("--set", "nosuch=1")
    assert cluster.one("SELECT overrides FROM integrations") == {}
    cluster.longshore("integration", "set", integration, "--set", "every=15m", "--base-url", "http://127.0.0.1:1/v1")
    row = cluster.sql("SELECT settings, base_url FROM integrations")[0]
    assert row == {"settings": {"every": "15m"}, "base_url": "http://127.0.0.1:1/v1"}
    cluster.longshore("integration", "set", integration, "--base-url", "manifest")
    assert cluster.one("SELECT base_url FROM integrations") is None

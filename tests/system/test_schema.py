"""A partner that no longer says what its manifest says: items are set aside, one alert names the field, and goes when the field is back."""

import json
import shutil

import pytest

from harness.process import ROOT


@pytest.fixture
def changed(cluster, tmp_path):
    """Guesty, as a manifest that was written for another version of it: call it with a function that mends it."""
    folder = tmp_path / "drivers" / "guesty"
    shutil.copytree(ROOT / "drivers" / "guesty", folder)
    text = (folder / "manifest.json").read_text()

    def write(change):
        manifest = json.loads(text)
        change(manifest["collections"]["listings"])
        (folder / "manifest.json").write_text(json.dumps(manifest))

    write(lambda listings: listings["map"].update(name={"path": "displayName", "required": True}))
    cluster.add_drivers(folder.parent)
    return write


def imported(cluster, integration, id):
    worker = cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration, "id": id})
    cluster.wait_idle(30)
    worker.stop()
    return {a["scope"]: a for a in cluster.sql("SELECT * FROM alerts WHERE kind = 'schema_changed'")}


def test_one_alert_names_the_field_and_resolves_itself(cluster, changed):
    sandbox = cluster.sandbox(listings=250, clean=True, limits="none", latency="1ms")
    integration = cluster.integration(sandbox)
    alerts = imported(cluster, integration, "one")
    assert list(alerts) == ["partner:guesty /listings name"]
    (alert,) = alerts.values()
    assert alert["state"] == "open" and alert["count"] == 3, "one for each page of it"
    assert "of a page do not fit, such as " in alert["what"] and "required, but missing" in alert["what"], alert["what"]
    assert any(item["id"] in alert["what"] for item in sandbox.items("listing"))
    assert cluster.one("SELECT count(*) FROM rejected_items WHERE field = 'name'") == 250
    # Another contract is broken: the answer is no list any more.  The first one stays open: no page says otherwise.
    changed(lambda listings: listings.update(records="items"))
    alerts = imported(cluster, integration, "two")
    assert {scope: a["state"] for scope, a in alerts.items()} == {"partner:guesty /listings name": "open", "partner:guesty /listings records": "open"}
    cluster.longshore("dead", "discard", "--partner", "guesty")
    changed(lambda listings: None)
    alerts = imported(cluster, integration, "three")
    assert {a["state"] for a in alerts.values()} == {"resolved"} and all(a["resolved_at"] for a in alerts.values())
    assert cluster.one("SELECT count(*) FROM resources") == 250

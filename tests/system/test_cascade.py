"""What hangs on what: many items by their ids in few calls, and children only of what is not over."""

import json
import shutil

import pytest

from harness.process import ROOT


@pytest.fixture
def guesty(cluster, tmp_path):
    """Changes the manifest that the next worker reads."""
    folder = tmp_path / "drivers" / "guesty"
    shutil.copytree(ROOT / "drivers" / "guesty", folder)
    manifest = json.loads((folder / "manifest.json").read_text())

    def write(change):
        change(manifest["collections"])
        (folder / "manifest.json").write_text(json.dumps(manifest))

    write(lambda collections: None)
    cluster.add_drivers(folder.parent)
    return write


def test_many_items_take_few_calls(cluster, guesty):
    guesty(lambda c: c["listings"]["detail"].update(batch={"get": "/listings", "query": {"ids": "{ids}", "limit": 20}, "max": 20}))
    sandbox = cluster.sandbox(listings=60, clean=True, limits="none", latency="1ms")
    integration = cluster.integration(sandbox)
    worker = cluster.worker()
    ids = [item["id"] for item in sandbox.items("listing")][:45]
    job = {"task": "import_resource", "integration_id": integration, "args": {"external_ids": ids + ["nobody-has-this"]}}
    cluster.push(job)
    cluster.wait_idle(30)
    assert {r["external_id"] for r in cluster.sql("SELECT external_id FROM resources")} == set(ids), cluster.describe()
    assert len(sandbox.log(path="/v1/listings")) == 3
    (aside,) = cluster.sql("SELECT external_id, reason FROM rejected_items")
    assert aside == {"external_id": "nobody-has-this", "reason": "the partner does not know it"}
    for wrong in ({"external_ids": []}, {"external_ids": [7]}, {"external_ids": ["a"], "external_id": "a"}):
        cluster.push(job | {"args": wrong})
    cluster.wait_idle(30)
    assert [letter["class"] for letter in cluster.dead()] == ["bad_job"] * 3
    worker.stop()


def test_children_only_of_what_is_not_over(cluster, guesty):
    def past(collections):
        photos = collections["photos"]
        photos.pop("embedded", None)
        photos |= {"get": "/listings/{parent.id}/photos", "records": "data", "upcoming": "partner_created_at"}
        collections["listings"]["map"]["partner_created_at"] = {"const": "2020-01-01T00:00:00Z"}

    def to_come(collections):
        collections["listings"]["map"]["partner_created_at"] = {"const": "2099-01-01T00:00:00Z"}

    sandbox = cluster.sandbox(listings=5, clean=True, limits="none", latency="1ms")
    integration = cluster.integration(sandbox)
    for change, calls in (past, 0), (to_come, 5):
        guesty(change)
        worker = cluster.worker()
        cluster.push({"task": "import_resources", "integration_id": integration})
        cluster.wait_idle(30)
        worker.stop()
        assert len([c for c in sandbox.log(path="/v1/listings/") if c["path"].split("?")[0].endswith("/photos")]) == calls, cluster.describe()

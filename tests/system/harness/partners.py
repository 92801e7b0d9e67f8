"""Guesty by other names, so that there are several partners."""

import json
import shutil

from .process import ROOT


def guesty_as(name, folder, change=lambda manifest: None):
    """A driver of that name in `folder`."""
    shutil.copytree(ROOT / "drivers" / "guesty", folder / name)
    path = folder / name / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["partner"] = name
    change(manifest)
    path.write_text(json.dumps(manifest))


def by_listing(manifest):
    """Reservations are asked for listing by listing, where that changed: jobs that a page of listings queues."""
    manifest.pop("webhooks")  # which ask for single reservations
    reservations = manifest["collections"]["reservations"]
    for key in ("incremental", "belongs_to", "detail"):
        reservations.pop(key)
    reservations["each"] = "listings"
    reservations["when_changed"] = "media_hash"
    reservations["query"]["filters"] = '[{"field":"listingId","operator":"$eq","value":"{parent.id}"}]'

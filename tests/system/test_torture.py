"""A short torture (torture.py): everything dies around a few hundred jobs, and the ledger must be right."""

import os
import random

import pytest

from harness.keys import documented_keys
from harness.process import SLOWER
from torture import Torture


@pytest.mark.timeout(170 if SLOWER > 1 else 110)
def test_every_promise_is_kept_while_everything_dies(cluster):
    seed = int(os.environ.get("LONGSHORE_SEED") or random.SystemRandom().randrange(1 << 31))
    torture = Torture(cluster, 20, seed, rate=90 // SLOWER, workers=2)
    wrong = torture.run()
    torture.verdict()
    assert not wrong, f"seed {seed} (LONGSHORE_SEED={seed} tries it again):\n" + "\n".join(wrong[:20])
    assert torture.samples > 50 and len(torture.pushed) > 200, "it was a torture"


def test_a_key_that_the_readme_does_not_name_would_be_found():
    names = documented_keys()

    def named(key):
        return any(k.pattern.fullmatch(key) for k in names)

    assert named("queue:{guesty}:low") and named("ready:{guesty}:normal") and named("worker:{guesty}:host-1-abc")
    assert not named("queue:{guesty}:lower") and not named("ready:{guesty}") and not named("flight:guesty")

"""The steps of drivers/README.md, "A partner in an hour", as a reader would type them."""

import contextlib
import os
import re
import signal
import subprocess

from harness.process import BIN, PATIENCE, ROOT, lease_port, wait_until


def steps():
    text = (ROOT / "drivers" / "README.md").read_text()
    section = re.search(r"^## A partner in an hour\n(.*?)^## ", text, re.M | re.S).group(1)
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.M | re.S)
    assert len(blocks) == 5, "a step came or went: is the test still the reader?"
    return "\n".join(blocks)


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def end(group):
    """The partner and the worker that the shell left behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
    wait_until(lambda: not alive(group), 20, lambda: "what the steps started to end", 0.05)


def test_a_partner_in_an_hour(cluster, tmp_path):
    desk = tmp_path / "desk"
    desk.mkdir()
    (desk / "drivers").symlink_to(ROOT / "drivers")
    script = "set -eu\n" + steps().replace("9099", str(lease_port()))
    env = {**cluster.env(), "PATH": f"{BIN}:{os.environ['PATH']}"}
    with open(desk / "said.log", "w+") as said:
        shell = subprocess.Popen(["bash", "-c", script], cwd=desk, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                                 start_new_session=True)
        try:
            code = shell.wait(55 * PATIENCE)
        finally:
            end(shell.pid)
        said.seek(0)
        text = said.read()
    assert code == 0, text + (desk / "harbour.log").read_text()[-2000:] if (desk / "harbour.log").exists() else text
    assert cluster.one("SELECT count(*) FROM resources WHERE kind = 'home' AND name IS NOT NULL") >= 55, text
    assert sorted(p.name for p in (desk / "my" / "harbour" / "cassettes").iterdir()) == [
        "auth.json", "homes.item.json", "homes.item.rows.json", "homes.json", "homes.rows.json"]
    assert "FAILED" not in text and "live: schema of homes" in text and "secret-1" not in text

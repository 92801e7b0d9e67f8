"""The table of drivers with C is made from the folders: a name that is wrong ends in a link error, which says which."""

import subprocess

import pytest

from harness.process import ROOT


@pytest.mark.parametrize("name, links", [("ferry", True), ("fery", False)])
def test_a_wrong_name_does_not_link(tmp_path, name, links):
    folder = tmp_path / "ferry"
    folder.mkdir()
    (folder / "ferry.c").write_text(f"""#include "drivers/hooks.h"
extern const struct driver_hooks driver_{name};
const struct driver_hooks driver_{name} = {{ .partner = "ferry" }};
""")
    (tmp_path / "main.c").write_text("""#include "drivers/driver.h"
int main(void) { return driver_hooks_table[0]->partner[0] != 'f' || driver_hooks_table[1]; }
""")
    table = tmp_path / "gen" / "driver_table.c"
    made = subprocess.run(["make", "-s", "--no-print-directory", f"GEN={table.parent}", f"hook_files={folder / 'ferry.c'}", table],
                          cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert made.returncode == 0 and "&driver_ferry" in table.read_text(), made
    program = tmp_path / "program"
    flags = subprocess.run(["pkg-config", "--cflags", "libpq"], capture_output=True, text=True, check=True, timeout=60).stdout.split()
    built = subprocess.run(["gcc", *flags, f"-I{ROOT}", "-D_GNU_SOURCE", "-o", program, tmp_path / "main.c", table, folder / "ferry.c"],
                           capture_output=True, text=True, timeout=120)
    assert (built.returncode == 0) == links, built.stderr
    if links:
        assert subprocess.run([program], timeout=60).returncode == 0
    else:
        assert "undefined reference to `driver_ferry'" in built.stderr

"""What a machine has left, and what the control groups of a container allow of it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch

from dorpo.free_memory import container_room, free_bytes

pytestmark = pytest.mark.train

NO_LIMIT = 9_223_372_036_854_771_712


def belong(root: Path, *lines: str) -> None:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("\n".join(lines) + "\n")


def version_2(root: Path, path: str, limit: object, used: int, cached: int) -> None:
    folder = root / "sys/fs/cgroup" / path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 7\ninactive_file {cached}\nactive_file 10\n")


def test_what_is_left_of_the_machine():
    machine = psutil.virtual_memory()
    free = free_bytes(torch.device("cpu"))
    assert free is not None
    # Files that are only kept as long as there is room count as free, this process's libraries do not.
    assert 0 < free < machine.available * 1.5
    assert free_bytes(torch.device("meta")) is None


def test_without_a_limit_there_is_nothing_to_say(tmp_path):
    assert container_room(tmp_path) is None
    belong(tmp_path, "0::/")
    assert container_room(tmp_path) is None
    version_2(tmp_path, "", "max", 500, 100)
    assert container_room(tmp_path) is None


def test_a_limit_leaves_what_is_not_used_but_for_files(tmp_path):
    belong(tmp_path, "0::/pods/one")
    version_2(tmp_path, "pods/one", 1000, 600, 90)
    assert container_room(tmp_path) == 1000 - 600 + 90 + 10


def test_the_narrowest_limit_on_the_way_up_holds(tmp_path):
    belong(tmp_path, "0::/pods/one")
    version_2(tmp_path, "pods/one", "max", 600, 0)
    version_2(tmp_path, "pods", 900, 800, 20)
    assert container_room(tmp_path) == 130
    version_2(tmp_path, "pods", 700, 800, 20)
    assert container_room(tmp_path) == 0


def test_inside_of_a_container_the_path_may_be_the_machines(tmp_path):
    belong(tmp_path, "0::/somewhere/else")
    version_2(tmp_path, "", 1000, 400, 0)
    assert container_room(tmp_path) == 610


@pytest.mark.parametrize(("limit", "room"), [(1000, 1000 - 600 + 30 + 40), (NO_LIMIT, None)])
def test_version_1_has_other_names(tmp_path, limit, room):
    belong(tmp_path, "5:devices:/x", "4:memory:/box", "0::/")
    folder = tmp_path / "sys/fs/cgroup/memory/box"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text("600\n")
    (folder / "memory.stat").write_text("cache 1\ntotal_inactive_file 30\ntotal_active_file 40\n")
    found = container_room(tmp_path)
    assert found == room if room else found > psutil.virtual_memory().total

"""The commands of `benchmarks/learn/README.md`, run as they stand in the rooms of its stories."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchmarks.learn.stories import opened

FOLDER = Path(__file__).parents[2] / "benchmarks" / "learn"
STORIES = {"shops": "Three streaming shops", "hospitals": "Three hospital groups"}

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("stories")]


def section(story):
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    return next(part for part in text.split("\n## ") if part.startswith(STORIES[story]))


@pytest.mark.parametrize("story", STORIES)
def test_the_commands_of_a_story_run(story, tmp_path):
    commands = [shlex.split(line) for line in section(story).splitlines() if line.startswith("    sealroom ")]
    shutil.copy(FOLDER / f"{story}.toml", tmp_path)
    root = str(FOLDER.parents[1])
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data"), "PYTHONPATH": root}
    said = []

    with opened(story, tmp_path) as room:
        (policy,) = re.findall(r"```toml\n(.*?)```", section(story), re.DOTALL)
        assert tomllib.loads(policy) == tomllib.loads(
            (room.folder / min(room.manifest.parties) / "policy.toml").read_text()
        )
        for command in commands:
            done = subprocess.run(
                [sys.executable, "-m", "mpc.client.cli", *command[1:]],
                capture_output=True, text=True, timeout=180, env=environment, cwd=tmp_path, check=False,
            )  # fmt: skip
            assert done.returncode == 0, (command, done.stderr)
            said.append(done.stdout)

    assert len(commands) >= 5
    assert "who learns what" in said[0]
    assert "auc" in said[1] or "ndcg" in said[1]
    assert not (tmp_path / f"{story}-room").exists()

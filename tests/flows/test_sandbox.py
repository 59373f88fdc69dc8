"""What a run with other settings leaves at home when its worktree goes."""

from __future__ import annotations

from pathlib import Path

from graftwork.layout import Layout
from graftwork_flows.sandbox import sandbox


def test_checkpoints_of_a_run_that_was_stopped_stay_for_the_next_with_the_same_settings(workspace: Path) -> None:
    for name in ("first", "second"):
        with sandbox(workspace, ["finetune.epochs=1"], name) as box:
            there = Layout(box.root).checkpoints("full_copy", "seed-0")
            assert there.exists() == (name == "second")
            there.mkdir(parents=True, exist_ok=True)
        assert not box.root.exists()
    assert Layout(workspace).checkpoints("full_copy", "seed-0").is_dir()

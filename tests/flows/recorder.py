"""A progress that remembers which stages were computed."""

from __future__ import annotations

from graftwork.progress import Quiet
from graftwork_flows import runs


class Recorder(Quiet):
    """Quiet, but for the list of stages whose function ran."""

    def __init__(self) -> None:
        self.computed: list[str] = []

    def watch(self, run: runs.Run) -> None:
        """Note every stage that the run computes."""
        compute = run._compute

        def noting(node: runs.Node, progress: runs.Progress) -> None:
            self.computed.append(node.name)
            compute(node, progress)

        run._compute = noting  # type: ignore[method-assign]

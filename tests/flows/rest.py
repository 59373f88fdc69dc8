"""A Prefect server's REST interface, as anyone's client may use it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

BUSY, ATTEMPTS = 503, 5  # a SQLite server's "try again", to which Prefect's own client listens too
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


OPEN = {"Scheduled", "Pending", "Running"}  # states of tasks that have not ended


class Api:
    """The server's REST interface."""

    def __init__(self, url: str) -> None:
        self.url = url

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self.send("POST", path, body)

    def get(self, path: str) -> Any:
        return self.send("GET", path)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """Return the answer; raise HTTPError where it is a refusal."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"content-type": "application/json"}, method=method)
        for _ in range(ATTEMPTS):
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    text = answer.read()
                    return json.loads(text) if text else None
            except urllib.error.HTTPError as error:
                if error.code != BUSY:
                    raise
                time.sleep(1)
        raise AssertionError(f"the server was busy {ATTEMPTS} times")

    def refusal(self, path: str, body: dict[str, Any]) -> str:
        """Return what the server says to a request that it must refuse."""
        try:
            self.post(path, body)
        except urllib.error.HTTPError as error:
            assert 400 <= error.code < 500, error.code
            return error.read().decode()
        raise AssertionError("the server took it")

    def last_run(self) -> Any:
        return self.post("/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})[0]

    def run(self, flow_run: str) -> Any:
        return self.get(f"/flow_runs/{flow_run}")

    def tasks(self, flow_run: str) -> dict[str, str]:
        """Return the last state of every task of a run that has ended.

        The server learns of them by events, some of which it takes up only after the run's own end.
        """
        deadline, before = time.monotonic() + 60, None
        while True:
            found = self.tasks_now(flow_run)
            if (found == before and not OPEN & set(found.values())) or time.monotonic() > deadline:
                return found
            before = found
            time.sleep(0.5)

    def tasks_now(self, flow_run: str) -> dict[str, str]:
        """Return the state of every task that the server knows of; of one that was retried, the last."""
        of_run = {"flow_runs": {"id": {"any_": [flow_run]}}, "sort": "EXPECTED_START_TIME_ASC"}
        found = self.post("/task_runs/filter", of_run)
        return {task["name"]: task["state_name"] for task in found}

    def logs(self, flow_run: str) -> str:
        found = self.post("/logs/filter", {"logs": {"flow_run_id": {"any_": [flow_run]}}, "sort": "TIMESTAMP_ASC"})
        return "\n".join(line["message"] for line in found)

    def artifacts(self) -> dict[str, Any]:
        return {artifact["key"]: artifact for artifact in self.post("/artifacts/latest/filter", {})}

    def wait_for(self, flow_run: str, seconds: float = 300, *states: str) -> Any:
        """Return a flow run as soon as it has ended, or its state has one of these names."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.run(flow_run)
            if found["state_name"] in states or found["state_type"] in ENDED:
                return found
            time.sleep(0.5)
        raise AssertionError(f"the flow run is {found['state_name']} after {seconds} seconds: {self.logs(flow_run)}")

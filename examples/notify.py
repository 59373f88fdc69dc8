"""Let the Prefect server of a workspace call a webhook when a run fails, crashes, or is late.

    cd my-task && graftwork server start && python notify.py https://chat.example/hooks/abc

Run it again with another address to change it. The server sends the request: the address must be reachable from there.
"""

import sys
from contextlib import suppress

from prefect.automations import Automation
from prefect.blocks.webhook import Webhook
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import EventTrigger, Posture

NAME = "tell-of-failed-runs"
WHEN = ("Failed", "Crashed", "Late")
# Slack, Mattermost and Teams' workflows take `text`; ntfy.sh takes the message alone.
PAYLOAD = """{"text": {{
    (flow.name ~ " run " ~ flow_run.name ~ ": " ~ flow_run.state.name ~ ". " ~ flow_run.state.message) | tojson
}} }"""


def main(url: str) -> None:
    """Make the automation anew."""
    block = Webhook(method="POST", url=url, headers={"content-type": "application/json"}).save(NAME, overwrite=True)
    trigger = EventTrigger(
        expect={f"prefect.flow-run.{state}" for state in WHEN},
        match={"prefect.resource.id": "prefect.flow-run.*"},
        posture=Posture.Reactive,
        threshold=1,
    )
    automation = Automation(
        name=NAME,
        description="Calls a webhook when a run fails, crashes or is late.",
        trigger=trigger,
        actions=[CallWebhook(block_document_id=block, payload=PAYLOAD)],
    )
    with suppress(ValueError):  # there was none
        Automation.read(name=NAME).delete()
    automation.create()
    print(f"{NAME}: {', '.join(WHEN)} → {url.partition('?')[0]}")


if __name__ == "__main__":
    main(*sys.argv[1:])

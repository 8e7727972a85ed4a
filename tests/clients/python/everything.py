"""A tour of `@modelcontextprotocol/server-everything`: what it answers, in a form that can be compared between two runs."""

import json
import re

TOOLS = [
    ("echo", {"message": "hello ü"}),
    ("get-sum", {"a": 2, "b": 40}),
    ("get-tiny-image", {}),
    ("get-structured-content", {"location": "Chicago"}),
    ("get-annotated-message", {"messageType": "success", "includeImage": True}),
    ("get-resource-links", {"count": 3}),
    ("trigger-sampling-request", {"prompt": "Say something", "maxTokens": 10}),
    ("trigger-elicitation-request", {}),
    ("get-roots-list", {}),
    ("no-such-tool", {}),
]
VARYING = re.compile(r"\d{1,2}:\d{2}:\d{2}( [AP]M)?|[0-9a-f]{8}-[0-9a-f-]{27}")


def settled(value):
    """Times and random ids differ from run to run."""
    return json.loads(VARYING.sub("…", json.dumps(value, ensure_ascii=False)))


async def everything(driver):
    seen = {"connect": {"revision": driver.revision(), "era": driver.era(), "server": driver.server()}}

    async def step(what, act):
        try:
            seen[what] = settled(await act)
        except driver.error as error:
            seen[what] = {"error": error.error.code}

    await step("tools", driver.tools())
    await step("prompts", driver.prompts())
    await step("resources", driver.resources())
    await step("templates", driver.templates())
    for name, arguments in TOOLS:
        await step(f"tool {name}", driver.call(name, arguments))

    reports = []

    async def report(progress, total, message):
        reports.append(progress)

    await driver.call("trigger-long-running-operation", {"duration": 0.4, "steps": 4}, progress=report)
    seen["progress"] = reports
    await step("prompt", driver.prompt("simple-prompt", None))
    await step("resource", driver.read("demo://resource/dynamic/text/1"))
    await step("missing resource", driver.read("demo://nothing"))
    await step("completion", driver.complete("completable-prompt", "department", "E"))
    return seen, []

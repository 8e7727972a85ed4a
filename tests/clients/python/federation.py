"""A tour of many servers as one; the plan is described in js/federation.mjs."""

import asyncio
import json
import os
import re
import time
import traceback

PATIENCE = 30


async def until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {PATIENCE} s")
        await asyncio.sleep(0.02)


async def federation(driver):
    plan = json.loads(os.environ["PLAN"])
    seen = {"connect": {"revision": driver.revision(), "era": driver.era(), "server": driver.server()}}
    failed = []

    async def step(what, act):
        try:
            seen[what] = await act() or True
        except Exception as error:
            traceback.print_exc()
            failed.append(f"{what}: {error!r}")

    async def call(each):
        name, arguments, expected = each
        answer = json.dumps(await driver.call(name, arguments), ensure_ascii=False)
        assert expected in answer, f"{name}: no {expected} in {answer}"

    async def names():
        return [tool["name"] for tool in (await driver.tools())["tools"]]

    def of(prefix, name):
        return name.startswith(prefix + "__")

    async def tools():
        found = await names()
        assert len(set(found)) == len(found), "names are unique"
        assert all(any(of(prefix, name) for prefix in plan["prefixes"]) for name in found), found
        assert all(any(of(prefix, name) for name in found) for prefix in plan["prefixes"]), found
        assert all(re.fullmatch("[A-Za-z0-9_-]{1,64}", name) for name in found), found
        assert len(found) >= plan["least"], f"only {len(found)} tools"
        return len(found)

    await step("tools", tools)
    for each in plan["calls"]:
        await step(each[0], lambda each=each: call(each))

    async def asking():
        await asyncio.gather(*[call(each) for each in plan["asking"]])

    await step("asking", asking)

    async def resources():
        found = [item["uri"] for item in (await driver.resources())["resources"]]
        found += [item["uriTemplate"] for item in (await driver.templates())["resourceTemplates"]]
        assert len(set(found)) == len(found), "URIs are unique"
        return len(found)

    await step("resources", resources)

    async def resource():
        assert (await driver.read(plan["resource"]))["contents"][0]["uri"] == plan["resource"]

    await step("resource", resource)

    async def prompt():
        name, arguments = plan["prompt"]["name"], plan["prompt"].get("arguments")
        assert name in [prompt["name"] for prompt in (await driver.prompts())["prompts"]]
        assert (await driver.prompt(name, arguments))["messages"]

    await step("prompt", prompt)

    async def completion():
        argument = plan["completion"]["argument"]
        name = plan["completion"]["ref"]["name"]
        assert (await driver.complete(name, argument["name"], argument["value"]))["completion"]["values"]

    await step("completion", completion)
    await step("level", lambda: driver.level("info"))

    async def progress():
        name, arguments, least = plan["progress"]
        reports = []

        async def report(progress, total, message):
            reports.append(progress)

        await driver.call(name, arguments, progress=report)
        assert len(reports) >= least, reports

    await step("progress", progress)

    async def cancellation():
        await driver.cancelled_call(*plan["cancel"], 0.3)
        await call(plan["calls"][0])

    await step("cancellation", cancellation)

    uri, trigger, arguments = plan["watch"]

    async def watched():
        await driver.call(trigger, arguments)

        async def updated():
            return uri in driver.seen.updates

        await until(updated, f"an update of {uri}")

    async def changes():
        return driver.seen.methods.count("notifications/tools/list_changed")

    async def moved(what, gone):
        before = await changes()
        print(json.dumps({"waiting": what}), flush=True)

        async def told():
            return await changes() > before

        async def there():
            return any(of(plan["leaves"], name) for name in await names()) != gone

        await until(told, "a change of the tool list")
        await until(there, f"the other list after {what}")
        await call(plan["calls"][0])

    async with driver.watching(uri):
        await step("subscription", watched)
        for what, gone in [("leave", True), ("return", False)]:
            await step(what, lambda what=what, gone=gone: moved(what, gone))
    return seen, failed

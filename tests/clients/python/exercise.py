"""The fixed exercise against the conformant fixture. A driver hides what differs between SDK versions.

Everything is compared in wire form (dictionaries with the protocol's own names).
"""

import asyncio
import json
import time
import traceback

WATCHED = "test://watched-resource"
PATIENCE_SECONDS = 10


async def until(condition, what):
    """Returns as soon as `condition()` holds; fails after PATIENCE_SECONDS."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        held = condition()
        if asyncio.iscoroutine(held):
            held = await held
        if held:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {PATIENCE_SECONDS} s")
        await asyncio.sleep(0.02)


def text(result):
    return result["content"][0]["text"]


def same(value, expected):
    assert value == expected, f"{value!r} is not {expected!r}"


async def exercise(driver):
    seen, failed = {}, []

    async def step(what, act):
        try:
            value = await asyncio.wait_for(act(), 60)
            seen[what] = True if value is None else value
        except BaseException as error:  # a cancelled transport must not hide which step it was
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            failed.append(f"{what}: {type(error).__name__}: {error}")
            traceback.print_exc()

    call = driver.call

    async def connected():
        return {"revision": driver.revision(), "era": driver.era(), "server": driver.server()}

    await step("connect", connected)
    modern = driver.era() == "modern"

    async def tools():
        names = [tool["name"] for tool in (await driver.tools())["tools"]]
        assert "test_simple_text" in names and "test_custom_header" in names
        return len(names)

    await step("tools", tools)

    async def simple():
        same(text(await call("test_simple_text")), "This is a simple text response for testing.")

    await step("simple call", simple)

    async def absent():
        return text(await call("test_arguments"))

    await step("absent arguments", absent)

    async def arguments():
        given = {"zero": 0, "no": False, "none": None, "text": "ü€😀", "nested": {"list": [1, 2.5, -3]}}
        same(json.loads(text(await call("test_arguments", given))), given)

    await step("arguments", arguments)

    async def large():
        argument = "x" * (256 * 1024)
        same(text(await call("test_echo", {"text": argument})), argument)

    await step("large argument", large)

    async def mirrored():
        same(text(await call("test_custom_header", {"value": " spaced ü "})), " spaced ü ")

    await step("mirrored header", mirrored)

    async def tool_error():
        same((await call("test_error_handling"))["isError"], True)

    await step("tool error", tool_error)

    async def structured():
        expected = {"temperature": 21.5, "unit": "celsius"}
        same((await call("test_structured_content"))["structuredContent"], expected)

    await step("structured content", structured)

    async def kinds():
        return [block["type"] for block in (await call("test_multiple_content_types"))["content"]]

    await step("content types", kinds)

    async def code(act):
        try:
            await act
        except driver.error as error:
            return error.error.code
        return None

    async def unknown():
        same(await code(call("no_such_tool")), -32602)

    await step("unknown tool", unknown)

    async def progress():
        reports = []

        async def report(progress, total, message):
            reports.append(progress)

        await call("test_tool_with_progress", {}, progress=report)
        same(reports, [0, 50, 100])

    await step("progress", progress)

    async def logging():
        await driver.level("info")
        before = len(driver.seen.logs)
        await call("test_tool_with_logging")
        await until(lambda: len(driver.seen.logs) - before == 3, "three log lines")

    await step("logging", logging)

    async def prompts():
        return len((await driver.prompts())["prompts"])

    await step("prompts", prompts)

    async def prompt():
        got = await driver.prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})
        same(got["messages"][0]["content"]["text"], "Prompt with arguments: arg1='a', arg2='b'")

    await step("prompt", prompt)

    async def resources():
        return [len((await driver.resources())["resources"]), len((await driver.templates())["resourceTemplates"])]

    await step("resources", resources)

    async def read():
        plain = (await driver.read("test://static-text"))["contents"][0]["text"]
        same(plain, "This is the content of the static text resource.")
        assert (await driver.read("test://static-binary"))["contents"][0]["blob"].startswith("iVBOR")
        templated = (await driver.read("test://template/a%20b/data"))["contents"][0]["text"]
        same(json.loads(templated)["templateTest"], True)

    await step("read", read)

    async def missing():
        same(await code(driver.read("test://missing")), -32602 if modern else -32002)

    await step("missing resource", missing)

    async def completion():
        return (await driver.complete("test_prompt_with_arguments", "arg1", "x-"))["completion"]["values"]

    await step("completion", completion)

    if modern:
        for kind in ["elicitation", "sampling", "list_roots", "request_state", "multiple_inputs", "multi_round"]:

            async def rounds(kind=kind):
                return text(await call(f"test_input_required_result_{kind}"))

            await step(f"rounds: {kind}", rounds)

        async def rounds_prompt():
            same(len((await driver.prompt("test_input_required_result_prompt", None))["messages"]), 1)

        await step("rounds: prompt", rounds_prompt)
    else:

        async def elicitation():
            said = text(await call("test_elicitation", {"message": "Who are you?"}))
            assert "action=accept" in said and "ada@example.com" in said, said

        await step("elicitation", elicitation)

        async def sampling():
            same(text(await call("test_sampling", {"prompt": "Say something"})), "LLM response: sampled")

        await step("sampling", sampling)

        async def reconnection():
            return text(await call("test_reconnection"))

        await step("reconnection", reconnection)

    async def changes():
        await call("test_trigger_resource_change")
        await until(lambda: WATCHED in driver.seen.updates, "an update of the watched resource")
        for kind in ["tool", "prompt"]:
            await call(f"test_trigger_{kind}_change")
            method = f"notifications/{kind}s/list_changed"
            await until(lambda: method in driver.seen.methods, method)

    async def subscribed():
        async with driver.watching(WATCHED):
            await changes()

    await step("subscription and changes", subscribed)

    async def cancellation():
        async def count():
            return int(text(await call("test_cancelled_count")))

        async def grown():
            return await count() > before

        before = await count()
        await driver.cancelled_call("test_wait", {"milliseconds": 30_000}, 0.2)
        await until(grown, "the cancellation at the server")

    await step("cancellation", cancellation)

    async def many():
        texts = [f"call {index}" for index in range(40)]
        results = await asyncio.gather(*[call("test_echo", {"text": each}) for each in texts])
        same([text(result) for result in results], texts)

    await step("many at once", many)

    return seen, failed

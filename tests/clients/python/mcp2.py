"""The Python SDK 2.x as a driver. Mode `auto` is that SDK's default."""

import asyncio
import contextlib

import mcp_types as types
from common import FORM, Seen, wire
from mcp import Client, MCPError
from target import transport


async def elicit(context, params):
    return types.ElicitResult(action="accept", content=FORM)


async def sample(context, params):
    content = types.TextContent(type="text", text="sampled")
    return types.CreateMessageResult(role="assistant", content=content, model="none", stop_reason="endTurn")


async def roots(context):
    return types.ListRootsResult(roots=[types.Root(uri="file:///work", name="work")])


class Driver:
    error = MCPError

    def __init__(self):
        self.seen = Seen()

    async def log(self, params):
        self.seen.logs.append(params.data)

    async def message(self, message):
        self.seen.notification(message)

    def era(self):
        return "modern" if self.client.protocol_version >= "2026-07-28" else "legacy"

    def revision(self):
        return self.client.protocol_version

    def server(self):
        return self.client.server_info.name

    async def tools(self):
        return wire(await self.client.list_tools())

    async def call(self, name, arguments=None, progress=None):
        return wire(await self.client.call_tool(name, arguments, progress_callback=progress))

    async def prompts(self):
        return wire(await self.client.list_prompts())

    async def prompt(self, name, arguments):
        return wire(await self.client.get_prompt(name, arguments))

    async def resources(self):
        return wire(await self.client.list_resources())

    async def templates(self):
        return wire(await self.client.list_resource_templates())

    async def read(self, uri):
        return wire(await self.client.read_resource(uri))

    async def complete(self, prompt, argument, value):
        ref = types.PromptReference(type="ref/prompt", name=prompt)
        return wire(await self.client.complete(ref, {"name": argument, "value": value}))

    async def level(self, level):
        if self.era() == "legacy":
            await self.client.set_logging_level(level)

    @contextlib.asynccontextmanager
    async def watching(self, uri):
        if self.era() == "legacy":
            await self.client.subscribe_resource(uri)
            yield
            await self.client.unsubscribe_resource(uri)
            return
        wanted = {"tools_list_changed": True, "prompts_list_changed": True, "resource_subscriptions": [uri]}
        async with self.client.listen(**wanted) as subscription:
            task = asyncio.create_task(self.listen(subscription))
            yield
            task.cancel()

    async def listen(self, subscription):
        async for _ in subscription:
            pass

    async def cancelled_call(self, name, arguments, seconds):
        task = asyncio.create_task(self.call(name, arguments))
        await asyncio.sleep(seconds)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def connected(target, mode):
    driver = Driver()
    async with Client(
        transport(target, lambda url: url),
        mode=mode,
        sampling_callback=sample,
        elicitation_callback=elicit,
        list_roots_callback=roots,
        logging_callback=driver.log,
        log_level="info",
        message_handler=driver.message,
    ) as driver.client:
        yield driver

"""The Python SDK 1.x as a driver (legacy era only)."""

import asyncio
import contextlib

from common import FORM, Seen, wire
from mcp import ClientSession, McpError, types
from mcp.client.streamable_http import streamable_http_client
from target import transport


async def elicit(context, params):
    return types.ElicitResult(action="accept", content=FORM)


async def sample(context, params):
    content = types.TextContent(type="text", text="sampled")
    return types.CreateMessageResult(role="assistant", content=content, model="none", stopReason="endTurn")


async def roots(context):
    return types.ListRootsResult(roots=[types.Root(uri="file:///work", name="work")])


class Driver:
    error = McpError

    def __init__(self):
        self.seen = Seen()

    async def log(self, params):
        self.seen.logs.append(params.data)

    async def message(self, message):
        if isinstance(message, types.ServerNotification):
            self.seen.notification(message)

    def era(self):
        return "legacy"

    def revision(self):
        return self.initialized.protocolVersion

    def server(self):
        return self.initialized.serverInfo.name

    async def tools(self):
        return wire(await self.session.list_tools())

    async def call(self, name, arguments=None, progress=None):
        return wire(await self.session.call_tool(name, arguments, progress_callback=progress))

    async def prompts(self):
        return wire(await self.session.list_prompts())

    async def prompt(self, name, arguments):
        return wire(await self.session.get_prompt(name, arguments))

    async def resources(self):
        return wire(await self.session.list_resources())

    async def templates(self):
        return wire(await self.session.list_resource_templates())

    async def read(self, uri):
        return wire(await self.session.read_resource(uri))

    async def complete(self, prompt, argument, value):
        ref = types.PromptReference(type="ref/prompt", name=prompt)
        return wire(await self.session.complete(ref, {"name": argument, "value": value}))

    async def level(self, level):
        await self.session.set_logging_level(level)

    @contextlib.asynccontextmanager
    async def watching(self, uri):
        await self.session.subscribe_resource(uri)
        yield
        await self.session.unsubscribe_resource(uri)

    async def cancelled_call(self, name, arguments, seconds):
        # This SDK leaves it to the caller to tell the server.
        request = self.session._request_id
        task = asyncio.create_task(self.call(name, arguments))
        await asyncio.sleep(seconds)
        params = types.CancelledNotificationParams(requestId=request, reason="no longer needed")
        await self.session.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, McpError):
            await task


@contextlib.asynccontextmanager
async def connected(target, mode):
    driver = Driver()
    async with transport(target, streamable_http_client) as (read, write, *_):
        async with ClientSession(
            read,
            write,
            sampling_callback=sample,
            elicitation_callback=elicit,
            list_roots_callback=roots,
            logging_callback=driver.log,
            message_handler=driver.message,
        ) as driver.session:
            driver.initialized = await driver.session.initialize()
            yield driver

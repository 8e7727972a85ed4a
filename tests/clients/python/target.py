"""Which transport a target asks for: `stdio:["command", "argument", ...]`, `sse+http://...`, or a URL of Streamable HTTP."""

import json
import os

from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client


def transport(target, http):
    """The context manager of the transport; `http` makes that of a URL."""
    if target.startswith("stdio:"):
        command, *args = json.loads(target.removeprefix("stdio:"))
        return stdio_client(StdioServerParameters(command=command, args=args, env=dict(os.environ)))
    if target.startswith("sse+"):
        return sse_client(target.removeprefix("sse+"))
    return http(target)

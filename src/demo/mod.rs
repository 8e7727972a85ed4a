//! The embedded demo MCP server.

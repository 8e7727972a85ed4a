//! Header mirrors of MCP 2026-07-28: `Mcp-Method`, `Mcp-Name` and their base64 form.

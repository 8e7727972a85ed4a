//! Arguments that a tool's schema mirrors into `Mcp-Param-*` headers (`x-mcp-header`, MCP 2026-07-28).

/// For each tool of a backend, the arguments that must be mirrored.
#[derive(Clone, Debug, Default)]
pub struct ToolParams;

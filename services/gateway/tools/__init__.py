"""What a project says of its tools: switches, HTTP tools, MCP servers."""

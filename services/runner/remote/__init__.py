"""Tools beyond the runner's own code: HTTP requests and the tools of MCP servers."""

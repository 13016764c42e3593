"""The demo: the embedded stack, four prompts through the gateway, each step as it happens, what
it cost, and one of them again with another model."""

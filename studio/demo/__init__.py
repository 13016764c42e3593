"""The demo: the embedded stack, three prompts through the gateway, each step as it happens, what it cost."""

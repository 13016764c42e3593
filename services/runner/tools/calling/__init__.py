"""How a call of a tool is checked, run, bounded and measured."""

"""The tools an agent can call: one file per tool, the parts they are made of in the folders beside them."""

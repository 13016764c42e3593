"""Agents: what a run may be told to be, in numbered versions that never change.

`definition` says what an agent is, `registry` keeps agents, `team` finds whom an agent can reach, and
`resolution` makes of a run's wishes and its agent what step 0 carries.
"""

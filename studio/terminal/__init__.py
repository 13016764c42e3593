"""How runs and steps look in a terminal. What models and tools wrote is shown as text and nothing else."""

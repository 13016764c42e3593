"""Reaching public servers and nothing else: addresses, guarded connections, bounded bodies, pages as text."""

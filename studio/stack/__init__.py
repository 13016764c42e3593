"""The embedded stack: broker, database and services as processes on this machine, in one data folder."""

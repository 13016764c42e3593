"""The Python client of the HTTP API. Its names are imported from `studio`, for instance `studio.Studio`."""

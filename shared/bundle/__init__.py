"""A finished run as one signed file, whose format is in docs/bundles.md. Pure.

What is in it is in `manifest` and `contents`, how it is written in `building`, how one that anybody may have
made is read and held against its signature in `reading`, what is cut out of it in `redaction`, how its run
becomes one of another deployment in `arrival`.
"""

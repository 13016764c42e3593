"""Running untrusted Python in an interpreter without files, network and the host's objects."""

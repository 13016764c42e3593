"""Work in a process of its own: what may take the interpreter for long, or must end when its time is up."""

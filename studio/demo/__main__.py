"""`python -m studio.demo`: the same as `studio demo`."""

from studio.commands.demo import app

if __name__ == "__main__":
    app(prog_name="python -m studio.demo")

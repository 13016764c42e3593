"""A script: logs one row of metrics to a run of Weights & Biases, once for each call.

A process of its own, because the client keeps state for the whole process, starts a server beside it, repeats
for as long as it likes, and can be stopped in no other way. Each row carries the last calls that logged to
its run, by hash: a repeated call finds itself there.
"""

import json
import os
import signal
import sys
import threading
from typing import Any, Final

import wandb

INIT_S: Final = 20.0
CALLS_KEY: Final = "studio_calls"
MOST_CALLS: Final = 32


def main() -> None:
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_runner, daemon=True).start()
    # The client's server inherits the standard output and outlives this process for a while.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    folder = os.environ["HOME"]
    os.chdir(folder)
    try:
        answer = _logged(request, _settings(request, folder))
    except wandb.Error as error:
        answer = {"error": str(error).splitlines()[0][:300] if str(error) else type(error).__name__}
    json.dump(answer, out)
    out.flush()
    # What the client does at an exit, such as reports on itself, takes longer than the row did.
    os._exit(0)


def _end_with_the_runner() -> None:
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)


def _settings(request: dict[str, Any], folder: str) -> wandb.Settings:
    """Nothing is sent but the metrics: no console, no code, no list of packages, no machine."""
    return wandb.Settings(
        api_key=request["api_key"],
        base_url=request["base_url"],
        root_dir=folder,
        program="agentops-studio",
        init_timeout=INIT_S,
        silent=True,
        console="off",
        disable_code=True,
        disable_git=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        x_graphql_retry_max=2,
    )


def _logged(request: dict[str, Any], settings: wandb.Settings) -> dict[str, Any]:
    with wandb.init(
        entity=request["entity"],
        project=request["project"],
        id=request["run_id"],
        name=request["run_id"],
        resume="allow",
        settings=settings,
    ) as run:
        known: dict[str, Any] = dict(run.summary)
        last = int(known.get("_step", -1))
        calls = str(known.get(CALLS_KEY, "")).split()
        told = {"run": run.url, "project": request["project"]}
        if request["call"] in calls:
            return {**told, "logged_before": True}
        step = last + 1 if request["step"] is None else request["step"]
        if step <= last:
            return {"behind": last}
        row = {**request["metrics"], CALLS_KEY: " ".join([*calls, request["call"]][-MOST_CALLS:])}
        run.log(row, step=step)
    return {**told, "step": step}


if __name__ == "__main__":
    main()

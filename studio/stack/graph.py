"""Running named actions in threads, each as soon as those it comes after are done."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """An action and the names of the nodes before it; those stand earlier in the list."""

    name: str
    after: tuple[str, ...]
    run: Callable[[], None]


def run_graph(nodes: Sequence[Node], on_failure: Callable[[], None]) -> None:
    """Run all; raises the first error after `on_failure` made the others end."""
    futures: dict[str, Future[None]] = {}
    with ThreadPoolExecutor(max_workers=max(1, len(nodes)), thread_name_prefix="start") as pool:
        try:
            for node in nodes:
                before = [futures[name] for name in node.after]
                futures[node.name] = pool.submit(_run_after, before, node.run)
            done, _ = wait(futures.values(), return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:
            on_failure()
            raise


def _run_after(before: Sequence[Future[None]], run: Callable[[], None]) -> None:
    for future in before:
        future.result()
    run()

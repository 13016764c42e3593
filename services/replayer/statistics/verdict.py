"""The verdict at a look: every candidate against the baseline in every metric, and whether to go on."""

from collections.abc import Mapping, Sequence

import numpy as np

from services.replayer.statistics.comparison import compare
from services.replayer.statistics.observations import Observations
from services.replayer.statistics.schedule import Look
from services.replayer.statistics.wording import summarise
from shared.findings import CandidateVerdict, Verdict

Measured = Sequence[Observations]
"""Of one arm: an entry for each metric, the deciding one first; the same metrics in the same order in
every arm."""


def judge(
    baseline: Measured,
    candidates: Mapping[str, Measured],
    look: Look,
    rng: np.random.Generator,
    earlier: Verdict | None = None,
) -> Verdict:
    """What an earlier look decided stands; `candidates` are those that it left undecided. Each metric is
    told at the level of the look, and only the first decides."""
    settled = tuple(each for each in earlier.candidates if each.verdict != "undecided") if earlier else ()
    judged = tuple(
        _candidate(name, baseline, measured, look, rng)
        for name, measured in candidates.items()
        if name not in {each.candidate for each in settled}
    )
    more = look.more_runs if any(each.verdict == "undecided" for each in judged) else 0
    verdicts = settled + judged
    return Verdict(runs=look.runs, candidates=verdicts, more_runs=more, words=summarise(verdicts, more))


def _candidate(
    name: str, baseline: Measured, measured: Measured, look: Look, rng: np.random.Generator
) -> CandidateVerdict:
    if not baseline or len(baseline) != len(measured):
        raise ValueError(
            f"{name} has {len(measured)} metrics, the baseline {len(baseline)}: the same are needed"
        )
    comparisons = tuple(compare(*both, rng, look.terms) for both in zip(baseline, measured, strict=True))
    return CandidateVerdict(
        candidate=name, verdict=comparisons[0].verdict, runs=look.runs, comparisons=comparisons
    )

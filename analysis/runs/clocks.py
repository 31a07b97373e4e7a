"""Runs that a machine with a wrong clock has dated in the future."""

import time
from collections.abc import Iterable

from analysis.runs.checks import some

# Between the clocks of two machines that are right.
_TOLERANCE = 60_000


def dated_ahead(dates: Iterable[tuple[str, float]]) -> list[str]:
    """Return a sentence on runs that are dated in the future, or none.

    Parameters
    ----------
    dates : iterable of (str, float)
        Id of each run, and when it started or ended, in milliseconds since 1970.
    """
    now = time.time() * 1000
    ahead = sorted(run_id for run_id, date in dates if date > now + _TOLERANCE)
    if not ahead:
        return []
    runs = f"{len(ahead):,} run{' is' if len(ahead) == 1 else 's are'}"
    return [f"{runs} dated in the future, so the run that counts as newest may be an older one: {some(ahead)}"]

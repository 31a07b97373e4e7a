"""Find runs that a machine with a wrong clock dated in the future."""

import time
from collections.abc import Iterable

from analysis.runs.checks import some

# Milliseconds by which the clocks of two machines may differ.
_TOLERANCE = 60_000


def dated_ahead(dates: Iterable[tuple[str, float]]) -> list[str]:
    """Return a list with a sentence on runs dated in the future, or an empty list.

    Parameters
    ----------
    dates : iterable of (str, float)
        Id of each run, and its start or end in milliseconds since 1970.
    """
    now = time.time() * 1000
    ahead = sorted(run_id for run_id, date in dates if date > now + _TOLERANCE)
    if not ahead:
        return []
    runs = f"{len(ahead):,} run{' is' if len(ahead) == 1 else 's are'}"
    return [f"{runs} dated in the future, so the run that counts as newest may be an older one: {some(ahead)}"]

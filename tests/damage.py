"""Files with seeded random damage, for tests of what reads them."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from analysis.common.errors import StudyError

LONGEST_MESSAGE = 700


def damaged(sound: bytes, draw: random.Random, parts: Sequence[bytes]) -> bytes:
    """Return bytes with one to four faults: other, doubled, lost or flipped ones, or one of some parts put in."""
    content = bytearray(sound)
    for _ in range(draw.randint(1, 4)):
        start = draw.randrange(len(content) + 1)
        end = min(start + draw.choice((0, 1, 1, 2, 8, 40)), len(content))
        part = bytes(content[start:end])
        others = (draw.randbytes(len(part)), bytes(byte ^ (1 << draw.randrange(8)) for byte in part), part * 2, b"")
        content[start:end] = draw.choice((*others, draw.choice(parts)))
    return bytes(content[: draw.randrange(len(content) + 1)] if draw.random() < 0.05 else content)


def read_damaged(
    read: Callable[[Path], object], path: Path, sound: Sequence[bytes], parts: Sequence[bytes], n: int
) -> int:
    """Let a reader read files with damage, and return how many it takes; all others it must refuse in one line.

    Parameters
    ----------
    read : callable
    path : Path
        Where each file is written.
    sound : sequence of bytes
        Files without damage.
    parts : sequence of bytes
        What the damage may put in.
    n : int
        Number of files.
    """
    draw = random.Random(0)
    refusals = []
    for place in range(n):
        path.unlink(missing_ok=True)  # since to write over a file is slow on some file systems
        path.write_bytes(damaged(sound[place % len(sound)], draw, parts))
        try:
            read(path)
        except StudyError as error:
            refusals.append(str(error))
    faulty = [text for text in refusals if not text.isprintable() or len(text) > LONGEST_MESSAGE + len(str(path))]
    assert not faulty
    return n - len(refusals)

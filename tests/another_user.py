"""Files and folders that belong to another user, for tests that run as root or as an ordinary user."""

import os
from pathlib import Path

NOBODY = 65534


def folder(path: Path) -> Path:
    """Make a folder of another user; an ordinary user, who cannot, makes a link to a folder of root."""
    if os.geteuid() == 0:
        path.mkdir()
        os.chown(path, NOBODY, NOBODY)
    else:
        path.symlink_to("/usr")
    return path


def file(path: Path, content: bytes = b"") -> Path:
    """Make a file of another user; an ordinary user, who cannot, makes a link to a file of root."""
    if os.geteuid() == 0:
        path.write_bytes(content)
        os.chown(path, NOBODY, NOBODY)
    else:
        path.unlink(missing_ok=True)
        path.symlink_to("/etc/passwd")
    return path


def name() -> str:
    """Return the name of that user."""
    return "nobody" if os.geteuid() == 0 else "root"

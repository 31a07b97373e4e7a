"""A compiler that writes what a test wants, and counts how often it is asked to."""

from pathlib import Path


def write(folder: Path, writes: str = 'printf library > "$2"') -> tuple[str, Path]:
    """Write the compiler's script; return its command, and the file that gets a line for each library.

    Parameters
    ----------
    folder : Path
    writes : str
        Shell command that makes the library "$2".
    """
    script, log = folder / "compiler", folder / "compiled"
    log.write_text("")
    script.write_text(
        f"#!/bin/sh\nwhile [ $# -gt 0 ]; do if [ \"$1\" = -o ]; then echo >> '{log}'; {writes}; fi; shift; done\n"
    )
    script.chmod(0o755)
    return str(script), log

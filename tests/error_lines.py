"""The line of an error among what a command printed; a tip may follow it."""


def error_line(output: str) -> str:
    """Return the only line that begins with `error:`."""
    (line,) = (line for line in output.splitlines() if line.startswith("error: "))
    return line

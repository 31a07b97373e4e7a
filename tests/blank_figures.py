"""Reports whose pictures nobody looks at."""


def leave_undrawn(patch):
    """Write every figure as an empty file, because drawing it takes longer than the rest of a report."""
    # The native engine's tests under sanitizers load this module, and those stop at Matplotlib's import.
    from analysis.rendering import figure_files

    def write(figures, folder, endings):
        for name in figures:
            for ending in endings:
                (folder / f"{name}{ending}").touch()

    patch.setattr(figure_files, "write", write)

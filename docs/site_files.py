"""Hook of mkdocs: the site keeps the repository's files and folders, so that every relative link holds."""

import subprocess
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the files of `docs_dir` by those of the whole repository that git knows."""
    for file in list(files):
        if file.src_dir == config.docs_dir:
            files.remove(file)
    root = Path(config.config_file_path).parent
    listed = subprocess.check_output(("git", "ls-files", "-z", "--cached"), cwd=root)
    for name in listed.decode().rstrip("\0").split("\0"):
        if (root / name).is_file():
            files.append(File.generated(config, name, abs_src_path=str(root / name)))
    return files

"""Compile the C++ headers in this folder into a library for one network and this machine, and cache it."""

import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path

from filelock import FileLock

from analysis.common import files
from analysis.common.errors import first_line
from pruning_study.training.native.layers import NativeError

log = logging.getLogger(__name__)

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "network.cpp"
ENVIRONMENT = ("CXX", "PATH", "XDG_CACHE_HOME", "HOME")  # environment variables that `library` depends on
# With -fvisibility=hidden, only exported symbols are shared. Otherwise, if a process loaded libraries of one network
# for two instruction sets, the second would use the constants of the first.
FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno"),
    *("-shared", "-fPIC", "-fvisibility=hidden"),
)
# Flags that allow a compiler to deviate from the arithmetic as written, or make a process flush small numbers to 0.
UNFIT_FLAGS = {
    *("-ffast-math", "-Ofast", "-funsafe-math-optimizations", "-fassociative-math", "-freciprocal-math"),
    *("-ffinite-math-only", "-fno-signed-zeros", "-ffp-contract=fast", "-ffp-contract=on", "-ffp-model=fast"),
}
COMPILERS = ("c++", "g++", "clang++")
TIMEOUT = 900  # seconds; compiling takes three for LeNet5 and thirty for ResNet-20, on an idle machine
CPU = Path("/proc/cpuinfo")
INSTEAD = "set XDG_CACHE_HOME to a folder that only you can write"


def library(network: str, source: Path = SOURCE) -> Path:
    """Return a network's library from the cache; compile it first if it is missing.

    If several processes request the same library, one of them compiles it and the others wait.

    Parameters
    ----------
    network : str
        C++ type of the network.
    source : Path
        C++ file to compile for this type.

    Returns
    -------
    Path

    Raises
    ------
    NativeError
        If the CPU has no vector unit that the headers support, if no compiler is found or it fails, if `CXX` cannot be
        parsed or has a flag that changes rounding, or if the cache cannot be written, or others can write it.
    """
    cpu = _cpu()
    compiler = _compiler()
    content = [network, cpu, _run([*compiler, "--version"]), *compiler, *FLAGS]
    content += [path.read_text(encoding="utf-8") for path in (source, *sorted(FOLDER.glob("*.hpp")))]
    name = f"{hashlib.sha256(repr(content).encode()).hexdigest()[:32]}.so"
    folder = cache()
    path = folder / name
    try:
        if not _is_private(path):
            with FileLock(path.with_suffix(".lock"), mode=0o600):
                if not _is_private(path):
                    log.warning("compiling the native engine for this network, once: about half a minute at most")
                    compile_library([*compiler, f"-DNETWORK={network}"], source, path)
    except OSError as error:
        raise NativeError(f"its library cannot be written to {folder}: {error.strerror or error}") from error
    return path


def cache() -> Path:
    """Return the folder of the libraries; raise a NativeError if others can write to it, who could plant code there."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "pruning-study").absolute()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = folder.resolve()
        trusted = {os.geteuid(), 0, Path("/").stat().st_uid}  # root's user id is not 0 in some user namespaces
        above = [parent.stat() for parent in folder.parents]
    except (OSError, RuntimeError) as error:  # there may be no home folder
        raise NativeError(f"there is no cache for its library ({first_line(error)}): {INSTEAD}") from error
    replaceable = [info for info in above if info.st_uid not in trusted or info.st_mode & 0o1002 == 0o002]
    if replaceable or not _is_private(folder):
        raise NativeError(f"other users can write to its cache {folder} or replace it: {INSTEAD}")
    return folder


def _is_private(path: Path) -> bool:
    """Return whether a file or folder exists, belongs to this user, and cannot be written by others."""
    try:
        info = path.lstat()
    except FileNotFoundError:
        return False
    return info.st_uid == os.geteuid() and not info.st_mode & 0o022


def compile_library(compiler: list[str], source: Path, path: Path) -> None:
    """Compile a library to a temporary file, and rename the file once it is on disk."""
    aside = path.with_suffix(".part")
    aside.unlink(missing_ok=True)  # left behind by a killed process
    flags = max(index for index, word in enumerate(compiler) if not word.startswith("-")) + 1
    try:
        _run([*compiler[:flags], *FLAGS, *compiler[flags:], f"-I{FOLDER}", "-o", str(aside), str(source)])
        aside.chmod(0o600)
        files.sync(aside)
        aside.replace(path)
        files.sync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def _compiler() -> list[str]:
    """Return the command in $CXX, or else the first compiler found. Flags in $CXX override `FLAGS`."""
    try:
        named = shlex.split(os.environ.get("CXX", ""))
    except ValueError as error:
        raise NativeError(f"$CXX is not a command: {error}") from error
    if unfit := next((flag for flag in named if flag in UNFIT_FLAGS), None):
        raise NativeError(f"$CXX has {unfit}, which changes how results are rounded: leave this flag out")
    for command in [named] if named else [[name] for name in COMPILERS]:
        if shutil.which(command[0]):
            return command
    raise NativeError(
        f"there is no compiler {named[0]}, which $CXX names" if named else "there is no C++ compiler (Debian: g++)"
    )


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT)
    except subprocess.TimeoutExpired as error:  # the error's own text is the whole command
        raise NativeError(f"the compiler {command[0]} takes more than {TIMEOUT} seconds") from error
    except OSError as error:
        raise NativeError(f"the compiler {command[0]} does not run: {first_line(error)}") from error
    if done.returncode:
        lines = done.stderr.splitlines()
        reason = next((line for line in lines if "error" in line), lines[0] if lines else "no message")
        raise NativeError(f"the compiler {command[0]} fails: {reason[:300]}")
    return done.stdout


def _read_cpu() -> dict[str, str]:
    """Read /proc/cpuinfo into a dict from field names to values."""
    try:
        lines = CPU.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}


def _cpu() -> str:
    """Return the CPU's model and instruction sets, on which a compiled library depends."""
    properties = _read_cpu()
    flags = properties.get("flags", "").split()
    if platform.machine() in ("aarch64", "arm64"):  # all of these have NEON
        return f"{properties.get('CPU implementer')} {properties.get('CPU part')} {properties.get('Features')}"
    if not ("avx512f" in flags or {"avx2", "fma"} <= set(flags)):
        raise NativeError("it needs a CPU with AVX-512 or AVX2, or a 64-bit Arm")
    return f"{properties.get('model name')} {properties.get('model')} {' '.join(sorted(flags))}"

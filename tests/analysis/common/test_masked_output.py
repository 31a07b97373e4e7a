import subprocess
import sys

import pytest

URI = "http://me:s3c@ret@127.0.0.1:5000"
SHOWN = "http://me:***@127.0.0.1:5000"


def said(code):
    """Return what a process that masks its output writes to stderr."""
    code = f"from analysis.common import masking; masking.install()\n{code}"
    done = subprocess.run([sys.executable, "-c", code, URI], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    return done.stderr


@pytest.mark.attack
def test_a_log_record_of_another_library_with_the_uri_and_a_traceback__is_masked():
    shown = said(
        "import logging, sys\n"
        "log = logging.getLogger('mlflow.store')\n"
        "log.warning('Retrying %s after %d s', sys.argv[1], 3)\n"
        "log.warning('%d and %d', sys.argv[1])\n"
        "try:\n"
        "    raise ConnectionError(sys.argv[1] + '/api')\n"
        "except ConnectionError:\n"
        "    log.exception('no answer')\n"
    )
    assert f"Retrying {SHOWN} after 3 s\n" in shown
    assert f"ConnectionError: {SHOWN}/api\n" in shown
    assert "ret@" not in shown


@pytest.mark.attack
@pytest.mark.parametrize(
    "code",
    [
        "import sys\nraise KeyError(sys.argv[1])",
        "import sys\ntry:\n    open('/none/' + sys.argv[1])\nexcept OSError as error:\n    raise ValueError from error",
        "import sys, threading\nthreading.Thread(target=lambda: 1 / sys.argv[1]['x']).start()\n"
        "threading.Thread(target=lambda: {}[sys.argv[1]]).start()",
    ],
)
def test_an_unexpected_exception_that_names_the_uri__is_masked_in_the_traceback(code):
    shown = said(code)
    assert "Traceback" in shown
    assert SHOWN in shown
    assert "ret@" not in shown


@pytest.mark.attack
def test_a_warning_that_names_the_uri__is_masked():
    shown = said("import sys, warnings\nwarnings.warn(f'{sys.argv[1]} is slow')")
    assert f"UserWarning: {SHOWN} is slow" in shown
    assert "ret@" not in shown

import random
import re
import string

import pytest

from analysis.common.errors import StudyError, first_line
from analysis.common.masking import without_password, without_secrets

QUOTES = "'\\"
NASTY = "@/?#&=:;%'\"`()[]{}<>,.\\$!*+|~^-_é€0a"
WITHOUT_SECRETS = [
    "write to bob@example.org or ann.lee+x@mail.example.org",
    "sqlite:///path@x/mlflow.db",
    "sqlite:////home/me@work/mlflow.db: database is locked",
    "postgresql://me@host/db",
    "http://127.0.0.1:5000/#/experiments/0",
    "http://host:5000/@home and http://[::1]:5000/@home",
    "https://github.com/name/repository@v1.0",
    "ssh://git@host:22/name/repository@main",
    "abfss://container@account.dfs.core.windows.net/x",
    "s3://bucket/a:b@c",
    "models:/name@champion",
    "--pruner my_package.my_scores:score",
    "/home/me:x@y/z.npz holds 3 classes",
    "image:tag@sha256:abc",
    "error: --key: sheet.csv is not the key",
    "password authentication failed for user 'me'",
    "the answer has an unexpected token: '}'",
    "max_tokens=5 tokenizer=x key=3",
    "Basic training of 60 epochs",
]


@pytest.mark.attack
@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql+psycopg://me:s:e@host:5432/db", "postgresql+psycopg://me:***@host:5432/db"),
        ("https://me:secret@host:5000/path", "https://me:***@host:5000/path"),
        ("https://:secret@host", "https://:***@host"),
        ("http://me:secret@[::1]:5000", "http://me:***@[::1]:5000"),
        ("me:secret@host:5000", "me:***@host:5000"),
        ("http:/me:secret@host", "http:/me:***@host"),
        ("postgresql+psycopg:/me:secret@host", "postgresql+psycopg:/me:***@host"),
    ],
)
def test_a_password_in_a_uri__is_shown_as_three_stars(uri, shown):
    assert without_password(uri) == shown


@pytest.mark.attack
@pytest.mark.parametrize(
    "password", ["pa/ss@w0rd", "p?a#s@s", "@@", "/x", "a b", "12/34", "p%40s", "it's", 'q"q', "***x"]
)
def test_a_password_with_an_at_sign_a_slash_or_a_space__is_masked_up_to_the_last_at_sign(password):
    assert without_password(f"postgresql://me:{password}@host/db") == "postgresql://me:***@host/db"
    text = f"cannot reach postgresql://me:{password}@host/db, ask"
    assert without_secrets(text) == ("cannot reach postgresql://me:***@host/db, ask")


@pytest.mark.attack
@pytest.mark.parametrize("userinfo", ["TOKEN", "TO@KEN", "TOKEN:", "TOKEN:x-oauth-basic"])
def test_a_token_in_the_place_of_the_user_name__is_masked(userinfo):
    for scheme in ("https", "git+https"):
        shown = without_secrets(f"clone {scheme}://{userinfo}@host/name.git")
        assert "TO" not in shown
        assert shown.endswith("@host/name.git")


@pytest.mark.attack
@pytest.mark.parametrize(
    "name",
    [
        *("password", "token", "access_token", "api_key", "client_secret", "access_key", "sslkey", "sslpassword"),
        *("passfile", "sig", "auth", "X-Amz-Signature", "X-Amz-Security-Token", "code", "odbc_connect"),
        *("%70assword", "pass%77ord", "access%5Ftoken"),
    ],
)
def test_a_secret_in_the_query_of_a_url__is_masked_and_the_rest_of_the_query_is_left(name):
    uri = f"postgresql://host/db?sslmode=require&{name}=s3c/r@t&x=1"
    assert without_password(uri) == f"postgresql://host/db?sslmode=require&{name}=***&x=1"
    assert without_secrets(f"see ({uri})") == f"see (postgresql://host/db?sslmode=require&{name}=***&x=1)"


@pytest.mark.attack
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("host=h password=pw123 user=me", "host=h password=*** user=me"),
        ("host=h password = 'pw 1\\'23' user=me", "host=h password = '***' user=me"),
        ("AccountName=me;AccountKey=pw123==", "AccountName=me;AccountKey=***"),
        ("{'password': 'pw 123', 'user': 'me'}", "{'password': '***', 'user': 'me'}"),
        ('{"api_key": "pw123"}', '{"api_key": "***"}'),
        ("MLFLOW_TRACKING_PASSWORD=pw123 is set", "MLFLOW_TRACKING_PASSWORD=*** is set"),
        ("environ['MLFLOW_TRACKING_TOKEN'] = 'pw123'", "environ['MLFLOW_TRACKING_TOKEN'] = '***'"),
        ("invalid header value: 'Bearer pw123abc\\n'", "invalid header value: 'Bearer ***'"),
        ("Authorization: Basic cHcxMjM6eA==", "Authorization: Basic ***"),
        ("X-Api-Key: pw123", "X-Api-Key: ***"),
        ("--api-key=pw123", "--api-key=***"),
    ],
)
def test_a_secret_in_a_dsn_a_dictionary_or_a_header__is_masked(text, shown):
    assert without_secrets(text) == shown


@pytest.mark.attack
@pytest.mark.parametrize("text", ["failed to resolve host 'pw@123'", "'pw%40123'", "--key pw@123.", "pw@123"])
def test_the_password_of_the_environments_uri_alone_in_a_text__is_masked(text, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:pw%40123@host")
    assert "123" not in without_secrets(text)


@pytest.mark.attack
@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY"])
def test_a_secret_of_an_environment_variable_in_an_error__is_masked(name, monkeypatch):
    monkeypatch.setenv(name, "abcdefgh\n")
    assert first_line(ValueError("cannot encode 'abcdefgh'")) == "cannot encode '***'"


@pytest.mark.attack
def test_a_password_behind_the_500th_character_of_an_error__is_masked_before_the_text_is_cut():
    line = first_line(ValueError(f"{'x' * 480} http://me:secret@host"))
    assert line == f"{'x' * 480} http://me:***@host"[:500]


@pytest.mark.attack
def test_a_text_without_a_secret_but_with_at_signs_and_colons__is_not_changed():
    for text in WITHOUT_SECRETS:
        assert without_secrets(text) == text
    for uri in [text for text in WITHOUT_SECRETS if re.fullmatch(r"[a-z0-9]+://\S*", text)]:
        assert without_password(uri) == uri


def examples(count):
    """Yield texts that hold a random password, token or key; in each secret stand Zq7 and Xk9."""
    draw = random.Random(0)

    def some(most, chars):
        return "".join(draw.choices(chars, k=draw.randint(0, most)))

    def secret(without=""):
        chars = [char for char in NASTY if char not in without]
        return some(4, chars) + "Zq7" + some(4, chars) + "Xk9" + some(3, chars)

    host = ["host", "127.0.0.1:5000", "[::1]:80", "db.example.org:5432"]
    scheme = ["http", "https", "postgresql", "postgresql+psycopg", "mysql", "git+https", "redis", "ftp"]
    key = ["password", "token", "sslpassword", "sig", "api_key", "X-Amz-Signature", "client_secret", "sslkey"]
    while count:
        password = secret()
        if re.match(r"\d{1,5}[/?#]", password):
            continue  # `http://me:12/3@host` may be a port and a path; `probe` refuses such a URI
        name, tail = draw.choice(["me", "", "me@example.org"]), draw.choice(["", "/", "/db?page=2"])
        url = draw.choice(
            [
                f"{draw.choice(scheme)}://{name}:{password}@{draw.choice(host)}{tail}",
                f"https://{secret('/?#:')}@{draw.choice(host)}{tail}",
                f"{draw.choice(scheme)}://{draw.choice(host)}/x?a=1&{draw.choice(key)}={secret('&')}",
                f"host=h password='{secret(QUOTES)}' user=me",
                f"MLFLOW_TRACKING_PASSWORD={secret()}",
                f"{{'token': {secret()!r}}}",
            ]
        )
        before, after = draw.choice(
            [("", ""), ("see '", "' now"), ("(", ")"), ("API request to ", " failed: bob@x.org")]
        )
        yield url, before + url + after
        count -= 1


@pytest.mark.slow
@pytest.mark.attack
def test_3000_random_passwords_and_tokens_in_texts__are_in_no_line_that_an_error_prints():
    for _, text in examples(3000):
        lines = [first_line(ValueError(text)), str(StudyError(text)), str(StudyError("a", text)), without_secrets(text)]
        assert [line for line in lines if "Zq7" in line or "Xk9" in line] == [], text
        assert without_secrets(lines[-1]) == lines[-1]


@pytest.mark.attack
def test_2000_random_passwords_with_spaces_in_uris__are_masked_and_masking_twice_changes_nothing():
    for url, _ in examples(2000):
        if "://" in url:
            spaced = url.replace("Zq7", "Zq7 \t'").replace("Xk9", " Xk9")
            shown = without_password(spaced)
            assert "Zq7" not in shown
            assert "Xk9" not in shown
            assert without_password(shown) == shown


@pytest.mark.attack
def test_2000_random_texts_without_url_or_name_of_a_secret__are_not_changed():
    draw = random.Random(0)
    for _ in range(2000):
        text = "".join(draw.choices(string.printable, k=60))
        if "://" not in text:
            assert without_secrets(text) == text


@pytest.mark.attack
def test_a_text_of_100_000_letters_without_a_space__is_masked_without_delay():
    assert without_secrets("a" * 100_000) == "a" * 100_000
    assert without_secrets("http://me:" + "a" * 100_000 + "@host") == "http://me:***@host"

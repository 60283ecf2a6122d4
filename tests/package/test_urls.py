"""What of a URL may be shown and kept, and what may not."""

from pathlib import Path

import pytest

from geossda.errors import InputError, OutputError, RasterError
from geossda.staging import check_output
from geossda.urls import file_name, file_stem, public_name, redact
from geossda_cli.main import main

SIGNED = "http://127.0.0.1:8765/a/scene.tif?Expires=1900000000&Signature=SECRET"


@pytest.mark.parametrize(
    ("path", "shown", "name"),
    [
        (SIGNED, "http://127.0.0.1:8765/a/scene.tif", "scene.tif"),
        (f"/vsicurl/{SIGNED}", "/vsicurl/http://127.0.0.1:8765/a/scene.tif", "scene.tif"),
        ("https://me:SECRET@host/scene.tif#SECRET", "https://host/scene.tif", "scene.tif"),
        ("/vsicurl?header.Authorization=SECRET&url=https%3A%2F%2Fhost%2Fa.tif%3Fs%3DSECRET",
         "/vsicurl/https://host/a.tif", "a.tif"),
        ("/vsizip/{/vsicurl/https://host/a.zip?s=SECRET}/b.tif",
         "/vsizip/{/vsicurl/https://host/a.zip}/b.tif", "b.tif"),
        ("s3://bucket/key/a%20b.tif", "s3://bucket/key/a%20b.tif", "a b.tif"),
        ("https://host/?token=SECRET", "https://host/", "host"),
        ("/data/what?.tif", "/data/what?.tif", "what?.tif"),
        ("/data/x=1&token=2.tif", "/data/x=1&token=2.tif", "x=1&token=2.tif"),
    ],
)  # fmt: skip
def test_names(path, shown, name):
    assert public_name(path) == shown
    assert file_name(path) == name and file_stem(path) == name.removesuffix(".tif")


def test_long_names_are_cut():
    assert len(file_name(f"https://host/{'a' * 5000}.tif")) <= 100


@pytest.mark.parametrize("error", [InputError, OutputError, RasterError])
def test_errors_keep_no_secret(error):
    text = f"{SIGNED} cannot be read ('/vsicurl/{SIGNED}' not found)"
    assert "SECRET" not in str(error(text)) and "scene.tif' not found" in str(error(text))


@pytest.mark.parametrize("end", [": give", ", or", "; see", ").", "' not", "", "."])
def test_punctuation_after_a_url_stays(end):
    assert redact(f"unknown model {SIGNED}{end}") == f"unknown model {SIGNED.split('?')[0]}{end}"


@pytest.mark.parametrize(
    "words",
    [["models", SIGNED], ["info", "a.tif", SIGNED], ["harmonize", "a.tif", "--method", SIGNED]],
)
def test_usage_errors_keep_no_secret(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    printed = capsys.readouterr().err
    assert stop.value.code == 2 and "SECRET" not in printed and "127.0.0.1:8765" in printed


@pytest.mark.parametrize(
    "place",
    [SIGNED, "s3://bucket/o.tif", "/vsimem/o.tif", Path(SIGNED),
     "/vsicurl?url=http%3A%2F%2Fhost%2Fo.tif%3Fs%3DSECRET"],
)  # fmt: skip
def test_outputs_are_local_files(place):
    with pytest.raises(OutputError, match="no local file") as caught:
        check_output(place, overwrite=True)
    assert "SECRET" not in str(caught.value)


def test_passwords_of_databases():
    assert redact("PG:dbname=x password='SE CRET' user=me") == "PG:dbname=x password=... user=me"

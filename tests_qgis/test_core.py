"""A window never waits for a Python: it is asked in the background, and its answer remembered."""

import json
import time

import pytest
from conftest import CORE


@pytest.fixture
def window(qgis, monkeypatch):
    """As in the desktop: questions of the main thread are asked in the background."""
    from geossda_processing import core

    monkeypatch.setattr(core.state, "background", True)
    core.forget()
    yield core
    core.state.stop()
    core.forget()


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """A Python that answers when `answer` is called."""
    go, script = tmp_path / "go", tmp_path / "python"
    script.write_text(f"#!/bin/sh\nwhile [ ! -e '{go}' ]; do sleep 0.05; done\n{CORE} \"$@\"\n")
    script.chmod(0o755)
    monkeypatch.setenv("GEOSSDA_PYTHON", str(script))

    class Slow:
        path = str(script)
        answer = staticmethod(go.touch)

    yield Slow
    go.touch()


def wait(qgis, until, seconds=60):
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        qgis.processEvents()
        time.sleep(0.01)
    return until()


def test_nothing_waits_for_a_slow_python(qgis, window, slow, provider):
    # All of this returns although the Python cannot answer yet.
    assert window.problem() == ""
    provider.refreshAlgorithms()
    assert provider.algorithm("harmonize").canExecute() == (True, "")
    assert window.state.known(slow.path) is None
    slow.answer()
    assert wait(qgis, lambda: window.state.known(slow.path) is not None)
    assert window.state.known(slow.path).problem == ""
    assert window.description()["verbs"] == json.loads(json.dumps(window.description()))["verbs"]


def test_a_description_is_remembered_between_sessions(qgis, window, slow, monkeypatch):
    slow.answer()
    assert window.problem() == ""
    assert wait(qgis, lambda: window.state.known(slow.path) is not None)
    memory = window._memory()
    kept = json.loads(memory.read_text())
    assert kept["python"] == slow.path
    kept["description"]["version"] = "of the last session"
    memory.write_text(json.dumps(kept))
    # The next session, before the Python has answered.
    window.forget()
    assert window.description()["version"] == "of the last session"
    # Of another Python it says nothing.
    monkeypatch.setenv("GEOSSDA_PYTHON", CORE)
    assert window.description()["version"] != "of the last session"


def test_a_problem_is_looked_into_again(qgis, window, tmp_path, monkeypatch):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho 'No module named geossda' >&2; exit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("GEOSSDA_PYTHON", str(script))
    window.problem()
    assert wait(qgis, lambda: window.state.known(str(script)) is not None)
    assert "No module named geossda" in window.problem()
    # Mended meanwhile: what was known is said once more, and asked for anew.
    script.write_text(f'#!/bin/sh\nexec {CORE} "$@"\n')
    window.problem()
    assert wait(qgis, lambda: not window.state.known(str(script)).problem)
    assert window.problem() == ""


def test_what_was_asked_before_a_change_does_not_count(qgis, window, slow):
    window.problem()
    window.forget()
    slow.answer()
    assert wait(qgis, lambda: window.state.known(slow.path) is not None)
    assert not window.state._outdated


def test_a_run_waits_for_the_answer_and_can_be_stopped(qgis, window, slow, listen):
    heard = listen()
    heard.cancel()
    assert "stopped" in window.check(heard)
    assert window.state.known(slow.path) is None
    slow.answer()
    assert window.check(listen()) == ""


def test_the_settings_page_follows_the_path_that_is_typed(qgis, window, tmp_path, monkeypatch):
    from geossda_processing.settings import PageFactory

    monkeypatch.delenv("GEOSSDA_PYTHON")
    page = PageFactory().createWidget()
    state = page.state
    page.file.setFilePath("/no/such/python")
    assert wait(qgis, lambda: "no such program" in state.text())
    page.file.setFilePath("/bin/false")
    assert wait(qgis, lambda: "cannot run geossda" in state.text())
    # It does not send people to the page that they are on.
    assert "Options" not in state.text() and "Set up" in state.text()
    page.file.setFilePath(CORE)
    assert wait(qgis, lambda: "ready, geossda" in state.text())
    # Typing alone chooses nothing.
    assert window.setting() == ""
    page.apply()
    assert window.setting() == CORE
    page.file.setFilePath("")
    page.apply()
    assert window.setting() == ""

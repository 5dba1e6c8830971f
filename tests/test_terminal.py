"""What a terminal gets beyond the text: colours, a word about what takes time, and how to open a file."""

import shutil
import sys

import pytest

from stress_lab.runtime.terminal import announce, name_opener, open_terminal, print_wrapped


@pytest.fixture
def bare(monkeypatch):
    """An environment that says nothing about terminals."""
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TERM", "COLORTERM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def printed(capsys):
    print_wrapped(open_terminal(), "b is less accurate than a", "bold red")
    return capsys.readouterr().out


def test_colours_are_for_terminals_that_want_them(bare, capsys):
    assert printed(capsys) == "b is less accurate than a\n"
    bare.setenv("FORCE_COLOR", "1")
    bare.setenv("TERM", "xterm-256color")
    assert "\x1b[1;31m" in printed(capsys)
    bare.setenv("NO_COLOR", "1")
    assert "31m" not in printed(capsys)


def test_what_takes_time_is_said_on_terminals_alone(bare, capsys):
    announce("reading 2 runs")
    assert capsys.readouterr() == ("", "")
    bare.setenv("FORCE_COLOR", "1")
    announce("reading 2 runs")
    out, err = capsys.readouterr()
    assert out == ""
    assert "reading 2 runs …" in err


def test_open_is_a_command_of_macos(bare):
    bare.setattr(sys, "platform", "darwin")
    assert name_opener() == "open "
    bare.setattr(sys, "platform", "linux")
    bare.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert name_opener() == ""
    bare.setenv("DISPLAY", ":0")
    assert name_opener() == "xdg-open "
    bare.setattr(shutil, "which", lambda name: None)
    assert name_opener() == ""

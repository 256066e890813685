"""Where the module finds the program."""

import os
import subprocess
import sys
from pathlib import Path

import anabranch
import pytest


@pytest.fixture
def other(tmp_path):
    """A program of that name in a directory."""
    program = tmp_path / "anabranch"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return program


def test_the_program_is_installed_with_the_module(other, monkeypatch):
    monkeypatch.delenv("ANABRANCH_PROGRAM", raising=False)
    monkeypatch.setenv("PATH", str(other.parent))
    found = anabranch.find_program()
    assert Path(found) == Path(sys.executable).parent / "anabranch"
    assert subprocess.run([found, "--version"], stdout=subprocess.PIPE, check=True).stdout.startswith(b"anabranch ")


def test_the_environment_names_another_program(other, monkeypatch):
    monkeypatch.setenv("ANABRANCH_PROGRAM", str(other))
    assert anabranch.find_program() == str(other)
    other.chmod(0o644)
    with pytest.raises(anabranch.ProgramNotFoundError, match="ANABRANCH_PROGRAM is .* no program that can be run"):
        anabranch.find_program()
    with pytest.raises(FileNotFoundError):
        anabranch.Server()


def test_the_search_path_comes_last(other, monkeypatch, tmp_path):
    monkeypatch.delenv("ANABRANCH_PROGRAM", raising=False)
    monkeypatch.setattr("sys.executable", str(tmp_path / "nothing" / "python"))
    monkeypatch.setattr("sysconfig.get_path", lambda *_: str(tmp_path / "nothing"))
    monkeypatch.setenv("PATH", os.pathsep.join(["/nothing", str(other.parent)]))
    assert anabranch.find_program() == str(other)
    monkeypatch.setenv("PATH", "/nothing")
    with pytest.raises(anabranch.ProgramNotFoundError) as raised:
        anabranch.find_program()
    assert str(tmp_path / "nothing") in str(raised.value)
    assert "ANABRANCH_PROGRAM" in str(raised.value)

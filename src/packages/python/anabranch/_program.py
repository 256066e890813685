"""Where the program ``anabranch`` is."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator

VARIABLE = "ANABRANCH_PROGRAM"
_NAME = "anabranch" + (sysconfig.get_config_var("EXE") or "")


class ProgramNotFoundError(FileNotFoundError):
    """The program ``anabranch`` is in none of the places where it is looked for."""


def find_program() -> str:
    """The path of the program: what ``ANABRANCH_PROGRAM`` names, or else the one that was installed with this module, or
    else the first on the search path."""
    named = os.environ.get(VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            raise ProgramNotFoundError(f"{VARIABLE} is {named!r}, and that is no program that can be run")
        return found
    places = list(dict.fromkeys(_scripts_directories()))
    for place in places:
        # `which` also says whether the file may be run.
        found = shutil.which(os.path.join(place, _NAME))
        if found is not None:
            return found
    found = shutil.which(_NAME)
    if found is None:
        looked = "".join(f"\n  {place}" for place in places)
        raise ProgramNotFoundError(
            f"the program {_NAME} is not there. It was looked for in{looked}\nand in the directories of PATH. "
            f"Install the package anabranch, or name the program in {VARIABLE}."
        )
    return found


def _scripts_directories() -> Iterator[str]:
    """Where installers put programs. The interpreter of a virtual environment is a symbolic link, which is not followed."""
    if sys.executable:
        yield os.path.dirname(os.path.abspath(sys.executable))
    yield sysconfig.get_path("scripts")
    # `pip install --user`. A Python without users has no such scheme.
    user_scheme = f"{os.name}_user"
    if user_scheme in sysconfig.get_scheme_names():
        yield sysconfig.get_path("scripts", user_scheme)
    # `pip install --target`, which puts programs beside the modules.
    yield os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bin")

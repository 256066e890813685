#!/usr/bin/env python3
"""Stands in for cargo where maturin makes the wheel: what it would build, in release and for minutes, is there already.

All else is maturin's doing, by `pyproject.toml`: what the wheel is called, and what is in it where. What maturin has to know of
the crate is read from `Cargo.toml`. The environment variable BUILT_PROGRAM names the program.
"""

import json
import os
import shutil
import sys
from pathlib import Path

try:
    import tomllib
except ImportError:
    import tomli as tomllib

PACKAGE = Path(__file__).resolve().parents[3]
MANIFEST = PACKAGE / "Cargo.toml"
# `--bin anabranch` and the features are those of `pyproject.toml`.
EXPECTED = ["rustc", "--profile", "release", "--features", "server", "--bin", "anabranch"]


def target(kind, path, features=()):
    return {
        "kind": [kind],
        "crate_types": [kind],
        "name": "anabranch",
        "src_path": str(PACKAGE / path),
        "edition": "2024",
        "required-features": list(features),
        "doc": True,
        "doctest": False,
        "test": True,
    }


crate = tomllib.loads(MANIFEST.read_text())["package"]
package_id = f"path+{PACKAGE.as_uri()}#{crate['version']}"
program = target("bin", "src/main.rs", ["server"])
arguments = sys.argv[1:]

if arguments[0] == "metadata":
    package = {
        "name": crate["name"],
        "version": crate["version"],
        "id": package_id,
        "license": crate["license"],
        "description": crate["description"],
        "readme": crate["readme"],
        "rust_version": crate["rust-version"],
        "edition": crate["edition"],
        "manifest_path": str(MANIFEST),
        "dependencies": [],
        "features": {"default": [], "server": []},
        "targets": [target("lib", "src/lib.rs"), program],
    }
    node = {"id": package_id, "dependencies": [], "deps": [], "features": ["default", "server"]}
    metadata = {
        "version": 1,
        "packages": [package],
        "workspace_members": [package_id],
        "workspace_default_members": [package_id],
        "workspace_root": str(PACKAGE),
        "target_directory": os.environ["CARGO_TARGET_DIR"],
        "resolve": {"root": package_id, "nodes": [node]},
    }
    print(json.dumps(metadata))
elif arguments[0] == "rustc":
    missing = [argument for argument in EXPECTED if argument not in arguments]
    if missing:
        sys.exit(f"maturin does not build the program with {missing}: {arguments}")
    # maturin moves what it is given, and other tests run the program meanwhile.
    target_directory = Path(os.environ["CARGO_TARGET_DIR"])
    target_directory.mkdir(parents=True, exist_ok=True)
    built = str(target_directory / "anabranch")
    shutil.copy2(os.environ["BUILT_PROGRAM"], built)
    artifact = {
        "reason": "compiler-artifact",
        "package_id": package_id,
        "manifest_path": str(MANIFEST),
        "target": program,
        "profile": {
            "opt_level": "3",
            "debuginfo": 1,
            "debug_assertions": False,
            "overflow_checks": False,
            "test": False,
        },
        "features": ["server"],
        "filenames": [built],
        "executable": built,
        "fresh": True,
    }
    print(json.dumps(artifact))
    print(json.dumps({"reason": "build-finished", "success": True}))
else:
    sys.exit(f"maturin is not expected to run cargo {arguments}")

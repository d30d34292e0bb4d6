"""Finds the program that the wheel `ram-sidecar` has installed."""

import os
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import Iterator

__all__ = ["find_bin"]

_NAME = "ram-sidecar"


def find_bin() -> Path:
    """Returns the path of the program, or raises FileNotFoundError with the paths that were tried."""
    tried = []
    for path in _candidates():
        if path.is_file() and os.access(path, os.X_OK):
            return path
        tried.append(str(path))
    raise FileNotFoundError(
        f"the program {_NAME} is not at {' or '.join(tried)}: "
        f"install the package again (pip install --force-reinstall {_NAME})"
    )


def _candidates() -> Iterator[Path]:
    # Not where links of the files lead: some installers keep the files of all environments in one place.
    packages = Path(__file__).parent.parent.resolve()
    # `pip install --target` puts it there, and records another path.
    yield packages / "bin" / _NAME
    # Debian's pip installs to /usr/local/bin, which is not the directory of scripts that Python names.
    for distribution in metadata.distributions(name=_NAME, path=[str(packages)]):
        for file in distribution.files or ():
            if file.name == _NAME:
                yield Path(os.path.normpath(str(distribution.locate_file(file))))
    # Installers that record nothing.
    yield Path(sysconfig.get_path("scripts"), _NAME)

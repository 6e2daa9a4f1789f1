"""Where the project keeps what it rendered or downloaded."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/zoo, else ~/.cache/zoo."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "zoo"

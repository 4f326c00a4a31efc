"""Where prepared clips are kept: a file that is named by what it was made of."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pooch
import scipy
import soundfile

from speech import audio, container, header, libsndfile, mpeg, silence
from speech.recording import CorpusError

OF_AUDIO = (
    audio.__file__, container.__file__, header.__file__, libsndfile.__file__, mpeg.__file__, silence.__file__,
)  # fmt: skip
NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}  # what more room on the disk would mend


def user_cache() -> Path:
    """The cache folder of this program and this user, such as ~/.cache/nn1d.

    Raises
    ------
    CorpusError
        Nothing says where the user's home is.
    """
    try:
        path = Path(pooch.os_cache("nn1d"))
    except RuntimeError:  # platformdirs, of a user without a name; its older versions leave the ~ as it is
        path = Path("~")
    if path.parts[0] == "~":
        raise CorpusError("cache: there is no home folder to keep clips in. Set HOME or XDG_CACHE_HOME to a folder")
    return path


def digest(path: Path, sha256: str | None = None) -> str:
    """What the clip of an audio file depends on: its bytes, and its suffix, which some formats are told by.

    All bytes, and not size and time: a copy may keep both, and two writes within a tick of the clock differ in neither.
    A file that cannot be read has the reason for its digest. The file is not opened where its SHA-256 is known.
    """
    if sha256 is not None:
        return sha256 + path.suffix.lower()
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            return "no file"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() + path.suffix.lower()
    except OSError as error:
        return f"unreadable: {error.errno}"


def file_name(digests: Sequence[str], settings: Sequence[str | int], code: Sequence[str]) -> str:
    """The name of the file for these recordings in this order, these settings and this program.

    Parameters
    ----------
    digests : sequence of str
        Of each recording.
    settings : sequence
        Whatever else decides over the numbers.
    code : sequence of str
        The modules that make clips. Their text is hashed, so there is no version number to forget.
    """
    made_of = {
        "recordings": list(digests),
        "settings": list(settings),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "soundfile": [soundfile.__version__, soundfile.__libsndfile_version__],
        "code": [digest(Path(module)) for module in (*code, *OF_AUDIO, __file__)],
    }
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:32] + ".npy"

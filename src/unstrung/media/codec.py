"""Files to clips and back: H.264 in an MP4 that starts at once, keeps its colours, and carries its own recipe."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.media.clip import Audio, Clip
from unstrung.recipe import Recipe

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

CRF = 17
# A fixed number, for x264's output depends on it: the same clip gives the same file on a machine with other cores.
THREADS = 4
AUDIO_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)  # AAC has no others
AUDIO_BITS = 192_000

# What a stranger's file may be. Not on the list: playlists (they open other files and addresses), text drawn as pictures.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,apng,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,ivf,yuv4mpegpipe,"
    "flv,ogg,asf,mxf,nut,dv,rm,wtv,mp3,flac,wav,aac"
)
_MP4_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"}
_HEADS = (b"\x1aE\xdf\xa3", b"GIF8", b"OggS", b"FLV", b"\x00\x00\x01\xba", b"0&\xb2u\x8ef\xcf\x11")

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BT709, _LIMITED, _UNTAGGED = 1, 1, 2  # ISO/IEC 23091-2, and FFmpeg's AVCOL_RANGE_MPEG
_HD_HEIGHT = 720  # from here on a file without colour tags is taken for BT.709, as players do


def check_target(path: Path, force: bool = False) -> None:
    """Check that a clip can be written to `path`, before hours of work depend on it.

    Raises `UnstrungError` with field "output": a name without .mp4, a folder that is missing or can't be written to, a full
    disk, something at that place that is no file, or a file and no `force`.
    """
    if path.suffix.lower() != ".mp4":
        better = path.with_suffix(".mp4") if path.name else path / "clip.mp4"
        _refuse("bad_output", f"output is '{path}'; clips are written as .mp4: try --output '{better}'.")
    try:
        exists, is_file, is_folder = os.path.lexists(path), path.is_file(), path.is_dir()
        path.lstat() if exists else path.absolute().parent.stat()
    except ValueError:
        _refuse("bad_output", f"output is {str(path)!r}; a file's name can't hold that.")
    except OSError as error:
        raise _write_error(error, path) from None

"""Files to clips and back: H.264 in an MP4 that plays at once, keeps its colours, and carries its own recipe."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

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
    from PIL.Image import Image

# Without x264's macroblock tree, which gave two to six different files in eight runs where the machine has AVX-512.
# Lacking it, 19 looks as 17 looks with it.
CRF = 19
# A fixed number, for x264's output depends on it: the same clip gives the same file on a machine with other cores.
THREADS = 4
# AAC has these and no others.
AUDIO_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
AUDIO_BITS = 192_000

# What a picture may be, by its name's end, as Pillow calls it.
PICTURES = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}
# What a stranger's file may be. Left out: playlists, which open other files and addresses, and text drawn as pictures.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,apng,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,ivf,yuv4mpegpipe,"
    "flv,ogg,asf,mxf,nut,dv,rm,wtv,mp3,flac,wav,aac"
)
_MP4_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"}
_HEADS = (b"\x1aE\xdf\xa3", b"GIF8", b"OggS", b"FLV", b"\x00\x00\x01", b"0&\xb2u\x8ef\xcf\x11")

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BT709, _LIMITED, _UNTAGGED = 1, 1, 2  # code points of ISO/IEC 23091-2, and FFmpeg's AVCOL_RANGE_MPEG
_HD_HEIGHT = 720  # from here on, pictures without colour tags are taken for BT.709, as players do


def check_target(path: Path, force: bool = False, suffix: str = ".mp4") -> None:
    """Check that a clip, or a picture with its own `suffix`, can be written to `path`, before hours of work are spent.

    Raises `InvalidRequest` for the field "output": a name without the suffix, a folder that is missing or can't be
    written to, a place that holds something else than a file, or a file and no `force`. Raises `UnstrungError` for a
    full disk.
    """
    try:
        real = Path(os.path.realpath(path))
        if real.is_dir():
            _refuse("output_is_folder", f"output is '{path}', a folder: try --output '{path / f'clip{suffix}'}'.")
        if path.suffix.lower() != suffix:
            better = path.with_suffix(suffix)
            _refuse("bad_output", f"output is '{path}'; it is written as {suffix}: try --output '{better}'.")
        if not real.parent.is_dir():
            folder = real.parent
            cure = "a file has that name" if folder.exists() else f"make it with mkdir -p '{folder}'"
            _refuse("no_folder", f"output is '{path}', but there is no folder '{folder}': {cure}.")
        if os.path.lexists(real):
            if not real.is_file():
                _refuse("bad_output", f"output is '{path}', which is not an ordinary file: choose another --output.")
            if not force:
                _refuse_existing(path)
        # Only a real attempt tells, for root passes every permission; and not an empty one, which fits on a full disk.
        probe = _part(real)
        try:
            probe.write_bytes(bytes(4096))
        finally:
            probe.unlink(missing_ok=True)
    except ValueError:
        _refuse("bad_output", f"output is {str(path)!r}: no file can have this name.")
    except OSError as error:
        raise _write_error(error, path) from None


def write_clip(clip: Clip, path: Path, *, recipe: Recipe | None = None, force: bool = False) -> Path:
    """Write a clip as MP4, with its recipe inside, and return `path`; the file is whole or absent, whatever happens.

    Pictures become H.264 (4:2:0, BT.709, limited range), sound AAC. The same clip and recipe give the same bytes. An
    existing file stays unless `force` is given, even one that appears meanwhile. Raises what `check_target` raises, and
    `InvalidRequest` for odd sizes and for sample rates that AAC does not have.
    """
    check_target(path, force)
    for name, side in (("width", clip.width), ("height", clip.height)):
        if side % 2:
            raise InvalidRequest(name, f"{name} is {side}; video needs even sizes: try {side + 1}.")
    if clip.sample_rate is not None and clip.sample_rate not in AUDIO_RATES:
        allowed = ", ".join(map(str, AUDIO_RATES))
        raise InvalidRequest("sample_rate", f"sample_rate is {clip.sample_rate} Hz; a file can hold: {allowed}.")
    with _whole(path, force) as part:
        _encode(clip, part, _tags(recipe))
    return path


def write_picture(picture: Image, path: Path, *, force: bool = False) -> Path:
    """Write a picture as its name says (.png, .webp, .jpg) and return `path`; whole or absent, refused as by `write_clip`."""
    check_target(path, force, path.suffix)
    with _whole(path, force) as part, part.open("wb") as file:
        picture.save(file, format=PICTURES[path.suffix])
    return path


def read_picture(path: Path) -> Clip:
    """Read a picture as a clip of one frame, upright as its camera said, on black where it can be seen through.

    Raises `UnstrungError` for the field "source": no such file, no picture ("not_media"), damaged ("bad_media").
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    _check_source(path)
    try:
        with Image.open(path, formats=sorted(set(PICTURES.values()))) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", picture.size, (0, 0, 0, 255)), picture).convert("RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError):
        _reject("not_media", f"'{path}' is no picture that can be read: give a .png, .jpg or .webp of reasonable size.")
    except (OSError, ValueError, SyntaxError) as error:
        _damaged(path, str(error).lower())
    return Clip(np.asarray(flat)[None], fps=1)


def copy_clip(source: Path, path: Path, *, force: bool = False) -> Path:
    """Copy a clip's file as it is and return `path`; whole or absent, and refused, as `write_clip` writes and refuses."""
    check_target(path, force)
    with _whole(path, force) as part:
        shutil.copyfile(source, part)
    return path


def read_clip(path: Path) -> Clip:
    """Read the first video of a file, in the colours that its tags say, and its sound, fitted to the same length.

    A file without a whole or a steady frame rate comes out at the nearest whole rate, every moment at its time. Raises
    `UnstrungError` for the field "source": no such file, not a video ("not_media"), damaged ("bad_media").
    """
    import av

    with _opened(path) as container:
        videos = [stream for stream in container.streams.video if not _is_cover(stream)]
        if not videos:
            _reject("not_media", f"'{path}' holds no video: give a file with moving pictures.")
        video, sound = videos[0], next(iter(container.streams.audio), None)
        if _is_cut_short(path):
            _damaged(path, "its end is missing")
        video.thread_type = "AUTO"
        pictures: list[VideoFrame] = []
        sounds: list[AudioFrame] = []
        for packet in container.demux([video] if sound is None else [video, sound]):
            for frame in packet.decode():
                if isinstance(frame, av.AudioFrame):
                    sounds.append(frame)
                elif isinstance(frame, av.VideoFrame):
                    if frame.is_corrupt:
                        _damaged(path, f"a frame near {frame.time or 0:.1f} s can't be decoded")
                    pictures.append(frame)
        if not pictures:
            _damaged(path, "not one frame can be decoded")
        rate = float(video.average_rate or video.guessed_rate or 24)
        fps = max(1, round(rate))
        picks = _steady(pictures, fps)
        frames = np.empty((len(picks), pictures[0].height, pictures[0].width, 3), np.uint8)
        _to_rgb([pictures[i] for i in picks], frames)
        if not sounds:
            return Clip(frames, fps)
        sample_rate = sounds[0].sample_rate
        samples = round(len(frames) * sample_rate / fps)
        return Clip(frames, fps, _to_samples(sounds, pictures[0].time or 0.0, samples), sample_rate)


def read_recipe(path: Path) -> Recipe:
    """Read the recipe out of a clip's file, or from a .json file that holds one.

    Raises `UnstrungError` for the field "source": no such file, no media file ("not_media"), a damaged file
    ("bad_media"), no recipe inside ("no_recipe"), a damaged recipe ("bad_recipe"), a newer one ("newer_recipe").
    """
    if path.suffix.lower() == ".json":
        _check_source(path)
        text = path.read_bytes().decode("utf-8-sig", "replace")
    else:
        with _opened(path) as container:
            # Matroska keeps its tags' names in capitals, and some containers keep tags with the stream.
            tags = [container.metadata, *(stream.metadata for stream in container.streams)]
            text = next((value for tag in tags for key, value in tag.items() if key.lower() == "comment"), "")
            text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        if not text and _is_cut_short(path):
            _damaged(path, "its end is missing")
        if not _may_be_recipe(text):
            reason = "it was made by another program, or written with --no-recipe"
            _reject("no_recipe", f"'{path}' has no recipe inside: {reason}.")
    try:
        return Recipe.from_json(text)
    except UnstrungError as error:
        _reject(error.code, f"'{path}': {error.message}")


def _refuse(code: str, message: str) -> NoReturn:
    raise InvalidRequest("output", message, code) from None


def _refuse_existing(path: Path) -> NoReturn:
    cure = "add --force to replace it, or choose another --output"
    _refuse("output_exists", f"output is '{path}', which exists: {cure}.")


def _write_error(error: OSError, path: Path) -> UnstrungError:
    folder = path.absolute().parent
    if error.errno in _FULL:
        cure = "free some space, or choose an --output on another disk"
        return UnstrungError("disk_full", "output", f"output is '{path}', but the disk of '{folder}' is full: {cure}.")
    reason = f"can't be written ({(error.strerror or str(error)).lower()})"
    return InvalidRequest("output", f"output is '{path}', which {reason}: choose another --output.", "not_writable")


def _part(real: Path) -> Path:
    # Short, so that a name as long as the disk allows still works; hidden, for a killed process leaves it behind.
    return real.with_name(f".unstrung-{secrets.token_hex(8)}.part")


@contextmanager
def _whole(path: Path, force: bool) -> Iterator[Path]:
    """Give a file beside `path` to be written; put it there once it is whole and on the disk, or leave nothing."""
    real = Path(os.path.realpath(path))
    part = _part(real)
    try:
        yield part
        _sync(part)
        _publish(part, real, force)
    except FileExistsError:
        _refuse_existing(path)
    except OSError as error:
        raise _write_error(error, path) from error
    finally:
        part.unlink(missing_ok=True)


def _tags(recipe: Recipe | None) -> dict[str, str]:
    if recipe is None:
        return {}
    tags = {
        "title": str(recipe.request.get("prompt", "")),
        "comment": recipe.to_json(),
        "description": f"Made with Unstrung {recipe.software.get('unstrung', '')}".strip(),
    }
    # What is no Unicode, such as a stray byte of a command line, becomes \udc80: JSON's own way to write it.
    return {key: text.encode("utf-8", "backslashreplace").decode() for key, text in tags.items()}


def _encode(clip: Clip, part: Path, tags: dict[str, str]) -> None:
    import av
    from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

    exact = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP | Interpolation.BITEXACT
    reformatter = VideoReformatter()
    # In thousandths of a second, as by default, most clips would last a little less than their frames do.
    muxing = {"movflags": "+faststart", "movie_timescale": str(1000 * clip.fps)}
    with av.open(str(part), "w", format="mp4", options=muxing) as container:
        container.metadata.update(tags)
        options = {"preset": "veryfast", "crf": str(CRF), "profile": "high", "x264-params": "mbtree=0"}
        video = container.add_stream("libx264", rate=clip.fps, options=options)
        video.width, video.height, video.pix_fmt = clip.width, clip.height, "yuv420p"
        video.color_primaries = video.color_trc = video.colorspace = _BT709
        video.color_range = _LIMITED
        video.codec_context.thread_count = THREADS
        sound = None
        if clip.sample_rate is not None and clip.audio is not None:
            layout = "mono" if clip.audio.shape[1] == 1 else "stereo"
            sound = container.add_stream("aac", rate=clip.sample_rate, layout=layout, bit_rate=AUDIO_BITS)
        for index, pixels in enumerate(clip.frames):
            picture = reformatter.reformat(
                av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                interpolation=exact,
            )
            picture.pts, picture.time_base = index, Fraction(1, clip.fps)
            container.mux(video.encode(picture))
            if sound is not None and (piece := _sound_of(clip, index)) is not None:
                container.mux(sound.encode(piece))
        container.mux(video.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))


def _sound_of(clip: Clip, index: int) -> AudioFrame | None:
    import av

    assert clip.audio is not None and clip.sample_rate is not None
    start = clip.sample_at(index)
    samples = clip.audio[start : clip.sample_at(index + 1)]
    if not len(samples):
        return None
    layout = "mono" if samples.shape[1] == 1 else "stereo"
    piece = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), format="flt", layout=layout)
    piece.sample_rate, piece.pts, piece.time_base = clip.sample_rate, start, Fraction(1, clip.sample_rate)
    return piece


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _publish(part: Path, real: Path, force: bool) -> None:
    """Give the finished file its name; raise `FileExistsError` where the name is taken and may not be."""
    if force:
        part.replace(real)
    else:
        try:
            os.link(part, real)
        except FileExistsError:
            raise
        except OSError:  # this file system has no hard links
            real.touch(exist_ok=False)
            part.replace(real)
    if os.name == "posix":
        _sync(real.parent)


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    """Open a media file, and turn what FFmpeg says into errors for people."""
    import av

    _check_source(path)
    # An absolute path, or FFmpeg would take "12:30.mp4" for an address.
    place = str(path.absolute())
    # Bytes in tags that are no text come as surrogates; from version 19 on PyAV does so unasked.
    lenient: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "surrogateescape"}
    try:
        container = av.open(place, "r", options={"format_whitelist": FORMATS}, **lenient)
    except (OSError, av.error.FFmpegError):
        if _looks_like_media(path):
            _damaged(path, "its head can't be read")
        _reject("not_media", f"'{path}' is no video that can be read: give an .mp4, .mov, .webm, .mkv, .avi or .gif.")
    with container:
        if not len(container.streams):
            _damaged(path, "its head is cut short")
        try:
            yield container
        except av.error.FFmpegError as error:
            _damaged(path, str(error.strerror or error).lower())


def _check_source(path: Path) -> None:
    try:
        if path.exists() and not path.is_file():
            _reject("not_media", f"'{path}' is {'a folder' if path.is_dir() else 'no ordinary file'}: give a video.")
        with path.open("rb") as file:
            if not file.read(1):
                _damaged(path, "it is empty")
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last for a zero byte in the name
        _reject("no_such_file", f"There is no file '{path}': check its name and folder.")
    except OSError as error:
        _reject("not_readable", f"'{path}' can't be read: {(error.strerror or str(error)).lower()}.")


def _looks_like_media(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(16)
    return head[4:8] in _MP4_BOXES or head.startswith(_HEADS) or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")


def _is_cut_short(path: Path) -> bool:
    """Tell whether an MP4 or MOV ends within a box, which FFmpeg takes for a shorter video."""
    end, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while file.seek(at) + 8 <= end:
            head = file.read(16)
            size, name = int.from_bytes(head[:4], "big"), head[4:8]
            if size == 1:
                size = int.from_bytes(head[8:], "big")
            if name not in _MP4_BOXES or size < 8:  # boxes that others invented tell nothing, and 0 means up to the end
                break
            at += size
    return at > end


def _reject(code: str, message: str) -> NoReturn:
    raise UnstrungError(code, "source", message) from None


def _damaged(path: Path, reason: str) -> NoReturn:
    _reject("bad_media", f"'{path}' is damaged ({reason}): fetch or make it again.")


def _may_be_recipe(text: str) -> bool:
    if not text.lstrip().startswith("{"):
        return False
    try:
        return "resolved" in json.loads(text)  # other programs keep JSON there, too
    except ValueError:
        return True


def _is_cover(stream: VideoStream) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def _steady(pictures: Sequence[VideoFrame], fps: int) -> list[int]:
    """Return for each moment of a steady rate the index of the picture that is seen then."""
    times = np.array([np.nan if picture.pts is None else picture.time for picture in pictures])
    if np.isnan(times).any() or (np.diff(times) <= 0).any():
        return list(range(len(pictures)))
    last = pictures[-1]
    hold = float(last.duration * last.time_base) if last.duration and last.time_base else 0.0
    count = max(1, round((times[-1] - times[0] + max(hold, 1 / fps)) * fps))
    if count > 100 * len(pictures):  # such times are an error of the file, and would fill the memory
        return list(range(len(pictures)))
    moments = times[0] + (np.arange(count) + 0.5) / fps
    return [int(i) for i in np.searchsorted(times, moments, side="right") - 1]


def _to_rgb(pictures: Sequence[VideoFrame], frames: npt.NDArray[np.uint8]) -> None:
    """Fill frames (t, h, w, 3); a picture of another size than the first is scaled to it."""
    from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

    exact = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT
    reformatter = VideoReformatter()
    _, height, width, _ = frames.shape
    for index, picture in enumerate(pictures):
        guess = Colorspace.ITU709 if picture.colorspace == _UNTAGGED and height >= _HD_HEIGHT else None
        rgb = reformatter.reformat(picture, width, height, "rgb24", src_colorspace=guess, interpolation=exact)
        frames[index] = rgb.to_ndarray()


def _to_samples(sounds: Sequence[AudioFrame], start: float, samples: int) -> Audio:
    """Return `samples` samples (samples, channels) from `start` seconds on; more than two channels are mixed to two."""
    from av.audio.resampler import AudioResampler

    channels = min(2, sounds[0].layout.nb_channels)
    resampler = AudioResampler(format="flt", layout="mono" if channels == 1 else "stereo", rate=sounds[0].sample_rate)
    pieces = [piece.to_ndarray() for sound in [*sounds, None] for piece in resampler.resample(sound)]
    heard = np.concatenate(pieces, axis=1).reshape(-1, channels).astype(np.float32, copy=False)
    first = sounds[0].time
    offset = 0 if first is None else round((first - start) * sounds[0].sample_rate)
    audio = np.zeros((samples, channels), np.float32)
    heard = heard[max(0, -offset) :][: max(0, samples - max(0, offset))]
    audio[max(0, offset) : max(0, offset) + len(heard)] = heard
    return audio

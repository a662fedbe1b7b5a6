"""Files: what is written can be read, keeps its colours and its recipe, and is whole or absent, whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.media.clip import Clip
from unstrung.media.codec import check_target, read_clip, read_recipe, write_clip, write_picture
from unstrung.recipe import Recipe

RECIPE = Recipe(
    request={"prompt": "ein Fuchs läuft durch den Schnee 🦊 雪の中"},
    resolved={"prompt": "ein Fuchs", "seed": 7, "width": 64},
    model={"id": "echo"},
    seed=7,
    output={"sha256": "0" * 64, "width": 64, "height": 48, "num_frames": 12, "fps": 24},
    software={"unstrung": "0.1.0"},
)


def smooth(count: int = 12, width: int = 96, height: int = 64, fps: int = 24) -> Clip:
    """A soft pattern that moves."""
    t, y, x = np.ogrid[:count, :height, :width]
    waves = [x / 40 + t / 10, y / 30 + t / 7, (x + y) / 60 - t / 9]
    planes = [np.broadcast_to(127 + 120 * np.sin(wave), (count, height, width)) for wave in waves]
    return Clip(np.stack(planes, axis=-1).astype(np.uint8), fps)


def plain(*colour: int, size: int = 64, count: int = 3) -> Clip:
    return Clip(np.full((count, size, size, 3), colour, np.uint8), 24)


def sounding(clip: Clip, rate: int, channels: int) -> Clip:
    """The clip with a tone in each channel, which starts after a fifth of the time."""
    moment = np.arange(round(clip.seconds * rate)) / rate
    tones = [0.4 * np.sin(2 * np.pi * (300 + 200 * c) * moment) * (moment > clip.seconds / 5) for c in range(channels)]
    return Clip(clip.frames, clip.fps, np.stack(tones, axis=1).astype(np.float32), rate)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2))))


def boxes(data: bytes) -> list[str]:
    found, at = [], 0
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        found.append(name.decode())
        at += struct.unpack(">Q", data[at + 8 : at + 16])[0] if size == 1 else size
    assert at == len(data)
    return found


def remux(source: Path, target: Path) -> Path:
    """Copy a file's video and tags into another container, as any other program would."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        new.metadata.update(old.metadata)
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return target


Times = list[int] | None


def foreign(target: Path, pixels: np.ndarray, codec: str = "libx264", times: Times = None, **settings: object) -> Path:
    """Write a file as other programs do: yuv planes (t, 3h/2, w) as they are, at times in 1/90000 s, tags as given."""
    with av.open(str(target), "w") as container:
        comment = settings.pop("comment", None)
        if comment is not None:
            container.metadata["comment"] = str(comment)
        stream = container.add_stream(codec, rate=24, options={"crf": "10"} if codec == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = pixels.shape[2], pixels.shape[1] * 2 // 3, "yuv420p"
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 90000)
        for name, value in settings.items():
            setattr(stream, name, value)
        for index, planes in enumerate(pixels):
            frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
            frame.pts, frame.time_base = (index * 3750 if times is None else times[index]), Fraction(1, 90000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target


def yuv(y: int, u: int, v: int, size: tuple[int, int] = (64, 64), count: int = 2) -> np.ndarray:
    width, height = size
    frame = np.full((height * 3 // 2, width), y, np.uint8)
    frame[height : height * 5 // 4] = u
    frame[height * 5 // 4 :] = v
    return np.repeat(frame[None], count, axis=0)


# What is written can be read


@pytest.mark.parametrize(
    ("count", "width", "height", "fps"),
    [(1, 64, 64, 24), (2, 96, 64, 12), (25, 426, 240, 24), (7, 90, 160, 30), (49, 160, 90, 16), (31, 2, 2, 60)],
)
def test_a_clip_comes_back(tmp_path: Path, count: int, width: int, height: int, fps: int) -> None:
    clip = Clip(smooth(count, width, height).frames[::-1, :, ::-1], fps)  # no single block of memory
    again = read_clip(write_clip(clip, tmp_path / "clip.mp4"))
    assert again.frames.shape == clip.frames.shape and again.fps == fps and again.audio is None
    assert min(psnr(a, b) for a, b in zip(again.frames, clip.frames, strict=True)) > 35


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2), (48000, 2)])
def test_sound_comes_back_in_time(tmp_path: Path, rate: int, channels: int) -> None:
    clip = sounding(smooth(25), rate, channels)
    again = read_clip(write_clip(clip, tmp_path / "clip.mp4"))
    assert clip.audio is not None and again.audio is not None
    assert again.sample_rate == rate and again.audio.shape == clip.audio.shape
    # a shift of one sample alone would bring this below 30 dB
    assert 10 * np.log10(np.mean(clip.audio**2) / np.mean((again.audio - clip.audio) ** 2)) > 35


def test_sound_that_ends_early_comes_back_with_silence(tmp_path: Path) -> None:
    clip = sounding(smooth(48), 16000, 1)
    assert clip.audio is not None
    again = read_clip(write_clip(Clip(clip.frames, 24, clip.audio[:16000], 16000), tmp_path / "clip.mp4"))
    assert again.audio is not None and len(again.audio) == 32000
    assert np.abs(again.audio[8000:15000]).max() > 0.3 and np.abs(again.audio[18000:]).max() < 0.01


def test_measures_that_a_file_cannot_hold_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="try 66") as caught:
        write_clip(smooth(2, 65, 64), tmp_path / "clip.mp4")
    assert caught.value.field == "width"
    with pytest.raises(InvalidRequest, match=r"44000 Hz.*44100"):
        write_clip(sounding(smooth(2), 44000, 1), tmp_path / "clip.mp4")
    assert not list(tmp_path.iterdir())


# Colours, order and bytes of the file


@pytest.mark.parametrize(
    "colour",
    [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 90, 40), (255, 255, 0)],
)
def test_pure_colours_stay(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    path = write_clip(plain(*colour), tmp_path / "clip.mp4")
    assert np.abs(read_clip(path).frames.astype(int) - colour).max() <= 3
    # and by the standard's own arithmetic, lest two mistakes cancel each other out
    r, g, b = (level / 255 for level in colour)
    luma = 0.2126 * r + 0.7152 * g + 0.0722 * b
    expected = [16 + 219 * luma, 128 + 224 * (b - luma) / 1.8556, 128 + 224 * (r - luma) / 1.5748]
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert [bytes(plane)[0] for plane in frame.planes] == pytest.approx(expected, abs=1.6)


def test_a_player_is_told_the_colours(tmp_path: Path) -> None:
    path = write_clip(smooth(), tmp_path / "clip.mp4")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.profile, stream.pix_fmt) == ("h264", "High", "yuv420p")
        assert (stream.color_primaries, stream.color_trc, stream.colorspace, stream.color_range) == (1, 1, 1, 1)
        frame = next(container.decode(stream))  # in the H.264 stream itself, too
        assert (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range) == (1, 1, 1, 1)
    nclx = path.read_bytes().split(b"colrnclx")[1][:7]  # what browsers read
    assert nclx == struct.pack(">HHHB", 1, 1, 1, 0)


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
def test_ffprobe_says_the_same(tmp_path: Path) -> None:
    path = write_clip(sounding(smooth(36), 48000, 2), tmp_path / "clip.mp4", recipe=RECIPE)
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", str(path)]
    said = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    video, sound = said["streams"]
    tags = {video[key] for key in ("color_space", "color_transfer", "color_primaries")}
    assert (tags, video["color_range"]) == ({"bt709"}, "tv")
    assert (video["r_frame_rate"], video["nb_frames"], sound["codec_name"]) == ("24/1", "36", "aac")
    assert said["format"]["tags"]["title"] == RECIPE.request["prompt"]


def test_the_index_comes_first(tmp_path: Path) -> None:
    order = boxes(write_clip(sounding(smooth(30), 48000, 2), tmp_path / "clip.mp4", recipe=RECIPE).read_bytes())
    assert order[0] == "ftyp" and order.index("moov") < order.index("mdat")


@pytest.mark.parametrize("rate", [None, 44100])
def test_a_file_lasts_as_long_as_its_clip(tmp_path: Path, rate: int | None) -> None:
    clip = Clip(np.repeat(plain(90, 20, 20, count=1).frames, 37, axis=0), 12)
    path = write_clip(clip if rate is None else sounding(clip, rate, 1), tmp_path / "clip.mp4")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        # reordered frames take an edit list, and that is where the length would be rounded
        assert any(packet.pts != packet.dts for packet in container.demux(stream))
        assert (stream.frames, stream.average_rate, stream.start_time) == (37, 12, 0)
        assert stream.duration is not None and stream.time_base is not None
        assert stream.duration * stream.time_base == Fraction(37, 12)


def test_the_same_clip_gives_the_same_bytes(tmp_path: Path) -> None:
    clip = sounding(smooth(50), 48000, 2)
    first = write_clip(clip, tmp_path / "a.mp4", recipe=RECIPE).read_bytes()
    # x264 with its macroblock tree differs in about one run of three on some machines: once would prove nothing
    assert {write_clip(clip, tmp_path / f"{i}.mp4", recipe=RECIPE).read_bytes() for i in range(8)} == {first}


# The recipe inside


def test_the_recipe_comes_back(tmp_path: Path) -> None:
    path = write_clip(smooth(), tmp_path / "clip.mp4", recipe=RECIPE)
    assert read_recipe(path) == RECIPE
    with av.open(str(path)) as container:
        tags = container.metadata
    assert tags["title"] == RECIPE.request["prompt"] and tags["description"] == "Made with Unstrung 0.1.0"
    assert tags["comment"] == RECIPE.to_json()


def test_a_long_recipe_and_strange_words_come_back(tmp_path: Path) -> None:
    words = 'line\nbreak "quoted" back\\slash tab\t زرافة \x00 \u2028 \udcff ' + "é雪🦊" * 60_000
    recipe = replace(RECIPE, request={"prompt": words})
    assert len(recipe.to_json()) > 180_000
    path = write_clip(smooth(), tmp_path / "clip.mp4", recipe=recipe)
    assert read_recipe(path).request["prompt"] == words
    assert read_clip(path).num_frames == 12


@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_the_recipe_survives_a_change_of_container(tmp_path: Path, suffix: str) -> None:
    path = write_clip(smooth(), tmp_path / "clip.mp4", recipe=RECIPE)
    assert read_recipe(remux(path, tmp_path / f"clip{suffix}")) == RECIPE


def test_the_recipe_is_read_from_a_webm(tmp_path: Path) -> None:
    path = foreign(tmp_path / "clip.webm", yuv(90, 90, 90), "libvpx-vp9", comment=RECIPE.to_json())
    assert read_recipe(path) == RECIPE and read_clip(path).num_frames == 2


def test_the_recipe_is_read_from_a_json_file(tmp_path: Path) -> None:
    path = tmp_path / "clip.json"
    path.write_bytes(b"\xef\xbb\xbf" + RECIPE.to_json().encode())  # some editors put this mark first
    assert read_recipe(path) == RECIPE


def test_a_clip_without_a_recipe_says_nothing_of_its_making(tmp_path: Path) -> None:
    path = write_clip(smooth(), tmp_path / "clip.mp4")
    with av.open(str(path)) as container:
        assert not {"title", "comment", "description"} & set(container.metadata)
    assert b"nstrung" not in path.read_bytes()
    with pytest.raises(UnstrungError, match=r"clip\.mp4.*another program.*--no-recipe") as caught:
        read_recipe(path)
    assert (caught.value.code, caught.value.field) == ("no_recipe", "source")


@pytest.mark.parametrize(
    ("comment", "code"),
    [
        ("https://example.org/watch", "no_recipe"),
        ('{"prompt": {"3": {"class_type": "KSampler"}}}', "no_recipe"),
        (RECIPE.to_json()[:-40], "bad_recipe"),
        (RECIPE.to_json().replace('"seed":7,"software"', '"software"'), "bad_recipe"),
        (RECIPE.to_json().replace('"schema_version":1', '"schema_version":99'), "newer_recipe"),
    ],
)
def test_other_comments_are_no_recipe(tmp_path: Path, comment: str, code: str) -> None:
    path = foreign(tmp_path / "clip.mp4", yuv(90, 90, 90), comment=comment)
    with pytest.raises(UnstrungError, match=r"clip\.mp4") as caught:
        read_recipe(path)
    assert (caught.value.code, caught.value.field) == (code, "source")


# Whole or absent


def test_an_existing_file_stays_without_force(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"mine")
    with pytest.raises(InvalidRequest, match="--force") as caught:
        write_clip(smooth(), path)
    assert (caught.value.code, caught.value.field, path.read_bytes()) == ("output_exists", "output", b"mine")
    write_clip(smooth(), path, force=True)
    assert read_clip(path).num_frames == 12 and len(list(tmp_path.iterdir())) == 1


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "clip.mp4"
    link.symlink_to("disk/real.mp4")
    write_clip(smooth(), link)
    assert link.is_symlink() and read_clip(tmp_path / "disk/real.mp4").num_frames == 12
    with pytest.raises(InvalidRequest, match="--force"):
        write_clip(smooth(), link)


def test_of_two_writers_at_once_one_wins_and_one_is_told(tmp_path: Path) -> None:
    path, told = tmp_path / "clip.mp4", []
    gate = threading.Barrier(2)

    def write(count: int) -> None:
        gate.wait()
        try:
            told.append(write_clip(smooth(count), path))
        except InvalidRequest as error:
            told.append(error.code)

    threads = [threading.Thread(target=write, args=(count,)) for count in (12, 13)]
    for step in (threading.Thread.start, threading.Thread.join):
        for thread in threads:
            step(thread)
    assert sorted(map(str, told)) == sorted([str(path), "output_exists"])
    assert list(tmp_path.iterdir()) == [path] and read_clip(path).num_frames in (12, 13)


WRITER = """
import sys, resource
import numpy as np
from pathlib import Path
from unstrung.errors import UnstrungError
from unstrung.media.clip import Clip
from unstrung.media.codec import write_clip
count, limit, force = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "force"
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
noise = np.random.default_rng(0).integers(0, 255, (1, 360, 640, 3), np.uint8)
try:
    write_clip(Clip(np.broadcast_to(noise, (count, 360, 640, 3)), 24), Path(sys.argv[1]), force=force)
except UnstrungError as error:
    sys.exit(error.code)
"""


def start_writing(path: Path, count: int, limit: int = 0, force: bool = False) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WRITER, str(path), str(count), str(limit), "force" if force else ""]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True)


def wait_for_part(folder: Path) -> Path:
    for _ in range(1000):
        for part in folder.glob(".unstrung-*"):
            with contextlib.suppress(FileNotFoundError):  # the first attempt, which checks the place, is gone at once
                if part.stat().st_size > 100_000:
                    return part
        time.sleep(0.01)
    raise AssertionError("the writer never started")


@pytest.mark.parametrize("force", [False, True])
def test_a_killed_process_leaves_no_half_clip(tmp_path: Path, force: bool) -> None:
    path = tmp_path / "clip.mp4"
    if force:
        path.write_bytes(b"mine")
    writer = start_writing(path, 5000, force=force)
    wait_for_part(tmp_path)
    writer.kill()
    writer.communicate()
    assert writer.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"mine" if force else not path.exists()


def test_ctrl_c_leaves_nothing_at_all(tmp_path: Path) -> None:
    writer = start_writing(tmp_path / "clip.mp4", 5000)
    wait_for_part(tmp_path)
    writer.send_signal(signal.SIGINT)
    _, said = writer.communicate(timeout=10)
    assert writer.returncode != 0 and "KeyboardInterrupt" in said
    assert not list(tmp_path.iterdir())


def test_a_file_that_appears_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    writer = start_writing(path, 48)
    wait_for_part(tmp_path)
    path.write_bytes(b"mine")
    _, said = writer.communicate(timeout=30)
    assert (said.strip(), writer.returncode) == ("output_exists", 1)
    assert path.read_bytes() == b"mine" and list(tmp_path.iterdir()) == [path]


def test_a_file_that_may_grow_no_further_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"mine")
    _, said = start_writing(path, 24, limit=200_000, force=True).communicate(timeout=30)
    assert said.strip() == "disk_full"
    assert path.read_bytes() == b"mine" and list(tmp_path.iterdir()) == [path]


def mounted(folder: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return bool(shutil.which("mount")) and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 100 kB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if not mounted(disk, "size=100k"):
        pytest.skip("mounting a small disk takes root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_named_and_left_as_it_was(small_disk: Path) -> None:
    noise = Clip(np.random.default_rng(0).integers(0, 255, (8, 96, 160, 3), np.uint8), 24)
    whole = write_clip(noise, small_disk.parent / "there is room.mp4", recipe=RECIPE).read_bytes()
    enough = -(-len(whole) // 4096) * 4096
    path, other = small_disk / "clip.mp4", small_disk / "other"
    # the first write fails, then later ones, then the very last
    for room in (0, 4096, enough // 2, enough - 8192, enough - 4096):
        disk = os.statvfs(small_disk)
        other.write_bytes(bytes(disk.f_blocks * disk.f_frsize - room))
        with pytest.raises(UnstrungError, match="free some space") as caught:
            write_clip(noise, path, recipe=RECIPE)
        assert (caught.value.code, caught.value.field) == ("disk_full", "output"), room
        assert list(small_disk.iterdir()) == [other], room
    other.write_bytes(bytes(disk.f_blocks * disk.f_frsize - enough))
    assert write_clip(noise, path, recipe=RECIPE).read_bytes() == whole


def test_an_old_clip_outlives_a_full_disk(small_disk: Path) -> None:
    path = write_clip(plain(9, 9, 9), small_disk / "clip.mp4")
    noise = Clip(np.random.default_rng(0).integers(0, 255, (40, 96, 160, 3), np.uint8), 24)
    with pytest.raises(UnstrungError, match="full"):
        write_clip(noise, path, force=True)
    assert list(small_disk.iterdir()) == [path] and read_clip(path).num_frames == 3


def test_a_picture_is_whole_or_absent_too(small_disk: Path) -> None:
    noise = Clip(np.random.default_rng(0).integers(0, 255, (1, 240, 320, 3), np.uint8), 24).contact_sheet(1)
    path = write_picture(plain(9, 9, 9).contact_sheet(1), small_disk / "sheet.png")
    before = path.read_bytes()
    with pytest.raises(InvalidRequest, match="--force"):
        write_picture(noise, path)
    with pytest.raises(UnstrungError, match="free some space"):
        write_picture(noise, path, force=True)
    assert path.read_bytes() == before and list(small_disk.iterdir()) == [path]
    assert write_picture(noise, small_disk.parent / "sheet.png").read_bytes()[:4] == b"\x89PNG"


# Where a clip may go


def test_places_where_no_clip_can_go(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe.mp4")
    for place, code, word in (
        ("folder.mp4", "output_is_folder", "folder.mp4/clip.mp4"),
        ("clip.webm", "bad_output", r"clip\.mp4"),
        ("clip", "bad_output", r"clip\.mp4"),
        ("none/at/all/clip.mp4", "no_folder", "mkdir -p"),
        ("file/clip.mp4", "no_folder", "a file has that name"),
        ("pipe.mp4", "bad_output", "ordinary"),
        ("nul\0.mp4", "bad_output", "name"),
        ("a" * 260 + ".mp4", "not_writable", "too long"),
    ):
        for force in (False, True):
            with pytest.raises(InvalidRequest, match=word) as caught:
                check_target(tmp_path / place, force)
            assert (caught.value.code, caught.value.field) == (code, "output")
            with pytest.raises(InvalidRequest, match=word):
                write_clip(smooth(2), tmp_path / place, force=force)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.mp4", "pipe.mp4"]


def test_a_good_place_stays_untouched(tmp_path: Path) -> None:
    check_target(tmp_path / "clip.mp4")
    assert not list(tmp_path.iterdir())
    longest = tmp_path / ("ü" * 125 + ".mp4")  # 254 bytes: a longer temporary name would not fit
    check_target(longest)
    assert write_clip(smooth(2), longest).exists()


def test_a_folder_that_takes_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    # Root may write wherever the disk lets it: for root the folder must lie on a disk that does not.
    is_mounted = os.geteuid() == 0 and mounted(folder, "ro")
    if os.geteuid() == 0 and not is_mounted:
        pytest.skip("as root, a read-only disk is needed, and none can be mounted here")
    folder.chmod(0o555) if not is_mounted else None
    try:
        with pytest.raises(InvalidRequest, match=r"can't be written.*choose another --output") as caught:
            check_target(folder / "clip.mp4")
        assert (caught.value.code, caught.value.field) == ("not_writable", "output")
    finally:
        if is_mounted:
            subprocess.run(["umount", str(folder)], check=True)


def test_names_that_look_like_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("12:30.mp4", "http:x.mp4", "%03d.mp4", "-x.mp4", "ü 雪.MP4", "a'b\"c.mp4"):
        assert read_clip(write_clip(smooth(3), Path(name), recipe=RECIPE)).num_frames == 3
        assert read_recipe(Path(name)) == RECIPE


# What others made


@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".ts"])
def test_other_containers_are_read(tmp_path: Path, suffix: str) -> None:
    clip = smooth(25)
    path = remux(write_clip(clip, tmp_path / "clip.mp4"), tmp_path / f"clip{suffix}")
    again = read_clip(path)
    assert again.frames.shape == clip.frames.shape and again.fps == 24 and psnr(again.frames, clip.frames) > 35


def test_an_old_codec_in_an_avi_is_read(tmp_path: Path) -> None:
    clip = read_clip(foreign(tmp_path / "clip.avi", yuv(90, 128, 128, count=5), "mpeg4"))
    assert (clip.num_frames, clip.fps) == (5, 24)


def test_colours_are_read_by_the_tags_of_the_file(tmp_path: Path) -> None:
    # the same red, four times as others would write it
    for name, planes, tags in (
        ("bt709", yuv(63, 102, 240), {"colorspace": 1, "color_range": 1}),
        ("bt601", yuv(81, 90, 240), {"colorspace": 6, "color_range": 1}),
        ("full", yuv(54, 99, 255), {"colorspace": 1, "color_range": 2}),
        ("untagged", yuv(81, 90, 240), {}),
        ("untagged HD", yuv(63, 102, 240, (1280, 720)), {}),
    ):
        frames = read_clip(foreign(tmp_path / f"{name}.mp4", planes, **tags)).frames
        assert np.abs(frames.astype(int) - (255, 0, 0)).max() <= 4, name


def test_an_unsteady_rate_comes_out_steady_with_every_moment_at_its_time(tmp_path: Path) -> None:
    # frames at 0, 1/24, 2/24, then a gap: the third one stands until 6/24, as in a telephone's recording
    planes = np.concatenate([yuv(level, 128, 128, count=1) for level in (40, 80, 120, 160, 200, 235)])
    path = foreign(tmp_path / "clip.mkv", planes, times=[0, 3750, 7500, 22500, 26250, 30000])
    clip = read_clip(path)
    seen = clip.frames[:, 0, 0, 0].astype(int)
    shown_at = {level: int(np.argmax(np.abs(seen - level) < 8)) / clip.fps for level in (28, 121, 168, 255)}
    assert shown_at == pytest.approx({28: 0, 121: 2 / 24, 168: 6 / 24, 255: 8 / 24}, abs=0.6 / clip.fps)
    assert clip.seconds == pytest.approx(9 / 24, abs=0.6 / clip.fps)


def test_a_rate_that_is_not_whole_does_not_change_the_speed(tmp_path: Path) -> None:
    times = [i * 3003 for i in range(300)]  # 29.97 fps
    planes = np.repeat(yuv(90, 128, 128, count=1), 300, axis=0)
    clip = read_clip(foreign(tmp_path / "clip.mp4", planes, times=times))
    assert clip.fps == 30 and clip.seconds == pytest.approx(300 * 3003 / 90000, abs=1 / 30)


def test_what_is_missing_or_no_video_is_refused(tmp_path: Path) -> None:
    clip = write_clip(smooth(), tmp_path / "clip.mp4")
    (tmp_path / "text.txt").write_text("not a video\n" * 50)
    (tmp_path / "text.mp4").write_text("not a video\n" * 50)
    (tmp_path / "zeros.mp4").write_bytes(bytes(5000))
    (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n")
    (tmp_path / "list.txt").write_text(f"ffconcat version 1.0\nfile {clip.name}\n")
    os.mkfifo(tmp_path / "pipe.mp4")
    smooth().thumbnail().save(tmp_path / "picture.png")
    with wave.open(str(tmp_path / "tone.wav"), "wb") as tone:
        tone.setparams((1, 2, 8000, 0, "NONE", ""))
        tone.writeframes(bytes(16000))
    with pytest.raises(UnstrungError, match="holds no video"):
        read_clip(tmp_path / "tone.wav")
    names = ["text.txt", "text.mp4", "zeros.mp4", "list.m3u8", "list.txt", "pipe.mp4", "picture.png", "."]
    expected = {**dict.fromkeys(names, "not_media"), "none.mp4": "no_such_file", "clip.mp4/x.mp4": "no_such_file"}
    for name, code in {**expected, "nul\0.mp4": "no_such_file", "a" * 300: "not_readable"}.items():
        for read in (read_clip, read_recipe):
            with pytest.raises(UnstrungError) as caught:
                read(tmp_path / name)
            assert (caught.value.code, caught.value.field) == (code, "source"), name


def test_a_file_that_was_cut_short_is_damaged(tmp_path: Path) -> None:
    whole = write_clip(sounding(smooth(48), 48000, 2), tmp_path / "clip.mp4", recipe=RECIPE).read_bytes()
    cut = tmp_path / "cut.mp4"
    for length in (0, 12, 100, 1500, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:length])
        with pytest.raises(UnstrungError, match=r"cut\.mp4' is damaged") as caught:
            read_clip(cut)
        assert (caught.value.code, caught.value.field) == ("bad_media", "source"), length
    assert read_recipe(cut) == RECIPE  # it stands at the start, and is whole
    cut.write_bytes(whole[:1500])
    with pytest.raises(UnstrungError, match="is damaged"):
        read_recipe(cut)


def test_damage_never_shows_as_another_error(tmp_path: Path) -> None:
    whole = write_clip(smooth(24), tmp_path / "clip.mp4", recipe=RECIPE).read_bytes()
    path, rng = tmp_path / "hurt.mp4", np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        at = int(rng.integers(0, len(whole) - 16))
        path.write_bytes(whole[:at] + rng.bytes(16) + whole[at + 16 :])
        for read in (read_clip, read_recipe):
            try:
                read(path)
            except UnstrungError as error:
                assert error.field == "source"
                refused += 1
    assert refused > 20

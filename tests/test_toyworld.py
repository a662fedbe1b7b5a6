"""The toy world: the same seed draws the same, everything in it can be drawn, and captions say what is there."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest

from unstrung.corpus.toyworld.art import open_atlas
from unstrung.corpus.toyworld.captions import caption, present_participle
from unstrung.corpus.toyworld.credits import credits
from unstrung.corpus.toyworld.motion import pose, travel, view
from unstrung.corpus.toyworld.places import PROPS, paint
from unstrung.corpus.toyworld.render import Renderer, art_names
from unstrung.corpus.toyworld.scene import HELD_OUT, Actor, Scene, sample_scene
from unstrung.corpus.toyworld.stream import draw
from unstrung.corpus.toyworld.vocabulary import ACTIONS, CAMERAS, PLACES, SUBJECTS, TIMES, WEATHERS


@pytest.fixture(scope="module")
def renderer(stills: Path) -> Renderer:
    return Renderer(open_atlas(art_names(), size=64, folder=stills))


def scene(**changes: object) -> Scene:
    actor = Actor("fox", "run", "right", x=0.3, depth=0.5, size=0.5, speed=0.2, phase=0.0)
    actor = dataclasses.replace(actor, **{k: v for k, v in changes.items() if hasattr(actor, k)})  # type: ignore[arg-type]
    plain = Scene(1, "snow", "day", "clear", "still", "medium", (actor,))
    return dataclasses.replace(plain, **{k: v for k, v in changes.items() if hasattr(plain, k)})  # type: ignore[arg-type]


def middle(mask: np.ndarray) -> float:
    columns = mask.astype(float).sum(0)
    return float((columns * np.arange(columns.size)).sum() / columns.sum() / columns.size)


def test_a_number_is_a_sample(renderer: Renderer) -> None:
    first, again, other = (draw(renderer, n, 80, 48, 8, 4) for n in (5, 5, 6))
    assert first.scene == again.scene and first.caption == again.caption
    assert np.array_equal(first.frames, again.frames)
    assert first.frames.shape == (4, 48, 80, 3) and first.mask.shape == (4, 48, 80)
    assert not np.array_equal(first.frames, other.frames)


def test_held_out_pairs_are_never_trained_on() -> None:
    pairs = {(a.subject, s.place) for s in map(sample_scene, range(3000)) for a in s.actors}
    assert not pairs & HELD_OUT
    assert {(s.actors[0].subject, s.place) for s in (sample_scene(n, held_out=True) for n in range(600))} == HELD_OUT
    # both halves of every pair are trained on, apart
    assert {subject for subject, _ in HELD_OUT} <= {subject for subject, _ in pairs}
    assert {place for _, place in HELD_OUT} <= {place for _, place in pairs}


def test_the_whole_vocabulary_is_reached() -> None:
    scenes = [sample_scene(n) for n in range(6000)]
    assert {a.subject for s in scenes for a in s.actors} == set(SUBJECTS)
    assert {s.place for s in scenes} == set(PLACES)
    assert {s.time for s in scenes} == set(TIMES)
    assert {s.weather for s in scenes} == set(WEATHERS)
    assert {s.camera for s in scenes} == set(CAMERAS)
    assert {a.action for s in scenes for a in s.actors} == set(ACTIONS)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("time", TIMES)
def test_every_place_at_every_time_is_its_own(renderer: Renderer, place: str, time: str) -> None:
    frame = renderer.render(scene(place=place, time=time), 80, 48, 8, 1)[0]
    assert frame.std() > 8
    others = [renderer.render(scene(place=p, time=time), 80, 48, 8, 1)[0] for p in ("meadow", "space", "kitchen") if p != place]
    assert all(np.abs(frame.astype(int) - o).mean() > 6 for o in others)
    if time == "night" and place != "space":
        assert frame.mean() < renderer.render(scene(place=place, time="day"), 80, 48, 8, 1).mean() - 5


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_subject_is_drawn_where_its_mask_says(renderer: Renderer, subject: str) -> None:
    with_it = scene(subject=subject, action="stand", x=0.5)
    frames, mask = renderer.render_with_mask(with_it, 80, 48, 8, 1)
    assert 0.02 < (mask > 128).mean() < 0.6
    assert abs(middle(mask[0]) - 0.5) < 0.15


@pytest.mark.parametrize(("direction", "sign"), [("left", -1), ("right", 1)])
def test_travel_goes_where_it_is_said_and_never_jumps(renderer: Renderer, direction: str, sign: int) -> None:
    moving = scene(direction=direction, x=0.5)
    _, mask = renderer.render_with_mask(moving, 160, 96, 8, 8)
    xs = [middle(m) for m in mask]
    assert all(sign * (b - a) > 0 for a, b in zip(xs, xs[1:], strict=False))
    actor = moving.actors[0]
    for i in range(2000):  # round the picture several times: a jump happens only out of sight
        a, b = (travel(actor, (i + d) / 24, 0.3) for d in (0, 1))
        assert abs(b - a) < 0.02 or (max(a, b) >= 1.15 and min(a, b) <= -0.15)


def test_a_followed_actor_stays_and_the_ground_passes(renderer: Renderer) -> None:
    followed = scene(camera="follow")
    frames, mask = renderer.render_with_mask(followed, 160, 96, 8, 8)
    assert abs(middle(mask[0]) - middle(mask[-1])) < 0.03
    ground = frames[:, 60:, :40].astype(int)
    assert np.abs(ground[0] - ground[-1]).mean() > 0.5
    assert view(followed, 2.0).scroll > 0 > view(scene(camera="follow", direction="left"), 2.0).scroll


@pytest.mark.parametrize("action", ACTIONS)
def test_motion_is_smooth(action: str) -> None:
    actor = scene(action=action).actors[0]
    poses = [pose(actor, i / 240, 0.3) for i in range(1200)]
    for a, b in zip(poses, poses[1:], strict=False):
        assert abs(a.lift - b.lift) < 0.05
        wrapped = abs(a.fall - b.fall) if a.fall is not None and b.fall is not None else 0.0
        assert wrapped < 0.02 or wrapped > 0.98
        assert abs(a.x - b.x) < 0.01 or abs(a.x - b.x) > 1


@pytest.mark.parametrize("camera", CAMERAS)
def test_cameras_move_as_they_are_called(renderer: Renderer, camera: str) -> None:
    frames = renderer.render(scene(camera=camera, action="stand", speed=0.0), 160, 96, 8, 8).astype(int)
    edge = np.abs(frames[0, :, :30] - frames[-1, :, :30]).mean()
    assert (edge < 0.5) == (camera in ("still", "follow"))


@pytest.mark.parametrize("weather", WEATHERS)
def test_weather_is_seen(renderer: Renderer, weather: str) -> None:
    clear = renderer.render(scene(place="forest", time="night"), 160, 96, 8, 1).astype(int)
    changed = np.abs(renderer.render(scene(place="forest", time="night", weather=weather), 160, 96, 8, 1) - clear).mean()
    assert (changed < 1e-6) == (weather == "clear")


@pytest.mark.parametrize("size", [(160, 96), (96, 160), (128, 128), (640, 384)])
def test_any_size_and_rate(renderer: Renderer, size: tuple[int, int]) -> None:
    for camera in ("still", "zoom_in", "shake", "pan_left"):
        frames = renderer.render(scene(camera=camera), *size, 24, 2, start=4.0)
        assert frames.shape == (2, size[1], size[0], 3)


def test_captions_name_what_is_there() -> None:
    for n in range(400):
        made = sample_scene(n)
        texts = {caption(made, k).lower() for k in range(6)}
        assert len(texts) >= 4, "words vary"
        for text in texts:
            for actor in made.actors:
                assert any(name in text for name in SUBJECTS[actor.subject].names), (text, actor.subject)
            assert len(text.split()) < 45 and "  " not in text and text == text.strip()


@pytest.mark.parametrize(
    ("verb", "ing"),
    [("plays basketball", "playing basketball"), ("juggles", "juggling"), ("dances", "dancing"), ("rides a wave", "riding a wave"),
     ("swims", "swimming"), ("sits in the lotus position", "sitting in the lotus position"), ("lifts weights", "lifting weights"), ("skis", "skiing"),
     ("does cartwheels", "doing cartwheels"), ("waves its arms", "waving its arms"), ("casts a spell", "casting a spell")],
)  # fmt: skip
def test_verbs_are_bent_right(verb: str, ing: str) -> None:
    assert present_participle(verb) == ing


def test_the_prompts_of_the_press_can_be_said() -> None:
    words = {w for s in SUBJECTS.values() for n in (*s.names, *s.verbs) for w in n.split()}
    assert {"teenage", "male", "basketball", "kitten", "striking", "blue", "eyes", "fluffy"} <= words
    assert "on his driveway in Florida" in PLACES["driveway"] and "driveway" in SUBJECTS["basketball"].places
    assert "on a soft, cream-colored pillow" in PLACES["bedroom"] and "bedroom" in SUBJECTS["kitten"].places


def test_every_work_is_credited(stills: Path) -> None:
    works = credits()["works"]
    assert len({w["file"] for w in works}) == len(works) > 120
    for work in random.Random(0).sample(works, 30):
        assert list(stills.glob(f"*/{work['file']}")), work
        assert work["maker"] and work["license"] and work["used_as"]


def test_all_scenery_that_is_credited_is_painted_and_no_other() -> None:
    painted: set[str] = set()

    def sprite(art: str, pixels: int) -> np.ndarray:
        painted.add(art)
        return np.zeros((pixels, pixels, 4), np.float32)

    for place in PLACES:
        for time in TIMES:
            for seed in range(30):
                paint(place, time, seed, 32, 20, sprite)
    assert painted == set(PROPS)

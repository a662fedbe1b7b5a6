"""The words of the toy world: who, where, when, and what they can do there.

Everything that a caption can say and the renderer can show is listed here, once. A subject's `art` is the name of its
picture in the Fluent emoji packages (the hexadecimal code points of the emoji).
"""

# ruff: noqa: E501 - a row is a line
from __future__ import annotations

from dataclasses import dataclass

LAND = ("meadow", "forest", "beach", "snow", "mountains", "desert", "city", "driveway")
INDOORS = ("bedroom", "stage", "kitchen")
WATER = ("sea",)
EVERY_GROUND = (*LAND, *INDOORS)


@dataclass(frozen=True)
class Subject:
    """One actor: its art, the words for it, what it does, and where it is at home."""

    id: str
    art: str
    names: tuple[str, ...]
    actions: tuple[str, ...]
    places: tuple[str, ...]
    kind: str
    facing: int = -1  # which way the art looks: -1 left, 0 nowhere, 1 right
    size: float = 1.0
    verbs: tuple[str, ...] = ()  # what the art itself shows, when that is more than standing


def _table(kind: str, actions: str, places: tuple[str, ...], rows: str) -> list[Subject]:
    """Read rows of `id art facing size | name, name | own verb, own verb`."""
    subjects = []
    for row in rows.strip().splitlines():
        head, names, *verbs = [part.strip() for part in row.split("|")]
        id_, art, facing, size = head.split()
        subjects.append(
            Subject(
                id=id_,
                art=art,
                names=tuple(n.strip() for n in names.split(",")),
                actions=tuple(actions.split()),
                places=places,
                kind=kind,
                facing=int(facing),
                size=float(size),
                verbs=tuple(v.strip() for v in verbs[0].split(",")) if verbs else (),
            )
        )
    return subjects


_WALKERS = _table(
    "animal",
    "run run walk walk stand jump",
    (*LAND, "stage", "bedroom"),
    """
    fox fox -1 1.0 | red fox, fox, vixen, orange fox
    dog 1f415 -1 1.0 | dog, brown dog, golden dog, hound
    cat 1f408 -1 0.95 | cat, tabby cat, ginger cat, striped cat
    blackcat 1f408-200d-2b1b -1 0.95 | black cat, dark cat
    wolf wolf -1 1.05 | wolf, grey wolf, lone wolf
    lion lion -1 1.1 | lion, golden lion, maned lion
    tiger 1f405 -1 1.1 | tiger, orange tiger, striped tiger
    horse 1f40e -1 1.15 | horse, brown horse, stallion, pony
    unicorn 1f984 -1 1.1 | unicorn, purple unicorn, magic unicorn
    deer 1f98c -1 1.15 | deer, stag, deer with antlers
    cow 1f404 -1 1.1 | cow, spotted cow, black and white cow
    pig 1f416 -1 0.95 | pig, pink pig, piglet
    sheep 1f411 -1 1.0 | sheep, white sheep, woolly sheep, lamb
    camel 1f42b -1 1.15 | camel, two-humped camel
    giraffe 1f992 -1 1.3 | giraffe, tall giraffe
    zebra 1f993 -1 1.1 | zebra, striped zebra
    elephant 1f418 -1 1.2 | elephant, grey elephant, big elephant
    rhino 1f98f -1 1.1 | rhino, rhinoceros, grey rhino
    kangaroo 1f998 1 1.1 | kangaroo, hopping kangaroo
    rabbit 1f407 -1 0.85 | rabbit, bunny, white rabbit, hare
    squirrel 1f43f-fe0f -1 0.85 | squirrel, chipmunk, brown squirrel
    turtle 1f422 -1 0.8 | turtle, green turtle, tortoise
    monkey 1f412 -1 0.95 | monkey, brown monkey, chimp
    trex 1f996 -1 1.2 | t-rex, dinosaur, green dinosaur, tyrannosaurus
    chick 1f424 -1 0.7 | chick, yellow chick, baby chick
    duck 1f986 -1 0.9 | duck, mallard, green-headed duck
    penguin 1f427 0 0.95 | penguin, little penguin
    flamingo 1f9a9 -1 1.1 | flamingo, pink flamingo
    peacock 1f99a 0 1.1 | peacock, blue peacock
    dragon 1f409 -1 1.15 | dragon, green dragon
    crab 1f980 0 0.8 | crab, red crab, pink crab
    """,
)
_HEADS = _table(
    "animal",
    "stand stand jump bounce",
    EVERY_GROUND,
    """
    kitten kitten 0 0.9 | kitten, fluffy kitten, yellow kitten, kitten with striking blue eyes, fluffy kitten with blue eyes
    panda 1f43c 0 0.95 | panda, panda bear, black and white panda
    bear 1f43b 0 0.95 | bear, brown bear, grizzly bear
    koala 1f428 0 0.95 | koala, grey koala
    frog 1f438 0 0.85 | frog, green frog, toad
    owl 1f989 0 0.95 | owl, brown owl, wise owl
    teddy 1f9f8 0 0.9 | teddy bear, stuffed bear, teddy
    """,
)
_FLYERS = _table(
    "flyer",
    "fly fly fly float",
    (*LAND, "sea", "sky", "sky"),
    """
    eagle 1f985 -1 1.0 | eagle, bald eagle, hawk
    parrot 1f99c -1 0.9 | parrot, red parrot, colourful parrot
    dove 1f54a-fe0f -1 0.9 | dove, white dove, white bird, pigeon
    bat 1f987 -1 0.9 | bat, brown bat
    bee 1f41d 1 0.75 | bee, honeybee, bumblebee
    butterfly 1f98b 0 0.8 | butterfly, orange butterfly, monarch butterfly
    """,
)
_SWIMMERS = _table(
    "swimmer",
    "swim swim swim float",
    ("underwater",),
    """
    fish 1f41f -1 0.85 | fish, blue fish
    clownfish 1f420 -1 0.85 | tropical fish, yellow and blue fish, colourful fish
    shark 1f988 -1 1.15 | shark, grey shark
    whale 1f433 -1 1.2 | whale, blue whale, spouting whale
    dolphin 1f42c -1 1.1 | dolphin, blue dolphin
    octopus 1f419 0 1.0 | octopus, orange octopus
    mermaid 1f9dc-200d-2640-fe0f 0 1.1 | mermaid, mermaid with a green tail
    """,
)
_PEOPLE = _table(
    "person",
    "run run walk stand",
    (*LAND, "stage"),
    """
    runner 1f3c3 -1 1.15 | runner, male runner, jogger, person in an orange shirt
    girl 1f3c3-200d-2640-fe0f -1 1.15 | girl, girl in a purple shirt, young woman, female runner
    walker 1f6b6-200d-2642-fe0f -1 1.15 | man, man in a blue shirt, boy, teenage boy
    cyclist 1f6b4 -1 1.15 | cyclist, person on a bicycle, bike rider
    """,
)
_DOERS = _table(
    "person",
    "stand stand run",
    (*LAND, "stage"),
    """
    basketball 26f9-fe0f-200d-2642-fe0f -1 1.15 | teenage male, basketball player, teenager, young man, boy | plays basketball, bounces a basketball, dribbles a ball
    """,
)
_PERFORMERS = _table(
    "person",
    "stand",
    (*EVERY_GROUND, "stage", "stage"),
    """
    dancer 1f483 -1 1.15 | woman in a red dress, dancer, flamenco dancer | dances
    disco 1f57a 1 1.15 | man in a blue suit, disco dancer, man | dances
    juggler 1f939 0 1.05 | juggler, man in a bowler hat, clown | juggles, juggles coloured balls
    acrobat 1f938 0 1.1 | acrobat, gymnast, child | turns a cartwheel, does cartwheels
    lifter 1f3cb-fe0f 0 1.15 | weightlifter, strong person, athlete | lifts weights, lifts a barbell
    yogi 1f9d8 0 1.05 | person, yogi, monk | meditates, sits in the lotus position
    wizard 1f9d9 0 1.05 | wizard, mage, blue wizard | waves a magic staff, casts a spell
    robot 1f916 0 1.0 | robot, friendly robot, android | blinks
    snowman 26c4 0 1.05 | snowman, snowman with a blue scarf | waves its arms
    """,
)
_BOARDERS = _table(
    "person",
    "drive",
    ("snow", "mountains"),
    """
    skier 26f7-fe0f 1 1.1 | skier, person on skis | skis
    snowboarder 1f3c2 1 1.1 | snowboarder, person on a snowboard | snowboards
    """,
)
_FLOATERS = _table(
    "sprite",
    "float float fly",
    (*LAND, "space", "stage", "sky", "bedroom"),
    """
    ghost 1f47b 0 0.95 | ghost, white ghost, funny ghost
    fairy 1f9da 0 1.1 | fairy, fairy with wings
    balloon 1f388 0 0.95 | balloon, red balloon
    ufo 1f6f8 0 1.0 | ufo, flying saucer, alien spaceship
    """,
)
_ROAD = _table(
    "vehicle",
    "drive drive drive stand",
    ("city", "city", "driveway", "desert", "meadow", "mountains", "snow", "beach"),
    """
    car 1f697 -1 1.0 | red car, car, automobile
    jeep 1f699 -1 1.0 | blue car, jeep, blue jeep
    taxi 1f695 -1 1.0 | taxi, yellow taxi, cab
    policecar 1f693 -1 1.0 | police car, black and white police car
    bus 1f68c -1 1.1 | bus, city bus, yellow and white bus
    firetruck 1f692 -1 1.1 | fire engine, fire truck, red fire engine
    truck 1f69a -1 1.1 | truck, yellow delivery truck, lorry
    tractor 1f69c -1 1.05 | tractor, green tractor
    train 1f682 -1 1.1 | steam train, locomotive, steam locomotive, train
    racecar 1f3ce-fe0f -1 0.9 | racing car, red racing car, race car
    motorcycle 1f3cd-fe0f -1 0.95 | motorcycle, red motorcycle, motorbike
    """,
)
_AIRCRAFT = _table(
    "aircraft",
    "fly fly fly",
    ("sky", "sky", "city", "sea", "desert", "mountains", "meadow", "snow", "beach"),
    """
    airplane 2708-fe0f 1 1.05 | airplane, plane, jet, aeroplane
    helicopter 1f681 -1 1.05 | helicopter, orange helicopter, chopper
    """,
)
_SPACE = _table(
    "aircraft",
    "fly fly float",
    ("space", "space", "sky", "city", "desert"),
    """
    rocket 1f680 1 1.05 | rocket, white and red rocket, space rocket, spaceship
    astronaut 1f9d1-200d-1f680 0 1.0 | astronaut, spaceman, cosmonaut
    planet 1fa90 0 1.0 | ringed planet, planet, saturn
    """,
)
_BOATS = _table(
    "boat",
    "drive drive stand",
    ("sea",),
    """
    sailboat 26f5 -1 1.1 | sailboat, sailing boat, yacht
    ship 1f6a2 -1 1.15 | ship, cruise ship, passenger ship
    rower 1f6a3 -1 1.05 | rower, person in a rowing boat, rowing boat | rows
    surfer 1f3c4 1 1.1 | surfer, person on a surfboard | surfs, rides a wave
    swimmer 1f3ca -1 0.95 | swimmer, person swimming | swims
    """,
)
_BALLS = _table(
    "ball",
    "bounce bounce roll roll spin",
    (*EVERY_GROUND, "driveway"),
    """
    ball 1f3c0 0 0.7 | basketball, orange ball
    football 26bd 0 0.7 | football, soccer ball, blue and white ball
    """,
)
_PLANTS = _table(
    "plant",
    "stand stand grow",
    (*LAND, "kitchen"),
    """
    sunflower 1f33b 0 1.1 | sunflower, yellow sunflower
    tulip 1f337 0 1.0 | tulip, pink tulip, pink flower
    rose 1f339 0 1.05 | rose, red rose, red flower
    mushroom 1f344 0 0.9 | mushroom, red mushroom, toadstool
    cactus 1f335 0 1.15 | cactus, green cactus
    christmastree 1f384 0 1.25 | christmas tree, decorated tree
    """,
)
_THINGS = _table(
    "thing",
    "stand spin bounce fall roll",
    (*INDOORS, "kitchen", "kitchen", "meadow", "beach", "space"),
    """
    apple 1f34e 0 0.8 | apple, red apple
    banana 1f34c 0 0.8 | banana, yellow banana
    strawberry 1f353 0 0.8 | strawberry, red strawberry
    watermelon 1f349 0 0.85 | watermelon, slice of watermelon
    pizza 1f355 0 0.85 | pizza, slice of pizza
    burger 1f354 0 0.85 | burger, hamburger, cheeseburger
    donut 1f369 0 0.8 | donut, chocolate donut, doughnut
    icecream 1f366 0 0.9 | ice cream, ice cream cone
    cake 1f382 0 0.9 | birthday cake, cake with candles
    gift 1f381 0 0.85 | gift, present, gift box with a red ribbon
    guitar 1f3b8 0 1.0 | guitar, red guitar, electric guitar
    star 2b50 0 0.85 | star, golden star
    pumpkin 1f383 0 0.9 | pumpkin, jack-o-lantern, halloween pumpkin
    """,
)

SUBJECTS: dict[str, Subject] = {
    s.id: s
    for group in (
        _WALKERS, _HEADS, _FLYERS, _SWIMMERS, _PEOPLE, _DOERS, _PERFORMERS, _BOARDERS, _FLOATERS,
        _ROAD, _AIRCRAFT, _SPACE, _BOATS, _BALLS, _PLANTS, _THINGS,
    )
    for s in group
}  # fmt: skip

# place -> how a person would say where that is
PLACES: dict[str, tuple[str, ...]] = {
    "meadow": ("in a green meadow", "on the grass", "in a field", "in the park", "across a grassy field"),
    "forest": ("in a forest", "in the woods", "between the trees", "through a dark green forest"),
    "beach": ("on a sandy beach", "at the beach", "on the sand by the sea", "by the ocean"),
    "snow": ("in the snow", "through the snow", "across a snowy field", "in deep white snow", "in a winter landscape"),
    "mountains": ("in the mountains", "in front of high mountains", "on a mountain path", "below snowy peaks"),
    "desert": ("in the desert", "across the sand dunes", "in a hot sandy desert", "between the dunes"),
    "city": ("on a city street", "in the city", "in front of tall buildings", "downtown", "on a busy street"),
    "driveway": ("on a driveway", "in front of a house", "on his driveway in Florida", "outside a house with palm trees"),
    "sea": ("on the sea", "on the ocean", "on the blue water", "over the waves", "at sea"),
    "underwater": ("under water", "in the deep sea", "in the ocean among corals", "underwater", "at the bottom of the sea"),
    "space": ("in space", "among the stars", "in outer space", "in the dark of space", "far from earth"),
    "sky": ("in the sky", "among the clouds", "high above the clouds", "through the clouds", "in the air"),
    "bedroom": ("in a bedroom", "on a soft, cream-colored pillow", "on a pillow", "on a bed", "in a cosy room"),
    "stage": ("on a stage", "on a theatre stage", "in front of red curtains", "under the spotlights"),
    "kitchen": ("on a kitchen table", "in a kitchen", "on a wooden table", "on the table"),
}  # fmt: skip

TIMES: dict[str, tuple[str, ...]] = {
    "day": ("on a sunny day", "on a sunny afternoon", "in bright daylight", "under a blue sky", "at noon", "in the morning"),
    "sunset": ("at sunset", "in the evening light", "at dusk", "in the golden hour", "under an orange sky"),
    "night": ("at night", "under the stars", "in the moonlight", "on a dark night", "at midnight"),
}  # fmt: skip

WEATHERS: dict[str, tuple[str, ...]] = {
    "clear": (),
    "rain": ("in the rain", "it is raining", "rain is falling", "on a rainy day"),
    "snow": ("snow is falling", "it is snowing", "snowflakes are falling", "in a snowfall"),
    "fireflies": ("fireflies glow", "with fireflies", "fireflies in the air", "little lights float around"),
}

CAMERAS: dict[str, tuple[str, ...]] = {
    "still": ("static camera", "locked-off shot", "the camera does not move"),
    "pan_left": ("the camera pans left", "panning left"),
    "pan_right": ("the camera pans right", "panning right"),
    "zoom_in": ("the camera zooms in", "slow zoom in"),
    "zoom_out": ("the camera zooms out", "slow zoom out"),
    "shake": ("handheld camera", "shaky camera"),
    "follow": ("the camera follows", "tracking shot"),
}

FRAMINGS: dict[str, tuple[str, ...]] = {
    "close": ("close-up of", "a close-up of", "a close shot of", "extreme close-up of"),
    "medium": ("",),
    "far": ("a wide shot of", "far away,", "in the distance,", "a long shot of"),
}

# action -> third person forms and -ing forms
ACTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "run": (("runs", "races", "sprints", "gallops"), ("running", "racing", "sprinting", "dashing")),
    "walk": (("walks", "strolls", "wanders", "trots"), ("walking", "strolling", "wandering", "trotting")),
    "stand": (("stands", "sits", "waits", "stands still"), ("standing", "sitting", "waiting", "standing still")),
    "jump": (("jumps", "hops", "leaps"), ("jumping", "hopping", "leaping", "jumping up and down")),
    "bounce": (("bounces",), ("bouncing", "bouncing up and down")),
    "fly": (("flies", "flies across", "soars"), ("flying", "flying across", "soaring")),
    "float": (("floats", "hovers", "drifts"), ("floating", "hovering", "drifting")),
    "swim": (("swims", "glides"), ("swimming", "gliding")),
    "drive": (("drives", "speeds", "rides"), ("driving", "speeding", "riding", "moving")),
    "roll": (("rolls",), ("rolling", "rolling along")),
    "spin": (("spins", "turns round", "rotates"), ("spinning", "turning round", "rotating")),
    "grow": (("grows", "grows taller"), ("growing", "growing taller")),
    "fall": (("falls", "falls down", "drops"), ("falling", "falling down", "dropping")),
}

# actions that have a direction across the picture
TRAVELS = frozenset({"run", "walk", "fly", "swim", "drive", "roll"})

DIRECTIONS: dict[str, tuple[str, ...]] = {
    "left": ("to the left", "from right to left", "towards the left"),
    "right": ("to the right", "from left to right", "towards the right"),
}
POSITIONS: dict[str, tuple[str, ...]] = {
    "left": ("on the left", "on the left side"),
    "middle": ("in the middle", "in the centre"),
    "right": ("on the right", "on the right side"),
}

"""The built-in corpus's sentences: a small grammar, and sentences rich in the rarer phones."""

from collections.abc import Iterator

import numpy as np

from utility.seeds import text_seed

TRAIN_SHARE, DEV_SHARE = 0.8, 0.1  # of all sentences; the rest is for test

_NOUNS = """
    baker teacher farmer doctor sailor painter brother sister mother father uncle child boy girl judge
    nurse king queen knight soldier student singer lawyer waiter driver dancer captain author neighbor stranger
    horse dog cat mouse sheep goose bird fish whale tiger spider turtle rabbit donkey puppy frog
    house garden kitchen window door bridge tower castle church school market harbor village mountain river
    valley forest island meadow beach road garage engine wagon boat ship train bicycle rocket
    apple orange cherry onion potato carrot cabbage butter cheese bread soup sugar pepper coffee juice oyster
    book letter paper picture journal story song treasure measure coin jewel watch chain necklace ring
    chair table shelf lamp candle mirror basket bottle bucket bag box wheel hammer shovel brush toy
    shirt jacket feather leather thread cloth shoe boot glove hat towel pillow blanket
    cloud shower thunder shadow moon star fire smoke noise voice vision answer question reason
"""
_ADJECTIVES = """
    big small huge tiny tall short long wide thick thin heavy light quick slow quiet loud joyful angry happy
    gentle brave clever foolish honest proud shy lazy busy young old new fresh warm cool cold hot dry wet
    smooth rough soft hard sharp dull bright dark white black brown yellow green blue purple azure beige golden
    silver wooden rusty dusty cloudy foggy sunny stormy precious usual casual curious strange common good rotten
"""
_PAST = """
    found watched carried pushed pulled followed painted measured treasured noticed remembered forgot bought
    sold moved lifted dropped washed cooked mixed opened closed broke fixed touched kicked threw caught drew
    enjoyed avoided joined chose searched reached crushed brought thanked showed heard saw took shook
"""
_INFINITIVES = """
    find watch carry push pull follow paint measure treasure notice remember forget buy sell move lift drop wash
    cook mix open close break fix touch kick throw catch draw enjoy avoid join choose search reach
"""
_PLACES = """
    near under behind beside above below beyond around past toward across inside outside against
"""
_TIMES = """
    yesterday today tonight again together quickly slowly quietly loudly carefully usually early later twice
    already outside everywhere nearby alone
"""
_NAMES = """
    George Joyce Ruth Beth Keith Cathy Roy Troy Howard Paul Shawn Charles Jack Joan Hugh Luke Susan Zoe Vera Faye
    Wayne Yolanda Heather Mitch Gail Doug Ian Hazel Oscar Ada
"""
_NUMBERS = "two three four five six seven eight nine ten eleven twelve thirteen twenty thirty fifty"

_WORDS = {
    "N": _NOUNS.split(),
    "A": _ADJECTIVES.split(),
    "V": _PAST.split(),
    "I": _INFINITIVES.split(),
    "P": _PLACES.split(),
    "T": _TIMES.split(),
    "M": _NAMES.split(),
    "Q": _NUMBERS.split(),
    "D": ["the", "a", "this", "that", "every", "my", "your", "our", "their", "his", "her", "another"],
    "W": ["should", "could", "would", "will", "might", "must", "can", "never"],
    "H": ["she", "he", "they", "we", "you", "nobody", "everyone"],
}

_TEMPLATES = """
    D A N V D N P D N
    D N V D A N T
    M V D N and M V D A N
    when D N V D N, H V D A N
    H W I D A N P D N
    M and M W I D N T
    D A A N V D N T
    if M W I D N, D N W I D N
    H V Q A N with Q A N P D N
    after D N, D A N V M
    M V D N, D N, and D A N
    D N V Q A N P M
    H W I D N before D A N
    how W H I D A N
    why W D N I D A N T
    there stood D A N P D A N
    Q N and D A N were P D N
    M W I D N because D N was A and A
    D N P D N was A, but D N was A
    please I D A N P D N and I D N T
"""

RICH = [
    line.strip()
    for line in """
    the boys enjoy the joyful noise beyond their voyage
    a casual vision of treasure and leisure brought usual pleasure
    both brothers thought the thick cloth was worth three thousand
    she should put the good book by the wooden hook
    how now shall our proud cow get down from this cloudy mountain
    each child chose a cheese sandwich, a peach, and some chocolate
    the judge enjoyed orange juice and a large jar of jam
    young Yolanda yelled at the yellow yacht beyond the canyon
    the king was singing a long song among the ringing bells
    a few huge mules refused to use the new bridge
    they bathe the smooth feather, then breathe together
    one measure of azure beige beside the garage door was unusual
    who would hear the whole house hum
    the early bird heard a third word near that dirty church
    zebras and lizards gaze through the lazy breeze
    very vivid violets move over the heavy valley
    the shy fish flashed in a shallow ocean wash
    a toy coin was spoiled in boiling oil by the royal boy
    thin moths hover with thirty healthy hawks further south
    the author saw a small hawk fall on our lawn at dawn
    you could look at the full bush, but you should not pull it
    cheap watches reach rich merchants which march to the beach
    fog hung along the strong iron bridge at evening
    pay the eight gray waiters and wait by the lake today
    go home alone, the snow is slow along every open road
    we need three green trees near the sea, please
    I might find five white kites flying high tonight
    the cat sat back and had a black apple snack
    many men sent seven red letters to Kenneth and Beth
    it is six inches big, isn't it, Miss Smith
    up above, none of us must run under the sun
    the moon grew cool and blue soon after noon
    father got many hot rocks from our dark barn
    Paul caught a tall horse behind this hall
    further turns hurt the nervous nurse and her purse
    now our loud owl found a mouse outside the town house
    people keep papers in purple paper bags
    tall Tom took twenty tickets to town
    kind kings keep kicking cold cakes
    big Bob grabbed a rubber tub by the cab
    dad made a deed and added a red bed
    great gray geese again go to the big green garden
    mother may come home to my room in summer
    nine new nuns ran in and soon began to dine
    long lines of lilies will fall slowly on a yellow hill
    around the rear, the red river roared over the rocks
    we were always away toward the wild west wind
    he has a hat behind her heavy hand
    face the chief of our fifth safe staff
    six silly sisters pass this sour sauce to us
    the explosion caused confusion and a serious decision
    the engineer changed a gauge beside the edge of one stage
    future nature pictures teach us about creatures
    the foolish cook put sugar in a woolen pocket and stood
    with thirty thorns through the cloth, Keith thanked Ruth
    television divisions made occasional revisions to the collision
    strength and length matter when jumping along the trench
    join Roy and Joyce, avoid the poison, and point to the oyster
    the usual version of this journey was genuine pleasure
    whose youth group would choose music, humor, and beauty
""".splitlines()
    if line.strip()
]


def sentences(split: str, generator: np.random.Generator) -> Iterator[str]:
    """Endless sentences of `split` (train, dev or test), every third a rich one while they last; none comes twice.

    A sentence belongs to one split alone, whatever the seed.
    """
    rich = [text for text in RICH if split_of(text) == split]
    waiting = [rich[i] for i in generator.permutation(len(rich))]
    templates = [line.strip() for line in _TEMPLATES.splitlines() if line.strip()]
    seen = set()
    count = 0
    while True:
        count += 1
        if waiting and count % 3 == 1:
            yield waiting.pop()
            continue
        text = _fill(templates[generator.integers(len(templates))], generator)
        if text not in seen and split_of(text) == split:
            seen.add(text)
            yield text


def _fill(template: str, generator: np.random.Generator) -> str:
    words = []
    for symbol in template.split():
        stem = symbol.rstrip(",")
        choices = _WORDS.get(stem, [stem])
        words.append(choices[generator.integers(len(choices))] + symbol[len(stem) :])
    following = [word[0].lower() in "aeiou" for word in words[1:]] + [False]
    return " ".join("an" if word == "a" and vowel else word for word, vowel in zip(words, following))


def split_of(text: str) -> str:
    """The one split that a sentence belongs to."""
    share = text_seed(text) / 2**32
    return "train" if share < TRAIN_SHARE else "dev" if share < TRAIN_SHARE + DEV_SHARE else "test"

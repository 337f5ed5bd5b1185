"""The steps, as data: what each is called, how it looks, what of it stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Place = tuple[str, float, float, float, float, str]
"""A part of the workpiece: sprite, center x and y, width, height (shares of the side), and how it comes to be seen
(``fill`` from below, ``wipe`` from the left, ``grow`` from its middle, ``pop`` at once when it is put down)."""


@dataclass(frozen=True)
class Step:
    """One action of the hand.

    ``verb``, ``participle``, ``noun`` and ``rest`` are its words, ``@`` standing before a noun that may have an
    article and ``{vessel}`` for the goal's vessel. ``tool`` is the sprite that moves as ``motion`` says; ``adds`` are
    the parts that stay, ``drops`` the parts that it takes away.
    """

    verb: str
    participle: str
    noun: str
    rest: str
    tool: str
    motion: str
    adds: tuple[Place, ...] = ()
    drops: tuple[str, ...] = ()
    at: tuple[float, float] = (0.5, 0.5)
    size: float = 0.32


def _step(words: str, tool: str, *adds: str, drops: tuple[str, ...] = ()) -> Step:
    """A step from text: verb, participle, noun, rest; tool, motion, where and how large; the parts that it adds."""
    verb, participle, noun, rest = words.split("|")
    sprite, motion, numbers = tool.split("|")
    x, y, size = map(float, numbers.split())
    return Step(verb, participle, noun, rest, sprite, motion, tuple(place(text) for text in adds), drops, (x, y), size)


def place(text: str) -> Place:
    """A part from text: ``sprite|x y width height|how``."""
    sprite, numbers, how = text.split("|")
    x, y, width, height = map(float, numbers.split())
    return sprite, x, y, width, height, how


STEPS: Mapping[str, Step] = {
    # Drinks and food.
    "water": _step("pours|poured|water|into @{vessel}", "jug|pour|.5 .5 .32", "water|.5 .63 .26 .24|fill"),
    "milk": _step("pours|poured|milk|into @{vessel}", "carton|pour|.5 .5 .32", "milk|.5 .63 .26 .24|fill"),
    "tea bag": _step("dips|dipped|tea bag|in @{vessel}", "teabag|dip|.5 .46 .32", "tea|.5 .63 .26 .24|fill"),
    "sugar": _step("drops|dropped|sugar|in @{vessel}", "sugar|drop|.5 .5 .32", "sugar|.44 .5 .14 .12|pop"),
    "stir": _step("stirs|stirred|{vessel}|with @spoon", "spoon|stir|.5 .44 .36", "swirl|.5 .63 .26 .24|grow"),
    "cocoa": _step("spoons|spooned|cocoa|into @{vessel}", "cocoa|pour|.5 .5 .32", "cocoa heap|.5 .69 .26 .12|fill"),
    "marshmallows": _step(
        "drops|dropped|marshmallows|in @{vessel}", "marshmallows|drop|.5 .5 .32", "marshmallows|.5 .5 .28 .13|pop"
    ),
    "cut lemon": _step(
        "cuts|cut|lemon|with @knife", "knife|rub|.3 .56 .32", "lemon halves|.24 .68 .2 .18|pop", drops=("lemon",)
    ),
    "squeeze": _step(
        "squeezes|squeezed|lemon|over @{vessel}",
        "squeezed lemon|shake|.5 .38 .32",
        "juice|.5 .63 .26 .24|fill",
        drops=("lemon halves",),
    ),
    "ice": _step("drops|dropped|ice|in @{vessel}", "ice|drop|.5 .5 .32", "ice|.5 .5 .28 .13|pop"),
    "straw": _step("puts|put|straw|in @{vessel}", "straw|place|.58 .46 .36", "straw|.58 .46 .3 .38|pop"),
    "burner": _step("lights|lit|fire|under @{vessel}", "lighter|light|.6 .7 .26", "fire|.5 .79 .34 .12|grow"),
    "carrots": _step("drops|dropped|carrots|in @{vessel}", "carrots|drop|.5 .5 .32", "carrots|.5 .5 .28 .13|pop"),
    "salt": _step("shakes|shaken|salt|over @{vessel}", "salt|shake|.5 .38 .26", "specks|.5 .63 .26 .24|pop"),
    "egg": _step("cracks|cracked|egg|over @{vessel}", "egg|shake|.5 .38 .32", "yolk|.44 .64 .14 .16|grow"),
    "flour": _step("pours|poured|flour|into @{vessel}", "flour|pour|.5 .5 .32", "flour heap|.56 .68 .18 .14|fill"),
    "bake": _step(
        "puts|put|dough|in @oven",
        "oven|place|.5 .46 .42",
        "cake|.5 .58 .34 .2|grow",
        drops=("yolk", "flour heap", "swirl"),
    ),
    "frost": _step("spreads|spread|cream|on @cake", "cream|sweep|.5 .4 .32", "frosting|.5 .5 .36 .1|wipe"),
    "cherry": _step("puts|put|cherry|on @cake", "cherry|drop|.5 .42 .2", "cherry|.5 .42 .14 .14|pop"),
    "bread": _step("lays|laid|bread|on @plate", "bread|place|.5 .66 .32", "bread|.5 .66 .34 .12|pop"),
    "butter": _step("spreads|spread|butter|on @bread", "butter knife|sweep|.5 .5 .32", "butter|.5 .61 .34 .06|wipe"),
    "cheese": _step("lays|laid|cheese|on @bread", "cheese|place|.5 .56 .32", "cheese|.5 .56 .38 .08|pop"),
    "tomato": _step("lays|laid|tomato|on @bread", "tomato|place|.5 .54 .32", "tomato|.5 .53 .34 .08|pop"),
    "lid bread": _step(
        "covers|covered|sandwich|with @bread", "top bread|drop|.5 .46 .32", "top bread|.5 .46 .36 .14|pop"
    ),
    # Paper and boxes.
    "teddy": _step("puts|put|teddy|in @box", "teddy|drop|.5 .46 .32", "teddy ears|.5 .46 .22 .14|pop"),
    "lid": _step("closes|closed|box|with @lid", "lid|drop|.5 .47 .4", "lid|.5 .47 .42 .1|pop", drops=("teddy ears",)),
    "wrap": _step("wraps|wrapped|{vessel}|in @paper", "paper roll|sweep|.5 .55 .32", "wrapping|.5 .63 .3 .26|wipe"),
    "ribbon": _step("ties|tied|ribbon|around @{vessel}", "ribbon|knot|.5 .5 .32", "bow|.5 .56 .34 .42|grow"),
    "write": _step("writes|written|letter|with @pen", "pen|write|.5 .5 .32", "writing|.5 .57 .26 .3|wipe"),
    "fold": _step(
        "folds|folded|letter|in @middle", "flap|fold|.5 .5 .34", "folded|.5 .66 .36 .2|pop", drops=("sheet", "writing")
    ),
    "envelope": _step(
        "puts|put|letter|in @envelope", "letter|drop|.5 .5 .32", "envelope|.5 .6 .46 .3|grow", drops=("folded",)
    ),
    "stamp": _step("sticks|stuck|stamp|on @envelope", "stamp|place|.63 .54 .22", "stamp|.63 .54 .16 .16|pop"),
    "mail": _step(
        "drops|dropped|envelope|in @mailbox",
        "small envelope|drop|.5 .42 .32",
        "mailbox|.5 .58 .4 .42|grow",
        drops=("envelope", "stamp", "bow"),
    ),
    # Wood and walls.
    "saw": _step("saws|sawn|{vessel}|with @saw", "saw|rub|.56 .5 .36", "cut end|.68 .62 .1 .3|pop"),
    "sand": _step("sands|sanded|{vessel}|with @sandpaper", "sandpaper|rub|.48 .58 .26", "shine|.42 .62 .2 .2|wipe"),
    "paint": _step(
        "paints|painted|{vessel}|with @brush", "brush|sweep|.5 .52 .32", "painted|.5 .62 .46 .28|wipe", drops=("shine",)
    ),
    "dry": _step("dries|dried|{vessel}|with @dryer", "dryer|hold|.6 .42 .32", "gloss|.5 .57 .36 .1|wipe"),
    "star": _step(
        "draws|drawn|star|on @{vessel}", "star pen|write|.5 .5 .32", "star|.5 .62 .24 .24|grow", drops=("gloss",)
    ),
    "drill": _step("drills|drilled|{vessel}|with @drill", "drill|buzz|.42 .46 .32", "hole|.36 .6 .1 .1|grow"),
    "screw": _step("turns|turned|screw|into @{vessel}", "screwdriver|turn|.4 .44 .32", "screw|.36 .58 .13 .16|grow"),
    "measure": _step("measures|measured|wall|with @ruler", "ruler|hold|.5 .44 .44", "mark|.5 .4 .12 .12|pop"),
    "nail": _step(
        "hammers|hammered|nail|into @wall", "hammer|hammer|.52 .36 .32", "nail|.5 .38 .1 .16|grow", drops=("mark",)
    ),
    "hang": _step("hangs|hung|{vessel}|on @nail", "rope|lift|.5 .44 .32", "hook rope|.5 .42 .34 .16|pop"),
    "picture": _step(
        "hangs|hung|picture|on @nail",
        "picture|place|.5 .58 .36",
        "hook rope|.5 .4 .26 .14|pop",
        "picture|.5 .58 .36 .3|pop",
        drops=("picture",),
    ),
    # Wheels, plants, candles, towers, cloth.
    "unscrew": _step(
        "loosens|loosened|bolt|with @wrench", "wrench|turn|.5 .56 .34", "loose bolt|.28 .74 .1 .1|pop", drops=("bolt",)
    ),
    "pull wheel": _step("pulls|pulled|flat tire|off @cart", "flat tire|pull|.5 .66 .34", drops=("flat tire",)),
    "new wheel": _step("puts|put|new tire|on @cart", "tire|place|.5 .64 .34", "tire|.5 .64 .34 .32|pop"),
    "tighten": _step(
        "tightens|tightened|bolt|with @key",
        "bolt key|turn|.5 .54 .32",
        "bolt|.5 .64 .12 .12|grow",
        drops=("loose bolt",),
    ),
    "pump": _step("pumps|pumped|air|into @tire", "pump|pump|.5 .44 .36", "air|.5 .64 .42 .4|grow"),
    "soil": _step("shovels|shoveled|soil|into @planter", "shovel|pour|.5 .5 .32", "soil|.5 .63 .26 .24|fill"),
    "poke": _step("pokes|poked|hole|in @soil", "stick|dip|.5 .42 .32", "dark hole|.5 .53 .14 .08|grow"),
    "seed": _step("drops|dropped|seed|in @hole", "seed|drop|.5 .5 .24", "seed|.5 .52 .1 .08|pop"),
    "rake": _step(
        "covers|covered|seed|with @rake",
        "rake|sweep|.5 .44 .32",
        "soil mound|.5 .5 .28 .08|wipe",
        drops=("dark hole", "seed"),
    ),
    "can": _step("waters|watered|soil|with @can", "watering can|pour|.5 .5 .32", "sprout|.5 .41 .22 .2|grow"),
    "candle": _step("sets|set|candle|on @{vessel}", "candle|drop|.5 .47 .32", "candle|.5 .47 .14 .3|pop"),
    "match": _step("strikes|struck|match|on @matchbox", "match|rub|.32 .58 .32", "matchbox|.28 .7 .2 .14|pop"),
    "light": _step("lights|lit|candle|with @match", "burning match|light|.58 .38 .32", "flame|.5 .29 .14 .14|grow"),
    "cube": _step("sets|set|cube|on @table", "cube|place|.5 .7 .24", "cube|.5 .7 .2 .18|pop"),
    "cylinder": _step("stacks|stacked|can|on @cube", "cylinder|drop|.5 .54 .24", "cylinder|.5 .54 .16 .15|pop"),
    "bridge": _step("stacks|stacked|arch|on @can", "arch|drop|.5 .42 .26", "arch|.5 .42 .24 .12|pop"),
    "cone": _step("stacks|stacked|cone|on @arch", "cone|drop|.5 .32 .24", "cone|.5 .31 .16 .13|pop"),
    "thread": _step("threads|threaded|needle|over @cloth", "needle|hold|.46 .44 .36", "thread|.34 .44 .26 .2|wipe"),
    "sew": _step("sews|sewn|pearl|on @cloth", "sewing|buzz|.5 .46 .32", "pearl|.5 .6 .18 .18|grow"),
    "snip": _step("cuts|cut|thread|with @scissors", "scissors|snip|.4 .48 .34", drops=("thread",)),
    "soap": _step("rubs|rubbed|shirt|with @soap", "soap|rub|.5 .56 .26", "foam|.5 .62 .3 .2|grow", drops=("stain",)),
    "rinse": _step(
        "rinses|rinsed|shirt|with @hose", "hose|hold|.58 .42 .32", "drops|.5 .62 .3 .22|pop", drops=("foam",)
    ),
    "iron": _step(
        "irons|ironed|shirt|with @iron", "iron|rub|.5 .54 .32", "crease|.5 .62 .06 .24|wipe", drops=("drops",)
    ),
    "fold shirt": _step(
        "folds|folded|shirt|on @table",
        "sleeve flap|fold|.5 .52 .32",
        "shirt pile|.5 .68 .36 .18|pop",
        drops=("shirt", "crease"),
    ),
}
"""Name of a step to the step. Goals share them."""

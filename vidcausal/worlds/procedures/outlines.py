"""Outlines of tools, ingredients and parts of workpieces in a unit square, as text."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from vidcausal.worlds.canvas import RGB

Outline = tuple[Any, ...]
"""``("r" or "e", ink, left, top, right, bottom)``: rectangle or ellipse; ``("p", ink, x, y, x, y ...)``: polygon;
``("l", ink, x, y, x, y, thickness)``: a straight stroke. The ink is a name in :data:`INKS`, or ``M``, ``D``, ``L``: the
color of the thing itself, darker, lighter."""

INKS: Mapping[str, RGB] = {
    "black": (34, 34, 40),
    "white": (255, 255, 255),
    "skin": (232, 176, 138),
    "sleeve": (38, 70, 83),
    "steel": (158, 168, 178),
    "iron": (88, 94, 104),
    "wood": (176, 122, 66),
    "plank": (205, 158, 98),
    "water": (96, 176, 236),
    "milk": (250, 250, 252),
    "tea": (188, 98, 28),
    "brown": (104, 60, 28),
    "straw": (226, 60, 60),
    "lemon": (250, 226, 40),
    "cream": (255, 214, 226),
    "carrot": (246, 122, 24),
    "leaf": (70, 168, 60),
    "tomato": (220, 46, 40),
    "bread": (214, 150, 78),
    "crumb": (246, 216, 162),
    "cheese": (255, 190, 30),
    "paper": (252, 252, 246),
    "ink": (40, 60, 150),
    "gift": (120, 200, 130),
    "gold": (236, 182, 30),
    "ribbon": (206, 34, 92),
    "flame": (255, 140, 20),
    "spark": (255, 232, 110),
    "soil": (92, 62, 40),
    "violet": (120, 90, 190),
    "ice": (196, 236, 250),
    "navy": (30, 50, 110),
    "lime": (170, 214, 50),
    "teal": (20, 150, 150),
    "rose": (240, 110, 140),
}


@functools.cache
def outlines(name: str) -> tuple[Outline, ...]:
    """The outlines of a tool or a part, back to front.

    Raises:
        KeyError: there is no such tool or part.
    """
    shapes = [text.split() for text in OUTLINES[name].split(";")]
    return tuple((shape[0], shape[1], *map(float, shape[2:])) for shape in shapes)


OUTLINES: Mapping[str, str] = {
    # Vessels and what stands on the table at first.
    "cup": "p M 0 0 .84 0 .8 1 .06 1; e M .66 .2 1 .72; r white .14 .06 .7 .86",
    "glass": "p M .04 0 .96 0 .84 1 .16 1; p white .15 0 .85 0 .78 .86 .22 .86",
    "pot": "r M .08 .05 .92 1; r D 0 .2 1 .4; r white .16 .1 .84 .86",
    "bowl": "p M 0 .1 1 .1 .76 1 .24 1; p white .13 .16 .87 .16 .7 .86 .3 .86",
    "planter": "p M .08 .2 .92 .2 .78 1 .22 1; r D 0 0 1 .24; r white .18 .12 .82 .84",
    "box": "r M .03 .1 .97 1; r D .1 .1 .9 .24",
    "plate": "p M 0 .1 1 .1 .8 1 .2 1",
    "sheet": "r M 0 0 1 1; r L .08 .06 .92 .94",
    "board": "r plank 0 0 1 1; l wood 0 .35 1 .35 .06; l wood 0 .7 1 .7 .06; r M 0 0 .09 1; r M .91 0 1 1",
    "cart": "r M 0 0 1 .75; r D .4 .75 .6 1",
    "holder": "p M .2 0 .8 0 1 1 0 1",
    "cloth": "r M 0 0 1 1; l L .06 .1 .94 .1 .05; l L .06 .9 .94 .9 .05",
    "shirt": "p M .25 0 .75 0 1 .25 .88 .5 .76 .4 .76 1 .24 1 .24 .4 .12 .5 0 .25; p D .4 0 .6 0 .5 .16",
    "stain": "e brown 0 0 1 1",
    "flat tire": "p iron .1 .1 .9 .1 1 .95 0 .95; e crumb .3 .25 .7 .7",
    "bolt": "e gold 0 0 1 1; r brown .2 .42 .8 .58",
    "loose bolt": "e gold 0 0 1 1",
    "lemon": "e lemon .06 .1 .94 .9; p lemon 0 .5 .2 .35 .2 .65; p lemon 1 .5 .8 .35 .8 .65",
    # Drinks and food.
    "jug": "p water .2 .1 .8 .1 .9 .95 .1 .95; r navy .2 .05 .8 .18; r navy .84 .3 1 .4",
    "water": "r water 0 .15 1 1",
    "carton": "r milk .2 .28 .8 1; p ink .2 .3 .5 .02 .8 .3; r ink .2 .6 .8 .78",
    "milk": "r crumb 0 .05 1 1; r milk 0 .1 1 .45",
    "teabag": "l black .5 0 .5 .5 .05; r leaf .36 0 .64 .16; p tea .3 .5 .7 .5 .78 1 .22 1",
    "tea": "r tea 0 .15 1 1",
    "sugar": (
        "r white .1 .4 .5 .85; r steel .5 .35 .92 .85; r white .55 .4 .88 .8; r steel .28 0 .72 .4; "
        "r white .32 .05 .68 .38"
    ),
    "spoon": "l steel .55 0 .5 .7 .1; e iron .34 .62 .66 1; e steel .38 .66 .62 .95",
    "swirl": "e iron .1 .2 .9 .44; e white .2 .24 .8 .4; e iron .36 .28 .64 .37",
    "cocoa": "r brown .16 .1 .84 .95; r gold .16 .4 .84 .62; r gold .12 0 .88 .12",
    "cocoa heap": "p brown 0 1 0 .5 .5 0 1 .5 1 1",
    "marshmallows": "e rose .02 .4 .42 .8; e rose .42 .5 .82 .9; e white .23 .17 .61 .55; e white .61 .26 .99 .64",
    "knife": "p steel 0 .45 .62 .32 .62 .6 .1 .62; r black .62 .34 1 .56",
    "lemon halves": "e lemon 0 .1 .48 .9; e white .08 .22 .4 .78; e lemon .52 .1 1 .9; e white .6 .22 .92 .78",
    "squeezed lemon": (
        "p lemon .05 .5 .2 .08 .8 .08 .95 .5; r white .05 .45 .95 .55; e lemon .22 .62 .38 .78; "
        "e lemon .47 .76 .63 .92; e lemon .64 .6 .8 .76"
    ),
    "juice": "r lemon 0 .55 1 1",
    "ice": (
        "r ice .03 .41 .41 .79; r ice .59 .41 .97 .79; r ice .31 .07 .69 .45; r water .14 .52 .3 .68; "
        "r water .7 .52 .86 .68; r water .42 .18 .58 .34"
    ),
    "straw": "l straw .62 0 .42 1 .16; l white .58 .2 .55 .36 .16; l white .51 .56 .48 .72 .16",
    "lighter": "r ribbon .3 .4 .75 1; r steel .3 .26 .75 .42; p flame .1 .24 .3 0 .46 .26",
    "fire": "p flame 0 1 .12 .1 .26 .7 .4 0 .52 .7 .66 0 .76 .7 .9 .1 1 1; r tomato .04 .75 .96 1",
    "carrots": (
        "p carrot 0 .25 .3 .1 .34 1; p carrot .36 .2 .66 .2 .5 1; p carrot .7 .1 1 .25 .66 1; r leaf .1 0 .9 .2"
    ),
    "salt": (
        "p white .3 0 .7 0 .8 .6 .2 .6; r black .2 .6 .8 .78; e iron .25 .83 .35 .93; e iron .45 .9 .55 1; "
        "e iron .65 .81 .75 .91"
    ),
    "specks": (
        "e black .16 .26 .24 .34; e black .36 .16 .44 .24; e black .56 .3 .64 .38; e black .76 .18 .84 .26; "
        "e black .26 .46 .34 .54; e black .66 .46 .74 .54"
    ),
    "egg": "p paper .05 .5 .12 .1 .35 0 .45 .5; p paper .55 .5 .65 0 .9 .1 .95 .5; e cheese .3 .55 .7 .98",
    "yolk": "e cheese 0 0 1 1",
    "flour": "p crumb .15 .15 .85 .15 .95 1 .05 1; r tomato .2 .45 .8 .75; r white .2 0 .8 .18",
    "flour heap": "p steel 0 1 .5 0 1 1; p crumb .1 1 .5 .1 .9 1",
    "oven": "r iron 0 0 1 1; r flame .14 .3 .86 .86; r steel .1 .08 .9 .2; e brown .3 .5 .7 .86",
    "cake": "r brown 0 .2 1 1; r bread 0 .5 1 .65",
    "cream": "p rose .3 0 .7 0 .6 .7 .4 .7; e cream .25 .6 .75 1",
    "frosting": "p rose 0 0 1 0 1 .7 .85 1 .7 .6 .55 1 .4 .6 .25 1 .1 .6 0 .9",
    "cherry": "e tomato .15 .35 .85 1; l leaf .5 .4 .75 0 .1",
    "bread": "p bread .04 .1 .96 .1 1 1 0 1; r crumb .08 .1 .92 .55",
    "butter knife": "l steel .5 .6 .9 .05 .1; p lemon .2 .5 .6 .4 .7 .9 .2 .95",
    "butter": "r lemon 0 0 1 1",
    "cheese": "r cheese 0 .2 1 .75; p cheese .1 .7 .5 .7 .3 1",
    "tomato": "r leaf 0 .55 1 .95; r tomato .06 .15 .94 .6",
    "top bread": "p bread 0 1 .03 .4 .25 .02 .75 .02 .97 .4 1 1",
    # Paper and boxes.
    "teddy": (
        "e wood .1 .03 .4 .33; e wood .6 .03 .9 .33; e wood .18 .1 .82 .62; e wood .22 .5 .78 1; "
        "e black .32 .26 .44 .38; e black .56 .26 .68 .38; e crumb .38 .4 .62 .56"
    ),
    "teddy ears": (
        "e wood -.02 .18 .42 .62; e wood .58 .18 1.02 .62; e wood .15 .2 .85 1.2; e black .27 .51 .45 .69; "
        "e black .55 .51 .73 .69"
    ),
    "lid": "r gold 0 .2 1 1; r gold .4 0 .6 .3",
    "paper roll": "r gift .3 0 .7 1; r white .3 .2 .7 .3; r white .3 .5 .7 .6; r white .3 .8 .7 .9",
    "wrapping": (
        "r gift 0 0 1 1; e white .11 .16 .29 .34; e white .41 .41 .59 .59; e white .71 .16 .89 .34; "
        "e white .11 .66 .29 .84; e white .71 .66 .89 .84"
    ),
    "ribbon": "p ribbon 0 .2 .5 .5 0 .8; p ribbon 1 .2 .5 .5 1 .8; r gold .4 .38 .6 .62",
    "bow": "r ribbon .43 .1 .57 1; r ribbon 0 .52 1 .64; p ribbon .2 0 .5 .15 .2 .3; p ribbon .8 0 .5 .15 .8 .3",
    "pen": "l ink .85 0 .3 .75 .18; p black .2 .72 .4 .84 .16 1",
    "writing": "l ink 0 .1 1 .1 .07; l ink 0 .35 1 .35 .07; l ink 0 .6 1 .6 .07; l ink 0 .85 1 .85 .07",
    "flap": "p L 0 0 1 0 1 .55 0 .55; l D 0 .55 1 .55 .08",
    "folded": "r M 0 0 1 1; r L .06 .1 .94 .5; l D 0 .55 1 .55 .08",
    "letter": "r M .05 .2 .95 .8; l D .15 .4 .85 .4 .08; l D .15 .6 .85 .6 .08",
    "envelope": "r plank 0 0 1 1; p wood 0 0 .5 .6 1 0 .9 0 .5 .48 .1 0",
    "stamp": "r violet 0 0 1 1; e spark .2 .2 .8 .8",
    "small envelope": "r plank 0 .2 1 .85; p wood 0 .2 .5 .62 1 .2; r violet .72 .55 .92 .78",
    "mailbox": "r navy .1 .1 .9 .75; r white .2 .25 .8 .35; r iron .42 .75 .58 1",
    # Wood and walls.
    "saw": (
        "p steel 0 .42 .7 .3 .7 .66 .6 .56 .5 .68 .4 .56 .3 .66 .2 .54 .1 .62; e tomato .64 .2 1 .74; "
        "e crumb .76 .36 .9 .6"
    ),
    "cut end": "r brown 0 0 .4 1; r crumb .4 0 1 1",
    "sandpaper": "r carrot 0 .3 1 .8; r brown 0 .66 1 .84",
    "shine": "r crumb 0 0 1 1",
    "brush": "l wood .75 0 .5 .5 .16; p steel .3 .42 .62 .5 .56 .66 .2 .6; p M .2 .6 .56 .66 .36 1 .1 .95",
    "painted": "r M 0 0 1 1; l D 0 .5 1 .5 .04",
    "dryer": (
        "e violet .3 .05 .95 .6; r violet .1 .15 .5 .5; r black .6 .5 .8 1; l white 0 .6 .3 .56 .06; "
        "l white 0 .75 .36 .68 .06"
    ),
    "gloss": "p white 0 1 .2 0 .5 0 .3 1; p white .5 1 .7 0 .85 0 .65 1",
    "star pen": "l gold .85 0 .4 .65 .26; p spark .26 .62 .52 .76 .2 1",
    "star": "p spark .5 .02 .623 .35 .976 .365 .7 .585 .794 .925 .5 .73 .206 .925 .3 .585 .024 .365 .377 .35",
    "drill": "r leaf .3 0 1 .36; r leaf .7 .3 .95 .75; p black .3 .06 .14 .18 .3 .3; l iron .2 .2 .2 .9 .1",
    "hole": "e black 0 0 1 1",
    "screwdriver": "r tomato .34 0 .66 .5; r spark .34 .14 .66 .24; r steel .45 .5 .55 1",
    "screw": "e steel .1 0 .9 .6; r iron .4 .4 .6 1; l black .2 .3 .8 .3 .12",
    "ruler": (
        "r spark 0 .34 1 .62; r black .1 .34 .14 .5; r black .28 .34 .32 .5; r black .46 .34 .5 .5; "
        "r black .64 .34 .68 .5; r black .82 .34 .86 .5"
    ),
    "mark": "l ink 0 0 1 1 .25; l ink 1 0 0 1 .25",
    "hammer": "l wood .5 .3 .9 .95 .14; p iron .1 .3 .7 0 .84 .26 .24 .56",
    "nail": "r iron .1 0 .9 .3; r iron .35 .2 .65 1",
    "rope": "l brown .1 1 .5 .2 .1; l brown .9 1 .5 .2 .1; e brown .4 .05 .6 .3",
    "hook rope": "l brown .02 1 .5 .1 .14; l brown .98 1 .5 .1 .14",
    "picture": "r M 0 0 1 1; r ice .16 .16 .84 .84; p leaf .16 .84 .45 .4 .84 .84",
    # Wheels, plants, candles, towers, cloth.
    "wrench": "l steel .5 .95 .5 .3 .18; p steel .2 0 .4 0 .4 .2 .6 .2 .6 0 .8 0 .8 .36 .2 .36",
    "tire": "e black 0 0 1 1; e steel .24 .24 .76 .76; e iron .42 .42 .58 .58",
    "bolt key": "l ribbon .1 .1 .9 .1 .2; l ribbon .5 .1 .5 .9 .2; r gold .36 .75 .64 1",
    "pump": "r carrot .36 .4 .64 1; r black .15 0 .85 .14; r iron .46 .1 .54 .45",
    "air": "e black 0 0 1 1; e water .2 .2 .8 .8; e steel .34 .34 .66 .66",
    "shovel": "l wood .5 0 .5 .55 .12; p iron .22 .5 .78 .5 .74 .85 .5 1 .26 .85; e soil .28 .45 .72 .75",
    "soil": "r soil 0 .05 1 1",
    "stick": "l plank .62 0 .48 .95 .14; l leaf .55 .35 .85 .2 .12",
    "dark hole": "e black 0 0 1 1",
    "seed": "p lime .5 .1 .85 .55 .5 1 .15 .55; l leaf .5 .3 .5 .8 .1",
    "rake": (
        "l wood .6 0 .5 .6 .1; r tomato .1 .56 .9 .7; r tomato .1 .66 .18 1; r tomato .3 .66 .38 1; "
        "r tomato .5 .66 .58 1; r tomato .7 .66 .78 1; r tomato .82 .66 .9 1"
    ),
    "soil mound": "p brown 0 1 .25 .2 .75 .2 1 1",
    "watering can": (
        "r leaf .35 .3 .95 .95; p leaf .4 .7 0 .3 .1 .2 .45 .45; l water .04 .34 0 .8 .1; "
        "l leaf .4 .12 .9 .12 .1; l leaf .9 .1 .9 .4 .1"
    ),
    "sprout": "l leaf .5 .3 .5 1 .14; e leaf 0 .05 .5 .45; e lime .5 0 1 .4",
    "candle": "r paper .28 .12 .72 1; r rose .28 .4 .72 .55; r black .46 0 .54 .14",
    "match": "l plank .85 .1 .3 .75 .12; e tomato .16 .66 .42 .94",
    "matchbox": "r navy 0 0 1 1; r gold 0 0 1 .25",
    "burning match": "l plank .9 .9 .35 .45 .12; p flame .1 .5 .25 0 .5 .45 .3 .62; e spark .2 .3 .38 .55",
    "flame": "p flame .5 0 .95 .7 .5 1 .05 .7; e spark .32 .5 .68 .95",
    "cube": "r M .05 .05 .95 1; r D .25 .28 .75 .78",
    "cylinder": "r teal .1 .12 .9 .9; e teal .1 .78 .9 1; e ice .1 0 .9 .25",
    "arch": "p violet 0 1 0 .1 1 .1 1 1 .72 1 .66 .6 .34 .6 .28 1",
    "cone": "p lime .5 0 1 1 0 1",
    "needle": "l steel .1 .9 .7 .3 .08; l ribbon .66 .34 .95 .1 .08; l ribbon .95 .1 .6 .02 .08; e ribbon .5 .1 .8 .4",
    "thread": "l ribbon 0 1 .3 0 .12; l ribbon .3 0 .6 .9 .12; l ribbon .6 .9 1 .2 .12",
    "sewing": "l iron .5 0 .5 1 .08; e white .2 .35 .8 .9; e ice .3 .45 .7 .8",
    "pearl": "e white 0 0 1 1; e ice .25 .2 .6 .55",
    "scissors": "l steel .3 0 .6 .65 .1; l steel .7 0 .4 .65 .1; e carrot .08 .6 .48 1; e carrot .52 .6 .92 1",
    "soap": "r gift .05 .35 .95 .85; e white .05 .15 .35 .45; e white .35 .05 .65 .35; e white .65 .15 .95 .45",
    "foam": (
        "e white .01 .06 .49 .54; e white .46 .04 .94 .52; e white .06 .48 .54 .96; e white .5 .48 .98 .96; "
        "e ice .38 .38 .62 .62; e ice .08 .28 .32 .52; e ice .68 .48 .92 .72"
    ),
    "hose": (
        "r lime .4 .1 1 .32; r leaf .28 .05 .42 .38; l water .28 .22 0 .95 .08; l water .28 .22 .16 .95 .08; "
        "l water .28 .22 .32 .95 .08"
    ),
    "drops": (
        "e water .05 .1 .25 .3; e water .4 .05 .6 .25; e water .75 .15 .95 .35; e water .2 .45 .4 .65; "
        "e water .6 .5 .8 .7; e water .4 .78 .6 .98"
    ),
    "iron": "p iron 0 .9 .25 .45 .95 .45 .95 .9; l ribbon .35 .25 .95 .25 .16; r ribbon .85 .2 .95 .5",
    "crease": "r white 0 0 1 1",
    "sleeve flap": "p M 0 .2 1 .1 .9 .7 .1 .7; l D .1 .7 .9 .7 .1",
    "shirt pile": "r M 0 .2 1 1; l D 0 .5 1 .5 .08; p D .35 .2 .65 .2 .5 .4",
}
"""Name to outlines: form, ink and numbers of each, divided by semicolons."""

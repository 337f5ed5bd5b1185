"""``vidcausal worlds list | make | show``: the commands that make data from the worlds.

Each function returns what ``--json`` prints, the lines for people and the exit code. Nothing but argparse is imported
before a command runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Outcome = tuple[dict[str, Any], str, int]
_SPLITS = "train, validation, test or composition (default: test)"


def add_worlds(commands: Any, common: Any, parser_class: Any, function: Callable[[argparse.Namespace], Any]) -> None:
    """Add the commands to a parser.

    Args:
        commands: what ``add_subparsers`` gave.
        common: parent parser with the options that all commands have.
        parser_class: class of the new parsers.
        function: called with the parsed arguments, whose ``work`` is a function from them to an outcome.
    """
    worlds = commands.add_parser("worlds", help="videos with known causes: list, make, show")
    inner = worlds.add_subparsers(
        dest="worlds_command", metavar="list|make|show", parser_class=parser_class, required=True
    )

    def add(name: str, work: Callable[[argparse.Namespace], Outcome], about: str) -> Any:
        command = inner.add_parser(name, help=about, description=about, parents=[common])
        command.set_defaults(function=function, work=work)
        return command

    add("list", _list, "the worlds, and the formats that they are written in")
    _add_make(add("make", _make, "write a world as a folder: videos with sound, annotations, official formats"))
    _add_show(add("show", _show, "one sample as a picture: frames, sound, events, causal graph, questions"))


def _add_make(make: Any) -> None:
    make.add_argument("--world", required=True, help="vidcausal worlds list")
    make.add_argument("--n", type=int, required=True, help="how many samples")
    make.add_argument("--out", required=True, metavar="DIR", help="the folder; a stopped making goes on in it")
    make.add_argument("--seed", type=int, default=0, help="samples of different seeds never overlap (default: 0)")
    make.add_argument("--split", default="test", help=_SPLITS)
    make.add_argument("--size", type=int, default=224, help="side of the videos in pixels (default: 224)")
    make.add_argument("--fps", type=float, default=8, help="frames a second (default: 8)")
    make.add_argument(
        "--sampling",
        default="uniform",
        help="how clips are shuffled: uniform (default), or vcrbench, never in the true order or its reversal",
    )
    make.add_argument("--format", action="append", metavar="NAME", help="an official format; repeat (default: all)")
    make.add_argument("--jobs", type=int, help="processes (default: all cores)")
    make.add_argument("--force", action="store_true", help="remove what an earlier making wrote into DIR, begin anew")


def _add_show(show: Any) -> None:
    show.add_argument("--world", required=True, help="vidcausal worlds list")
    show.add_argument("--seed", type=int, default=0, help="the story (default: 0)")
    show.add_argument("--split", default="test", help=_SPLITS)
    show.add_argument("--out", metavar="PNG", help="the picture (default: WORLD-SPLIT-SEED.png)")
    show.add_argument("--force", action="store_true", help="write over a file that is not such a picture")


def _list(args: argparse.Namespace) -> Outcome:
    from vidcausal.worlds.annotations import SAMPLINGS
    from vidcausal.worlds.formats import FORMATS, load_format
    from vidcausal.worlds.registry import WORLDS, create_world
    from vidcausal.worlds.story import SPLITS

    worlds = [{"name": name, "about": create_world(name).summary} for name in WORLDS]
    formats = [{"name": name, "about": load_format(name).SUMMARY} for name in FORMATS]
    lines = [f"{row['name']:22} {row['about']}" for row in worlds]
    lines += ["formats", *(f"  {row['name']:20} {row['about']}" for row in formats)]
    value = {"worlds": worlds, "formats": formats, "splits": list(SPLITS), "samplings": list(SAMPLINGS)}
    return value, "\n".join(lines), 0


def _make(args: argparse.Namespace) -> Outcome:
    from vidcausal.worlds.make import make_world

    made = make_world(
        args.world,
        args.n,
        args.out,
        seed=args.seed,
        split=args.split,
        size=args.size,
        fps=args.fps,
        sampling=args.sampling,
        formats=args.format,
        jobs=args.jobs,
        force=args.force,
        progress=False if args.json else None,
    )
    counts = made.counts
    lines = [
        f"{counts['samples']} videos ({counts['seconds'] / 60:.1f} minutes), {made.made_now} made now "
        f"in {made.seconds:.1f} s",
        f"{counts['events']} events; questions: "
        + ", ".join(f"{kind} {count}" for kind, count in counts["questions"].items()),
        *(
            f"  {name:22} " + ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in found.items())
            for name, found in counts["formats"].items()
        ),
        str(made.folder),
    ]
    return made.to_json(), "\n".join(lines), 0


def _show(args: argparse.Namespace) -> Outcome:
    from vidcausal.worlds.sheet import save_sheet

    found = save_sheet(args.world, args.seed, args.split, args.out, force=args.force)
    return found, found["picture"], 0

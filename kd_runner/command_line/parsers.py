"""The parsers of Hydra and OmegaConf, which build their tables when they first meet a kind of word."""

from __future__ import annotations

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

# A word of each kind that jobs have.
TYPICAL_WORDS = [
    "seed=1",
    "a.b=0.5",
    "a={b: 1, c: x}",
    "a=[1,x]",
    "a=null",
    "a=true",
    'hydra.run.dir="/a b"',
    "+a/b@c=d",
]
TYPICAL_EXPRESSION = "${oc.select:b.c,1}"


def warm_up_parsers() -> None:
    """Parse typical words, so that processes that are forked from this one find the tables."""
    OverridesParser.create().parse_overrides(TYPICAL_WORDS)
    OmegaConf.to_container(OmegaConf.create({"a": TYPICAL_EXPRESSION, "b": {"c": 1}}), resolve=True)

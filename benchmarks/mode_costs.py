"""The cost of a training step of every mode, relative to soft: python benchmarks/mode_costs.py --out FILE."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from kd_runner.cli import CONF_DIR
from kd_runner.config import check
from kd_runner.modules import Distiller
from kd_runner.parts import assemble


def module_of(mode: str) -> tuple[Distiller, list]:
    """A student of 9,122 parameters and its teacher of 421,738 on images of 28x28, and some batches for them."""
    words = [f"distillation={mode}", "distillation.warmup=0", "dataset=mnist", "batch_size=128", *OWN.get(mode, [])]
    words = [word for word in words if mode != "none" or "warmup" not in word]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = OmegaConf.to_container(compose("config", overrides=words), resolve=True)
    parts = assemble(check(config))
    pairing, recipe = parts.paired(), parts.recipes["student"]
    strong = any(each.needs.strong_view for each in pairing.modes)
    module = Distiller(
        pairing.student, pairing.teacher, pairing.modes, parts.settings.distillation.label_weight, parts.temperature,
        parts.training_batches(recipe, strong), recipe,
    )  # fmt: skip
    module.on_fit_start()
    batches = module.batches.batches()
    return module, [next(batches) for _ in range(4)]


OWN: dict[str, list[str]] = {"ab": ["distillation.init_share=0"], "fsp": ["distillation.init_share=0"]}


def seconds(module: Distiller, batches: list) -> float:
    """Of one step: forward, losses, backward and the optimizer."""
    optimizer = module.configure_optimizers()
    started = time.perf_counter()
    for batch in batches:
        losses, _ = module.losses(batch, 0.5)
        module._mixed.step(losses, optimizer)
    return (time.perf_counter() - started) / len(batches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    names = sorted(path.stem for path in CONF_DIR.glob("distillation/*.yaml"))
    reference = module_of("soft")
    ratios = {}
    for name in names:
        contender = module_of(name)
        seconds(*contender), seconds(*reference)  # warm
        pairs = [(seconds(*contender), seconds(*reference)) for _ in range(given.rounds)]
        ratios[name] = round(statistics.median(a for a, _ in pairs) / statistics.median(b for _, b in pairs), 3)
        print(f"{name:24s} {ratios[name]:.2f}", flush=True)
    if given.out:
        about = {"threads": torch.get_num_threads(), "torch": torch.__version__, "rounds": given.rounds}
        given.out.write_text(json.dumps({"about": about, "ratios": ratios}, indent=2) + "\n")


if __name__ == "__main__":
    main()

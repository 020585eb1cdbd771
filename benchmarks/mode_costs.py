"""The cost of a training step of every mode, relative to soft: python benchmarks/mode_costs.py --json FILE."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from hydra import compose, initialize_config_dir
from measure import device, interleaved, machine, parser, ratio_of_medians, show, write
from omegaconf import OmegaConf

from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.config.settings import check
from kd_runner.runs.assembly import assemble

BATCHES = 4
# Words without which a mode cannot be measured; its reference has them, too.
OWN = {
    "catkd": [
        "teacher.hidden=[]"
    ],  # a dense layer right behind the last maps, which takes off part of the teacher's work
    "sdd": ["teacher.hidden=[]"],
    "deit": ["student=vit"],
}


def steps_of(mode: str, *words: str) -> Callable[[], None]:
    """Trains a student of 9,122 parameters beside its teacher of 421,738 on some batches of 28x28 images."""
    overrides = [f"distillation={mode}", "dataset=fashion_mnist", "batch_size=128", *words]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        parts = assemble(check(OmegaConf.to_container(compose("config", overrides=overrides), resolve=True)))
    module = parts.distiller(parts.teacher_student_pair())
    module.to(parts.data.device).on_fit_start()
    optimizer = module.configure_optimizers()
    batches = module.batches.batches()
    few = [next(batches) for _ in range(BATCHES)]
    share = max((mode.init_share for mode in module.modes), default=0.0)
    progress = share / 2 if share else 0.5  # where the mode takes part with all of its weight

    def steps() -> None:
        """Forward, losses, backward and the optimizer."""
        for batch in few:
            losses, _ = module.losses(batch, progress)
            module._mixed.step(losses, optimizer)

    return steps


def main() -> None:
    paths = sorted(CONF_DIR.glob("distillation/*.yaml"))  # less those of several students, whose step is another
    modes = [path.stem for path in paths if "default_peers" not in path.read_text()]
    commands = parser(__doc__, rounds=7)
    commands.add_argument("--modes", nargs="*", choices=modes, default=[], help="these alone; the others' ratios stay")
    commands.add_argument("--cpu-time", action="store_true", help="count the CPU's seconds, on a machine that is busy")
    given = commands.parse_args()
    clock = time.process_time if given.cpu_time else time.perf_counter
    device_words = ["trainer.accelerator=cpu"] if given.device == "cpu" else []
    before = json.loads(given.json.read_text()) if given.modes and given.json and given.json.is_file() else {}
    ratios = before.get("ratios", {})
    for mode in given.modes or modes:
        words = [*OWN.get(mode, []), *device_words]
        seconds = interleaved(
            {mode: steps_of(mode, *words), "reference": steps_of("soft", *words)}, given.rounds, clock
        )
        ratios[mode] = round(ratio_of_medians(seconds[mode], seconds["reference"]), 3)
        print(mode, ratios[mode], flush=True)
    show("A training step, of soft's", ["mode", "ratio"], [[mode, f"{ratio:.2f}"] for mode, ratio in ratios.items()])
    content = {"machine": machine(device(given.device)), "rounds": given.rounds}
    if given.modes:
        content = {
            **before,
            "later": [*before.get("later", []), {**content, "cpu_time": given.cpu_time, "modes": given.modes}],
        }
    write(given.json, {**content, "ratios": dict(sorted(ratios.items()))})


if __name__ == "__main__":
    main()

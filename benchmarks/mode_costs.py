"""The cost of a training step of every mode, relative to soft: python benchmarks/mode_costs.py --json FILE."""

from __future__ import annotations

from collections.abc import Callable

from hydra import compose, initialize_config_dir
from measure import device, interleaved, machine, parser, ratio_of_medians, show, write
from omegaconf import OmegaConf

from kd_runner.command_line.conf_dir import CONF_DIR
from kd_runner.config.settings import check
from kd_runner.runs.assembly import assemble

BATCHES = 4


def steps_of(mode: str, *words: str) -> Callable[[], None]:
    """Trains a student of 9,122 parameters beside its teacher of 421,738 on some batches of 28x28 images."""
    # These two want a dense layer right behind the last maps; it takes part of the teacher's work off.
    own = ["teacher.hidden=[]"] if mode in ("catkd", "sdd") else []
    overrides = [f"distillation={mode}", "dataset=fashion_mnist", "batch_size=128", *own, *words]
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
    given = parser(__doc__, rounds=7).parse_args()
    words = ["trainer.accelerator=cpu"] if given.device == "cpu" else []
    reference = steps_of("soft", *words)
    ratios = {}
    for mode in sorted(path.stem for path in CONF_DIR.glob("distillation/*.yaml")):
        seconds = interleaved({mode: steps_of(mode, *words), "reference": reference}, given.rounds)
        ratios[mode] = round(ratio_of_medians(seconds[mode], seconds["reference"]), 3)
    show("A training step, of soft's", ["mode", "ratio"], [[mode, f"{ratio:.2f}"] for mode, ratio in ratios.items()])
    write(given.json, {"machine": machine(device(given.device)), "rounds": given.rounds, "ratios": ratios})


if __name__ == "__main__":
    main()

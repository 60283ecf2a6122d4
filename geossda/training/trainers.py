"""The training runs of translators, by preset."""

from geossda.training.cyclegan_trainer import CycleGanTrainer
from geossda.training.standardgan_trainer import StandardGanTrainer
from geossda.training.stargan_trainer import StarGanTrainer
from geossda.training.stargan_v2_trainer import StarGanV2Trainer
from geossda.training.translation_trainer import TranslationTrainer

TRAINERS: dict[str, type[TranslationTrainer]] = {
    "cyclegan": CycleGanTrainer,
    "standardgan": StandardGanTrainer,
    "stargan": StarGanTrainer,
    "starganv2": StarGanV2Trainer,
}

"""What ``import stress_lab`` offers, each part loaded when it is first used; neither Hydra nor a training is needed."""

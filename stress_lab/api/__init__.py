"""What ``import stress_lab`` offers, each part loaded on first use; it needs neither Hydra nor training."""

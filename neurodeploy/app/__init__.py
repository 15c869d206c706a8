"""Where everything meets: models found by a path, runs, comparisons, sweeps and fine-tuning."""

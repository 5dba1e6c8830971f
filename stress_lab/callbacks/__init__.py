"""Thin Lightning shells: each calls one function of ``stress_lab.recording`` at the end of training.

They find the run folder in ``trainer.default_root_dir`` and the images in ``trainer.datamodule``, run in the order in
which they are listed, on the first process only, and work with any LightningModule that maps images to logits.
"""

"""Nets in plain torch whose stages have names, and the LightningModule that trains any of them."""

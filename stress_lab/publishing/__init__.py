"""The files of a comparison, and the flow that writes them."""

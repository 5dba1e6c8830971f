"""What a comparison leaves in its folder, and the flow that writes it."""

"""The commands: each turns what was typed into a call, and an error into one sentence; nothing imports them."""

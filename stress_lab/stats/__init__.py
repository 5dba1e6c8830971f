"""Statistics on plain arrays; every formula is that of a cited source and is tested against another implementation."""

"""Statistics on plain arrays; every formula comes from a cited source and is tested against another implementation."""

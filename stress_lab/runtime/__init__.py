"""The machine and the process: cores, devices, locks, disks, signals, streams."""

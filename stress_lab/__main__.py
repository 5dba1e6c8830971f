"""``python -m stress_lab`` is ``stress-lab``, as torchrun needs it."""

from stress_lab.cli.verbs import main

if __name__ == "__main__":
    main()

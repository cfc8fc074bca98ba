"""``python -m tapsight``."""

from tapsight.cli import main

if __name__ == "__main__":
    main()

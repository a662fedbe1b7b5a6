"""Run the command line: `python -m unstrung`."""

from unstrung.cli import main

if __name__ == "__main__":
    main()

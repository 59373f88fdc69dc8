"""`python -m graftwork_flows` is `graftwork`."""

from graftwork_flows.cli import main

if __name__ == "__main__":
    main()

"""`python -m neurodeploy` is the command line."""

from neurodeploy.cli.main import main

main()

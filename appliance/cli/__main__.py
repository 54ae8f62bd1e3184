"""`python -m appliance.cli` is `spud`, also where no script is installed."""

from __future__ import annotations

from appliance.cli.main import main

main(prog_name="spud")
